"""The embedded engine on PostgreSQL: transactions, and many at the same time."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Conflict, Invalid, NotFound, Unprocessable
from taskloom.ports.engine import ExternalTask, InstanceState, Outcome, StartRequest
from taskloom.store.database import Database
from taskloom.testing.bpmn import bpmn, external, flow, path, timer
from taskloom.testing.play import LOCK, Clock, Play

START = '<startEvent id="s"/>'
END = '<endEvent id="e"/>'
ONE = (START, external("a"), END, path("s a e"))
WAIT = (
    START,
    f'<intermediateCatchEvent id="w">{timer("timeDuration", "PT1S")}</intermediateCatchEvent>',
    END,
    path("s w e"),
)


@pytest.fixture
def play(database: Database) -> Play:
    """Make an engine on an empty database."""
    clock = Clock()
    return Play(EmbeddedEngine(database, now=clock), clock)


def request(number: int = 1, key: str = "workflow") -> StartRequest:
    """Make a start."""
    return StartRequest(workflow_key=key, start_id=f"start-{number}", variables={})


# -- transactions ----------------------------------------------------------------------------


async def test_calls_take_part_in_the_callers_transaction(play: Play, database: Database) -> None:
    """What is done in a transaction that is rolled back has not happened."""
    async with database.begin() as tx:
        assert play.engine.joins(tx)
        await play.engine.deploy("workflow", bpmn(*ONE), tx=tx)
        instance = await play.engine.start(request(), tx=tx)
    task = await play.fetch_one()

    async def complete_and_undo() -> None:
        async with database.begin() as tx:
            assert Outcome.DONE == await play.engine.complete(task.id, "worker", {}, tx=tx)
            assert Outcome.GONE == await play.engine.complete(task.id, "worker", {}, tx=tx)
            raise RuntimeError("undo")

    with pytest.raises(RuntimeError, match="undo"):
        await complete_and_undo()

    assert InstanceState.ACTIVE == await play.state(instance)
    assert Outcome.DONE == await play.finish(task)


async def test_failed_call_leaves_the_callers_transaction_whole(
    play: Play, database: Database
) -> None:
    """A call that raises has written nothing: the caller may go on in the same transaction."""
    await play.engine.deploy(
        "bad", bpmn(START, '<exclusiveGateway id="x"/>', END, path("s x"),
                    flow("x", "e", "${missing}"), flow("x", "x2", "${missing}"),
                    '<task id="x2"/>')
    )  # fmt: skip
    await play.engine.deploy("workflow", bpmn(*ONE))
    async with database.begin() as tx:
        with pytest.raises(Unprocessable):
            await play.engine.start(request(1, "bad"), tx=tx)
        with pytest.raises(NotFound):
            await play.engine.start(request(1, "none"), tx=tx)
        await play.engine.start(request(), tx=tx)

    assert 1 == await play.engine.running_instances("workflow")
    assert 0 == await play.engine.running_instances("bad")


async def test_transaction_of_another_database_is_not_joined(play: Play, database_url: str) -> None:
    """An engine says that it cannot take part elsewhere, and refuses if asked all the same."""
    other = Database(database_url + "&application_name=other")
    async with other.begin() as tx:
        assert not play.engine.joins(tx)
        with pytest.raises(ValueError, match="another database"):
            await play.engine.deploy("workflow", bpmn(*ONE), tx=tx)
    await other.close()


async def test_text_that_postgres_cannot_hold_is_kept_from_it(play: Play) -> None:
    """NUL and half surrogate pairs survive in variables and are replaced in other text."""
    odd = "x\x00\ud800y"
    instance = await play.start(
        START,
        '<userTask id="u" name="${t}" camunda:assignee="${t}"/>',
        '<serviceTask id="a" camunda:type="external" camunda:topic="${t}"/>',
        path("s u a"),
        variables={"t": odd},
    )
    [task] = await play.engine.user_tasks([instance.id])
    assert (odd, odd) == (task.name, task.assignee)
    assert Outcome.GONE == await play.engine.complete_user_task(odd, {})
    await play.engine.complete_user_task(task.id, {})
    [work] = await play.engine.fetch_and_lock([odd], odd, max_tasks=1, lock=LOCK)

    assert {"t": odd} == work.variables
    await play.engine.fail(work.id, odd, odd, retries=0, retry_after=LOCK)
    [incident] = await play.engine.incidents()
    assert "x\ufffd\ufffdy" == incident.message
    with pytest.raises(Invalid):
        await play.engine.start(StartRequest(workflow_key="workflow", start_id=odd, variables={}))
    with pytest.raises(NotFound):
        await play.engine.start(StartRequest(workflow_key=odd, start_id="1", variables={}))


# -- at the same time ------------------------------------------------------------------------


async def test_task_completed_twice_at_once_is_completed_once(play: Play) -> None:
    """Of many completions at the same moment one is done, the others find it gone."""
    await play.start(*ONE)
    task = await play.fetch_one()
    outcomes = await asyncio.gather(*(play.finish(task) for _ in range(8)))

    assert {Outcome.DONE: 1, Outcome.GONE: 7} == Counter(outcomes)


async def test_parallel_branches_completed_at_once_join_once(play: Play) -> None:
    """The last of many branches, whichever it is, opens the join."""
    names = [f"b{n}" for n in range(8)]
    instance = await play.start(
        START,
        '<parallelGateway id="p"/><parallelGateway id="j"/>',
        *(external(name, topic="b") for name in names),
        external("a"),
        END,
        path("s p"),
        path("j a e"),
        *(path(f"p {name} j") for name in names),
    )
    tasks = await play.fetch("b")
    outcomes = await asyncio.gather(*(play.finish(t, **{t.element_id: 1}) for t in tasks))

    assert {Outcome.DONE: 8} == Counter(outcomes)
    assert dict.fromkeys(names, 1) == (await play.do("a")).variables
    assert InstanceState.COMPLETED == await play.state(instance)


async def test_same_start_at_once_is_one_instance(play: Play) -> None:
    """Of many starts with one id at the same moment one starts, and all give its instance."""
    await play.engine.deploy("workflow", bpmn(*ONE))
    instances = await asyncio.gather(*(play.engine.start(request()) for _ in range(10)))

    assert 1 == len({instance.id for instance in instances})
    assert 1 == await play.engine.running_instances("workflow")
    assert 1 == len(await play.fetch())


async def test_same_deployment_at_once_is_one_version(play: Play) -> None:
    """Deployments of one workflow follow each other, so versions have no gap and no twin."""
    models = [bpmn(*ONE, process_id=name) for name in ("P", "Q", "R")]
    deployed = await asyncio.gather(
        *(play.engine.deploy("workflow", model) for model in models * 3)
    )

    versions = {(each.version, each.definition_id) for each in deployed}
    assert set(range(1, len(versions) + 1)) == {version for version, _ in versions}


async def test_workers_fetching_at_once_get_each_task_once(play: Play) -> None:
    """Two workers never hold the same task."""
    await play.engine.deploy("workflow", bpmn(*ONE))
    for number in range(30):
        await play.engine.start(request(number))
    fetched = await asyncio.gather(
        *(
            play.engine.fetch_and_lock(["a"], f"worker-{n}", max_tasks=7, lock=LOCK)
            for n in range(8)
        )
    )

    ids = [task.id for tasks in fetched for task in tasks]
    assert 30 == len(set(ids)) == len(ids)


async def test_called_instances_and_their_caller_never_wait_for_each_other(play: Play) -> None:
    """Called instances that end while timers interrupt their callers leave no deadlock behind."""
    await play.engine.deploy("child", bpmn(START, external("b"), END, path("s b e")))
    late = timer("timeDuration", "PT1S")
    await play.start(
        START,
        '<parallelGateway id="p"/><parallelGateway id="j"/>',
        *(f'<callActivity id="c{n}" calledElement="child"/>' for n in range(4)),
        *(
            f'<boundaryEvent id="l{n}" attachedToRef="c{n}">{late}</boundaryEvent>'
            for n in range(4)
        ),
        external("a"),
        path("s p"),
        path("j a"),
        *(f'<exclusiveGateway id="m{n}"/>' for n in range(4)),
        *(path(f"p c{n} m{n} j") + path(f"l{n} m{n}") for n in range(4)),
    )
    tasks = await play.fetch("b")
    play.clock.forward(seconds=1)
    work = [play.finish(task) for task in tasks]
    fired = [play.engine.run_due_jobs(2) for _ in range(2)]
    await asyncio.gather(*work, *fired)
    await play.engine.run_due_jobs(10)

    assert "a" == (await play.fetch_one("a")).topic
    assert [] == list(await play.engine.incidents())


async def test_completion_and_deletion_at_once_leave_one_ending(play: Play) -> None:
    """Whoever comes first, the instance is over and nothing of it is left."""
    await play.engine.deploy("workflow", bpmn(*ONE))
    instances = [await play.engine.start(request(n)) for n in range(10)]
    tasks = await play.fetch()
    ids = [instance.id for instance in instances]
    await asyncio.gather(
        *(play.finish(task) for task in tasks),
        play.engine.delete_instances(ids, "away"),
        play.engine.delete_instances(list(reversed(ids)), "away"),
    )

    assert 0 == await play.engine.running_instances("workflow")
    assert [] == await play.fetch()


async def test_undeploying_while_starting_leaves_no_orphan(play: Play) -> None:
    """Either the instance runs and the definition stays, or there is neither."""
    for _ in range(5):
        deployed = await play.engine.deploy("workflow", bpmn(*ONE))
        play.starts += 1
        started, removed = await asyncio.gather(
            play.engine.start(request(play.starts)),
            play.engine.undeploy([deployed.definition_id]),
            return_exceptions=True,
        )
        if isinstance(started, BaseException):
            assert isinstance(started, NotFound)
            assert removed is None
        else:
            assert isinstance(removed, Conflict)
            await play.do("a")
            await play.engine.undeploy([deployed.definition_id])


async def test_workers_with_crashes_do_everything_once(play: Play) -> None:
    """Workers that lose their locks and come back complete every task exactly once."""
    await play.engine.deploy(
        "workflow", bpmn(START, external("a"), external("b"), END, path("s a b e"))
    )
    for number in range(20):
        await play.engine.start(request(number))
    done: Counter[str] = Counter()

    async def work(worker: str, crashing: int) -> None:
        for turn in range(60):
            tasks = await play.engine.fetch_and_lock(["a", "b"], worker, max_tasks=3, lock=LOCK)
            if turn % crashing == 0:
                await play.engine.unlock_all(worker)  # it died, and came back to life
            outcomes = [await play.engine.complete(task.id, worker, {}) for task in tasks]
            done.update(
                f"{task.instance_id} {task.topic}"
                for task, outcome in zip(tasks, outcomes, strict=True)
                if outcome is Outcome.DONE
            )

    await asyncio.gather(*(work(f"worker-{n}", n + 2) for n in range(4)))

    assert 0 == await play.engine.running_instances("workflow")
    assert 40 == len(done) == done.total()


# -- timers as a queue -----------------------------------------------------------------------


async def test_timer_claimed_twice_fires_once(play: Play, database: Database) -> None:
    """A lease holds; when its holder dies the timer is claimed again, and fires once in all."""
    engine = EmbeddedEngine(database, now=play.clock)
    instance = await play.start(*WAIT)
    play.clock.forward(seconds=1)
    [claimed] = await engine.timers.claim(10, timedelta(seconds=30))
    assert [] == list(await engine.timers.claim(10, timedelta(seconds=30)))
    play.clock.forward(seconds=20)
    await engine.timers.renew([claimed], timedelta(seconds=30))
    play.clock.forward(seconds=20)
    assert [] == list(await engine.timers.claim(10, timedelta(seconds=30)))
    play.clock.forward(seconds=20)
    [again] = await engine.timers.claim(10, timedelta(seconds=30))
    await asyncio.gather(engine.timers.handle(claimed), engine.timers.handle(again))

    assert InstanceState.COMPLETED == await play.state(instance)
    assert (1, 2) == (claimed.attempts, again.attempts)
    assert 2 == len([step for step in await play.steps(instance) if step[0] in {"w", "e"}])


async def test_next_due_tells_when_to_look_again(play: Play, database: Database) -> None:
    """The next timer's time is known, and there is none when none waits."""
    engine = EmbeddedEngine(database, now=play.clock)
    assert await engine.next_due() is None
    await play.start(*WAIT)

    assert datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC) == await engine.next_due()


