"""Print the table of bad inputs, with what each of them gave just now.

Words on the command line choose those whose name or place has one of them.
"""

import sys
import tempfile
from pathlib import Path

from tests.system.bad_inputs import KINDS, Site, Unavailable, check

MOST = 110  # characters of a message that the table shows


def main() -> int:
    """Try every kind; the exit code says whether all gave what is expected."""
    wrong = 0
    words = sys.argv[1:] or [""]
    chosen = [k for k in KINDS if any(word in f"{k.on} {k.name}" for word in words)]
    for number, kind in enumerate(chosen, 1):
        with tempfile.TemporaryDirectory() as folder:
            site = Site(Path(folder) / "site")
            try:
                outcome = check(kind, site)
                print(f"{number:3} {kind.on:<11} {kind.name:<36} exit {outcome.exit}")
                for line in (*kind.letters, *outcome.says.splitlines()) or ("accepted",):
                    print(" " * 16 + (line if len(line) <= MOST else line[:MOST] + "…"))
            except Unavailable as reason:
                print(f"{number:3} {kind.on:<11} {kind.name:<36} not tried: {reason}")
            except AssertionError as error:
                wrong += 1
                print(f"{number:3} {kind.on:<11} {kind.name:<36} NOT AS EXPECTED\n{error}")
    print(f"{len(chosen)} kinds of bad input, {wrong} of them not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
