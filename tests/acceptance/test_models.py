"""Models of every kind, run from event to webhook by a server in a process of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from taskloom.testing.bpmn import bpmn, external, flow, mapping, path, timer
from taskloom.testing.receiver import Receiver
from taskloom.testing.server import ServedTaskloom, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")
Node = Mapping[str, Any]

RESOURCES = """
apiVersion: taskloom.dev/v1alpha1
kind: ClientApp
metadata: {name: receiver}
spec: {displayName: Receiver}
---
apiVersion: taskloom.dev/v1alpha1
kind: WebhookSubscription
metadata: {name: everything}
spec: {clientAppRef: {name: receiver}, eventKeys: ["*"], url: "HOOK"}
---
apiVersion: taskloom.dev/v1alpha1
kind: Command
metadata: {name: reckon}
spec: {topic: reckon, http: {url: "COMMANDS/reckon"}}
---
apiVersion: taskloom.dev/v1alpha1
kind: Command
metadata: {name: refuse}
spec: {topic: refuse, http: {url: "COMMANDS/refuse"}}
---
apiVersion: taskloom.dev/v1alpha1
kind: Command
metadata: {name: dawdle}
spec: {topic: dawdle, http: {url: "COMMANDS/dawdle"}}
"""

START, END = '<startEvent id="start"/>', '<endEvent id="end"/>'
END_TASK = (
    '<endEvent id="done"><messageEventDefinition camunda:type="external"'
    ' camunda:topic="end-task"/></endEvent>'
)
SOON = timer("timeDuration", "PT1S")
CREATE = external("create", "create-tasks")
PARENT = (START, CREATE, END, path("start create end"))


def user(id_: str) -> str:
    """Ask somebody."""
    return f'<userTask id="{id_}" name="{id_}"/>'


def create(tasks: str) -> str:
    """Create what `tasks` says, an expression or JSON."""
    value = f'<camunda:inputParameter name="tasks">{escape(tasks)}</camunda:inputParameter>'
    return external("create", "create-tasks", mapping(value))


def sub_process(id_: str, *parts: str) -> str:
    """Embed these parts, which begin at ``{id_}_start``."""
    return f'<subProcess id="{id_}"><startEvent id="{id_}_start"/>{"".join(parts)}</subProcess>'


def boundary(id_: str, host: str, definition: str) -> str:
    """Interrupt `host`."""
    return f'<boundaryEvent id="{id_}" attachedToRef="{host}">{definition}</boundaryEvent>'


class Stage:
    """A server, and what plays with it."""

    def __init__(self, client: httpx.AsyncClient, receiver: Receiver) -> None:
        self.client = client
        self.receiver = receiver

    async def deploy(self, key: str, *parts: str, aside: str = "", task: str | None = None) -> None:
        """Deploy a workflow and map the event of its key, or the task `task`, to it."""
        model = bpmn(*parts, process_id=key, aside=aside).decode()
        answer = await self.client.post("/workflows", json={"name": key, "bpmnFile": model})
        assert 200 == answer.status_code, answer.text
        kind, mapped = ("event", key) if task is None else ("task", task)
        body = {f"{kind}Key": mapped, "workflowKey": key}
        assert (await self.client.post(f"/{kind}s/mapping", json=body)).is_success

    async def trigger(self, key: str, **payload: Any) -> str:
        """Post an event and give its id."""
        event = {"key": key, "payload": payload, "source": "test"}
        answer = await self.client.post("/events/trigger", json=event)
        assert 204 == answer.status_code, answer.text
        return answer.headers["taskloom-event-id"]

    async def until(self, event: str, found: Callable[[Node], Any]) -> Any:
        """Look at an event's trace until something is found in it."""
        trace: Node = {}
        try:
            async with asyncio.timeout(30):
                while True:
                    trace = (await self.client.get(f"/events/{event}/trace")).json()
                    if value := found(trace):
                        return value
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(json.dumps(trace, indent=1)) from None

    async def ended(self, event: str) -> Node:
        """Give the instance of an event's first route once it has ended."""
        found: Node = await self.until(
            event, lambda trace: next((i for i in roots(trace) if i["state"] == "completed"), None)
        )
        return found

    async def asked(self, event: str, key: str, status: str = "pending") -> tuple[Node, Node]:
        """Give a user task, and the task it belongs to, once it stands so."""

        def find(trace: Node) -> tuple[Node, Node] | None:
            for task in tasks(trace):
                for each in task["userTasks"]:
                    if (each["key"], each["status"]) == (key, status):
                        return task, each
            return None

        found: tuple[Node, Node] = await self.until(event, find)
        return found

    async def complete(self, task: Node, user_task: Node, **variables: Any) -> int:
        """Complete a user task; give the status of the answer."""
        where = f"/tasks/{task['id']}/user-tasks/{user_task['id']}/complete"
        return (await self.client.patch(where, json=variables)).status_code

    async def answer(self, event: str, key: str, **variables: Any) -> Node:
        """Complete the user task `key` as soon as it is there; give its task."""
        task, user_task = await self.asked(event, key)
        assert 204 == await self.complete(task, user_task, **variables)
        return task

    async def all_completed(self, event: str) -> None:
        """Return once every task of an event is completed, and its process with it."""
        await self.until(
            event,
            lambda trace: all(
                task["status"] == "completed" and task["instance"]["state"] == "completed"
                for task in tasks(trace)
            ),
        )


