"""Messages of the labelled topic, as a consumer hands them out."""

from streams.kafka.chunk import Partition, Record
from streams.labelled_log import HEADER, Entry, decode


def place_of(partition: Partition, record: Record) -> str:
    """Where a message is, for an operator."""
    return f"topic {partition.topic}, partition {partition.number}, offset {record.offset}"


def entry_of(partition: Partition, record: Record) -> Entry:
    """The claim or block that a message is. Raises DataError if its header cannot be read."""
    for name, header in record.headers:
        if name == HEADER:
            return Entry(record.offset, decode(header, place_of(partition, record)))
    return Entry(record.offset, None)
