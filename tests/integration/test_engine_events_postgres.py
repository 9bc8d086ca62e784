"""Messages, signals and start events on PostgreSQL: transactions, and many at the same time."""

import asyncio
from collections import Counter

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import NotFound, Unprocessable
from taskloom.ports.engine import Correlation, InstanceState, Message, Outcome
from taskloom.store.database import Database
from taskloom.store.driver import run
from taskloom.testing.bpmn import (
    boundary_event,
    bpmn,
    catch_event,
    cause,
    external,
    path,
    several,
    start_event,
    sub_process,
    throw_event,
    timer,
)
from taskloom.testing.play import Clock, Play

START = '<startEvent id="s"/>'
BESIDE = '<message id="m" name="paid"/><signal id="g" name="all"/>'
PAID, ALL = cause("message", "m"), cause("signal", "g")
WAIT = '<receiveTask id="w" messageRef="m"/>'
SOON = timer("timeDuration", "PT1S")


@pytest.fixture
def play(database: Database) -> Play:
    """Make an engine on an empty database."""
    clock = Clock()
    return Play(EmbeddedEngine(database, now=clock), clock)


async def test_message_sent_twice_at_once_arrives_once(play: Play) -> None:
    """Of many correlations at the same moment one wins, the others find nobody."""
    instance = await play.start(START, WAIT, external("a"), path("s w a"), aside=BESIDE)
    outcomes = await asyncio.gather(
        *(play.send("paid", variables={"n": n}) for n in range(8)), return_exceptions=True
    )

    arrived = [each for each in outcomes if isinstance(each, Correlation)]
    assert [instance.id] == [each.instance_id for each in arrived]
    assert 7 == sum(isinstance(each, NotFound) for each in outcomes)
    assert 1 == len(await play.fetch("a"))


async def test_messages_at_once_start_one_instance_each(play: Play) -> None:
    """Whoever comes too late for the waiting instance starts one of his own."""
    await play.engine.deploy(
        "w", bpmn(start_event("s", PAID), external("a"), path("s a"), aside=BESIDE)
    )
    await play.start(START, WAIT, external("b"), path("s w b"), aside=BESIDE)
    arrived = await asyncio.gather(*(play.send("paid") for _ in range(6)))

    assert Counter({True: 5, False: 1}) == Counter(each.started for each in arrived)
    assert 6 == len({each.instance_id for each in arrived})


async def test_message_and_timer_race_for_one_gateway(play: Play) -> None:
    """Behind an event-based gateway exactly one of them goes on."""
    parts = (
        START,
        '<eventBasedGateway id="g"/>',
        catch_event("w1", PAID),
        catch_event("w2", SOON),
        external("a"),
        external("b"),
        path("s g w1 a"),
        path("g w2 b"),
    )
    instances = [await play.start(*parts, aside=BESIDE)]
    instances += [await play.again() for _ in range(5)]
    play.clock.forward(seconds=1)
    await asyncio.gather(
        play.engine.run_due_jobs(50),
        *(play.send("paid", instance_id=each.id) for each in instances),
        return_exceptions=True,
    )

    assert 6 == len(await play.fetch())


async def test_message_takes_part_in_the_callers_transaction(
    play: Play, database: Database
) -> None:
    """What is undone has not arrived."""
    await play.start(START, WAIT, external("a"), path("s w a"), aside=BESIDE)

    async def send_and_undo() -> None:
        async with database.begin() as tx:
            await play.engine.correlate(Message(name="paid"), tx=tx)
            await play.engine.signal("any", {}, tx=tx)
            raise RuntimeError("undo")

    with pytest.raises(RuntimeError, match="undo"):
        await send_and_undo()
    assert [] == await play.fetch()
    await play.send("paid")

    assert "a" == (await play.fetch_one()).topic


async def test_names_that_postgres_cannot_hold_are_kept_from_it(play: Play) -> None:
    """NUL and half surrogate pairs in names and keys are replaced alike on both sides."""
    odd = "x\x00\ud800y"
    instance = await play.start(
        START,
        WAIT,
        external("a"),
        path("s w a"),
        aside='<message id="m" name="${t}"/>',
        variables={"t": odd},
    )
    await play.engine.signal(odd, {odd: odd})
    with pytest.raises(NotFound):
        await play.send(odd, business_key=odd)
    arrived = await play.send(odd, variables={odd: odd}, correlation={"t": odd})

    assert instance.id == arrived.instance_id
    assert {"t": odd, odd: odd} == (await play.fetch_one("a")).variables


