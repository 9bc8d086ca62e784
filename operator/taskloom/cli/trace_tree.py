"""An event's way as a tree, with the time that had passed at each step."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text
from rich.tree import Tree

from taskloom.cli.console import printable
from taskloom.cli.texts import read_instant, span, styled

Node = Mapping[str, Any]


def trace_tree(trace: Node) -> Tree:
    """Draw what became of an event; times count from its arrival."""
    began = read_instant(trace["createdOn"])
    tree = Tree(_line("event", trace["key"], _from(trace), _dim(trace["id"], trace["createdOn"])))
    if not trace["routes"]:
        tree.add(Text("no mapping has its key: nothing was started", "yellow"))
    for route in trace["routes"]:
        _add_route(tree, route, began)
    for outgoing in trace["outgoing"]:
        _add_outgoing(tree, outgoing, began)
    return tree


def _add_route(tree: Tree, route: Node, began: datetime) -> None:
    if not route["started"]:
        tree.add(_line("workflow", route["workflowKey"], "not started:", route["reason"]))
        return
    start = route["start"]
    if route["instance"] is None:
        said = "to be started" if start is None else f"start {start['state']}"
        branch = tree.add(_line("workflow", route["workflowKey"], Text(said, "yellow")))
    else:
        branch = tree.add(_instance_line(route["instance"], began))
        _add_instance(branch, route["instance"], began)
    if start is not None and start["error"]:
        branch.add(_start_error_line(start))


def _add_instance(branch: Tree, instance: Node, began: datetime) -> None:
    """Add what happened in an instance, in the order in which it began."""
    steps: list[tuple[str, Tree | Text]] = [
        (activity["startedAt"], _activity_line(activity, began))
        for activity in instance.get("activities", ())
    ]
    steps += [
        (command["finishedAt"], _command_line(command, began))
        for command in instance.get("commands", ())
    ]
    for incident in instance.get("incidents", ()):
        line = _line(styled("incident"), incident["element"], incident["message"])
        steps.append((incident["createdAt"], line))
    steps += [(task["createdOn"], _task_tree(task, began)) for task in instance.get("tasks", ())]
    for called in instance.get("called", ()):
        below = Tree(_instance_line(called, began))
        _add_instance(below, called, began)
        steps.append((called.get("startedAt") or "", below))
    for _, step in sorted(steps, key=lambda item: item[0]):
        branch.add(step)


def _task_tree(task: Node, began: datetime) -> Tree:
    tree = Tree(
        _line(
            "task",
            task["key"],
            f"“{task['name']}”" if task["name"] else "",
            styled(task["status"]),
            _at(task["createdOn"], began),
            _dim(task["id"]),
        )
    )
    for user_task in task["userTasks"]:
        tree.add(
            _line(
                "user task",
                f"“{user_task['name']}”" if user_task["name"] else user_task["key"] or "",
                styled(user_task["status"]),
                _at(user_task["createdOn"], began),
                _by(user_task),
                _dim(user_task["id"]),
            )
        )
    start = task.get("start")
    if task["instance"] is None and start is not None:
        said = Text(f"start {start['state']}", "yellow")
        branch = tree.add(_line("workflow", start["workflowKey"], said))
        if start["error"]:
            branch.add(_start_error_line(start))
    if task["instance"] is not None:
        _add_instance(tree.add(_instance_line(task["instance"], began)), task["instance"], began)
    return tree


def _add_outgoing(tree: Tree, outgoing: Node, began: datetime) -> None:
    branch = tree.add(
        _line("told", outgoing["key"], _at(outgoing["createdOn"], began), _dim(outgoing["id"]))
    )
    if not outgoing["deliveries"]:
        branch.add(Text("no subscription wants it", "dim"))
    for delivery in outgoing["deliveries"]:
        attempts = delivery["attempts"]
        finished = delivery["finishedAt"]
        when = _at(finished, began) if finished else Text(f"due {delivery['dueAt']}", "dim")
        line = _line(
            "sink" if "sinkId" in delivery else "webhook to",
            delivery["host"] or "?",
            styled(delivery["state"]),
            when,
        )
        leaf = branch.add(line)
        for attempt in attempts:
            leaf.add(_attempt_line(attempt, began))


def _start_error_line(start: Node) -> Text:
    return _line(styled("error"), f"after {start['attempts']} attempts:", start["error"])


def _instance_line(instance: Node, began: datetime) -> Text:
    if "workflowKey" not in instance:
        return _line("instance", styled(instance["state"]), _dim(instance["id"]))
    ended = instance["endedAt"]
    return _line(
        "workflow",
        instance["workflowKey"],
        f"v{instance['version']}",
        styled(instance["state"]),
        _at(instance["startedAt"], began),
        Text.assemble("to ", _at(ended, began)) if ended else "",
        _dim(instance["id"]),
    )


def _activity_line(activity: Node, began: datetime) -> Text:
    state = "" if activity["state"] == "completed" else styled(activity["state"])
    return _line(
        activity["type"],
        f"“{activity['name']}”" if activity["name"] else activity["element"],
        state,
        _at(activity["startedAt"], began),
    )


def _command_line(command: Node, began: datetime) -> Text:
    said = command["error"] or ""
    tries = f"{command['attempts']} attempts" if command["attempts"] > 1 else ""
    return _line(
        "command",
        command["topic"],
        styled(command["state"]),
        tries,
        _at(command["finishedAt"], began),
        said,
    )


def _attempt_line(attempt: Node, began: datetime) -> Text:
    answered = "produced" if attempt["status"] is None else f"answered {attempt['status']}"
    answer = attempt["error"] or answered
    took = f"in {attempt['milliseconds']} ms"
    return _line(f"attempt {attempt['number']}", answer, took, _at(attempt["startedAt"], began))


def _line(what: str | Text, *said: str | Text) -> Text:
    parts: Iterable[str | Text] = (Text(what, "bold") if isinstance(what, str) else what, *said)
    shown = [part if isinstance(part, Text) else Text(printable(part)) for part in parts if part]
    return Text(" ").join(shown)


def _at(moment: str, began: datetime) -> Text:
    return Text(f"+{span(read_instant(moment) - began)}", "cyan")


def _dim(*said: str) -> Text:
    return Text(" ".join(printable(text) for text in said), "dim")


def _from(trace: Node) -> str:
    return f"from {trace['source']}" if trace["source"] else ""


def _by(row: Node) -> str:
    by = row.get("modifiedBy")
    return f"by {by}" if by and row["status"] == "completed" else ""
