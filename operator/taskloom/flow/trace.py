"""The whole way of one event: routes, instances, commands, tasks, deliveries, with times."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from taskloom.domain.deliveries import Attempt, Delivery
from taskloom.domain.events import OutgoingEvent, Route
from taskloom.domain.jobs import Job
from taskloom.domain.tasks import Task
from taskloom.errors import NotFound
from taskloom.flow.render import instant_to_json, task_to_json, user_task_to_json
from taskloom.flow.services import Services
from taskloom.ports.engine import ActivityRecord, Incident, Instance
from taskloom.store.ledger import LedgerEntry
from taskloom.store.transaction import Transaction


async def trace_event(services: Services, event_id: UUID) -> dict[str, Any]:
    """Gather what became of an event, as a JSON tree; `NotFound` if there is none."""
    async with services.tasks.begin() as tx:
        event = await tx.events.get(event_id)
        if event is None:
            raise NotFound(f"There is no event {event_id}.")
        jobs = await tx.jobs.of_event(event_id)
        tasks = await tx.tasks.of_event(event_id)
        user_tasks = await tx.user_tasks.of_tasks([task.id for task in tasks])
        roots = [job.instance_id for job in jobs if job.instance_id is not None]
        roots += [task.external_id for task in tasks if task.external_id is not None]
        ledger = await tx.ledger.of_instances(roots)
        told = await _told(services, tx, event_id)
    engine = services.engine
    instances = {instance.id: instance for instance in await engine.instances(roots)}
    history = await engine.history(roots)
    incidents = await engine.incidents(roots) if roots else ()

    def instance_tree(instance_id: str | None) -> dict[str, Any] | None:
        if instance_id is None:
            return None
        return {
            **_instance(instances.get(instance_id), instance_id),
            "activities": [_activity(a) for a in history if a.instance_id == instance_id],
            "commands": [_command(e) for e in ledger if e.root_instance_id == instance_id],
            "incidents": [_incident(i) for i in incidents if i.root_instance_id == instance_id],
            "tasks": [task_tree(t) for t in tasks if t.origin_instance_id == instance_id],
        }

    def task_tree(task: Task) -> dict[str, Any]:
        return {
            **task_to_json(task),
            "userTasks": [user_task_to_json(u) for u in user_tasks if u.task_id == task.id],
            "instance": instance_tree(task.external_id),
        }

    starts = {job.payload.get("mapping_id"): job for job in jobs}
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
        "outgoing": told,
    }


async def _told(services: Services, tx: Transaction, event_id: UUID) -> list[dict[str, Any]]:
    if not services.webhooks:
        return []
    outgoing = await tx.outgoing.of_event(event_id)
    deliveries = await tx.deliveries.of_outgoing([event.id for event in outgoing])
    attempts = await tx.deliveries.attempts_of([delivery.id for delivery in deliveries])
    hosts = {s.id: s.host for s in await tx.webhooks.subscriptions()} if deliveries else {}
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
                "subscriptionId": str(delivery.subscription_id),
                "host": hosts.get(delivery.subscription_id),
                "state": delivery.state,
                "dueAt": instant_to_json(delivery.due_at),
                "finishedAt": instant_to_json(delivery.finished_at),
                "attempts": [_attempt(a) for a in attempts if a.delivery_id == delivery.id],
            }
            for delivery in deliveries
            if delivery.outgoing_event_id == event.id
        ],
    }


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
        "state": job.state,
        "attempts": job.attempts,
        "error": job.error,
        "createdOn": instant_to_json(job.created_on),
        "finishedAt": instant_to_json(job.finished_at),
    }


def _instance_id(job: Job | None) -> str | None:
    return None if job is None else job.instance_id


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