def roots(trace: Node) -> list[Node]:
    """List the instances that an event started by its mappings."""
    return [route["instance"] for route in trace["routes"] if route["instance"] is not None]


def tasks(trace: Node) -> Iterator[Node]:
    """Walk through every task of a trace."""
    ahead = roots(trace)
    while ahead:
        for task in ahead.pop()["tasks"]:
            yield task
            if task["instance"] is not None:
                ahead.append(task["instance"])


def passed(instance: Node) -> list[str]:
    """Name what an instance went through."""
    return [f"{a['element']}" for a in instance["activities"] if a["state"] != "cancelled"]


async def _serve_topic(request: web.Request) -> web.Response:
    body = await request.json()
    variables = body["variables"]
    match body["topic"]:
        case "reckon":
            total = variables.get("quantity", 1) * variables.get("price", 1)
            given = {"total": total, "order": {"lines": [{"n": 1}, {"n": 2}], "note": None}}
            return web.json_response({"variables": given})
        case "refuse":
            error = {"code": "refused", "message": "sold out"}
            return web.json_response({"bpmnError": error}, status=409)
        case _:
            await asyncio.sleep(3)
            return web.json_response({"variables": {"total": 0}})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Serve commands, a receiver and Taskloom."""
    folder = tmp_path_factory.mktemp("models")
    app, port = web.Application(), free_port()
    app.router.add_post("/{topic}", _serve_topic)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    (folder / "files").mkdir()
    async with Receiver() as receiver:
        text = RESOURCES.replace("HOOK", receiver.url)
        text = text.replace("COMMANDS", f"http://127.0.0.1:{port}")
        (folder / "files" / "all.yaml").write_text(text)
        server = ServedTaskloom(files=folder / "files", data_dir=folder / "data", port=free_port())
        await server.start()
        try:
            async with httpx.AsyncClient(
                base_url=server.url, headers=server.authorization, timeout=30
            ) as client:
                await server.wait_until_ready(client)
                yield Stage(client, receiver)
        finally:
            await server.stop()
            await runner.cleanup()


# -- what a workflow does by itself ------------------------------------------------------------


async def test_conditions_see_the_payload(stage: Stage) -> None:
    """Numbers, texts, booleans, null, nested properties and lists steer an inclusive gateway."""
    conditions = {
        "a": "${amount > 100}",
        "b": "${kind == 'x'}",
        "c": "${flag and note == null}",
        "d": "${order.lines[0].price >= 10 && order.lines.size() == 2}",
        "e": "${order.customer.name eq 'Ann'}",
        "f": "${tags.contains('red')}",
    }
    ways = [
        f'<task id="{id_}"/>' + flow("split", id_, condition) + flow(id_, "join")
        for id_, condition in conditions.items()
    ]
    split = '<inclusiveGateway id="split" default="split_z"/><inclusiveGateway id="join"/>'
    rest = ('<task id="z"/>', path("start split z join end"))
    await stage.deploy("conditions", START, END, split, *ways, *rest)
    order = {"lines": [{"price": 10}, {"price": 1}], "customer": {"name": "Ann"}}
    event = await stage.trigger(
        "conditions", amount=100.5, kind="x", flag=True, note=None, order=order, tags=["red"]
    )
    every = passed(await stage.ended(event))
    order = {"lines": [], "customer": {}}
    event = await stage.trigger(
        "conditions", amount=1, kind="y", flag=False, note="n", order=order, tags=[]
    )

    assert [*"abcdef"] == [id_ for id_ in every if id_ in conditions]
    assert ["start", "split", "z", "join", "end"] == passed(await stage.ended(event))


async def test_a_command_over_http_is_repeated_and_decides(stage: Stage) -> None:
    """What it gives is seen by the gateway behind it; a loop and message events call it again."""
    again = mapping('<camunda:outputParameter name="price">${price + 1}</camunda:outputParameter>')
    topic = 'camunda:type="external" camunda:topic="reckon"'
    await stage.deploy(
        "loop",
        *(START, END, external("work", "reckon", again), '<exclusiveGateway id="m"/>'),
        '<exclusiveGateway id="gw" default="gw_throw"/>',
        f'<intermediateThrowEvent id="throw"><messageEventDefinition {topic}/>',
        f'</intermediateThrowEvent><sendTask id="send" {topic}/>',
        path("start m work gw throw send end"),
        flow("gw", "m", "${total < 6 and order.note == null}"),
    )
    instance = await stage.ended(await stage.trigger("loop", quantity=2, price=1))

    assert 3 == passed(instance).count("work")
    assert ["reckon"] * 5 == [command["topic"] for command in instance["commands"]]


async def test_an_error_rises_through_call_and_sub_process(stage: Stage) -> None:
    """A worker's error in a called workflow is caught around the sub-process that called it."""
    inner = (external("ask", "refuse"), path("in_start ask"))
    await stage.deploy("refusing", START, sub_process("in", *inner), path("start in"))
    caught = '<errorEventDefinition errorRef="E" camunda:errorMessageVariable="why"/>'
    call = '<callActivity id="call" calledElement="refusing"/>'
    await stage.deploy(
        "rising",
        *(START, END, create('[{"key": "none", "name": "${why}"}]')),
        sub_process("out", call, path("out_start call")),
        boundary("caught", "out", caught),
        path("start out end") + path("caught create end"),
        aside='<error id="E" errorCode="refused"/>',
    )
    instance = await stage.ended(await stage.trigger("rising"))

    assert ["sold out"] == [task["name"] for task in instance["tasks"]]
    assert ["refusing"] == [called["workflowKey"] for called in instance["called"]]
    assert ["error", "done"] == [command["state"] for command in instance["commands"]]


