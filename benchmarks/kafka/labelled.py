"""What join workers left in the labelled topic, and when: how far they had come at any moment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.kafka.plant import Plant
from streams.arrow_ipc import decode as rows_of
from streams.labelled_log import HEADER_NAME, Block, Claim, Entry, FencingFilter, decode
from tests.system.kafka.pipeline import messages


@dataclass(frozen=True, slots=True)
class Published:
    """A block that counts, and when the broker appended it, ms."""

    at: int
    block: Block
    value: bytes


Topic = Mapping[int, Sequence[Published]]


def published(plant: Plant) -> Topic:
    """The blocks that count, by partition, in order."""
    topics, address = plant.settings.topics, plant.settings.kafka.bootstrap_servers
    found: dict[int, list[Published]] = {}
    for number in range(topics.partitions):
        fencing = FencingFilter()
        found[number] = []
        for one in messages(address, topics.labelled, number):
            header = dict(one.headers)[HEADER_NAME]
            block = fencing.take(Entry(one.offset, decode(header, topics.labelled)))
            if block is not None:
                found[number].append(Published(one.timestamp, block, one.value or b""))
    return found


def last_claim(plant: Plant) -> int:
    """When the last claim of any partition was appended, ms."""
    topics, address = plant.settings.topics, plant.settings.kafka.bootstrap_servers
    return max(
        one.timestamp
        for number in range(topics.partitions)
        for one in messages(address, topics.labelled, number)
        if isinstance(decode(dict(one.headers)[HEADER_NAME], topics.labelled), Claim)
    )


def ids(topic: Topic) -> Iterator[pa.Array]:
    """The ids of all examples."""
    for blocks in topic.values():
        for one in blocks:
            for batch in rows_of(one.value, "labelled") if one.block.rows else ():
                yield batch.column("impression_id")


def joined_at(blocks: Sequence[Published], at: float) -> int:
    """How many impressions a partition had joined at a moment, ms: of messages with one each."""
    cuts = [one for one in blocks if one.block.cut is not None and one.at <= at]
    last = cuts[-1].block.cut if cuts else None
    return 0 if last is None else last.end.impressions[0] + 1


def rate(topic: Topic, since: float, until: float) -> float:
    """Impressions a second that all partitions joined between two moments, ms."""
    done = [joined_at(blocks, until) - joined_at(blocks, since) for blocks in topic.values()]
    return sum(done) / (until - since) * 1000


def all_publish(topic: Topic, since: float) -> float:
    """From when on every partition has published something after a moment, ms."""
    return max(min(one.at for one in blocks if one.at > since) for blocks in topic.values())


def first_done(topic: Topic) -> float:
    """When the first partition was joined to its end, ms."""
    ends = []
    for blocks in topic.values():
        end = joined_at(blocks, np.inf)
        ends.append(min(one.at for one in blocks if joined_at(blocks, one.at) == end))
    return min(ends)


def longest_pause(topic: Topic, since: float, until: float) -> float:
    """The longest time between two blocks of a partition, s, that touches a span, ms."""
    pauses = [0.0]
    for blocks in topic.values():
        at = np.array([one.at for one in blocks])
        some = (at[1:] > since) & (at[:-1] < until)
        pauses += np.diff(at)[some].tolist()
    return max(pauses) / 1000
