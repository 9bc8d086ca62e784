"""/engine-rest answers as the engines do whose API it is: the same calls, compared key by key."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskloom.store.database import Database
from taskloom.testing.bpmn import bpmn, external, mapping, path
from taskloom.testing.door import embedded_door
from tests.real.engines.engine import ENGINES, Kind, RealEngine

PERSON = (
    '<userTask id="u" name="Do it" camunda:assignee="ann" camunda:candidateGroups="g1,g2"'
    ' camunda:formKey="f" camunda:dueDate="2030-01-02T03:04:05">'
    "<documentation>why</documentation></userTask>"
)
INPUT = mapping('<camunda:inputParameter name="loc">x</camunda:inputParameter>').replace(
    "</extensionElements>",
    '<camunda:properties><camunda:property name="p" value="v"/></camunda:properties>'
    "</extensionElements>",
)
CAUGHT = (
    '<boundaryEvent id="oops" attachedToRef="a"><errorEventDefinition errorRef="E"/>'
    "</boundaryEvent>"
)
ORDER = bpmn(
    '<startEvent id="s"/>',
    external("a", "ta", INPUT),
    CAUGHT,
    PERSON,
    '<endEvent id="e"/>',
    '<endEvent id="caught"/>',
    path("s a u e"),
    path("oops caught"),
    process_id="order",
    aside='<error id="E" errorCode="E"/>',
)
PAID = bpmn(
    '<startEvent id="s"/>',
    '<intermediateCatchEvent id="m"><messageEventDefinition messageRef="Msg"/>'
    "</intermediateCatchEvent>",
    '<endEvent id="e"/>',
    path("s m e"),
    process_id="msg",
    aside='<message id="Msg" name="paid"/>',
)
VARIABLES = {
    "n": {"value": 1, "type": "Integer"},
    "l": {"value": 1 << 40, "type": "Long"},
    "d": {"value": 1.5, "type": "Double"},
    "b": {"value": True, "type": "Boolean"},
    "nu": {"value": None, "type": "Null"},
    "t": {"value": "x", "type": "String"},
    "at": {"value": "2026-01-02T03:04:05.000+0000", "type": "Date"},
    "un": {"value": 3},
    "uf": {"value": 2.5},
    "us": {"value": "x"},
    "ub": {"value": False},
    "unull": {"value": None},
}
FETCHES: list[dict[str, Any]] = [
    {},
    {"workerId": "w"},
    {"workerId": "w", "maxTasks": 1},
    {"workerId": "w", "maxTasks": 0, "topics": []},
    {"workerId": "w", "maxTasks": 1, "topics": [{"topicName": "ta"}]},
    {"workerId": "w", "maxTasks": 1, "topics": [{"lockDuration": 1}]},
    {"workerId": "w", "maxTasks": 1, "topics": [{"topicName": "t", "lockDuration": 0}]},
    {"workerId": "w", "maxTasks": 1, "topics": [], "asyncResponseTimeout": 2_000_000},
    {"workerId": "w", "maxTasks": 1, "topics": [], "asyncResponseTimeout": -1},
    {"workerId": None, "maxTasks": 1, "topics": [{"topicName": "t", "lockDuration": 1}]},
    {"workerId": "w", "maxTasks": 1, "topics": [], "unknown": 1},
]

# What we have none of, where the engines have something, and the other way round.
NOT_HERE = {
    "category",
    "createTime",  # of variables
    "executionId",
    "historyTimeToLive",
    "removalTime",
    "startActivityId",
    "taskId",
    "assignee",
    "workerId",  # of a failed task, which nobody holds here
}
ONLY_HERE = {"name"}
ONE_KIND_HAS = {"createTime", "camundaFormRef", "operatonFormRef"}  # the first is Operaton's
# Whose words are of no use to compare: they name the engine's classes, or its parser's findings.
OTHER_WORDS = re.compile(r"/(deployment/create|message|nothing|process-definition/.+/start)")


@dataclass
class Exchange:
    """One call and its answer."""

    call: str
    status: int
    media_type: str
    body: Any


@dataclass
class Talk:
    """A conversation with an engine by its REST API."""

    client: httpx.AsyncClient
    exchanges: list[Exchange] = field(default_factory=list)

    async def call(self, method: str, where: str, sent: Any = None, **options: Any) -> Any:
        """Call, note the answer, and give its body."""
        if sent is not None:
            options["json"] = sent
        answer = await self.client.request(method, where, **options)
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        body = answer.json() if media_type == "application/json" else answer.text
        call = f"{method} {where} {sent or options.get('params') or ''}"
        self.exchanges.append(Exchange(call, answer.status_code, media_type, body))
        return body

    async def deploy(self, name: str, model: bytes) -> Any:
        """Deploy a model."""
        model = model.replace(
            b'isExecutable="true"', b'isExecutable="true" camunda:historyTimeToLive="P1D"'
        )
        return await self.call(
            "POST",
            "/deployment/create",
            data={"deployment-name": name, "enable-duplicate-filtering": "true"},
            files={"file": (f"{name}.bpmn", model, "application/xml")},
        )

    async def start(self, key: str, **sent: Any) -> Any:
        """Start an instance."""
        return await self.call("POST", f"/process-definition/key/{key}/start", sent)

    async def fetch(self, worker: str, **topic: Any) -> Any:
        """Fetch the tasks of a topic."""
        topic = {"topicName": "ta", "lockDuration": 60_000, **topic}
        sent = {"workerId": worker, "maxTasks": 5, "topics": [topic]}
        return await self.call("POST", "/external-task/fetchAndLock", sent)


async def converse(talk: Talk) -> None:
    """Go through the whole API, right and wrong."""
    await _definitions(talk)
    instance = await _starts(talk)
    task = await _external_tasks(talk, instance)
    await _outcomes(talk, task)
    await _user_tasks(talk, instance)
    await _history(talk, instance)
    await _messages(talk)
    await _undeploy(talk)
    await _strange(talk)


async def _definitions(talk: Talk) -> None:
    await talk.call("GET", "/engine")
    await talk.deploy("order", ORDER)
    await talk.deploy("order", ORDER)
    await talk.deploy("msg", PAID)
    await talk.deploy("bad", b"<definitions/>")
    await talk.call("GET", "/deployment")
    latest = {"key": "order", "latestVersion": "true"}
    [found] = await talk.call("GET", "/process-definition", params=latest)
    for rest in (f"/{found['id']}", "/key/order", "/key/nope", "/nope", "/count", "/key/order/xml"):
        await talk.call("GET", f"/process-definition{rest}")


async def _starts(talk: Talk) -> str:
    await talk.start("nope")
    await talk.start("order", variables={"n": {"value": "no number", "type": "Integer"}})
    await talk.start("order", variables={"n": {"value": 1, "type": "Wrong"}})
    await talk.start("order", businessKey="other")
    started = await talk.start(
        "order", businessKey="k", variables=VARIABLES, withVariablesInReturn=True
    )
    id_ = str(started["id"])
    for rest in (f"/{id_}", "?businessKey=k", "/nope", "/count", "/nope/variables"):
        await talk.call("GET", f"/process-instance{rest}")
    await talk.call("POST", "/process-instance", {"processInstanceIds": [id_]})
    for rest in ("", "?deserializeValues=false", "/un", "/none"):
        await talk.call("GET", f"/process-instance/{id_}/variables{rest}")
    sent = {"processInstanceId": id_, "executionIdIn": [id_]}
    order = {"sortBy": "variableName", "sortOrder": "asc"}
    await talk.call("POST", "/history/variable-instance", {**sent, "sorting": [order]})
    await talk.call("POST", "/history/variable-instance/count", sent)
    params = {"processInstanceId": id_, "variableName": "n"}
    await talk.call("GET", "/history/variable-instance", params=params)
    return id_


async def _external_tasks(talk: Talk, instance: str) -> str:
    await talk.call("GET", f"/external-task?processInstanceId={instance}")
    await talk.call("GET", "/external-task/count")
    await talk.call("POST", "/external-task/count", {"topicName": "ta", "notLocked": True})
    for sent in FETCHES:
        await talk.call("POST", "/external-task/fetchAndLock", sent)
    [task] = await talk.fetch("w", businessKey="k")
    for topic in (
        {"variables": ["t", "loc", "none"], "includeExtensionProperties": True},
        {"processDefinitionKeyIn": ["nope"]},
        {"processVariables": {"n": 2}},
    ):
        await talk.fetch("v", **topic)
    await talk.call("GET", "/external-task?locked=true&workerId=w")
    await talk.call("GET", f"/external-task/{task['id']}")
    await talk.call("GET", "/external-task/nope")
    return str(task["id"])


async def _outcomes(talk: Talk, task: str) -> None:
    async def post(verb: str, *, id_: str = task, **sent: Any) -> None:
        await talk.call("POST", f"/external-task/{id_}/{verb}", sent)

    await post("extendLock", workerId="other", newDuration=1000)
    await post("extendLock", workerId="w", newDuration=60_000)
    await post("extendLock", workerId="w", newDuration=0)
    await post("extendLock", workerId="w", newDuration=1000, id_="nope")
    await post("complete", workerId="other")
    await post("complete", workerId="w", id_="nope")
    await post("complete")
    await post("failure", workerId="other", errorMessage="m", retries=1, retryTimeout=1)
    await post("failure", workerId="w", id_="nope")
    await post("failure", workerId="w", errorMessage="m", errorDetails="long\nstory", retries=0)
    await talk.call("GET", f"/external-task/{task}/errorDetails")
    await talk.call("GET", "/external-task/nope/errorDetails")
    await talk.call("GET", "/external-task?noRetriesLeft=true")
    [incident] = await talk.call("GET", "/incident")
    await talk.call("GET", f"/incident?configuration={task}&incidentType=failedExternalTask")
    await talk.call("GET", "/incident?incidentType=failedJob")
    await talk.call("GET", f"/incident/{incident['id']}")
    await talk.call("GET", "/incident/nope")
    for sent in ({"retries": 3}, {"retries": -1}, {}):
        await talk.call("PUT", f"/external-task/{task}/retries", sent)
    await talk.call("PUT", "/external-task/nope/retries", {"retries": 3})
    for sent in ({"retries": 3}, {"retries": -1}):
        await talk.call("PUT", "/job/nope/retries", sent)
    await talk.call("GET", "/incident/count")
    await post("lock", workerId="w", lockDuration=60_000)
    await post("lock", workerId="other", lockDuration=60_000)
    await post("unlock")
    await post("unlock", id_="nope")
    await post("lock", workerId="w", lockDuration=60_000)
    await post("failure", workerId="w", errorMessage="m", errorDetails="d", retries=2)
    await talk.fetch("w", businessKey="k")
    await post("bpmnError", workerId="other", errorCode="E")
    await post("bpmnError", workerId="w")
    await post("bpmnError", workerId="w", errorCode="E", id_="nope")
    local = {"lv": {"value": 1}}
    await post("complete", workerId="w", variables={"r": {"value": "ok"}}, localVariables=local)
    await talk.call("POST", "/external-task/nope/unlock")
    [other] = await talk.call("GET", "/external-task?workerId=v")
    await post("bpmnError", workerId="v", errorCode="E", errorMessage="mm", id_=other["id"])


async def _user_tasks(talk: Talk, instance: str) -> None:
    [task] = await talk.call("GET", f"/task?processInstanceId={instance}")
    await talk.call("POST", "/task", {"processInstanceIdIn": [instance], "assignee": "ann"})
    await talk.call("GET", "/task/count?assignee=bob")
    await talk.call("POST", "/task/count", {"processDefinitionKey": "order"})
    for rest in ("", "/variables", "/identity-links", "/identity-links?type=candidate"):
        await talk.call("GET", f"/task/{task['id']}{rest}")
    for rest in ("", "/variables"):
        await talk.call("GET", f"/task/nope{rest}")
    await talk.call("POST", "/task/nope/complete", {})
    done = {"variables": {"done": {"value": True, "type": "Boolean"}}}
    await talk.call("POST", f"/task/{task['id']}/complete", done)
    await talk.call("POST", f"/task/{task['id']}/complete", {})


async def _history(talk: Talk, instance: str) -> None:
    await talk.call(
        "GET",
        "/history/activity-instance",
        params={"processInstanceId": instance, "sortBy": "activityId", "sortOrder": "asc"},
    )
    await talk.call("GET", f"/history/activity-instance/count?processInstanceId={instance}")
    await talk.call("GET", f"/history/process-instance?processInstanceId={instance}")
    await talk.call("GET", "/history/process-instance?unfinished=true")
    await talk.call("GET", f"/history/process-instance/{instance}")
    await talk.call("GET", "/history/process-instance/nope")
    started = await talk.start("order", businessKey="gone")
    await talk.call("DELETE", f"/process-instance/{started['id']}")
    await talk.call("DELETE", f"/process-instance/{started['id']}")
    await talk.call("GET", f"/history/process-instance/{started['id']}")
    await talk.call(
        "GET",
        "/history/activity-instance",
        params={"processDefinitionKey": "order", "sortBy": "activityId", "sortOrder": "asc"},
    )


async def _messages(talk: Talk) -> None:
    await talk.call("POST", "/message", {"messageName": "nothing"})
    await talk.call("POST", "/message", {})
    await talk.start("msg", businessKey="mk", variables={"c": {"value": "1"}})
    sent = {
        "messageName": "paid",
        "businessKey": "mk",
        "correlationKeys": {"c": {"value": "1"}},
        "processVariables": {"v": {"value": 1}},
        "resultEnabled": True,
    }
    await talk.call("POST", "/message", sent)
    await talk.start("msg", businessKey="twice")
    await talk.start("msg", businessKey="twice")
    await talk.call("POST", "/message", {"messageName": "paid", "businessKey": "twice"})
    await talk.call("POST", "/signal", {"name": "x"})
    await talk.call("POST", "/signal", {})


async def _undeploy(talk: Talk) -> None:
    made = await talk.deploy("other", PAID.replace(b'"msg"', b'"other"'))
    await talk.start("other")
    await talk.call("GET", f"/deployment/{made['id']}")
    await talk.call("GET", "/deployment/nope")
    await talk.call("DELETE", f"/deployment/{made['id']}")
    await talk.call("DELETE", f"/deployment/{made['id']}?cascade=true")
    await talk.call("DELETE", f"/deployment/{made['id']}?cascade=true")
    await talk.call("GET", "/process-definition/key/other")
    await talk.call("GET", "/process-instance/count?processDefinitionKey=other")


async def _strange(talk: Talk) -> None:
    await talk.call("GET", "/nothing")
    await talk.call("PUT", "/task")
    await talk.call("GET", "/process-instance?sortBy=x")
    head = {"content-type": "text/plain"}
    await talk.call("POST", "/external-task/fetchAndLock", content=b"{}", headers=head)


# -- comparing ---------------------------------------------------------------------------------

_ID = re.compile(r"(\w+:\d+:)?[0-9a-f]{8}-[0-9a-f-]{27}")


def differences(theirs: Exchange, ours: Exchange) -> list[str]:
    """Say where our answer is another one than an engine's, but for ids, times and names."""
    call = _ID.sub("ID", ours.call)
    found = []
    if (theirs.status, theirs.media_type) != (ours.status, ours.media_type):
        found.append(f"{theirs.status} {theirs.media_type} is {ours.status} {ours.media_type}")
    elif theirs.status >= 400:
        words = theirs.status != 415 and not OTHER_WORDS.search(call)
        for name in ("type", "code", "message"):
            said = _ID.sub("ID", str(theirs.body[name]))
            if name == "message" and not words:
                continue
            if said != _ID.sub("ID", str(ours.body[name])):
                found.append(f"{name} {said!r} is {ours.body[name]!r}")
    else:
        found = _unlike(theirs.body, ours.body, "")
    return [f"{call}: {each}" for each in found]


