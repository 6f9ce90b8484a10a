"""`clickloop topics`: make and check the topics that Kafka must have."""

from collections.abc import Callable

from deploy.settings import Settings
from streams.errors import ClickloopError
from streams.kafka import Admin, admin, problems


def create(settings: Settings, made: Callable[[str], None]) -> None:
    """Make the topics that are missing, then check all of them as `check` does.

    made: called with the name of each that is made.
    """
    with admin(settings.kafka) as connected:
        for name in connected.create(settings.topics, _longest_needed(settings)):
            made(name)
        _check(settings, connected)


def check(settings: Settings) -> None:
    """Raise ClickloopError with all that is wrong with the topics, each with its fix."""
    with admin(settings.kafka) as connected:
        _check(settings, connected)


def _longest_needed(settings: Settings) -> int:
    """For how long the join may need a message again, ms."""
    return settings.join.known_span + settings.join.lateness


def _check(settings: Settings, connected: Admin) -> None:
    described, servers = connected.describe(settings.topics), settings.kafka.bootstrap_servers
    wrong = problems(described, settings.topics, _longest_needed(settings), servers)
    if wrong:
        count = "1 problem" if len(wrong) == 1 else f"{len(wrong)} problems"
        raise ClickloopError("\n".join([f"{count} with the topics:", *(f"  {w}" for w in wrong)]))