async def test_values_cross_a_call_activity(stage: Stage) -> None:
    """In and out mappings carry values; the called workflow is named by an expression."""
    await stage.deploy("reckoning", START, END, external("work", "reckon"), path("start work end"))
    crossing = (
        '<camunda:in businessKey="#{execution.processBusinessKey}"/>'
        '<camunda:in source="n" target="quantity"/>'
        '<camunda:in sourceExpression="${n * 2}" target="price"/>'
        '<camunda:out source="total" target="sum"/>'
        '<camunda:out sourceExpression="${order.lines.size()}" target="lines"/>'
    )
    await stage.deploy(
        "crossing",
        *(START, END, create('[{"key": "none", "name": "${sum} ${lines}"}]')),
        f'<callActivity id="call" calledElement="${{which}}"><extensionElements>{crossing}'
        "</extensionElements></callActivity>",
        path("start call create end"),
    )
    instance = await stage.ended(await stage.trigger("crossing", n=4, which="reckoning"))

    assert ["32 2"] == [task["name"] for task in instance["tasks"]]


async def test_timers_wait_and_interrupt(stage: Stage) -> None:
    """A date from a variable, a cycle, a slow command overtaken, and an end that ends all."""
    waits = {"date": ("timeDate", "${when}"), "cycle": ("timeCycle", "R2/PT1S")}
    await stage.deploy(
        "timers",
        *(START, END, external("slow", "dawdle"), boundary("late", "slow", SOON)),
        *(
            f'<intermediateCatchEvent id="{id_}">{timer(*value)}</intermediateCatchEvent>'
            for id_, value in waits.items()
        ),
        '<parallelGateway id="fork"/>' + external("never", "nobody"),
        '<endEvent id="stop"><terminateEventDefinition/></endEvent>',
        path("start date cycle slow end") + path("late fork never end") + path("fork stop"),
    )
    instance = await stage.ended(await stage.trigger("timers", when="2026-01-01T00:00:00Z"))

    assert ["start", "date", "cycle", "late", "fork", "stop"] == passed(instance)
    assert {"slow", "never"} == {
        each["element"] for each in instance["activities"] if each["state"] == "cancelled"
    }


