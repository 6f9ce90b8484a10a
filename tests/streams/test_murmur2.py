"""The hash of Kafka's default partitioner, against kafka-python's and librdkafka's figures."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as reference

from streams.compute.murmur2 import murmur2, partition_of, partitions_of
from tests.support.tiers import tries

# From the tests of Apache Kafka itself (UtilsTest.testMurmur2), there as signed numbers.
GOLDEN = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.kernel
def test_golden_vectors() -> None:
    hashes = murmur2(pa.array(GOLDEN))
    assert hashes.astype("int32").tolist() == list(GOLDEN.values())


@pytest.mark.kernel
@settings(max_examples=tries(50))
@given(st.lists(st.text(max_size=20) | st.none(), max_size=9), st.integers(0, 3))
def test_every_length_in_every_kind_of_array(texts: list[str | None], skip: int) -> None:
    expected = [reference((text or "").encode()) for text in texts[skip:]]
    for kind in (pa.string(), pa.large_string()):
        assert murmur2(pa.array(texts, kind).slice(skip)).tolist() == expected
    positive = [hashed & 0x7FFFFFFF for hashed in expected]
    for partitions in (1, 7):
        wanted = [number % partitions for number in positive]
        assert (
            partitions_of(pa.array(texts, pa.string()).slice(skip), partitions).tolist() == wanted
        )
        assert [partition_of((t or "").encode(), partitions) for t in texts[skip:]] == wanted


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="int64; strings are expected"):
        murmur2(pa.array([1]))
