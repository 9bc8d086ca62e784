"""What many objects cost the controller, on a real API server and a real PostgreSQL.

Half of the objects are ClientApps, half WebhookSubscriptions of theirs.  They are applied while
the controller runs; then it is restarted; then single objects are changed.
PATCHes are counted by the API server.  Ends with status 1 if a bound is broken.

    python -m bench.controller --objects 10000
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

from bench.server import machine
from taskloom.store.embedded_postgres import EmbeddedPostgres
from tests.real.kubernetes.api import Api, Json, Refusal, connect
from tests.real.kubernetes.control_plane import ControlPlane
from tests.real.kubernetes.crowd import (
    count_ready,
    create_all,
    crowd,
    is_ready,
    patches,
    peak_memory,
    processor_seconds,
)
from tests.real.kubernetes.operator import Operator

_ROOT = Path(__file__).parents[1]
NAMESPACE = "default"
KINDS = ("ClientApp", "WebhookSubscription")
PATCHES, PATCHES_AFTER_RESTART, MEGABYTES = 1.1, 0, 300
_CHANGES = 5


async def _until(holds: Callable[[], bool], pause: float, seconds: float = 1800) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - it tells nobody itself
            await asyncio.sleep(pause)


async def _restarted(operator: Operator, api: Api) -> float:
    """Start a controller again, and give the seconds until it has reconciled everything.

    An object that comes then is judged with all others, so its status tells.
    """
    started = time.perf_counter()
    await operator.start()
    marker = {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "TaskMapping",
        "metadata": {"name": f"marker-{time.time_ns()}", "namespace": NAMESPACE},
        "spec": {"taskKey": "marker", "workflowKey": "none"},
    }
    api.apply(marker)

    def told() -> bool:
        found = api.get(marker)
        return not isinstance(found, Refusal) and "status" in found

    await _until(told, 0.2)
    return time.perf_counter() - started


async def _change(api: Api, document: Json, number: int) -> float:
    """Change one object, and give the seconds until it is Ready again."""
    changed = document | {"spec": document["spec"] | {"url": f"http://127.0.0.1:9/new/{number}"}}
    started = time.perf_counter()
    api.apply(changed)

    def ready() -> bool:
        found = api.get(changed)
        return not isinstance(found, Refusal) and is_ready(found)

    await _until(ready, 0.05)
    return time.perf_counter() - started


async def _longest_answer(url: str, stop: asyncio.Event) -> float:
    """Ask a process again and again until `stop`; give the longest time to an answer."""
    longest = 0.0
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        while not stop.is_set():
            started = time.perf_counter()
            await client.get("/healthz")
            longest = max(longest, time.perf_counter() - started)
            await asyncio.sleep(0.005)
    return longest


def _url_of(operator: Operator) -> str | None:
    """Find where the API of an operator listens, from its log."""
    for line in operator.log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            if "url" in told:
                return str(told["url"])
    return None


async def measure(count: int, folder: Path) -> bool:
    """Measure, print, and tell whether all bounds hold."""
    postgres = EmbeddedPostgres(folder / "postgres", {"fsync": "off"})
    await postgres.start()
    plane = ControlPlane(folder / "plane")
    await plane.start()
    key = Fernet.generate_key().decode()

    def operator_of(name: str, roles: str) -> Operator:
        return Operator(
            kubeconfig=plane.kubeconfig,
            namespace=NAMESPACE,
            database_url=postgres.url,
            key=key,
            folder=folder / name,
            roles=roles,
            settings={"HEALTH_PORT": "0"} if roles == "controller" else None,  # as in the chart
        )

    operator, with_api = operator_of("alone", "controller"), operator_of("both", "controller,api")
    try:
        with connect(plane.kubeconfig) as api:
            crds = f"--filename={_ROOT / 'crds'}"
            api.kubectl("apply", "--server-side", crds)
            api.kubectl("wait", "--for=condition=Established", crds)
            return await _measure(count, api, operator, with_api)
    finally:
        await operator.stop()
        await with_api.stop()
        plane.stop()
        await postgres.stop()


async def _measure(count: int, api: Api, operator: Operator, with_api: Operator) -> bool:
    documents = crowd(count, NAMESPACE)
    print(f"{count} objects: {', '.join(KINDS)}, one each in turn")
    print(f"  machine                     {machine()}")
    await _restarted(operator, api)
    before, idle = patches(api), peak_memory(operator.pid)
    cpu = processor_seconds(operator.pid)
    started = time.perf_counter()
    await create_all(api, documents)
    created = time.perf_counter() - started
    await _until(lambda: patches(api) - before >= count, 0.5)
    await _until(lambda: count_ready(api, KINDS, NAMESPACE) == count, 0.5)
    ready = time.perf_counter() - started
    await asyncio.sleep(5)  # what is written too much comes late
    cpu = processor_seconds(operator.pid) - cpu
    written = (patches(api) - before) / count
    first_peak = peak_memory(operator.pid)
    print(f"  memory at the beginning     {idle / 1e6:8.0f} MB")
    print(f"  to create them all          {created:8.1f} s")
    print(f"  from the first to all Ready {ready:8.1f} s")
    print(f"  PATCHes an object           {written:8.3f}")
    print(f"  CPU of the controller       {cpu / count * 1e3:8.2f} ms an object")
    print(f"  most memory                 {first_peak / 1e6:8.0f} MB")
    subscriptions = [d for d in documents if d["kind"] == "WebhookSubscription"]
    times, used = [], processor_seconds(operator.pid)
    for number, document in enumerate(subscriptions[:_CHANGES]):
        times.append(await _change(api, document, number))
    used = (processor_seconds(operator.pid) - used) / _CHANGES
    print(
        f"  one change until Ready      {statistics.median(times):8.2f} s (most {max(times):.2f})"
    )
    print(f"  CPU of one change           {used:8.2f} s")
    await operator.stop()
    before = patches(api)
    again = await _restarted(operator, api)
    await asyncio.sleep(5)
    rewritten = patches(api) - before - 2  # the marker's own: applied, and told
    second_peak = peak_memory(operator.pid)
    print(f"  a restart                   {again:8.1f} s")
    print(f"  PATCHes after it            {rewritten:8}")
    print(f"  most memory after it        {second_peak / 1e6:8.0f} MB")
    await operator.stop()
    await _restarted(with_api, api)
    await _until(lambda: _url_of(with_api) is not None, 0.1)
    stop = asyncio.Event()
    asking = asyncio.create_task(_longest_answer(_url_of(with_api) or "", stop))
    for number, document in enumerate(subscriptions[:_CHANGES]):
        await _change(api, document, _CHANGES + number)
    stop.set()
    longest = await asking
    print(f"  longest answer of the API   {longest * 1e3:8.0f} ms, while objects change")
    peak = max(first_peak, second_peak) / 1e6
    well = written <= PATCHES and rewritten <= PATCHES_AFTER_RESTART and peak < MEGABYTES
    print(
        f"  bounds {'kept' if well else 'BROKEN'}: {PATCHES} PATCHes an object, "
        f"{PATCHES_AFTER_RESTART} after a restart, {MEGABYTES} MB"
    )
    return well


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="a folder for what the parts write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskloom-bench-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        well = asyncio.run(measure(options.objects, folder))
    sys.exit(not well)


if __name__ == "__main__":
    main()