# -- tasks -------------------------------------------------------------------------------------

ONE = [{"key": "plain", "name": "N"}]


async def test_tasks_come_in_many_forms(stage: Stage) -> None:
    """As a list, an object, either as JSON text, and by an expression; an empty list makes none."""
    await stage.deploy("forms", *PARENT)
    await stage.deploy("nested", START, create("${order.todo}"), END, path("start create end"))
    forms = [ONE, {"values": ONE}, json.dumps(ONE), {"values": json.dumps(ONE)}]
    forms.append(json.dumps({"values": json.dumps(ONE)}))
    events = [await stage.trigger("forms", tasks=form) for form in forms]
    events.append(await stage.trigger("nested", order={"todo": ONE}))
    none = await stage.trigger("forms", tasks=[])

    for event in events:
        assert ["N"] == [task["name"] for task in (await stage.ended(event))["tasks"]]
    assert [] == (await stage.ended(none))["tasks"]


async def test_many_tasks_at_once(stage: Stage) -> None:
    """Two hundred tasks are made by one command and told of in one webhook, in their order."""
    await stage.deploy("many-child", START, user("ask"), END_TASK, path("start ask done"), task="m")
    await stage.deploy("many", *PARENT)
    names = [f"many {n}" for n in range(200)]
    event = await stage.trigger("many", tasks=[{"key": "m", "name": name} for name in names])
    made = (await stage.ended(event))["tasks"]
    async with asyncio.timeout(30):
        while not (told := [t for t in _created(stage) if t[0]["name"] == names[0]]):
            await asyncio.sleep(0.05)

    assert [1] * 200 == [len(task["userTasks"]) for task in made]
    assert [names] == [[task["name"] for task in webhook] for webhook in told]


def _created(stage: Stage) -> list[list[Node]]:
    return [
        webhook["payload"]["createdTasks"]
        for webhook in stage.receiver.webhooks.values()
        if webhook["key"] == "task-created"
    ]


async def test_user_tasks_belong_to_the_task_wherever_they_appear(stage: Stage) -> None:
    """After a timer, after a command, in a sub-process and in a called workflow; each is told."""
    await stage.deploy("deep", START, user("in-call"), END, path("start in-call end"))
    await stage.deploy(
        "long",
        *(START, END_TASK, external("work", "reckon"), user("after-timer"), user("after-work")),
        f'<intermediateCatchEvent id="wait">{SOON}</intermediateCatchEvent>',
        sub_process("sub", user("in-sub"), path("sub_start in-sub")),
        '<callActivity id="call" calledElement="deep"/>',
        path("start wait after-timer work after-work sub call done"),
        task="long",
    )
    await stage.deploy("long-parent", *PARENT)
    event = await stage.trigger("long-parent", tasks=[{"key": "long"}])
    keys = ["after-timer", "after-work", "in-sub", "in-call"]
    for key in keys:
        task, user_task = await stage.asked(event, key)
        listed = (await stage.client.get(f"/tasks/{task['id']}/user-tasks")).json()
        assert user_task["id"] in {each["id"] for each in listed}
        assert 204 == await stage.complete(task, user_task)
        assert 409 == await stage.complete(task, user_task)
    await stage.all_completed(event)
    trace = await stage.until(event, lambda trace: _delivered(trace) == len(keys) + 2 and trace)

    told = [out["key"] for out in trace["outgoing"]]
    assert ["task-created", *["user-task-completed"] * 4, "task-completed"] == told


def _delivered(trace: Node) -> int:
    return sum(d["state"] == "delivered" for out in trace["outgoing"] for d in out["deliveries"])


