"""Errors of Kafka's client with the reason of the refusal, which kafka-python only logs."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from kafka.errors import KafkaError

from streams.errors import ClickloopError

_FAILED = re.compile(r"onnection(?: to \S+)? failed: (.*?)(?: \(backoff .*)?$")
# Reasons that say little, the least first: the last attempt may only run out of time, and an
# attempt that the broker hung up on does not say why.
_VAGUE = ("timed out", "disconnected")


class _Refusals(logging.Handler):
    reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Remember why a connection failed: of several reasons the most telling, then the last."""
        found = _FAILED.search(record.getMessage())
        if found and _telling(found[1]) >= _telling(self.reason):
            self.reason = found[1]


def _telling(reason: str) -> int:
    """How much a reason says; less than all others: none."""
    if not reason:
        return -1
    vague = (rank for rank, words in enumerate(_VAGUE) if words in reason)
    return next(vague, len(_VAGUE))


@contextmanager
def translated_errors(servers: str) -> Iterator[None]:
    """Turn a client's KafkaError into a ClickloopError that says what, where, and why."""
    refusals = _Refusals(logging.WARNING)
    logger = logging.getLogger("kafka.net.manager")
    logger.addHandler(refusals)
    try:
        yield
    except KafkaError as error:
        reason = refusals.reason or str(error) or type(error).__name__
        raise ClickloopError(f"{servers}: {reason}; is Kafka there, and [kafka] right?") from error
    finally:
        logger.removeHandler(refusals)
