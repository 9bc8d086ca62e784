"""Workers written for Camunda 7, pointed at a real server unchanged."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pycamunda
import pycamunda.externaltask
import pycamunda.processdef
import pycamunda.task
import pytest
import requests

from taskloom.testing.server import ServedTaskloom, free_port

WORKERS = Path(__file__).parent / "workers"
CLIENT = Path(__file__).parents[2] / ".cache" / "real" / "workers" / "node_modules"
SECONDS = 60.0


@dataclass
class Shop:
    """A served shop, and the credentials of its payer."""

    server: ServedTaskloom
    api: httpx.AsyncClient
    key: str
    secret: str

    @property
    def url(self) -> str:
        """The base of what workers call."""
        return f"{self.server.url}/engine-rest"

    async def order(self, number: int) -> None:
        """Post an event that makes a task with a payment to wait for."""
        event = {"key": "shop.order", "payload": {"order": number}, "source": "test"}
        head = {"idempotency-key": f"order-{number}"}
        answer = await self.api.post("/events/trigger", json=event, headers=head)
        assert 204 == answer.status_code

    async def until(self, check: Callable[[Any], Any], where: str) -> Any:
        """Ask until the answer is as it should be, and give what the check makes of it."""
        async with asyncio.timeout(SECONDS):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await self.api.get(where)
                    found = check(answer.json()) if answer.status_code == 200 else None
                    if found:
                        return found
                await asyncio.sleep(0.05)

    def session(self) -> requests.Session:
        """Make a session of the payer's."""
        session = requests.Session()
        session.trust_env = False
        session.auth = (self.key, self.secret)
        return session

    @property
    def environment(self) -> dict[str, str]:
        """What a worker's program is told."""
        told = {"ENGINE_URL": self.url, "API_KEY": self.key, "API_SECRET": self.secret}
        return {**os.environ, "NO_PROXY": "127.0.0.1", **told}

    async def run(self, program: list[str]) -> int:
        """Run a worker's program to its end; give its exit status."""
        process = await asyncio.create_subprocess_exec(*program, env=self.environment)
        async with asyncio.timeout(SECONDS):
            return await process.wait()

    async def fetch(self, worker: str, **options: Any) -> list[dict[str, Any]]:
        """Fetch payments with plain HTTP."""
        lock = options.pop("lock", 60_000)
        topics = [{"topicName": "pay-order", "lockDuration": lock}]
        sent = {"workerId": worker, "maxTasks": 10, "topics": topics, **options}
        async with httpx.AsyncClient(auth=(self.key, self.secret), trust_env=False) as client:
            answer = await client.post(
                f"{self.url}/external-task/fetchAndLock", json=sent, timeout=30
            )
        assert 200 == answer.status_code, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    async def complete(self, task: str, worker: str, **variables: Any) -> int:
        """Complete a payment with plain HTTP; give the status."""
        given = {name: {"value": value} for name, value in variables.items()}
        async with httpx.AsyncClient(auth=(self.key, self.secret), trust_env=False) as client:
            answer = await client.post(
                f"{self.url}/external-task/{task}/complete",
                json={"workerId": worker, "variables": given},
            )
        return answer.status_code


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Serve the shop."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "resources.yaml").write_text((WORKERS / "resources.yaml").read_text())
    data = tmp_path / "data"
    server = ServedTaskloom(files=files, data_dir=data, port=free_port())
    await server.start()
    async with httpx.AsyncClient(
        base_url=server.url, headers=server.authorization, timeout=30, trust_env=False
    ) as api:
        await server.wait_until_ready(api)
        folder = data / "credentials" / "default" / "payer-credentials"
        key, secret = (folder / name for name in ("apiKey", "apiSecret"))
        yield Shop(server, api, key.read_text(), secret.read_text())
    await server.stop()


def one(rows: list[Any]) -> Any:
    """Give the only row, if it is there."""
    return rows[0] if len(rows) == 1 else None