async def test_answers_steer_and_concurrent_ones_count_once(stage: Stage) -> None:
    """A gateway sees a user task's variables; of two completions of one, one is refused."""
    await stage.deploy(
        "steered",
        *(START, END_TASK, user("ask"), user("p1"), user("p2")),
        '<exclusiveGateway id="gw" default="gw_ask"/>',
        '<parallelGateway id="fork"/><parallelGateway id="join"/>',
        path("start ask gw ask") + path("fork p1 join done") + path("fork p2 join"),
        flow("gw", "fork", "${approved and note.text == 'ok'}"),
        task="steered",
    )
    await stage.deploy("steered-parent", *PARENT)
    event = await stage.trigger("steered-parent", tasks=[{"key": "steered"}])
    task, first = await stage.asked(event, "ask")
    assert 422 == await stage.complete(task, first)  # there is no variable `approved`
    await stage.answer(event, "ask", approved=False)
    await stage.answer(event, "ask", approved=True, note={"text": "ok"})
    pair = [(await stage.asked(event, key))[1] for key in ("p1", "p2")]
    statuses = await asyncio.gather(*(stage.complete(task, each) for each in pair * 2))
    await stage.all_completed(event)

    assert [204, 204, 409, 409] == sorted(statuses)


async def test_completing_races_with_a_timer(stage: Stage) -> None:
    """Either the answer counts or the timer, and the answer to the request says which."""
    await stage.deploy(
        "raced",
        *(START, END_TASK, END_TASK.replace("done", "late"), user("ask")),
        boundary("timer", "ask", SOON),
        path("start ask done") + path("timer late"),
        task="raced",
    )
    await stage.deploy("raced-parent", *PARENT)
    event = await stage.trigger("raced-parent", tasks=[{"key": "raced"}] * 24)
    made = (await stage.ended(event))["tasks"]

    async def answer(task: Node, delay: float) -> tuple[str, int]:
        await asyncio.sleep(delay)
        return task["id"], await stage.complete(task, task["userTasks"][0])

    answers = dict(await asyncio.gather(*(answer(t, n * 0.06) for n, t in enumerate(made))))
    await stage.all_completed(event)
    after = await stage.until(
        event, lambda trace: all(t["userTasks"][0]["endDate"] for t in tasks(trace)) and trace
    )

    expected = {204: ("completed", "done"), 409: ("cancelled", "late")}
    assert {id_: expected[status] for id_, status in answers.items()} == {
        task["id"]: (task["userTasks"][0]["status"], task["instance"]["activities"][-1]["element"])
        for task in tasks(after)
    }


async def test_tasks_make_tasks_of_their_own(stage: Stage) -> None:
    """A task's workflow creates another task, which ends for itself."""
    grand = create('[{"key": "grand", "name": "of ${taskId}"}]')
    await stage.deploy("grand", START, user("g"), END_TASK, path("start g done"), task="grand")
    await stage.deploy(
        "child", START, grand, user("u"), END_TASK, path("start create u done"), task="child"
    )
    await stage.deploy("grand-parent", *PARENT)
    event = await stage.trigger("grand-parent", tasks=[{"key": "child"}])
    child = await stage.answer(event, "u")
    grandchild = await stage.answer(event, "g")
    await stage.all_completed(event)

    assert f"of {child['id']}" == grandchild["name"]


# -- what goes wrong ---------------------------------------------------------------------------


async def test_end_task_of_no_task_says_what_to_do(stage: Stage) -> None:
    """It is an incident that names the variable, seen in the trace."""
    await stage.deploy("ends", START, END_TASK, path("start done"))
    event = await stage.trigger("ends")
    [incident] = await stage.until(event, lambda trace: trace["routes"][0]["instance"]["incidents"])

    assert "done" == incident["element"]
    assert 'The variable "taskId" must hold the id of a task, not None' in incident["message"]


async def test_a_first_step_that_fails_is_told_where_it_was_to_begin(stage: Stage) -> None:
    """The event's route and the task each say why their workflow did not start."""
    fails = (START, END, '<exclusiveGateway id="gw" default="gw_end"/>', path("start gw end"))
    refused = (*fails, '<task id="t"/>', flow("gw", "t", "${approved}"))
    await stage.deploy("fails", *refused)
    await stage.deploy("fails-child", *refused, task="fails")
    await stage.deploy("fails-parent", *PARENT)
    alone = await stage.trigger("fails")
    within = await stage.trigger("fails-parent", tasks=[{"key": "fails"}])
    own = await stage.until(alone, lambda trace: trace["routes"][0]["start"]["error"])
    [task] = (await stage.ended(within))["tasks"]
    childs = await stage.until(within, lambda t: next(tasks(t))["start"]["error"])

    assert "gw: ${approved}: there is no variable 'approved'." == own == childs
    assert (None, "fails-child") == (task["instance"], task["start"]["workflowKey"])
