"""The examples of docs/library.md, to be run as they stand."""

import re

from tests import ROOT

PAGE = ROOT / "docs" / "library.md"


def examples() -> tuple[str, str]:
    """Its two programs: the examples on files, and those that need Kafka."""
    on_files, on_kafka = PAGE.read_text().split("\n## On Kafka\n")
    return _program(on_files), _program(on_kafka)


def _program(text: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
