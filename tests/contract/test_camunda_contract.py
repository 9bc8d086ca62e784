"""Real engines keep to what our own engines keep to, and where they do not, it stands here."""

from datetime import UTC, datetime, timedelta

import pytest

from taskloom.errors import Unprocessable
from taskloom.ports.engine import ChangeKind, InstanceState, Outcome, StartRequest
from taskloom.testing.bpmn import bpmn, external, flow, mapping, path, timer
from taskloom.testing.play import Play
from tests.contract.real_stage import about
from tests.contract.test_engine_contract import END, START, EngineContract
from tests.contract.test_engine_scopes_contract import ScopesContract, call, taken


class TestRealEngine(EngineContract):
    """Camunda 7 and Operaton."""

    NO_VARIABLE = "Cannot resolve identifier 'n'"
    NO_TRUTH = "Cannot resolve identifier 'n'"
    NO_WAY_OUT = "No outgoing sequence flow for the element with id 'x'"

    async def test_refused_model_names_its_element(self, play: Play) -> None:
        """What the engine refuses is told with the element, and nothing is deployed."""
        with pytest.raises(Unprocessable, match="x: External tasks must specify a 'topic'"):
            await play.engine.deploy(
                "w", bpmn(START, '<serviceTask id="x" camunda:type="external"/>', END)
            )

        assert {} == await play.engine.running_by_workflow()

    async def test_external_task_carries_what_a_worker_needs(self, play: Play) -> None:
        """A fetched task knows its instance, business key and every variable that it sees."""
        variables = {"n": 1, "text": "\x00 é", "map": {"z": [1.5, None], "a": True}}
        instance = await play.start(START, external("a"), END, path("s a e"), variables=variables)
        task = await play.fetch_one()

        assert variables == task.variables
        assert ["z", "a"] == list(task.variables["map"])
        assert ("a", "a", instance.id, instance.id) == (
            task.topic,
            task.element_id,
            task.instance_id,
            task.root_instance_id,
        )
        assert ("workflow", "the-key", None) == (task.workflow_key, task.business_key, task.retries)

    async def test_failed_task_comes_again_after_its_wait(self, play: Play) -> None:
        """A failure puts the task off and counts down; its worker may still complete it."""
        await play.start(START, external("a"), END, path("s a e"))
        task = await play.fetch_one()
        wait = timedelta(seconds=10)
        outcome = await play.engine.fail(
            task.id, "worker", "no answer", retries=2, retry_after=wait
        )

        assert Outcome.DONE == outcome
        assert [] == await play.fetch()
        assert Outcome.LOCK_LOST == await play.engine.complete(task.id, "other", {})
        await play.wait(seconds=11)
        assert 2 == (await play.fetch_one()).retries
        assert Outcome.DONE == await play.finish(task)

    async def test_user_task_tells_what_was_modelled(self, play: Play) -> None:
        """A user task's attributes are computed when it begins, by the engine's clock."""
        instance = await play.start(
            START,
            '<userTask id="u" name="Approve ${item.name}" camunda:assignee="${who}"'
            ' camunda:candidateUsers="ann, ${others}" camunda:candidateGroups="${groups}"'
            ' camunda:formKey="form:${item.id}" camunda:priority="${30 + 40}"'
            ' camunda:dueDate="2030-01-02T00:00:00Z">'
            "<documentation>See ${item.name}.</documentation></userTask>",
            END,
            path("s u e"),
            variables={
                "item": {"name": "pens", "id": 7},
                "who": None,
                "others": "bob",
                "groups": ["x", "y"],
            },
        )
        [task] = await play.engine.user_tasks([instance.id])

        assert ("Approve pens", "See pens.", None) == (task.name, task.description, task.assignee)
        assert (("ann", "bob"), ("x", "y")) == (task.candidate_users, task.candidate_groups)
        assert ("form:7", 70, "2030-01-02T00:00:00Z") == (
            task.form_key,
            task.priority,
            task.due_date,
        )
        assert about(datetime.now(UTC), task.created_at)
        assert instance.id == task.root_instance_id

    async def test_feed_tells_what_happened_until_confirmed(self, play: Play) -> None:
        """An open user task is told of, later its end; one that is over already by its end only."""
        instance = await play.start(START, '<userTask id="u"/>', END, path("s u e"))
        [task] = await play.engine.user_tasks([instance.id])
        [created] = await play.engine.changes(10)
        await play.engine.confirm_changes([created.id])
        await play.engine.complete_user_task(task.id, {})
        ended, over = await play.engine.changes(10)

        assert (ChangeKind.USER_TASK_CREATED, task) == (created.kind, created.user_task)
        assert (ChangeKind.USER_TASK_ENDED, task.id, True) == (
            ended.kind,
            ended.user_task_id,
            ended.completed,
        )
        assert (ChangeKind.INSTANCE_ENDED, instance.id, True) == (
            over.kind,
            over.instance_id,
            over.completed,
        )
        assert [ended] == list(await play.engine.changes(1))
        await play.engine.confirm_changes([ended.id])
        await play.engine.confirm_changes([ended.id])
        assert [over] == list(await play.engine.changes(10))

    async def test_deleted_instance_is_terminated_with_its_work(self, play: Play) -> None:
        """Deleting ends tasks, timers and incidents; the engine keeps no reason."""
        instance = await play.start(
            START,
            '<parallelGateway id="p"/><userTask id="u"/>',
            external("a"),
            f'<intermediateCatchEvent id="w">{timer("timeDuration", "PT1S")}'
            "</intermediateCatchEvent>",
            path("s p a"),
            path("p u"),
            path("p w"),
        )
        task = await play.fetch_one()
        await play.engine.fail(task.id, "worker", "broken", retries=0, retry_after=timedelta(0))
        await play.engine.delete_instances([instance.id, "none"], "not needed")
        await play.engine.delete_instances([instance.id], "again")

        assert InstanceState.TERMINATED == await play.state(instance)
        assert [] == list(await play.engine.user_tasks([instance.id]))
        assert [] == list(await play.engine.incidents())
        assert 0 == await play.elapse(seconds=5)
        states = [state for _, state in await play.steps(instance)]
        assert (2, 3) == (states.count("completed"), states.count("cancelled"))
        last = list(await play.engine.changes(10))[-1]
        assert (ChangeKind.INSTANCE_ENDED, False) == (last.kind, last.completed)

    async def test_inclusive_join_goes_on_when_the_other_token_ends(self, play: Play) -> None:
        """A real engine does not look at the join again when a token ends elsewhere: it waits."""
        await play.start(
            START,
            '<parallelGateway id="p"/><inclusiveGateway id="j"/><exclusiveGateway id="x"/>',
            '<endEvent id="dead"/>',
            external("a"),
            external("b"),
            external("c"),
            path("s p a j c"),
            path("p b x"),
            flow("x", "j", "${on}"),
            flow("x", "dead", "${!on}"),
        )
        await play.do("a")
        await play.do("b", on=False)

        assert [] == await play.fetch("c")

    async def test_timer_that_cannot_go_on_is_an_incident_until_retried(self, play: Play) -> None:
        """What fails behind a timer stops it; after the cause is mended it is retried."""
        instance = await play.start(
            START,
            '<parallelGateway id="p"/>',
            f'<intermediateCatchEvent id="w">{timer("timeDuration", "PT5S")}'
            "</intermediateCatchEvent>",
            '<userTask id="u"/><exclusiveGateway id="x"/>',
            END,
            path("s p w x"),
            path("p u"),
            flow("x", "e", "${n == 1}"),
            flow("x", "u", "${n == 2}"),
        )
        await play.elapse(seconds=5)
        [incident] = await play.engine.incidents([instance.id])
        assert 0 == await play.elapse(hours=1)
        [task] = await play.engine.user_tasks([instance.id])
        await play.engine.complete_user_task(task.id, {"n": 1})
        await play.engine.retry_incident(incident.id)

        assert 1 == await play.elapse(seconds=0)
        assert InstanceState.COMPLETED == await play.state(instance)


