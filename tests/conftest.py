"""What all tests share: fixtures of several modules, tiers, and a lean garbage collector."""

import gc
import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support import needs, trivago
from tests.support.tiers import QUICK
from tests.system.kafka.jars import NoKafkaError
from tests.system.kafka.shared import broker

# An example's first run may compile, and a busy machine takes as long as it takes.
settings.register_profile("full", deadline=None)
settings.register_profile(QUICK, settings.get_profile("full"), max_examples=25)
settings.load_profile("full")  # `--hypothesis-profile` loads another

# A test that asks for one of these is slow, unless it is marked as short.
SLOW = {"kafka", "chromium", "real_logs"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs a broker, a browser or real logs."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if asked & SLOW and item.get_closest_marker("short") is None:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Leave the objects of libraries and test modules out of all further garbage collections.

    To look through them again and again was a quarter of the time of tests that make many objects.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real broker, one for the whole run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    try:
        with broker(folder) as address:
            yield address
    except NoKafkaError as error:
        needs.lacks(f"no Kafka: {error}", required=True)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a browser."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    return found or needs.lacks(needs.BROWSER, required=True)


@pytest.fixture(scope="session")
def real_logs() -> None:
    """The real hotel-search logs are where `tests.support.trivago` says."""
    if not trivago.THERE:
        needs.lacks(needs.REAL_LOGS)
