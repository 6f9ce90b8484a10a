"""`python -m clickloop`: the command line, where the console script is not on the path."""

from deploy.cli.app import main

main()
