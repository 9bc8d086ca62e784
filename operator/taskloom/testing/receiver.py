"""A receiver of webhooks that remembers what came, for tests."""

import asyncio
import json
from collections import Counter
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from taskloom.testing.server import free_port


class Receiver:
    """Listens on a loopback port of its own; `webhooks` are by their id, `times` came again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.webhooks: dict[str, dict[str, Any]] = {}
        self.times: Counter[str] = Counter()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self._arrived = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def wait_for(self, count: int, seconds: float = 30.0) -> None:
        """Return when `count` different webhooks have come; `TimeoutError` after `seconds`."""
        async with asyncio.timeout(seconds):
            while len(self.webhooks) < count:
                self._arrived.clear()
                await self._arrived.wait()

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        app = web.Application()
        app.router.add_post("/hook", self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        webhook_id = request.headers["webhook-id"]
        self.requests.append((dict(request.headers), body))
        self.times[webhook_id] += 1
        self.webhooks[webhook_id] = json.loads(body)
        self._arrived.set()
        return web.Response()
