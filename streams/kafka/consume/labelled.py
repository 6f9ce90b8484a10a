"""Messages of the labelled topic, as a consumer hands them out."""

from streams.kafka.chunk import Message, Partition
from streams.labelled_log import HEADER_NAME, Entry, decode


def message_location(partition: Partition, message: Message) -> str:
    """Where a message is, in words for an operator."""
    return f"topic {partition.topic}, partition {partition.number}, offset {message.offset}"


def entry_of(partition: Partition, message: Message) -> Entry:
    """A message as an entry of the labelled log. Raises DataError for an unreadable header."""
    for name, header in message.headers:
        if name == HEADER_NAME:
            return Entry(message.offset, decode(header, message_location(partition, message)))
    return Entry(message.offset, None)
