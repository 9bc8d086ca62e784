"""Engines as installations have them: with passwords, on PostgreSQL, with their jobs running."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from taskloom.domain.secret import Secret
from taskloom.engines.camunda.connection import Connection
from taskloom.engines.camunda.engine import CamundaEngine
from taskloom.errors import Unavailable
from taskloom.ports.engine import InstanceState, Outcome, StartRequest
from taskloom.testing.bookmark import MemoryBookmark
from taskloom.testing.bpmn import bpmn, external, flow, path, timer
from taskloom.testing.play import LOCK
from tests.real.engines.database import engine_database
from tests.real.engines.engine import ENGINES, PASSWORD, USER, Kind, RealEngine

TIMED = bpmn(
    '<startEvent id="s"/>',
    f'<intermediateCatchEvent id="w">{timer("timeDuration", "PT1S")}</intermediateCatchEvent>',
    external("a"),
    '<exclusiveGateway id="x"/><userTask id="u"/><endEvent id="e"/>',
    path("s w a x"),
    flow("x", "e", "${n == 1}"),
    flow("x", "u", "${n == 2}"),
    path("u e"),
    process_id="Timed",
)


UNIQUE_INDEX = (
    "CREATE UNIQUE INDEX ACT_UNIQ_RU_BUS_KEY ON ACT_RU_EXECUTION (PROC_DEF_ID_, BUSINESS_KEY_)"
)
RETRY_ONCE = (
    b'<intermediateCatchEvent id="w"><extensionElements><camunda:failedJobRetryTimeCycle>'
    b"R1/PT1S</camunda:failedJobRetryTimeCycle></extensionElements>"
)


@pytest.fixture(scope="module", params=ENGINES)
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealEngine]:
    """Run an engine on PostgreSQL that lets nobody in without a password."""
    kind: Kind = request.param
    folder = tmp_path_factory.mktemp(f"installed-{kind}")
    with engine_database(folder / "postgres") as database:
        engine = RealEngine(kind, folder / "engine", database=database, basic_auth=True)
        try:
            asyncio.run(engine.start())
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(UNIQUE_INDEX)
            yield engine
        finally:
            engine.stop()


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Poll for what the engine does by itself."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.1)


def connection(engine: RealEngine, user: str = USER) -> Connection:
    """Connect without a tenant."""
    return Connection(url=engine.url, user=user, password=Secret(PASSWORD))


async def test_engine_on_postgresql_runs_a_workflow_by_itself(installed: RealEngine) -> None:
    """Timers fire, tasks are waited for, values come back as they went, people go on."""
    values = {"n": 2, "text": "ü", "long": "x" * 3000, "map": {"z": [1.5, None], "a": True}}
    async with CamundaEngine(connection(installed), MemoryBookmark()) as engine:
        deployment = await engine.deploy("timed", TIMED)
        instance = await engine.start(
            StartRequest(workflow_key="timed", start_id="1", variables={}, fresh=True)
        )
        [task] = await engine.fetch_and_lock(
            ["a"],
            "w",
            max_tasks=5,
            lock=LOCK,
            wait=LOCK,  # until the timer has fired
        )
        assert Outcome.DONE == await engine.complete(task.id, "w", values)
        [person] = await engine.user_tasks([instance.id])
        assert Outcome.DONE == await engine.complete_user_task(person.id, {"ok": True})
        assert Outcome.GONE == await engine.complete_user_task(person.id, {"ok": True})
        [ended] = await engine.instances([instance.id])

        assert (1, "timed") == (deployment.version, task.workflow_key)
        assert InstanceState.COMPLETED == ended.state


async def test_lost_jobs_are_incidents_with_their_reason(installed: RealEngine) -> None:
    """What the engine tries in vain by itself is told as what workers fail at is."""
    model = bpmn(
        '<startEvent id="s"/>',
        f'<intermediateCatchEvent id="w">{timer("timeDuration", "PT1S")}</intermediateCatchEvent>',
        '<exclusiveGateway id="x"/><userTask id="u"/><endEvent id="e"/>',
        path("s w x"),
        flow("x", "e", "${n == 1}"),
        flow("x", "u", "${n == 2}"),
        path("u e"),
        process_id="failing",
    ).replace(b'<intermediateCatchEvent id="w">', RETRY_ONCE)
    async with CamundaEngine(connection(installed), MemoryBookmark()) as engine:
        await engine.deploy("failing", model)
        instance = await engine.start(
            StartRequest(workflow_key="failing", start_id="1", variables={})
        )
        await until(lambda: engine.incidents([instance.id]))
        [incident] = await engine.incidents([instance.id])

        assert "Cannot resolve identifier 'n'" in incident.message
        assert instance.id == incident.root_instance_id


async def test_index_on_business_keys_makes_of_two_starts_one(installed: RealEngine) -> None:
    """What the index refuses is found, even where nobody looked before; side by side, too."""
    async with CamundaEngine(connection(installed), MemoryBookmark()) as engine:
        await engine.deploy("timed", TIMED)
        request = StartRequest(workflow_key="timed", start_id="twice", variables={}, fresh=True)
        first = await engine.start(request)
        second = await engine.start(request)
        many = await asyncio.gather(
            *(engine.start(replace(request, start_id="at once")) for _ in range(4))
        )

        assert first.id == second.id
        assert 1 == len({instance.id for instance in many})
        assert {} == await engine.repeated_starts(timedelta(hours=1))
        await engine.delete_instances([first.id, many[0].id], "the test is over")


async def test_engine_lets_in_who_it_knows(installed: RealEngine) -> None:
    """A stranger is told which settings; after a restart of the engine it goes on."""
    async with CamundaEngine(connection(installed, "nobody"), MemoryBookmark()) as stranger:
        with pytest.raises(Unavailable, match="check TASKLOOM_ENGINE_USER"):
            await stranger.ping()
    async with CamundaEngine(connection(installed), MemoryBookmark()) as engine:
        await engine.ping()
        installed.kill()
        with pytest.raises(Unavailable, match="does not answer"):
            await engine.ping()
        await installed.start()
        await engine.ping()
