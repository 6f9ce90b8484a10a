"""What all tests share: fixtures of several modules, patience, and a lean garbage collector."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.system.kafka.jars import NoKafkaError
from tests.system.kafka.shared import broker

# An example's first run may compile, and a busy machine takes as long as it takes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


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
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Kafka: {error}")
        pytest.skip(f"no Kafka: {error}")
