"""Why Kafka cannot be reached: of several reasons the one that helps."""

import logging

import pytest
from kafka.errors import KafkaTimeoutError

from streams.errors import ClickloopError
from streams.kafka.client_errors import translated_errors

WRONG = "[Error 58] SaslAuthenticationFailedError: no"
HUNG_UP = "KafkaConnectionError: socket disconnected"
SLOW = "[Error 7] RequestTimedOutError: Request timed out after 125 ms"
REFUSED = "KafkaConnectionError: Connect attempt returned error 111"
GIVEN_UP = "Unable to bootstrap from one:9092"


@pytest.mark.parametrize(
    ("reasons", "shown"),
    [
        ([], GIVEN_UP),
        ([SLOW], SLOW),
        ([HUNG_UP, SLOW], HUNG_UP),
        ([SLOW, HUNG_UP], HUNG_UP),
        ([HUNG_UP, WRONG, HUNG_UP, SLOW], WRONG),
        ([WRONG, REFUSED, SLOW], REFUSED),
    ],
)
def test_the_most_telling_reason_is_shown(reasons: list[str], shown: str) -> None:
    with pytest.raises(ClickloopError, match="is Kafka there") as raised:
        _connect_in_vain(reasons)
    assert f"{shown}; is Kafka there, and [kafka] right?" in str(raised.value)


def _connect_in_vain(reasons: list[str]) -> None:
    """Log what kafka-python logs, then raise what it raises."""
    with translated_errors("one:9092"):
        for reason in reasons:
            logging.getLogger("kafka.net.manager").warning(
                "Bootstrap connection to %s failed: %s (backoff %.2f secs)", "one", reason, 0.05
            )
        raise KafkaTimeoutError(GIVEN_UP)
