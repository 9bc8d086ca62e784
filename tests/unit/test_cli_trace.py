"""An event's trace: drawn as a tree, judged as settled or not."""

import io
from typing import Any

from rich.console import Console

from taskloom.cli.progress import failures, is_settled
from taskloom.cli.trace_tree import trace_tree

MOMENT = "2026-11-24T10:00:00"


def _at(milliseconds: int) -> str:
    return f"{MOMENT}.{milliseconds:03}Z"


def _instance(**more: Any) -> dict[str, Any]:
    return {
        "id": "i1",
        "workflowKey": "order",
        "version": 2,
        "state": "active",
        "startedAt": _at(20),
        "endedAt": None,
        "activities": [],
        "commands": [],
        "incidents": [],
        "tasks": [],
        **more,
    }


def _activity(type_: str, *, state: str = "active", at: int = 20) -> dict[str, Any]:
    return {
        "element": f"{type_}_1",
        "type": type_,
        "name": None,
        "state": state,
        "startedAt": _at(at),
        "endedAt": None,
    }


def _task(**more: Any) -> dict[str, Any]:
    return {
        "id": "t1",
        "key": "pack",
        "name": "Pack it",
        "status": "pending",
        "createdOn": _at(40),
        "userTasks": [],
        "instance": None,
        **more,
    }


def _delivery(state: str, *attempts: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "d1",
        "host": "example.com",
        "state": state,
        "dueAt": _at(900),
        "finishedAt": _at(90) if state == "delivered" else None,
        "attempts": list(attempts),
    }


def _attempt(status: int | None, error: str | None = None) -> dict[str, Any]:
    return {
        "number": 1,
        "startedAt": _at(80),
        "milliseconds": 5,
        "status": status,
        "error": error,
    }


def _trace(
    instance: dict[str, Any] | None,
    *,
    start: dict[str, Any] | None = None,
    deliveries: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    done = {"state": "done", "attempts": 1, "error": None}
    return {
        "id": "e1",
        "key": "order.placed",
        "source": "shop",
        "createdOn": _at(0),
        "routes": [
            {
                "workflowKey": "order",
                "started": True,
                "reason": None,
                "start": start or done,
                "instance": instance,
            }
        ],
        "outgoing": [
            {"id": "o1", "key": "task-created", "createdOn": _at(70), "deliveries": [each]}
            for each in deliveries
        ],
    }


def _draw(trace: dict[str, Any]) -> str:
    output = io.StringIO()
    Console(file=output, width=200).print(trace_tree(trace))
    return output.getvalue()


def test_the_whole_way_is_drawn_with_times() -> None:
    """Steps stand in their order, each with the time since the event came."""
    child = _instance(id="i2", workflowKey="packing", activities=[_activity("userTask", at=45)])
    drawn = _draw(
        _trace(
            _instance(
                activities=[_activity("startEvent", state="completed")],
                commands=[
                    {
                        "topic": "create-tasks",
                        "state": "done",
                        "attempts": 1,
                        "error": None,
                        "finishedAt": _at(60),
                    }
                ],
                tasks=[_task(instance=child)],
            ),
            deliveries=(_delivery("delivered", _attempt(204)),),
        )
    )

    wanted = (
        "event order.placed from shop",
        "workflow order v2 active +20 ms",
        "startEvent",
        "task pack “Pack it” pending +40 ms",
        "workflow packing",
        "userTask userTask_1 active +45 ms",
        "command create-tasks done +60 ms",
        "told task-created +70 ms",
        "webhook to example.com delivered +90 ms",
        "attempt 1 answered 204 in 5 ms",
    )
    places = [drawn.index(text) for text in wanted]
    assert places == sorted(places)


def test_what_did_not_start_says_why() -> None:
    """A mapping whose filter kept an event out, and an event that no mapping wants."""
    trace = _trace(None)
    trace["routes"][0] |= {"started": False, "reason": "the filter is false", "start": None}

    assert "order not started: the filter is false" in _draw(trace)
    assert "no mapping has its key" in _draw(trace | {"routes": []})


def test_what_was_called_and_what_a_task_waits_for_is_drawn() -> None:
    """A called workflow with its steps; a task whose own workflow could not start, with why."""
    called = _instance(workflowKey="ship", activities=[_activity("userTask")])
    dead = {"workflowKey": "packing", "state": "dead", "attempts": 1, "error": "no variable 'x'"}
    trace = _trace(_instance(called=[called], tasks=[_task(start=dead)]))
    drawn = _draw(trace)

    for text in ("workflow ship", "userTask_1", "packing start dead", "no variable 'x'"):
        assert text in drawn
    assert ["packing was not started: no variable 'x'"] == failures(trace)


def test_a_terminal_is_not_led_astray() -> None:
    """Control characters of an event's key are written out."""
    drawn = _draw(_trace(None) | {"key": "a\x1b[2Jb"})

    assert "\x1b" not in drawn
    assert "a\\x1b[2Jb" in drawn


def test_waiting_for_people_is_settled() -> None:
    """A user task and a timer wait for what does not come by itself; a service task goes on."""
    people = _instance(activities=[_activity("userTask"), _activity("intermediateCatchEvent")])
    busy = _instance(activities=[_activity("serviceTask")])

    assert is_settled(_trace(people))
    assert not is_settled(_trace(busy))
    assert not is_settled(_trace(_instance(tasks=[_task(instance=busy)])))


def test_a_start_and_a_first_delivery_are_waited_for() -> None:
    """Not settled before the process started, nor before a webhook was tried once."""
    ready = {"state": "ready", "attempts": 0, "error": None}
    ended = _instance(state="completed")

    assert not is_settled(_trace(None, start=ready))
    assert not is_settled(_trace(ended, deliveries=(_delivery("pending"),)))
    assert is_settled(_trace(ended, deliveries=(_delivery("pending", _attempt(500)),)))


def test_failures_are_listed() -> None:
    """What could not start, what stopped, and what was not delivered."""
    incident = {"element": "Task_1", "message": "no such task", "createdAt": _at(50)}
    dead = {"state": "dead", "attempts": 3, "error": "there is no workflow order"}
    stopped = _instance(activities=[_activity("serviceTask")], incidents=[incident])

    assert is_settled(_trace(stopped))
    assert ["Task_1 of order: no such task"] == failures(_trace(stopped))
    assert ["order was not started: there is no workflow order"] == failures(
        _trace(None, start=dead)
    )
    assert ["task-created was not delivered to example.com: answered 500"] == failures(
        _trace(_instance(), deliveries=(_delivery("pending", _attempt(500)),))
    )
    assert [] == failures(
        _trace(_instance(), deliveries=(_delivery("delivered", _attempt(None, "reset")),))
    )
