"""Whether an event has come as far as it comes by itself, read off its trace."""

from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]

# steps that go on when someone or some time says so; all others go on by themselves
_WAITING = frozenset(
    {"userTask", "intermediateCatchEvent", "boundaryEvent", "subProcess", "callActivity"}
)


def is_settled(trace: Node) -> bool:
    """Tell whether nothing more happens of itself: all is done, given up, or waits for people.

    A webhook that failed and is tried again later counts as settled: its outcome is known.
    """
    for route in trace["routes"]:
        start = route["start"]
        if route["started"] and (
            start is None or (start["state"] == "ready" and not start["error"])
        ):
            return False
    if any(_goes_on(instance) for instance in _instances(trace)):
        return False
    return all(
        delivery["state"] != "pending" or delivery["attempts"]
        for outgoing in trace["outgoing"]
        for delivery in outgoing["deliveries"]
    )


def failures(trace: Node) -> list[str]:
    """List what went wrong on an event's way."""
    found = [
        f"{route['workflowKey']} was not started: {route['start']['error']}"
        for route in trace["routes"]
        if route["start"] is not None and route["start"]["error"]
    ]
    found += [
        f"{task['start']['workflowKey']} was not started: {task['start']['error']}"
        for instance in _instances(trace)
        for task in instance.get("tasks", ())
        if task.get("start") is not None and task["start"]["error"]
    ]
    found += [
        f"{incident['element']} of {instance.get('workflowKey')}: {incident['message']}"
        for instance in _instances(trace)
        for incident in instance.get("incidents", ())
    ]
    for outgoing in trace["outgoing"]:
        for delivery in outgoing["deliveries"]:
            if delivery["state"] != "delivered" and delivery["attempts"]:
                last = delivery["attempts"][-1]
                said = last["error"] or f"answered {last['status']}"
                found.append(f"{outgoing['key']} was not delivered to {delivery['host']}: {said}")
    return found


def _instances(node: Node) -> Iterator[Node]:
    for route in node["routes"]:
        yield from _below(route["instance"])


def _below(instance: Node | None) -> Iterator[Node]:
    if instance is None:
        return
    yield instance
    for task in instance.get("tasks", ()):
        yield from _below(task["instance"])


def _goes_on(instance: Node) -> bool:
    if instance["state"] != "active" or instance.get("incidents"):
        return False
    failed = any(command["state"] == "failed" for command in instance.get("commands", ()))
    active = [each for each in instance.get("activities", ()) if each["state"] == "active"]
    return not failed and any(each["type"] not in _WAITING for each in active)
