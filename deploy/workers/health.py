"""A worker's state over HTTP, for operators and Prometheus. It tells nothing of the data.

/healthz    200: the process answers
/readyz     200 if it does its work; else 503, and why not
/metrics    counters and gauges, for Prometheus
"""

import logging
import socket
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from streams.errors import ConfigError

log = logging.getLogger(__name__)

STOP_S = 1.0  # for requests that are being answered


class Health:
    """The HTTP server of a worker. Its port is taken at once, answers come after `start`."""

    def __init__(
        self, bind: str, ready: Callable[[], str | None], registry: CollectorRegistry
    ) -> None:
        """bind: `host:port`. ready: why the worker is not ready; None: it is.

        Raises ConfigError if the address cannot be had.
        """
        host, _, port = bind.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, int(port)), family=family)
        except OSError as error:
            raise ConfigError(
                f"cannot answer HTTP at {bind}: {error.strerror or error}; name another address in "
                "the settings, section [worker]"
            ) from error
        self._ready = ready
        self._registry = registry
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        """Where it answers, `host:port`."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self) -> None:
        """Answer from now on."""
        app = web.Application()
        app.router.add_get("/healthz", self._live)
        app.router.add_get("/readyz", self._is_ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()
        log.info("health and metrics at http://%s", self.address)

    async def stop(self) -> None:
        """Free the address."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _is_ready(self, _: web.Request) -> web.Response:
        reason = self._ready()
        if reason is None:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"{reason}\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        text = generate_latest(self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