async def test_work_wakes_those_who_wait_for_it(play: Play, database: Database) -> None:
    """New tasks, timers and changes ring their bells when they are committed."""
    await play.engine.deploy(
        "workflow", bpmn(*WAIT, '<parallelGateway id="p"/>').replace(
            b'sourceRef="s" targetRef="w"', b'sourceRef="s" targetRef="p"'
        ).replace(b"</process>", (path("p w") + path("p a") + path("p u") + external("a")
                                  + '<userTask id="u"/>').encode() + b"</process>")
    )  # fmt: skip
    waiting = [
        asyncio.create_task(database.bell.wait(topic, 5))
        for topic in ("external-tasks", "engine-jobs", "engine-changes")
    ]
    await asyncio.sleep(0)
    started = asyncio.get_running_loop().time()
    await play.engine.start(request())
    await asyncio.gather(*waiting)

    assert asyncio.get_running_loop().time() - started < 4


async def test_tasks_of_one_instance_see_variables_as_they_are_when_fetched(play: Play) -> None:
    """A task that waited sees what its sister has set meanwhile."""
    await play.start(
        START,
        '<parallelGateway id="p"/>',
        external("a"),
        external("b"),
        path("s p a"),
        path("p b"),
    )
    await play.do("a", seen=True)
    task: ExternalTask = await play.fetch_one("b")

    assert {"seen": True} == task.variables
