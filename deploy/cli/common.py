"""What the commands have in common: options, errors and JSON."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.console import err
from deploy.replay.replay import Stopped
from streams.errors import ClickloopError, explained

INTERRUPTED = 130

Config = Annotated[Path, typer.Option("--config", help="The settings, TOML.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
StoreOption = Annotated[Path, typer.Option("--store", help="The `store` folder of a run.")]
Version = Annotated[int | None, typer.Option("--version", help="Default: the newest.")]


class Debug:
    """Whether errors show their tracebacks, in all commands of the process."""

    on = False


@contextmanager
def errors() -> Iterator[None]:
    """Turn what an operator must handle into a message and an exit code."""
    try:
        yield
    except Stopped:
        err.print("clickloop: stopped, and saved: go on with --resume")
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        err.print("clickloop: interrupted; what had been written stays usable")
        raise typer.Exit(INTERRUPTED) from None
    except ClickloopError as error:
        if Debug.on:
            raise
        err.print(f"clickloop: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if Debug.on:
            raise
        err.print(f"clickloop: {explained(error)}", markup=False, soft_wrap=True)
        raise typer.Exit(ClickloopError.exit_code) from None


def print_json(values: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(values, indent=1) + "\n")
