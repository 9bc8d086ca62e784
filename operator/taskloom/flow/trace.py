"""The whole way of one event: routes, instances, commands, tasks, deliveries, with times."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from taskloom.domain.deliveries import Attempt, Delivery
from taskloom.domain.events import Event, OutgoingEvent, Route
from taskloom.domain.jobs import Job, JobKind
from taskloom.domain.sources import name_of
from taskloom.domain.tasks import Task, UserTask
from taskloom.errors import NotFound
from taskloom.flow.render import instant_to_json, task_to_json, user_task_to_json
from taskloom.flow.services import Services
from taskloom.ports.engine import ActivityRecord, Incident, Instance, WorkflowEngine
from taskloom.store.ledger import LedgerEntry
from taskloom.store.transaction import Transaction

_T = TypeVar("_T")
_K = TypeVar("_K")
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What our own tables know of an event."""

    event: Event
    jobs: Sequence[Job]
    tasks: Sequence[Task]
    user_tasks: Sequence[UserTask]
    ledger: Sequence[LedgerEntry]
    told: Sequence[dict[str, Any]]

    @property
    def roots(self) -> list[str]:
        """The root instances that it led to."""
        roots = [job.instance_id for job in self.jobs if job.instance_id is not None]
        return roots + [task.external_id for task in self.tasks if task.external_id is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """What the engine knows of it."""

    instances: Sequence[Instance]
    history: Sequence[ActivityRecord]
    incidents: Sequence[Incident]


async def trace_event(services: Services, event_id: UUID) -> dict[str, Any]:
    """Gather what became of an event, as a JSON tree; `NotFound` if there is none."""
    rows, runs = await _gather(services, event_id)

    instances = {each.id: each for each in runs.instances}
    called = _grouped((i for i in runs.instances if i.id != i.root_id), lambda i: i.root_id)
    history = _grouped(runs.history, lambda each: each.instance_id)
    incidents = _grouped(runs.incidents, lambda each: each.root_instance_id)
    ledger = _grouped(rows.ledger, lambda entry: entry.root_instance_id)
    tasks = _grouped(rows.tasks, lambda task: task.origin_instance_id)
    user_tasks = _grouped(rows.user_tasks, lambda each: each.task_id)
    children = {j.task_id: j for j in rows.jobs if j.kind is JobKind.START_PROCESS}

    def run_of(instance_id: str) -> dict[str, Any]:
        return {
            **_instance(instances.get(instance_id), instance_id),
            "activities": [_activity(each) for each in history[instance_id]],
        }

    def instance_tree(instance_id: str | None) -> dict[str, Any] | None:
        if instance_id is None:
            return None
        below = [each.id for each in called[instance_id]]
        return {
            **run_of(instance_id),
            "called": [run_of(each) for each in below],
            "commands": [_command(entry) for entry in ledger[instance_id]],
            "incidents": [_incident(each) for each in incidents[instance_id]],
            "tasks": [task_tree(task) for id_ in (instance_id, *below) for task in tasks[id_]],
        }

    def task_tree(task: Task) -> dict[str, Any]:
        return {
            **task_to_json(task),
            "userTasks": [user_task_to_json(each) for each in user_tasks[task.id]],
            "start": _start(children.get(task.id)),
            "instance": instance_tree(task.external_id),
        }

    starts = {job.payload.get("mapping_id"): job for job in rows.jobs}
    event = rows.event
    return {
        "id": str(event.id),
        "key": event.key,
        "source": event.source,
        "origin": event.origin,
        "createdOn": instant_to_json(event.created_on),
        "routes": [
            {
                **_route(route),
                "start": _start(starts.get(str(route.mapping_id))),
                "instance": instance_tree(_instance_id(starts.get(str(route.mapping_id)))),
            }
            for route in event.routing
        ],
        "outgoing": rows.told,
    }


async def _gather(services: Services, event_id: UUID) -> tuple[_Rows, _Runs]:
    """Read our tables after the engine: what an ended instance has done is then among the rows."""
    rows = await _rows(services, event_id)
    for _ in range(_TRIES):
        roots = rows.roots
        runs = await _runs(services.engine, roots)
        rows = await _rows(services, event_id)
        if rows.roots == roots:
            break
    return rows, runs


async def _rows(services: Services, event_id: UUID) -> _Rows:
    async with services.tasks.begin() as tx:
        event = await tx.events.get(event_id)
        if event is None:
            raise NotFound(f"There is no event {event_id}.")
        jobs = await tx.jobs.of_event(event_id)
        tasks = await tx.tasks.of_event(event_id)
        roots = [job.instance_id for job in jobs if job.instance_id is not None]
        roots += [task.external_id for task in tasks if task.external_id is not None]
        return _Rows(
            event=event,
            jobs=jobs,
            tasks=tasks,
            user_tasks=await tx.user_tasks.of_tasks([task.id for task in tasks]),
            ledger=await tx.ledger.of_instances(roots),
            told=await _told(services, tx, event_id),
        )


async def _runs(engine: WorkflowEngine, roots: Sequence[str]) -> _Runs:
    if not roots:
        return _Runs(instances=(), history=(), incidents=())
    return _Runs(
        instances=await engine.instances(roots),
        history=await engine.history(roots),
        incidents=await engine.incidents(roots),
    )


async def _told(services: Services, tx: Transaction, event_id: UUID) -> list[dict[str, Any]]:
    if not services.webhooks:
        return []
    outgoing = await tx.outgoing.of_event(event_id)
    deliveries = await tx.deliveries.of_outgoing([event.id for event in outgoing])
    attempts = await tx.deliveries.attempts_of([delivery.id for delivery in deliveries])
    hosts = {s.id: s.host for s in await tx.webhooks.subscriptions()} if deliveries else {}
    if any(delivery.sink_id is not None for delivery in deliveries):
        hosts |= {sink.id: name_of(sink) for sink in await tx.sinks.all()}
    return [_outgoing(event, deliveries, attempts, hosts) for event in outgoing]


def _outgoing(
    event: OutgoingEvent,
    deliveries: Sequence[Delivery],
    attempts: Sequence[Attempt],
    hosts: dict[UUID, str],
) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "key": event.key,
        "createdOn": instant_to_json(event.created_on),
        "deliveries": [
            {
                "id": str(delivery.id),
                **_recipient(delivery, hosts),
                "state": delivery.state,
                "dueAt": instant_to_json(delivery.due_at),
                "finishedAt": instant_to_json(delivery.finished_at),
                "attempts": [_attempt(a) for a in attempts if a.delivery_id == delivery.id],
            }
            for delivery in deliveries
            if delivery.outgoing_event_id == event.id
        ],
    }


