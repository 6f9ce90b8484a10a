"""What a measurement prints: a table for people, or one JSON document."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deploy.bench import figures
from deploy.console import out
from streams.errors import ClickloopError
from tests.support import needs, trivago
from tests.system.kafka.jars import NoKafkaError

Figures = Iterable[Mapping[str, Any]]


def command(
    name: str, words: str | None, run: Callable[[argparse.Namespace], Figures], **sizes: int
) -> None:
    """Run a measurement as a command and exit. sizes: its options, with their defaults."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=words)
    for option, default in sizes.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args()
    if not trivago.THERE:
        sys.exit(needs.REAL_LOGS)
    before = os.getloadavg()
    try:
        found = run(args)
    except (ClickloopError, NoKafkaError) as error:
        sys.exit(str(error))
    document = {
        **figures.circumstances(name, "faust-streaming", "aiokafka"),
        "sizes": {option: getattr(args, option) for option in sizes},
        "load_average": {"before": before, "after": os.getloadavg()},
        "figures": list(found),
    }
    if args.json:
        print(json.dumps(document, indent=2))
        return
    out.print(figures.table(document))
    out.print(f"load average before {before[0]:.1f}, after {os.getloadavg()[0]:.1f}")
