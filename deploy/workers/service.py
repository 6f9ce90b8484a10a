"""What all workers have in common: how they reach Kafka, and who watches them while they run."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deploy.settings import Settings
from deploy.workers.health import Health
from deploy.workers.watchdog import Probe, Watchdog
from streams.kafka import client_options, faust_options
from streams.kafka.consume import App


@dataclass(frozen=True, slots=True)
class Connection:
    """How a worker reaches Kafka.

    brokers: `host:port`, separated by commas. group: of its consumers. app: options of the Faust
    app. clients: options of aiokafka's clients, address and credentials.
    """

    brokers: str
    group: str
    app: Mapping[str, Any] = field(default_factory=dict)
    clients: Mapping[str, Any] = field(default_factory=dict)


def connection_of(settings: Settings, role: Literal["join", "learn"]) -> Connection:
    """The connection of a worker with these settings. Raises ConfigError without credentials."""
    kafka = settings.kafka
    return Connection(
        brokers=kafka.bootstrap_servers,
        group=f"{kafka.group_prefix}-{role}",
        app=faust_options(kafka),
        clients=client_options(kafka),
    )


def supervise(app: App, health: Health, probe: Probe, stuck_after: int, *tickers: "Ticker") -> None:
    """Run health, metrics and watchdog beside the worker's app, and `tickers`; print the address.

    probe: of the worker's work. stuck_after: ms without progress, after which the watchdog ends it.
    """
    app.companions = (health, Watchdog(stuck_after, [probe]), *tickers)
    print(f"clickloop: health and metrics at http://{health.address}", flush=True)


class Ticker:
    """A companion of an app that calls `work` again and again, with a pause before each call."""

    def __init__(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        """pause: seconds."""
        self._work = work
        self._pause = pause
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to call."""
        self._task = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Call no more."""
        if self._task is not None:
            self._task.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            await self._work()
