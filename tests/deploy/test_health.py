"""What a worker answers over HTTP."""

import asyncio
import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from deploy.workers.health import Health
from streams.errors import ConfigError


def answers(health: Health, *paths: str) -> list[tuple[int, str]]:
    """Status and text of each, from start to stop."""

    async def ask() -> list[tuple[int, str]]:
        await health.start()
        found = []
        async with aiohttp.ClientSession() as session:
            for path in paths:
                async with session.get(f"http://{health.address}{path}") as answer:
                    found.append((answer.status, await answer.text()))
        await health.stop()
        return found

    return asyncio.run(ask())


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
def test_live_ready_and_nothing_else(bind: str) -> None:
    reasons = [None, "catching up: 5 messages to go"]
    health = Health(bind, reasons.pop, CollectorRegistry())
    assert answers(health, "/healthz", "/readyz", "/readyz", "/", "/table") == [
        (200, "live\n"),
        (503, "catching up: 5 messages to go\n"),
        (200, "ready\n"),
        (404, "404: Not Found"),
        (404, "404: Not Found"),
    ]


def test_metrics_are_the_registrys() -> None:
    registry = CollectorRegistry()
    Counter("clickloop_things", "Things.", registry=registry).inc(3)
    status, text = answers(Health("127.0.0.1:0", lambda: None, registry), "/metrics")[0]
    assert status == 200
    assert "clickloop_things_total 3.0" in text.splitlines()
    assert "python_info" not in text


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"cannot answer HTTP at {address}: .*\[worker\]"):
            Health(address, lambda: None, CollectorRegistry())