async def test_signal_that_is_told_both_ways_at_once_blocks_nobody(play: Play) -> None:
    """Instances that tell each other signals at the same moment wait for none of their locks."""
    parts = (
        START,
        external("a"),
        throw_event("t", ALL),
        external("b"),
        sub_process("h", start_event("hs", ALL, interrupting=False), handler=True),
        path("s a t b"),
    )
    await play.start(*parts, aside=BESIDE)
    for _ in range(4):
        await play.again()
    tasks = await play.fetch("a")
    outcomes = await asyncio.gather(
        *(play.finish(task) for task in tasks), play.engine.run_due_jobs(50)
    )
    while await play.engine.run_due_jobs(50):
        pass

    assert [Outcome.DONE] * 5 == outcomes[:5]
    assert 5 == len(await play.fetch("b"))


async def test_same_message_deployed_at_once_starts_one_workflow(play: Play) -> None:
    """Of several workflows that begin with one message, one is deployed and the others refused."""
    model = bpmn(start_event("s", PAID), external("a"), path("s a"), aside=BESIDE)
    outcomes = await asyncio.gather(
        *(play.engine.deploy(f"w{n}", model) for n in range(5)), return_exceptions=True
    )

    assert 4 == sum(isinstance(each, Unprocessable) for each in outcomes)
    assert (await play.send("paid")).started


async def test_start_timer_fires_once_for_many_processes(play: Play, database: Database) -> None:
    """Of several that look for due timers at the same moment one starts the instance."""
    await play.engine.deploy("w", bpmn(start_event("s", SOON), external("a"), path("s a")))
    play.clock.forward(seconds=1)
    engines = [EmbeddedEngine(database, now=play.clock) for _ in range(4)]
    fired = await asyncio.gather(*(engine.run_due_jobs(10) for engine in engines))

    assert 1 == sum(fired)
    assert 1 == await play.engine.running_instances("w")


async def test_timers_and_deployments_never_wait_for_each_other(play: Play) -> None:
    """Versions come and go while their timers fire, and nothing is blocked or left behind."""
    models = [
        bpmn(start_event("s", timer("timeCycle", "R/PT1S")), f'<task id="t{n}"/>', path(f"s t{n}"))
        for n in range(8)
    ]

    async def renew(name: str) -> None:
        for model in models:
            deployed = await play.engine.deploy(name, model)
            play.clock.forward(seconds=1)
            await play.engine.undeploy([deployed.definition_id])

    async def fire() -> None:
        for _ in range(30):
            await play.engine.run_due_jobs(5)

    await asyncio.gather(renew("v"), renew("w"), fire(), fire())

    assert await play.engine.next_due() is None
    assert [] == list(await play.engine.incidents())


async def test_nothing_is_left_of_what_has_ended(play: Play, database: Database) -> None:
    """However they end, instances leave no task, timer, subscription or incident behind."""
    again = timer("timeCycle", "R/PT1S")
    parts = (
        START,
        '<parallelGateway id="p"/>',
        external("a"),
        boundary_event("b1", "a", again, interrupting=False),
        sub_process("x", several(number="3"), '<startEvent id="is"/>', WAIT, path("is w")),
        '<endEvent id="t"><terminateEventDefinition/></endEvent>',
        sub_process(
            "h",
            start_event("hs", ALL, interrupting=False),
            '<userTask id="u"/>',
            path("hs u"),
            handler=True,
        ),
        path("s p a t"),
        path("p x"),
    )
    first = await play.start(*parts, aside=BESIDE)
    second = await play.again()
    await play.tell("all")
    await play.elapse(seconds=1)
    await play.engine.signal("all", {})
    [task] = [task for task in await play.fetch("a") if task.instance_id == first.id]
    await play.finish(task)
    await play.engine.delete_instances([second.id], "over")

    assert InstanceState.COMPLETED == await play.state(first)
    async with database.begin() as tx:
        for table in ("external_tasks", "user_tasks", "timers", "subscriptions", "incidents"):
            left = await run(tx.connection, f"SELECT count(*) FROM engine_{table}")
            assert (table, 0) == (table, left.scalar())
        active = await run(
            tx.connection, "SELECT count(*) FROM engine_activities WHERE activity_id IS NOT NULL"
        )
        assert 0 == active.scalar()
