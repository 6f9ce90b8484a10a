"""`clickloop bench ingest` measures what it says, or says what is missing."""

import pytest

from deploy.bench import ingest
from streams.errors import ClickloopError, ConfigError
from tests.system.kafka.broker import free_ports


def test_both_agents_are_measured_on_the_same_topic(kafka: str) -> None:
    document = ingest.run(kafka, records=40_000, plain_records=500, rounds=1)
    values = {figure["name"]: figure["value"] for figure in document["figures"]}
    assert set(values) == {
        "chunks_records_per_s",
        "plain_faust_records_per_s",
        "ratio_plain_faust",
    }


def test_events_have_the_size_they_say() -> None:
    assert {len(ingest._event(number)) for number in (0, 7, 599_999)} == {350}


def test_without_a_broker_it_says_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match="`make kafka` starts one"):
        ingest.run(None, 1, 1, 1)


def test_a_broker_that_is_not_there_is_named() -> None:
    (port,) = free_ports(1)
    with pytest.raises(ClickloopError, match=f"127.0.0.1:{port}: no topic can be made"):
        ingest.run(f"127.0.0.1:{port}", 1, 1, 1)
