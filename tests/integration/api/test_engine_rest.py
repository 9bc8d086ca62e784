"""/engine-rest on the embedded engine: who gets in, what is fetched, and what follows from it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from prometheus_client import CollectorRegistry

from taskloom.api.app import create_app
from taskloom.api.auth import AuthOptions
from taskloom.domain.webhooks import ClientApp
from taskloom.flow.register_client import register_client
from taskloom.flow.services import Services
from taskloom.flow.workflows import Draft, create_workflow
from taskloom.ports.engine import StartRequest
from taskloom.store.database import Database
from taskloom.testing.bpmn import bpmn, external, mapping, path
from taskloom.testing.door import EmbeddedDoor, embedded_door

SECRET = "0123456789abcdef0123456789abcdef"
ROOT = "http://taskloom/engine-rest"
OWN = mapping('<camunda:inputParameter name="own">1</camunda:inputParameter>')
OUT = mapping('<camunda:outputParameter name="out">${mine}</camunda:outputParameter>')


def order(process_id: str = "order", name: str = "") -> bytes:
    """Make the orders' model, by any name."""
    return bpmn(
        '<startEvent id="s"/>',
        external("pay", inside=OWN),
        f'<userTask id="check" name="{name}"/>',
        '<endEvent id="e"/>',
        path("s pay check e"),
        process_id=process_id,
    )


ORDER = order()
OUTPUT = bpmn(
    '<startEvent id="s"/>',
    external("pay", inside=OUT),
    external("next"),
    '<endEvent id="e"/>',
    path("s pay next e"),
    process_id="output",
)

Client = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def door(database: Database) -> EmbeddedDoor:
    """Open a door that asks who comes, with the orders' workflow behind it."""
    door = embedded_door(database, AuthOptions(secret=SECRET))
    await create_workflow(door.flow, Draft(name="Order", bpmn=ORDER.decode()))
    return door