async def test_pycamunda_pays_an_order(shop: Shop) -> None:
    """Event, task, payment by pycamunda, confirmation by a person, task completed."""
    session = shop.session()

    def pay() -> str:
        fetch = pycamunda.externaltask.FetchAndLock(
            shop.url, worker_id="py", max_tasks=1, async_response_timeout=20_000
        )
        fetch.session = session
        fetch.add_topic("pay-order", lock_duration=60_000)
        [task] = fetch()
        complete = pycamunda.externaltask.Complete(shop.url, id_=task.id_, worker_id="py")
        complete.session = session
        complete.add_variable("receipt", "R1", type_="String")
        complete()
        return str(task.variables["taskId"].value)

    waiting = asyncio.create_task(asyncio.to_thread(pay))
    await shop.order(1)
    task_id = await waiting
    person = await shop.until(one, f"/tasks/{task_id}/user-tasks")
    assert "Confirm R1" == person["name"]
    where = f"/tasks/{task_id}/user-tasks/{person['id']}"
    assert 204 == (await shop.api.patch(f"{where}/complete")).status_code

    await shop.until(lambda task: task["status"] == "completed", f"/tasks/{task_id}")
    session.close()


async def test_pycamunda_reads_and_starts(shop: Shop) -> None:
    """Its calls about definitions, starts, tasks and lists are understood, with its error."""
    session = shop.session()

    def go() -> str:
        start = pycamunda.processdef.StartInstance(shop.url, key="shop-payment")
        start.session = session
        start.business_key = "B"
        start.add_variable("taskId", "none", type_="String")
        instance = start()
        tasks = pycamunda.externaltask.GetList(
            shop.url,
            process_instance_id=instance.id_,
            request_error_details=False,  # for these it forgets its credentials
        )
        tasks.session = session
        [task] = tasks()
        unknown = pycamunda.externaltask.Complete(shop.url, id_="none", worker_id="py")
        unknown.session = session
        with pytest.raises(pycamunda.PyCamundaException):
            unknown()
        return str(task.business_key)

    assert "B" == await asyncio.to_thread(go)
    session.close()


async def test_pycamunda_is_refused_without_the_secret(shop: Shop) -> None:
    """It sees an error of its own, and no task."""
    session = shop.session()
    session.auth = (shop.key, "wrong")
    tasks = pycamunda.externaltask.GetList(shop.url)
    tasks.session = session

    with pytest.raises(pycamunda.PyCamundaException):
        await asyncio.to_thread(tasks)
    session.close()


async def test_the_python_worker_fails_retries_and_raises_errors(shop: Shop) -> None:
    """camunda-external-task-client-python3 reports what its user decides."""
    await shop.order(2)
    program = [sys.executable, str(WORKERS / "python_worker.py")]
    assert 0 == await shop.run(program)
    task = await shop.until(one, "/tasks")
    event = await shop.until(one, "/events")
    trace = await shop.until(lambda found: found, f"/events/{event['id']}/trace")

    await shop.until(lambda found: found["status"] == "completed", f"/tasks/{task['id']}")
    assert "DECLINED: no money" in str(trace)


async def test_the_javascript_worker_pays_an_order(shop: Shop, node: str) -> None:
    """camunda-external-task-client-js extends its lock and completes with what it made."""
    assert CLIENT.is_dir(), "The JavaScript client is missing: fetch it once with `make workers`."
    worker = await asyncio.create_subprocess_exec(
        node,
        str(WORKERS / "node_worker.mjs"),
        env=shop.environment | {"CLIENT": f"{CLIENT}/"},
    )
    try:
        await shop.order(5)
        task = await shop.until(one, "/tasks")
        person = await shop.until(one, f"/tasks/{task['id']}/user-tasks")
        variables = await shop.until(
            lambda found: found, f"/engine-rest/task/{person['externalId']}/variables"
        )
    finally:
        worker.terminate()
        await worker.wait()

    assert "Confirm R7" == person["name"]
    receipt = {"number": 7, "at": ["pay-order"], "for": task["id"]}
    assert receipt == variables["details"]["value"]


