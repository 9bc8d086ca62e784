"""How long from an event to its verified task-created webhook, one at a time.

Prints p50 and p99, the rate, and the processor time an event by process.
"""

import argparse
import asyncio
import hashlib
import hmac
import time
from pathlib import Path

import httpx
from aiohttp import web
from server import free_port, machine, percentile, running_server

_HERE = Path(__file__).parent


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200)
    options = parser.parse_args()
    arrived: asyncio.Queue[float] = asyncio.Queue()
    secret = ""

    async def receive(request: web.Request) -> web.Response:
        now = time.perf_counter()
        body = await request.read()
        signed = body + b":" + request.headers["x-task-timestamp"].encode()
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, request.headers["x-task-signature"]):
            raise SystemExit("a webhook came with a wrong signature")
        arrived.put_nowait(now)
        return web.Response()

    port = free_port()
    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with (
        running_server(_HERE / "resources") as server,
        httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}
        ) as client,
    ):
        app_keys = (await client.post("/client-apps", json={"clientName": "bench"})).json()
        secret = app_keys["apiSecret"]
        answer = await client.post(
            "/webhooks/subscribe",
            json={"url": f"http://127.0.0.1:{port}/hook", "key": "task-created"},
            headers={"x-api-key": app_keys["apiKey"], "x-api-secret": secret},
        )
        answer.raise_for_status()

        async def once(number: int) -> float:
            event = {"key": "bench.mapped", "payload": {"number": number}, "source": "bench"}
            started = time.perf_counter()
            (await client.post("/events/trigger", json=event)).raise_for_status()
            async with asyncio.timeout(30):
                return await arrived.get() - started

        for number in range(20):  # warm
            await once(number)
        before = server.cpu_seconds()
        began = time.perf_counter()
        times = [await once(number) for number in range(options.events)]
        elapsed = time.perf_counter() - began
        after = server.cpu_seconds()
    await runner.cleanup()
    print(f"event -> verified task-created webhook, one at a time, {options.events} events")
    print(f"  machine      {machine()}")
    p50, p99 = percentile(times, 0.5) * 1e3, percentile(times, 0.99) * 1e3
    print(f"  p50 / p99    {p50:8.1f} / {p99:.1f} ms")
    print(f"  rate         {options.events / elapsed:8.1f} events/s")
    for name, seconds in after.items():
        print(f"  CPU {name:9}{(seconds - before[name]) / options.events * 1e3:8.2f} ms an event")


if __name__ == "__main__":
    asyncio.run(main())