@pytest.fixture
async def client(door: EmbeddedDoor) -> AsyncIterator[Client]:
    """Give clients: with a token's permissions, or by Basic."""
    made: list[httpx.AsyncClient] = []

    def make(*permissions: str, auth: tuple[str, str] | None = None) -> httpx.AsyncClient:
        headers = {}
        if permissions:
            token = jwt.encode({"sub": "ann", "permissions": list(permissions)}, SECRET)
            headers = {"authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(door.app)
        made.append(
            httpx.AsyncClient(transport=transport, base_url=ROOT, headers=headers, auth=auth)
        )
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


@pytest.fixture
def rest(client: Client) -> httpx.AsyncClient:
    """Give a client that may do everything."""
    return client("*")


async def start(rest: httpx.AsyncClient, key: str = "order", **sent: Any) -> str:
    """Start an instance; give its id."""
    answer = await rest.post(f"/process-definition/key/{key}/start", json=sent)
    assert 200 == answer.status_code, answer.text
    id_: str = answer.json()["id"]
    return id_


async def fetch(rest: httpx.AsyncClient, topic: str = "pay", **sent: Any) -> Any:
    """Fetch tasks; what is no part of the topic is one of the body."""
    about_topic = {
        name: sent.pop(name) for name in list(sent) if name not in {"asyncResponseTimeout", "max"}
    }
    body = {
        "workerId": "w",
        "maxTasks": sent.pop("max", 10),
        "topics": [{"topicName": topic, "lockDuration": 60_000, **about_topic}],
        **sent,
    }
    answer = await rest.post("/external-task/fetchAndLock", json=body)
    assert 200 == answer.status_code, answer.text
    return answer.json()


async def post(rest: httpx.AsyncClient, where: str, **sent: Any) -> int:
    """Post to a task; give the status."""
    return (await rest.post(f"/external-task/{where}", json=sent)).status_code


async def made_client(flow: Services, *scopes: str) -> tuple[ClientApp, tuple[str, str]]:
    """Make a client app with scopes; give its credentials, too."""
    made = replace(await register_client(flow, "worker"), scopes=scopes)
    async with flow.tasks.begin() as tx:
        await tx.webhooks.put_client(made)
    return made, (made.api_key, made.api_secret.reveal())


# -- who gets in ---------------------------------------------------------------------------------


async def test_nobody_gets_in_without_a_credential(client: Client) -> None:
    """Every path asks first, and says how to answer."""
    for path_ in ("/version", "/engine", "/external-task", "/task", "/history/process-instance"):
        answer = await client().get(path_)

        assert 401 == answer.status_code
        assert {"type", "message", "code"} == set(answer.json())
        assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("given", ["Basic", "Basic x", "Basic Og==", "Basic AAA6eA==", "Basic 4"])
async def test_a_broken_credential_is_refused(client: Client, given: str) -> None:
    """What is no key and secret is nobody's."""
    answer = await client().get("/version", headers={"authorization": given})

    assert 401 == answer.status_code


async def test_a_client_app_works_by_basic(
    client: Client, door: EmbeddedDoor, rest: httpx.AsyncClient
) -> None:
    """With the scope for it a client app fetches and completes, and sees nothing else."""
    made, credentials = await made_client(door.flow, "engine.work")
    worker = client(auth=credentials)
    await start(rest)
    [task] = await fetch(worker)

    assert 204 == await post(worker, f"{task['id']}/complete", workerId="w")
    for path_ in ("/task", "/process-definition", "/process-instance", "/incident"):
        assert 403 == (await worker.get(path_)).status_code
    refused = await worker.post("/process-definition/key/order/start", json={})
    assert (403, True) == (refused.status_code, "engine.start" in refused.json()["message"])
    wrong = client(auth=(made.api_key, "wrong"))
    assert 401 == (await wrong.get("/version")).status_code


async def test_scopes_are_apart(client: Client, door: EmbeddedDoor) -> None:
    """Who may start may not fetch; a client app without scopes may nothing."""
    _, starter = await made_client(door.flow, "engine.start")
    assert await start(client(auth=starter))
    assert 403 == (await client(auth=starter).get("/external-task")).status_code
    _, other = await made_client(door.flow, "events.trigger")
    assert 403 == (await client(auth=other).get("/version")).status_code


async def test_a_suspended_client_app_stays_out(client: Client, door: EmbeddedDoor) -> None:
    """Suspending a client app takes its worker's access with it."""
    made, credentials = await made_client(door.flow, "engine.work")
    async with door.flow.tasks.begin() as tx:
        await tx.webhooks.put_client(replace(made, suspended=True))

    assert 403 == (await client(auth=credentials).get("/version")).status_code


@pytest.mark.parametrize(
    ("permission", "method", "where"),
    [
        ("WorkExternalTask", "GET", "/external-task"),
        ("ViewWorkflow", "GET", "/process-definition"),
        ("ViewInstance", "GET", "/process-instance"),
        ("ViewInstance", "GET", "/incident"),
        ("16004", "GET", "/task"),
        ("16005", "POST", "/task/none/complete"),
        ("ExecuteWorkflow", "POST", "/signal"),
        ("ControlInstance", "DELETE", "/process-instance/none"),
        ("ControlInstance", "PUT", "/external-task/none/retries"),
        ("ControlInstance", "PUT", "/job/none/retries"),
        ("ViewInstance", "GET", "/history/variable-instance"),
        ("CreateWorkflow", "POST", "/deployment/create"),
        ("DeleteWorkflow", "DELETE", "/deployment/none"),
    ],
)
async def test_each_path_has_its_permission(
    client: Client, permission: str, method: str, where: str
) -> None:
    """A token with it is let in, and one with any other is not."""
    allowed = await client(permission).request(method, where)
    refused = await client("16001", "16002", "16003").request(method, where)

    assert allowed.status_code not in {401, 403}
    assert 403 == refused.status_code


async def test_it_is_not_offered_where_the_engine_has_its_own(
    door: EmbeddedDoor,
) -> None:
    """On an engine elsewhere the hint says where to go."""
    services = replace(door.services, hosted=None, registry=CollectorRegistry())
    transport = httpx.ASGITransport(create_app(services))
    async with httpx.AsyncClient(transport=transport, base_url=ROOT) as client:
        answer = await client.get("/version")

    assert 404 == answer.status_code
    assert "that engine's /engine-rest" in answer.json()["message"]


# -- fetching ------------------------------------------------------------------------------------


async def test_what_is_fetched_is_chosen(rest: httpx.AsyncClient) -> None:
    """Business key, definition and variables choose the tasks; names choose what is shown."""
    await start(rest, businessKey="a", variables={"n": {"value": 1}, "x": {"value": "X"}})
    await start(rest, businessKey="b", variables={"n": {"value": 2}})

    assert [] == await fetch(rest, businessKey="c")
    assert [] == await fetch(rest, processDefinitionKey="other")
    assert [] == await fetch(rest, processVariables={"n": 3})
    assert [] == await fetch(rest, processVariables={"n": 1.0})
    assert [] == await fetch(rest, tenantIdIn=["t"])
    [b] = await fetch(rest, processVariables={"n": 2}, processDefinitionKeyIn=["order"])
    assert ({"n", "own"}, "b") == (set(b["variables"]), b["businessKey"])
    [a] = await fetch(rest, variables=["x", "none"])
    assert {"x"} == set(a["variables"])


async def test_local_variables_alone(rest: httpx.AsyncClient) -> None:
    """A worker can ask for the task's own variables only."""
    await start(rest, variables={"n": {"value": 1}})
    [task] = await fetch(rest, localVariables=True)

    assert {"own": {"type": "String", "value": "1", "valueInfo": {}}} == task["variables"]


async def test_properties_of_the_element_come_where_they_are_asked_for(
    rest: httpx.AsyncClient, door: EmbeddedDoor
) -> None:
    """What the modeller noted for workers is theirs to read."""
    noted = (
        '<extensionElements><camunda:properties><camunda:property name="queue" value="fast"/>'
        "</camunda:properties></extensionElements>"
    )
    model = bpmn(
        '<startEvent id="s"/>',
        external("noted", inside=noted),
        '<endEvent id="e"/>',
        path("s noted e"),
        process_id="notes",
    )
    await create_workflow(door.flow, Draft(name="Noted", bpmn=model.decode()))
    await start(rest, "notes")
    await start(rest, "notes")
    [one, other] = [
        (await fetch(rest, "noted", max=1, includeExtensionProperties=asked))[0]
        for asked in (True, False)
    ]

    assert {"queue": "fast"} == one["extensionProperties"]
    assert {} == other["extensionProperties"]


async def test_the_oldest_or_the_newest_comes_first(rest: httpx.AsyncClient) -> None:
    """Sorting by the time of creation is kept, in either direction."""
    for key in "abc":
        await start(rest, businessKey=key)
    newest = {"sortBy": "createTime", "sortOrder": "desc"}
    body = {
        "workerId": "w",
        "maxTasks": 1,
        "topics": [{"topicName": "pay", "lockDuration": 1000}],
        "sorting": [newest],
    }
    [last] = (await rest.post("/external-task/fetchAndLock", json=body)).json()
    first, second = await fetch(rest)

    assert ["c", "a", "b"] == [task["businessKey"] for task in (last, first, second)]


async def test_topics_of_our_own_commands_are_not_given_away(rest: httpx.AsyncClient) -> None:
    """A worker that completed create-tasks would leave no task."""
    answer = await rest.post(
        "/external-task/fetchAndLock",
        json={
            "workerId": "w",
            "maxTasks": 1,
            "topics": [{"topicName": "create-tasks", "lockDuration": 1000}],
        },
    )

    assert 403 == answer.status_code
    assert "Taskloom itself works on" in answer.json()["message"]


async def test_a_long_poll_is_woken_by_what_comes(rest: httpx.AsyncClient) -> None:
    """It returns as soon as there is a task, long before its time."""
    waiting = asyncio.create_task(fetch(rest, asyncResponseTimeout=60_000))
    await asyncio.sleep(0.1)
    await start(rest, businessKey="k")
    async with asyncio.timeout(5):
        [task] = await waiting

    assert "k" == task["businessKey"]


async def test_of_many_long_polls_each_task_wakes_one(rest: httpx.AsyncClient) -> None:
    """Every task goes to one worker, and the others wait on."""
    polls = [asyncio.create_task(fetch(rest, asyncResponseTimeout=2_000)) for _ in range(8)]
    await asyncio.sleep(0.1)
    for _ in range(3):
        await start(rest)
    got = [task["id"] for tasks in await asyncio.gather(*polls) for task in tasks]

    assert 3 == len(got) == len(set(got))


async def test_a_long_poll_gets_what_is_unlocked(rest: httpx.AsyncClient) -> None:
    """Unlocking, and a pause after a failure that ends, wake those who wait."""
    await start(rest)
    [task] = await fetch(rest)
    waiting = asyncio.create_task(fetch(rest, asyncResponseTimeout=60_000))
    await asyncio.sleep(0.1)
    await post(rest, f"{task['id']}/unlock")
    async with asyncio.timeout(5):
        assert task["id"] == (await waiting)[0]["id"]
    failure = {"workerId": "w", "errorMessage": "m", "retries": 1, "retryTimeout": 300}
    await post(rest, f"{task['id']}/failure", **failure)
    async with asyncio.timeout(5):
        [again] = await fetch(rest, asyncResponseTimeout=60_000)

    assert ("m", 1) == (again["errorMessage"], again["retries"])


async def test_a_long_poll_gets_what_is_left_when_a_lock_ends(rest: httpx.AsyncClient) -> None:
    """A worker that is gone holds its task as long as its lock, not longer."""
    await start(rest)
    await fetch(rest, lockDuration=300)
    async with asyncio.timeout(5):
        [task] = await fetch(rest, asyncResponseTimeout=60_000)

    assert task["lockExpirationTime"]


async def test_a_door_that_closes_lets_polls_go(
    rest: httpx.AsyncClient, door: EmbeddedDoor
) -> None:
    """Stopping the server waits for no poll."""
    waiting = asyncio.create_task(fetch(rest, asyncResponseTimeout=60_000))
    await asyncio.sleep(0.1)
    door.hosted.room.close()
    async with asyncio.timeout(5):
        assert [] == await waiting


# -- what follows --------------------------------------------------------------------------------


async def test_local_variables_feed_the_outputs(
    rest: httpx.AsyncClient, door: EmbeddedDoor
) -> None:
    """What a worker gives as local is seen by the output parameters, and gone behind them."""
    await create_workflow(door.flow, Draft(name="Output", bpmn=OUTPUT.decode()))
    await start(rest, "output")
    [task] = await fetch(rest)
    local = {"mine": {"value": '{"a":1}', "type": "Json"}}
    assert 204 == await post(rest, f"{task['id']}/complete", workerId="w", localVariables=local)
    [following] = await fetch(rest, "next", deserializeValues=True)

    assert {"out": {"type": "Json", "value": {"a": 1}, "valueInfo": {}}} == following["variables"]


async def test_foreign_work_is_in_the_ledger(rest: httpx.AsyncClient, door: EmbeddedDoor) -> None:
    """Traces tell what foreign workers did: first it failed, then it was done."""
    instance = await start(rest)

    async def told() -> list[tuple[str, str | None, int]]:
        async with door.flow.tasks.begin() as tx:
            entries = await tx.ledger.of_instances([instance])
        return [(entry.state, entry.error, entry.attempts) for entry in entries]

    [task] = await fetch(rest)
    await post(rest, f"{task['id']}/failure", workerId="w", errorMessage="no money", retries=1)
    assert [("failed", "no money", 1)] == await told()
    [task] = await fetch(rest)
    await post(rest, f"{task['id']}/complete", workerId="w")

    assert [("done", None, 2)] == await told()


async def test_who_lost_the_lock_changes_nothing(
    rest: httpx.AsyncClient, door: EmbeddedDoor
) -> None:
    """A completion by another than the holder is undone as a whole."""
    instance = await start(rest)
    [task] = await fetch(rest)

    assert 400 == await post(rest, f"{task['id']}/complete", workerId="other")
    async with door.flow.tasks.begin() as tx:
        assert [] == await tx.ledger.of_instances([instance])
    assert 204 == await post(rest, f"{task['id']}/complete", workerId="w")
    assert 404 == await post(rest, f"{task['id']}/complete", workerId="w")


async def test_fetched_topics_are_remembered_with_time(
    rest: httpx.AsyncClient, door: EmbeddedDoor
) -> None:
    """A topic counts as served for a while after a worker asked for it, and no longer."""
    rings = 0
    with door.flow.workflows.bell.listening("fetched-topics") as rung:
        for _ in range(3):
            rung.clear()
            await fetch(rest, "elsewhere")
            rings += rung.is_set()
    now = door.flow.now()
    async with door.flow.workflows.begin() as tx:
        soon = await tx.fetched_topics.served(now)
        later = await tx.fetched_topics.served(now + timedelta(minutes=11))

    assert (1, {"elsewhere"}, {}) == (rings, set(soon), later)


async def test_an_input_that_does_not_fit_the_schema_is_refused(
    rest: httpx.AsyncClient, door: EmbeddedDoor
) -> None:
    """A workflow's input schema holds for every start."""
    schema = {"type": "object", "required": ["n"]}
    await create_workflow(
        door.flow, Draft(name="Strict", bpmn=order("strict").decode(), input_schema=schema)
    )
    answer = await rest.post("/process-definition/key/strict/start", json={})

    assert 400 == answer.status_code
    assert "does not fit" in answer.json()["message"]


async def test_a_version_that_no_workflow_knows_is_not_started(
    rest: httpx.AsyncClient, door: EmbeddedDoor
) -> None:
    """Starts go through workflows, so that none is started that was taken away."""
    deployed = await door.engine.deploy("taken-away", ORDER)
    id_ = deployed.definition_id
    answer = await rest.post(f"/process-definition/{id_}/start", json={})

    assert 404 == answer.status_code


async def test_a_business_key_of_ours_is_not_shown(
    rest: httpx.AsyncClient, door: EmbeddedDoor
) -> None:
    """Without a business key there is none, but a start id that says something is shown."""
    await start(rest)
    await door.engine.start(StartRequest(workflow_key="order", start_id="mine", variables={}))
    first, second = await fetch(rest)

    assert (None, "mine") == (first["businessKey"], second["businessKey"])


async def test_lists_are_paged_and_counted(rest: httpx.AsyncClient) -> None:
    """A page is cut from the order asked for; counts know no pages."""
    for key in "abcd":
        await start(rest, businessKey=key)
    page: dict[str, str | int] = {
        "sortBy": "businessKey",
        "sortOrder": "desc",
        "firstResult": 1,
        "maxResults": 2,
    }
    rows = (await rest.get("/process-instance", params=page)).json()
    count = (await rest.get("/process-instance/count", params={"maxResults": 1})).json()

    assert (["c", "b"], {"count": 4}) == ([row["businessKey"] for row in rows], count)


async def test_a_deployment_is_a_version_of_a_workflow(
    rest: httpx.AsyncClient, client: Client, door: EmbeddedDoor
) -> None:
    """It is made with the right to create, changed with the right to change, as by /workflows."""

    async def deploy(by: httpx.AsyncClient, model: bytes) -> httpx.Response:
        files = {"f": ("order.bpmn", model, "application/xml")}
        return await by.post("/deployment/create", files=files)

    creator = client("CreateWorkflow")
    changed = order("sent", "Check")

    assert 200 == (await deploy(creator, order("sent"))).status_code
    assert 403 == (await deploy(creator, changed)).status_code
    assert 200 == (await deploy(rest, changed)).status_code
    async with door.flow.workflows.begin() as tx:
        workflow = await tx.workflows.by_key("sent")
    assert workflow is not None
    assert (2, "ann") == (workflow.version, workflow.modified_by)


async def deployments(rest: httpx.AsyncClient) -> list[str]:
    """List the ids of the orders' deployments, the oldest first."""
    order = {"key": "order", "sortBy": "version", "sortOrder": "asc"}
    found = (await rest.get("/process-definition", params=order)).json()
    return [each["deploymentId"] for each in found]


async def test_a_deployment_goes_with_its_instances_if_so_asked(
    rest: httpx.AsyncClient, client: Client, door: EmbeddedDoor
) -> None:
    """Both rights are needed for that, and the workflow goes with its only version."""
    instance = await start(rest)
    [deployment] = await deployments(rest)
    where = f"/deployment/{deployment}?cascade=true"

    assert 500 == (await rest.delete(f"/deployment/{deployment}")).status_code
    assert 403 == (await client("DeleteWorkflow").delete(where)).status_code
    assert 204 == (await client("DeleteWorkflow", "ControlInstance").delete(where)).status_code
    ended = (await rest.get(f"/history/process-instance/{instance}")).json()
    assert "EXTERNALLY_TERMINATED" == ended["state"]
    async with door.flow.workflows.begin() as tx:
        assert await tx.workflows.by_key("order") is None


async def test_a_deployment_that_cannot_go_ends_nothing(rest: httpx.AsyncClient) -> None:
    """The latest version stays while there are older ones; so do its instances."""
    files = {"f": ("order.bpmn", order(name="Check"), "application/xml")}
    await rest.post("/deployment/create", files=files)
    instance = await start(rest)
    old, latest = await deployments(rest)

    assert 400 == (await rest.delete(f"/deployment/{latest}?cascade=true")).status_code
    assert 200 == (await rest.get(f"/process-instance/{instance}")).status_code
    assert 204 == (await rest.delete(f"/deployment/{old}")).status_code
    assert 204 == (await rest.delete(f"/deployment/{latest}?cascade=true")).status_code


async def test_what_has_not_stopped_is_not_retried(rest: httpx.AsyncClient) -> None:
    """Jobs are known by their incidents only, and are not stopped by hand."""
    answers = [
        await rest.put(f"/job/{job}/retries", json={"retries": retries})
        for job, retries in (("1", 1), ("9" * 30, 1), ("none", 1), ("1", 0))
    ]

    assert [500, 500, 500, 400] == [answer.status_code for answer in answers]


async def test_variables_are_listed(rest: httpx.AsyncClient) -> None:
    """Those of many instances at once, by name, by instance and page by page."""
    first, second = [
        await start(rest, variables={"n": {"value": n}, "o": {"value": {"x": n}}}) for n in (1, 2)
    ]

    async def listed(**asked: str) -> list[tuple[str, str, Any]]:
        order = {"sortBy": "variableName", "sortOrder": "asc"}
        rows = (await rest.get("/history/variable-instance", params={**order, **asked})).json()
        return [(row["processInstanceId"], row["type"], row["value"]) for row in rows]

    both = [(first, "Integer", 1), (second, "Integer", 2)]
    assert both == sorted(await listed(variableName="n"), key=both.index)
    assert [(second, "Json", '{"x":2}')] == await listed(
        processInstanceId=second, firstResult="1", deserializeValues="false"
    )
    assert {"count": 4} == (await rest.get("/history/variable-instance/count")).json()


async def test_the_engine_may_be_named(rest: httpx.AsyncClient) -> None:
    """Clients that name their engine call it default."""
    assert 200 == (await rest.get("/engine/default/external-task/count")).status_code
    assert 200 == (await rest.get("/engine")).status_code
    assert 404 == (await rest.get("/engine/other/external-task")).status_code
