"""Commands in the test's own process: one of their own takes two seconds more to start."""

from collections.abc import Mapping
from subprocess import CompletedProcess

from typer.testing import CliRunner

from deploy.cli.app import app


def clickloop(*words: object, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """What `clickloop WORDS` gives; env: further environment variables.

    An exception that the command does not handle is raised.
    """
    told = [str(word) for word in words]
    done = CliRunner().invoke(app, told, env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return CompletedProcess(told, done.exit_code, done.stdout, done.stderr)