def _unlike(theirs: Any, ours: Any, where: str) -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return _unlike_objects(theirs, ours, where)
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return [f"{where} has {len(theirs)} items, here {len(ours)}"]
        pairs = zip(theirs, ours, strict=True)
        return [text for a, b in pairs for text in _unlike(a, b, f"{where}[]")]
    name = where.rpartition(".")[2]
    if (ours is None and name in NOT_HERE) or (theirs is None and name in ONLY_HERE):
        return []
    same = isinstance(theirs, type(ours)) and (
        name
        not in {"type", "value", "activityId", "activityType", "state", "p", "count", "businessKey"}
        or theirs == ours
    )
    return [] if same else [f"{where} {theirs!r} is {ours!r}"]


def _unlike_objects(theirs: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> list[str]:
    if any(_ID.fullmatch(key) for key in theirs):  # by the ids of definitions
        return _unlike(list(theirs.values()), list(ours.values()), where)
    alone = (set(theirs) ^ set(ours)) - ONE_KIND_HAS
    if alone:
        return [f"{where} has {sorted(alone)} on one side only"]
    both = set(theirs) & set(ours)
    return [text for key in both for text in _unlike(theirs[key], ours[key], f"{where}.{key}")]


# -- the two sides -----------------------------------------------------------------------------


@pytest.fixture
async def ours(database: Database) -> AsyncIterator[Talk]:
    """Talk to our own door on the embedded engine."""
    transport = httpx.ASGITransport(embedded_door(database).app)
    base = "http://taskloom/engine-rest"
    async with httpx.AsyncClient(transport=transport, base_url=base) as client:
        yield Talk(client)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENGINES)
async def test_it_answers_as_a_real_engine_does(kind: Kind, ours: Talk, tmp_path: Path) -> None:
    """Every call of a long conversation has the same status, keys, types and error."""
    async with (
        RealEngine(kind, tmp_path) as engine,
        httpx.AsyncClient(base_url=engine.url, timeout=30, trust_env=False) as client,
    ):
        theirs = Talk(client)
        await converse(theirs)
    await converse(ours)

    pairs = zip(theirs.exchanges, ours.exchanges, strict=True)
    found = [text for theirs, ours in pairs for text in differences(theirs, ours)]

    assert "" == "\n".join(found)
