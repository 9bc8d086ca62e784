"""How many events a second become durable: POST /events/trigger at 64 connections.

Prints the rate, p50 and p99, and the processor time an event by process.
The events are mapped to no workflow unless `--mapped`, so that only their way in is measured.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path

from server import Server, machine, percentile, running_server

CONNECTIONS = 64
_HERE = Path(__file__).parent


async def _post_all(server: Server, seconds: float, key: str) -> list[float]:
    body = json.dumps(
        {"key": key, "payload": {"name": "test", "number": 12.5}, "source": "bench"}
    ).encode()
    request = (
        f"POST /events/trigger HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}"
        f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    end = time.perf_counter() + seconds
    times: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while (started := time.perf_counter()) < end:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 204"):
                raise SystemExit(f"the server answered {answer!r}")
            times.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return times


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--mapped", action="store_true")
    options = parser.parse_args()
    key = "bench.mapped" if options.mapped else "bench.unmapped"
    async with running_server(_HERE / "resources") as server:
        await _post_all(server, 1.0, key)  # warm
        before = server.cpu_seconds()
        started = time.perf_counter()
        times = await _post_all(server, options.seconds, key)
        elapsed = time.perf_counter() - started
        after = server.cpu_seconds()
    print(f"POST /events/trigger, {CONNECTIONS} connections, {options.seconds:.0f} s, {key}")
    print(f"  machine      {machine()}")
    print(f"  rate         {len(times) / elapsed:8.0f} durable events/s")
    p50, p99 = percentile(times, 0.5) * 1e3, percentile(times, 0.99) * 1e3
    print(f"  p50 / p99    {p50:8.1f} / {p99:.1f} ms")
    for name, seconds in after.items():
        print(f"  CPU {name:9}{(seconds - before[name]) / len(times) * 1e6:8.0f} µs an event")


if __name__ == "__main__":
    asyncio.run(main())