class TestRealEngineScopes(ScopesContract):
    """Camunda 7 and Operaton."""

    NO_OUTPUT = "Cannot resolve identifier 'missing'"
    NO_CALLED = "no processes deployed with key 'none'"

    async def test_cancelled_activity_leaves_the_outputs_it_has(self, play: Play) -> None:
        """A real engine cannot interrupt an activity whose outputs have no value: an incident."""
        instance = await play.start(
            START,
            external("a", inside=mapping(taken("x", "${missing}"), taken("y", "${n + 1}"))),
            external("b"),
            f'<boundaryEvent id="late" attachedToRef="a">{timer("timeDuration", "PT1S")}'
            "</boundaryEvent>",
            path("s a"),
            path("late b"),
            variables={"n": 1},
        )
        await play.elapse(seconds=1)

        assert [] == await play.fetch("b")
        assert ["late"] == [i.element_id for i in await play.engine.incidents([instance.id])]

    async def test_version_of_the_called_process_is_bound(self, play: Play) -> None:
        """The latest version is called, or the one that is named; by the workflow's key only."""
        await play.engine.deploy("k", bpmn(START, external("a"), path("s a"), process_id="child"))
        await play.engine.deploy("k", bpmn(START, external("b"), path("s b"), process_id="child"))
        bound = 'camunda:calledElementBinding="version" camunda:calledElementVersion="1"'
        await play.start(
            START,
            '<parallelGateway id="p"/>',
            call("c1", "k"),
            call("c2", "${name}", attributes=bound),
            path("s p c1"),
            path("p c2"),
            variables={"name": "k"},
        )

        assert ["a", "b"] == sorted(task.topic for task in await play.fetch())
        with pytest.raises(Unprocessable, match="no processes deployed with key 'child'"):
            await play.start(START, call("c", "child"), path("s c"))

    async def test_process_that_calls_itself_for_ever_is_stopped(self, play: Play) -> None:
        """A process that calls itself once more and no further is no matter for a real engine.

        An endless one is followed until the engine's stack is used up, after minutes: never here.
        """
        gateway = '<exclusiveGateway id="x" default="x_a"/>'
        none = '<camunda:in sourceExpression="${false}" target="again"/>'
        parts = (START, gateway, call("c", "P", none), external("a"))
        await play.engine.deploy("w", bpmn(*parts, path("s x a"), flow("x", "c", "${again}")))
        await play.engine.start(
            StartRequest(workflow_key="w", start_id="1", variables={"again": True})
        )

        assert "w" == (await play.fetch_one()).workflow_key
