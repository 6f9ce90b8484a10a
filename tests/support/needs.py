"""What some tests need and a machine may lack; each lack is one line that says how to end it."""

import os
from typing import NoReturn

import pytest

KAFKA_HOW = (
    "install Java and Maven (Debian: apt install openjdk-17-jre-headless maven), "
    "or set CLICKLOOP_TEST_KAFKA to the address of a running broker"
)
REAL_LOGS = (
    "no real logs: set CLICKLOOP_TEST_DATA to a folder that holds "
    "trivago/impressions.ndjson.gz and trivago/clicks.ndjson.gz"
)
BROWSER = "no browser: install chromium (Debian: apt install chromium)"
KCAT = "no kcat: install it (Debian: apt install kcat)"
DEMO_LOGS = "no Open Bandit logs: fetch them with `make run`"
OWN_KAFKA = "no broker of the tests' own: unset CLICKLOOP_TEST_KAFKA"


def lacks(line: str, *, required: bool = False) -> NoReturn:
    """Skip a test for want of what `line` says; under CI=true what is required fails instead."""
    if required and os.environ.get("CI") == "true":
        pytest.fail(line)
    pytest.skip(line)
