"""Records encoded by our kernel, against kafka-python's own; and what is relied on of it."""

import inspect
import tomllib
from importlib.metadata import version

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.producer.producer_batch import ProducerBatch
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder

from streams.kafka.produce.record_batch import encoded_records, runs
from tests import ROOT
from tests.support.tiers import tries

PAIRS = st.lists(st.tuples(st.text(max_size=70), st.binary(max_size=9000)), min_size=1, max_size=9)


@pytest.mark.kernel
@settings(max_examples=tries(40))
@given(PAIRS, st.integers(0, 3))
def test_the_bytes_are_those_of_kafka_python(pairs: list[tuple[str, bytes]], skip: int) -> None:
    keys, values = (pa.array(column) for column in zip(*pairs, strict=True))
    reference = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 30)
    for i, (key, value) in enumerate(pairs[skip:]):
        reference.append(i, 5, key.encode(), value, [])
    body = bytes(reference._buffer[reference.HEADER_STRUCT.size :])
    assert encoded_records(keys.slice(skip), values.slice(skip)) == body
    cut = list(runs(keys, values, 5000))
    assert [first for first, _ in cut] == [0, *(last for _, last in cut[:-1])]
    assert cut[-1][1] == len(pairs)
    for first, last in cut:
        size = len(
            encoded_records(keys.slice(first, last - first), values.slice(first, last - first))
        )
        assert size <= 5000 or last == first + 1


def test_what_is_relied_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert f"kafka-python[crc32c]=={version('kafka-python')}" in project["project"]["dependencies"]
    attributes = {"_buffer", "_num_records", "_last_offset", "_first_timestamp", "_max_timestamp"}
    assert attributes <= set(DefaultRecordBatchBuilder.__slots__)
    assert {"_builder", "_next_offset"} <= set(MemoryRecordsBuilder.__slots__)
    names = list(inspect.signature(ProducerBatch.__init__).parameters)
    assert names[:3] == ["self", "tp", "records"]
    source = inspect.getsource(RecordAccumulator.append)
    for line in ("self._tp_lock(tp)", "dq = self._batches[tp]", "self._incomplete.add(batch)"):
        assert line in source
    assert 'self.config["compression_attrs"]' in source.replace("'", '"')
