"""Two engines during a move: what starts is the present one's, what runs finishes in the former."""

from datetime import timedelta
from typing import NamedTuple

import pytest

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.engines.moving import MovingEngine
from taskloom.errors import NotFound
from taskloom.ports.engine import ChangeKind, InstanceState, Message, Outcome, StartRequest
from taskloom.store.database import Database
from taskloom.testing.bpmn import bpmn, catch_event, cause, external, path, start_event
from taskloom.testing.engine import InMemoryEngine
from taskloom.testing.play import LOCK

START, END = '<startEvent id="s"/>', '<endEvent id="e"/>'
SERVICE = bpmn(START, external("a"), END, path("s a e"))
PERSON = bpmn(START, '<userTask id="u"/>', END, path("s u e"))
BESIDE = '<message id="m1" name="ordered"/><signal id="g1" name="opened"/>'
WAITING = bpmn(START, catch_event("w", cause("message", "m1")), path("s w"), aside=BESIDE)
BEGUN = bpmn(start_event("s", cause("message", "m1")), external("a"), path("s a"), aside=BESIDE)
HEARING = bpmn(START, catch_event("w", cause("signal", "g1")), END, path("s w e"), aside=BESIDE)


class Move(NamedTuple):
    """Both engines, and the one that stands before them."""

    former: EmbeddedEngine
    present: InMemoryEngine
    engine: MovingEngine

    async def instances(self, model: bytes) -> tuple[str, str]:
        """Start an instance before the move and one after it; give their ids."""
        await self.former.deploy("w", model)
        before = await self.former.start(_start("before"))
        await self.former.retire()
        await self.engine.deploy("w", model)
        after = await self.engine.start(_start("after"))
        return before.id, after.id

    async def states(self, *instances: str) -> list[InstanceState]:
        """Tell how instances stand."""
        found = {each.id: each.state for each in await self.engine.instances(instances)}
        return [found[each] for each in instances]

    async def elapse(self) -> None:
        """Let both engines do what is due."""
        for engine in (self.former, self.present):
            await engine.run_due_jobs(10)


def _start(start_id: str) -> StartRequest:
    return StartRequest(workflow_key="w", start_id=start_id, variables={})


@pytest.fixture
def move(database: Database) -> Move:
    """Make two engines."""
    former, present = EmbeddedEngine(database), InMemoryEngine()
    return Move(former, present, MovingEngine(former, present))


async def test_external_tasks_of_both_are_worked_on(move: Move) -> None:
    """The former's come first, and each is completed where it is."""
    before, after = await move.instances(SERVICE)
    assert {"w": 2} == await move.engine.running_by_workflow()
    assert 2 == await move.engine.running_instances("w")
    worked = []
    for _ in range(2):
        [task] = await move.engine.fetch_and_lock(["a"], "worker", max_tasks=5, lock=LOCK)
        assert Outcome.DONE == await move.engine.extend_lock(task.id, "worker", LOCK)
        assert Outcome.DONE == await move.engine.complete(task.id, "worker", {})
        assert Outcome.GONE == await move.engine.complete(task.id, "worker", {})
        worked.append(task.instance_id)

    assert [before, after] == worked
    assert [InstanceState.COMPLETED] * 2 == await move.states(before, after)
    assert {} == await move.engine.running_by_workflow()


async def test_failures_and_incidents_stay_with_their_engine(move: Move) -> None:
    """An incident of either is listed and retried; a task that is nowhere is gone."""
    instances = await move.instances(SERVICE)
    later = timedelta(0)
    for _ in range(2):
        [task] = await move.engine.fetch_and_lock(["a"], "worker", max_tasks=5, lock=LOCK)
        await move.engine.fail(task.id, "worker", "broken", retries=0, retry_after=later)
    incidents = await move.engine.incidents(instances)
    assert set(instances) == {each.instance_id for each in incidents}
    for incident in incidents:
        await move.engine.retry_incident(incident.id)
    with pytest.raises(NotFound):
        await move.engine.retry_incident("none")
    for _ in range(2):
        [task] = await move.engine.fetch_and_lock(["a"], "worker", max_tasks=5, lock=LOCK)
        await move.engine.bpmn_error(task.id, "worker", "none catches", "it", {})

    gone = await move.engine.fail("none", "worker", "it", retries=1, retry_after=later)
    assert Outcome.GONE == gone
    assert Outcome.GONE == await move.engine.bpmn_error("none", "worker", "c", "it", {})
    assert 2 == len(await move.engine.incidents())


async def test_locks_of_both_are_freed(move: Move) -> None:
    """After a crash a worker frees what its former life held, wherever."""
    await move.instances(SERVICE)
    for _ in range(2):
        await move.engine.fetch_and_lock(["a"], "worker", max_tasks=1, lock=LOCK)

    assert 2 == await move.engine.unlock_all("worker")


async def test_user_tasks_of_both_are_completed(move: Move) -> None:
    """They are listed together, and the feed tells of both; each entry is confirmed once."""
    instances = await move.instances(PERSON)
    tasks = await move.engine.user_tasks(instances)
    assert list(instances) == [task.instance_id for task in tasks]
    for task in tasks:
        assert Outcome.DONE == await move.engine.complete_user_task(task.id, {})
        assert Outcome.GONE == await move.engine.complete_user_task(task.id, {})
    changes = await move.engine.changes(100)
    [first] = await move.engine.changes(1)
    await move.engine.confirm_changes([each.id for each in changes])

    assert changes[0] == first
    ended = [each for each in changes if each.kind is ChangeKind.USER_TASK_ENDED]
    assert list(instances) == [each.instance_id for each in ended]
    assert [] == list(await move.engine.changes(100))
    assert 6 == len(await move.engine.history(instances))


async def test_message_goes_to_who_waits_in_either(move: Move) -> None:
    """First to the former, whose start events are silent, then to the present one."""
    before, after = await move.instances(WAITING)
    message = Message(name="ordered")
    went = [(await move.engine.correlate(message)).instance_id for _ in range(2)]

    assert [before, after] == went
    with pytest.raises(NotFound):
        await move.engine.correlate(message)


async def test_start_events_begin_in_the_present_engine_only(move: Move) -> None:
    """A message that both deployments begin with starts one instance."""
    await move.former.deploy("w", BEGUN)
    await move.former.retire()
    await move.engine.deploy("w", BEGUN)
    begun = await move.engine.correlate(Message(name="ordered"))

    assert begun.started
    assert {} == await move.former.running_by_workflow()
    assert {"w": 1} == await move.present.running_by_workflow()


async def test_signal_is_heard_in_both(move: Move) -> None:
    """Whoever waits hears it."""
    instances = await move.instances(HEARING)
    await move.engine.signal("opened", {})
    await move.elapse()

    assert [InstanceState.COMPLETED] * 2 == await move.states(*instances)


async def test_instances_of_both_are_deleted(move: Move) -> None:
    """With one call; the definitions of the former stay for what runs there."""
    instances = await move.instances(SERVICE)
    await move.engine.delete_instances(instances, "test")

    assert [InstanceState.TERMINATED] * 2 == await move.states(*instances)
