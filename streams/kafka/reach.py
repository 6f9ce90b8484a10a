"""Why Kafka cannot be reached, in the words of whoever refused: kafka-python only logs them."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from kafka.errors import KafkaError

from streams.errors import ClickloopError

_FAILED = re.compile(r"onnection(?: to \S+)? failed: (.*?)(?: \(backoff .*)?$")


class _Refusals(logging.Handler):
    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Remember what was said when a connection failed."""
        if found := _FAILED.search(record.getMessage()):
            self.last = found[1]


@contextmanager
def reaching(servers: str) -> Iterator[None]:
    """Turn a client's KafkaError into a ClickloopError that says what, where, and why."""
    refusals = _Refusals(logging.WARNING)
    logger = logging.getLogger("kafka.net.manager")
    logger.addHandler(refusals)
    try:
        yield
    except KafkaError as error:
        said = refusals.last or str(error) or type(error).__name__
        raise ClickloopError(f"{servers}: {said}; is Kafka there, and [kafka] right?") from error
    finally:
        logger.removeHandler(refusals)