async def test_a_topic_that_a_worker_fetches_counts_as_served(shop: Shop) -> None:
    """The Workflow says so until some time after the last one has asked."""

    def served(status: str) -> Callable[[list[Any]], bool]:
        return lambda rows: any(
            each["type"] == "TopicsServed" and each["status"] == status
            for row in rows
            for each in row["status"].get("conditions", ())
        )

    await shop.until(served("False"), "/resources?kind=Workflow&name=shop-payment")
    await shop.fetch("w")

    await shop.until(served("True"), "/resources?kind=Workflow&name=shop-payment")


async def test_a_poll_that_hung_up_takes_nothing(shop: Shop) -> None:
    """What comes after a client has gone goes to the next one, not to the dead."""
    with pytest.raises(httpx.ReadTimeout):
        async with httpx.AsyncClient(auth=(shop.key, shop.secret), trust_env=False) as client:
            await client.post(
                f"{shop.url}/external-task/fetchAndLock",
                json={
                    "workerId": "dead",
                    "maxTasks": 1,
                    "asyncResponseTimeout": 60_000,
                    "topics": [{"topicName": "pay-order", "lockDuration": 60_000}],
                },
                timeout=0.5,
            )
    await shop.order(3)
    [task] = await shop.fetch("alive", asyncResponseTimeout=20_000)

    assert "alive" == task["workerId"]


async def test_a_worker_that_lost_its_lock_is_told(shop: Shop) -> None:
    """The one who has it now completes it; the late one is refused, and nothing is done twice."""
    await shop.order(4)
    [task] = await shop.fetch("slow", lock=200, asyncResponseTimeout=20_000)
    [again] = await shop.fetch("quick", asyncResponseTimeout=20_000)

    assert task["id"] == again["id"]
    assert 400 == await shop.complete(task["id"], "slow", receipt="S")
    assert 204 == await shop.complete(task["id"], "quick", receipt="Q")
    assert 404 == await shop.complete(task["id"], "slow", receipt="S")


@pytest.mark.slow
async def test_killed_servers_lose_no_work(shop: Shop) -> None:
    """Orders are paid once each while the server is killed under polling workers."""
    orders = 40
    paid: list[str] = []

    async def work(worker: str) -> None:
        while len(paid) < orders:
            try:
                tasks = await shop.fetch(worker, lock=2_000, asyncResponseTimeout=2_000)
                for task in tasks:
                    status = await shop.complete(task["id"], worker, receipt="R")
                    paid.extend([task["id"]] if status == 204 else [])
            except (httpx.TransportError, AssertionError):
                await asyncio.sleep(0.1)

    for number in range(orders):
        await shop.order(100 + number)
    workers = [asyncio.create_task(work(f"w{number}")) for number in range(3)]
    for _ in range(2):
        await asyncio.sleep(0.5)
        await shop.server.kill()
        await shop.server.start()
        await shop.server.wait_until_ready(shop.api)
    tasks = await shop.until(lambda rows: rows if len(rows) == orders else None, "/tasks")
    for task in tasks:
        await shop.until(one, f"/tasks/{task['id']}/user-tasks")
    for each in workers:
        each.cancel()
    await asyncio.gather(*workers, return_exceptions=True)

    assert len(paid) == len(set(paid))


async def test_a_server_that_stops_lets_its_polls_go(shop: Shop) -> None:
    """Stopping takes no longer because somebody waits."""
    polls = [
        asyncio.create_task(shop.fetch(f"w{number}", asyncResponseTimeout=25_000))
        for number in range(5)
    ]
    await asyncio.sleep(0.5)
    async with asyncio.timeout(8):
        await shop.server.stop()

    assert [[]] * 5 == await asyncio.gather(*polls)
