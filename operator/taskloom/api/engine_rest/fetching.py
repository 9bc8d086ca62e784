"""fetchAndLock: what a worker asks for, and the long poll."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from taskloom.api.engine_rest import shapes
from taskloom.api.engine_rest.call import Call, answer
from taskloom.api.engine_rest.faults import Fault, invalid, not_offered, null_value
from taskloom.api.engine_rest.parameters import as_list, number_of, text_of
from taskloom.domain.json_text import storable
from taskloom.ports.hosted_engine import TopicRequest, WorkItem

MOST_MILLISECONDS = 1_800_000
_MOST_TASKS = 1_000
_MOST_TOPICS = 200
_LONGEST_LOCK = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One topic as a worker asks for it, and how its tasks are to be shown.

    `names` are the variables to show, None for all; `local` ones of the task itself only.
    """

    request: TopicRequest
    names: tuple[str, ...] | None
    local: bool
    plain: bool

    def variables(self, item: WorkItem) -> Mapping[str, Any]:
        """Choose what is shown of a task's variables."""
        seen = item.local if self.local else item.variables
        if self.names is None:
            return seen
        return {name: seen[name] for name in self.names if name in seen}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """What a worker asks for; it waits for `patience`."""

    worker_id: str
    limit: int
    wanted: tuple[Wanted, ...]
    patience: timedelta
    newest: bool

    @property
    def topics(self) -> frozenset[str]:
        """All topics asked for."""
        return frozenset(each.request.topic for each in self.wanted)


async def fetch_and_lock(call: Call) -> Response:
    """Lock what is due for a worker, or wait until something is."""
    fetch = read_fetch(call.body())
    refuse_own(fetch.topics, call.own_topics)
    if not fetch.wanted or fetch.limit < 1:
        return answer([])
    await call.notes.note(fetch.topics, fetch.patience)
    items = await _fetch(call, fetch)
    wanted = fetch.wanted
    return answer(
        [
            shapes.fetched_item(
                item, wanted[item.request].variables(item), plain=wanted[item.request].plain
            )
            for item in items
        ]
    )


async def _fetch(call: Call, fetch: Fetch) -> Sequence[WorkItem]:
    if not fetch.patience:
        return await _try(call, fetch)
    gone: asyncio.Future[Any] = asyncio.ensure_future(call.gone())
    try:
        with call.room.waiting(fetch.topics) as woken:
            items = await _wait(call, fetch, woken, gone)
        if items and gone.done():  # nobody is there to do them
            for item in items:
                await call.host.unlock(item.id)
        return items
    finally:
        gone.cancel()


async def _wait(
    call: Call, fetch: Fetch, woken: asyncio.Event, gone: asyncio.Future[Any]
) -> Sequence[WorkItem]:
    clock = asyncio.get_running_loop().time
    end = clock() + fetch.patience.total_seconds()
    while True:
        woken.clear()
        items = await _try(call, fetch)
        left = end - clock()
        if items or left <= 0 or call.room.closed or gone.done():
            return items
        call.room.nothing_found()
        waking: asyncio.Future[Any] = asyncio.create_task(woken.wait())
        try:
            await asyncio.wait([waking, gone], timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
        if gone.done() or not woken.is_set():
            return []


async def _try(call: Call, fetch: Fetch) -> Sequence[WorkItem]:
    return await call.host.fetch(
        [each.request for each in fetch.wanted],
        fetch.worker_id,
        limit=fetch.limit,
        newest=fetch.newest,
    )


def refuse_own(topics: frozenset[str], own: frozenset[str]) -> None:
    """Keep what Taskloom's own commands do from workers that would only complete it."""
    taken = sorted(topics & own)
    if taken:
        raise Fault(
            403,
            "AuthorizationException",
            f"The topic {taken[0]} is one that Taskloom itself works on: take another topic.",
        )


def read_fetch(body: Mapping[str, Any]) -> Fetch:
    """Read the body of fetchAndLock."""
    patience = number_of(body, "asyncResponseTimeout")
    if patience > MOST_MILLISECONDS:
        raise invalid(
            "The asynchronous response timeout cannot be set to a value greater than "
            f"{MOST_MILLISECONDS} milliseconds"
        )
    worker_id = text_of(body, "workerId")
    limit = number_of(body, "maxTasks")
    if worker_id is None:
        raise null_value("workerId is null")
    topics = body.get("topics") or []
    if not isinstance(topics, list) or not all(isinstance(each, dict) for each in topics):
        raise invalid("topics must be a list of objects")
    if len(topics) > _MOST_TOPICS:
        raise invalid(f"At most {_MOST_TOPICS} topics can be asked for at once")
    wanted = [_wanted(each) for each in topics]
    return Fetch(
        worker_id=worker_id,
        limit=min(limit, _MOST_TASKS),
        wanted=tuple(each for each in wanted if each is not None),
        patience=timedelta(milliseconds=max(0, patience)),
        newest=_is_newest_first(body.get("sorting")),
    )


def _wanted(topic: Mapping[str, Any]) -> Wanted | None:
    """Read one topic; None if it can never have a task here, as there are no tenants."""
    name = text_of(topic, "topicName")
    if name is None:
        raise null_value("topicName is null")
    if not storable(name):
        raise invalid("topicName holds characters that no topic has")
    having = topic.get("processVariables") or {}
    if not isinstance(having, dict):
        raise invalid("processVariables must be an object of values by name")
    if topic.get("processDefinitionVersionTag") is not None:
        raise not_offered("processDefinitionVersionTag, as definitions have no version tags.")
    request = TopicRequest(
        topic=name,
        lock=lock_of(topic, "lockDuration", status=500),
        business_key=text_of(topic, "businessKey"),
        definition_ids=_either(topic, "processDefinitionId", "processDefinitionIdIn"),
        workflow_keys=_either(topic, "processDefinitionKey", "processDefinitionKeyIn"),
        variables=having,
        properties=bool(topic.get("includeExtensionProperties")),
    )
    if topic.get("tenantIdIn"):
        return None
    names = topic.get("variables")
    return Wanted(
        request=request,
        names=None if names is None else tuple(as_list(names)),
        local=bool(topic.get("localVariables")),
        plain=bool(topic.get("deserializeValues")),
    )


def lock_of(body: Mapping[str, Any], name: str, *, status: int = 400) -> timedelta:
    """Read how long a task is to be held."""
    milliseconds = number_of(body, name)
    if milliseconds <= 0:
        kind = "ProcessEngineException" if status == 500 else "RestException"
        raise Fault(status, kind, "lockTime is not greater than 0", 0)
    return min(_LONGEST_LOCK, timedelta(milliseconds=min(milliseconds, 1 << 45)))


def _either(topic: Mapping[str, Any], one: str, several: str) -> tuple[str, ...] | None:
    """Join a filter on one value and one on several: both hold."""
    only, among = text_of(topic, one), topic.get(several)
    if among is None:
        return None if only is None else (only,)
    given = tuple(as_list(among))
    return given if only is None else tuple(each for each in given if each == only)


def _is_newest_first(sorting: Any) -> bool:
    first = sorting[0] if isinstance(sorting, list) and sorting else {}
    return (
        isinstance(first, dict)
        and first.get("sortBy") == "createTime"
        and first.get("sortOrder") == "desc"
    )