def _recipient(delivery: Delivery, hosts: Mapping[UUID, str]) -> dict[str, Any]:
    """Name whom a delivery is to: a subscription by its host, a sink by kind and name."""
    if delivery.sink_id is not None:
        return {"sinkId": str(delivery.sink_id), "host": hosts.get(delivery.sink_id)}
    to = delivery.subscription_id
    return {"subscriptionId": str(to), "host": None if to is None else hosts.get(to)}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "startedAt": instant_to_json(attempt.started_at),
        "milliseconds": attempt.milliseconds,
        "status": attempt.status,
        "error": attempt.error,
    }


def _route(route: Route) -> dict[str, Any]:
    return {
        "mappingId": str(route.mapping_id),
        "workflowKey": route.workflow_key,
        "started": route.started,
        "reason": route.reason,
    }


def _start(job: Job | None) -> dict[str, Any] | None:
    if job is None:
        return None
    return {
        "workflowKey": job.payload.get("workflow_key"),
        "state": job.state,
        "attempts": job.attempts,
        "error": job.error,
        "createdOn": instant_to_json(job.created_on),
        "finishedAt": instant_to_json(job.finished_at),
    }


def _instance_id(job: Job | None) -> str | None:
    return None if job is None else job.instance_id


def _grouped(items: Iterable[_T], key: Callable[[_T], _K]) -> Mapping[_K, list[_T]]:
    groups: dict[_K, list[_T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _instance(instance: Instance | None, instance_id: str) -> dict[str, Any]:
    if instance is None:
        return {"id": instance_id, "state": "unknown"}
    return {
        "id": instance.id,
        "workflowKey": instance.workflow_key,
        "version": instance.version,
        "state": instance.state,
        "startedAt": instant_to_json(instance.started_at),
        "endedAt": instant_to_json(instance.ended_at),
    }


def _activity(activity: ActivityRecord) -> dict[str, Any]:
    return {
        "element": activity.element_id,
        "type": activity.element_type,
        "name": activity.name,
        "state": activity.state,
        "startedAt": instant_to_json(activity.started_at),
        "endedAt": instant_to_json(activity.ended_at),
    }


def _command(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "topic": entry.topic,
        "state": entry.state,
        "attempts": entry.attempts,
        "error": entry.error,
        "startedAt": instant_to_json(entry.started_at),
        "finishedAt": instant_to_json(entry.finished_at),
    }


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "element": incident.element_id,
        "message": incident.message,
        "createdAt": instant_to_json(incident.created_at),
    }
