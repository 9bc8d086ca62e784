"""Which events may be attached to an activity, or stand as event sub-processes in a scope."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from taskloom.engines.embedded import model
from taskloom.engines.embedded.events import (
    ErrorEvent,
    EscalationEvent,
    Event,
    MessageEvent,
    SignalEvent,
)
from taskloom.engines.embedded.problems import Problems
from taskloom.engines.embedded.waiting import waits_of

_ESCALATING = frozenset({"callActivity", "subProcess", "userTask"})


def attach(nodes: Mapping[str, model.Node], problems: Problems) -> dict[str, list[str]]:
    """Give each activity its boundary events; what does not fit is noted as a problem."""
    boundary: dict[str, list[str]] = defaultdict(list)
    for node in nodes.values():
        work = node.work
        if not isinstance(work, model.Boundary):
            continue
        host = nodes.get(work.attached_to)
        if host is None or host.scope != node.scope or not _is_activity(host):
            problems.add(
                node.id, f"its attachedToRef {work.attached_to!r} names no activity beside it"
            )
            continue
        if isinstance(work.event, EscalationEvent) and host.tag not in _ESCALATING:
            problems.add(
                node.id,
                f"a {host.tag} lets no escalation through:"
                " attach it to a sub-process, a call activity or a user task",
            )
        boundary[host.id].append(node.id)
    for ids in boundary.values():
        _check_distinct([(id_, nodes[id_].work) for id_ in ids], "boundary event", problems)
    return boundary


def check_handlers(nodes: Mapping[str, model.Node], problems: Problems) -> None:
    """Note event sub-processes of one scope that wait for the same."""
    handlers: dict[str, list[tuple[str, model.Work]]] = defaultdict(list)
    for node in nodes.values():
        if isinstance(node.work, model.EventSubProcess):
            handlers[node.scope].append((node.id, node.work))
    for found in handlers.values():
        _check_distinct(found, "event sub-process", problems)


def check_waits(process: model.Process, problems: Problems) -> None:
    """Note events of one activity, or of the process, that wait for the same message or signal.

    It may be the activity's own, one on its boundary, behind it, or of an event sub-process in it.
    """
    for node in (None, *process.nodes.values()):
        seen: dict[tuple[str, str], str] = {}
        for wait in waits_of(process, node):
            match wait.event:
                case MessageEvent(name=name):
                    key = ("message", name.source)
                case SignalEvent(name=name):
                    key = ("signal", name.source)
                case _:
                    continue
            if key in seen:
                problems.add(
                    wait.element, f"it waits for the same {key[0]} as {seen[key]!r} in one scope"
                )
            seen.setdefault(key, wait.element)


def _check_distinct(found: Iterable[tuple[str, model.Work]], what: str, problems: Problems) -> None:
    """Note events of one place that catch the same, of which one would never come to it."""
    seen: set[tuple[type[Event], str | None]] = set()
    for element_id, work in found:
        assert isinstance(work, model.Boundary | model.EventSubProcess)
        match work.event:
            case ErrorEvent(code=code):
                key: tuple[type[Event], str | None] = (ErrorEvent, code)
                kind = "error"
            case EscalationEvent(code=code):
                key, kind = (EscalationEvent, code), "escalation"
                # as on Camunda: one for all goes with no other
                if (EscalationEvent, None) in seen or (
                    code is None and any(each is EscalationEvent for each, _ in seen)
                ):
                    problems.add(element_id, f"another {what} catches the same escalation")
                    continue
            case _:
                continue
        if key in seen:
            problems.add(element_id, f"another {what} catches the same {kind}")
        seen.add(key)


def _is_activity(node: model.Node) -> bool:
    return node.tag.endswith(("ask", "ctivity", "ubProcess")) and not isinstance(
        node.work, model.EventSubProcess
    )
