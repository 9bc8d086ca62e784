"""How nodes hang together: flows, boundary events, what each gateway asks of its flows."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from taskloom.engines.embedded import model
from taskloom.engines.embedded.problems import Problems

_BOUNDARY = (model.TimerBoundary, model.ErrorBoundary)


def wire(
    nodes: Mapping[str, model.Node],
    flows: Sequence[tuple[str, model.Flow]],
    problems: Problems,
) -> dict[str, model.Node]:
    """Give every node its flows and boundary events; what does not fit is noted as a problem.

    A node's outgoing flows keep the order of the file, in which their conditions are asked.
    """
    outgoing: dict[str, list[model.Flow]] = defaultdict(list)
    incoming: Counter[str] = Counter()
    for scope, flow in flows:
        if _check_flow(flow, scope, nodes, problems):
            outgoing[flow.source].append(flow)
            incoming[flow.target] += 1
    boundary = _attach(nodes, problems)
    wired = {
        node.id: replace(
            node,
            incoming=incoming[node.id],
            outgoing=tuple(outgoing[node.id]),
            boundary=tuple(boundary[node.id]),
        )
        for node in nodes.values()
    }
    for node in wired.values():
        _check_node(node, problems)
    return {node.id: _with_feeders(node, wired) for node in wired.values()}


def _check_flow(
    flow: model.Flow, scope: str, nodes: Mapping[str, model.Node], problems: Problems
) -> bool:
    found = True
    for role, end in (("sourceRef", flow.source), ("targetRef", flow.target)):
        node = nodes.get(end)
        if node is None:
            problems.add(flow.id, f"its {role} {end!r} names no element of the process")
            found = False
        elif node.scope != scope:
            problems.add(flow.id, f"its {role} {end!r} lies in another sub-process")
            found = False
    target = nodes.get(flow.target)
    if target is not None and isinstance(target.work, _BOUNDARY):
        problems.add(flow.id, "it leads to a boundary event")
    return found


def _attach(nodes: Mapping[str, model.Node], problems: Problems) -> dict[str, list[str]]:
    boundary: dict[str, list[str]] = defaultdict(list)
    codes: set[tuple[str, str | None]] = set()
    for node in nodes.values():
        work = node.work
        if not isinstance(work, _BOUNDARY):
            continue
        host = nodes.get(work.attached_to)
        if host is None or host.scope != node.scope or not _is_activity(host):
            problems.add(
                node.id, f"its attachedToRef {work.attached_to!r} names no activity beside it"
            )
            continue
        if isinstance(work, model.ErrorBoundary):
            if (host.id, work.code) in codes:
                problems.add(node.id, "another boundary event catches the same error")
            codes.add((host.id, work.code))
        boundary[host.id].append(node.id)
    return boundary


def _is_activity(node: model.Node) -> bool:
    return node.tag.endswith(("ask", "ctivity", "ubProcess"))


def _check_node(node: model.Node, problems: Problems) -> None:
    if node.tag == "endEvent" and node.outgoing:
        problems.add(node.id, "a flow leaves an end event")
    if node.default is not None and node.default not in {flow.id for flow in node.outgoing}:
        problems.add(node.id, f"its default {node.default!r} names no flow that leaves it")
    if isinstance(node.work, model.Exclusive):
        _check_exclusive(node, problems)


def _check_exclusive(node: model.Node, problems: Problems) -> None:
    if not node.outgoing:
        problems.add(node.id, "no flow leaves the exclusive gateway")
    if len(node.outgoing) == 1 and node.outgoing[0].condition is not None:
        problems.add(
            node.id, f"its only outgoing flow {node.outgoing[0].id!r} must not have a condition"
        )
    if len(node.outgoing) < 2:
        return
    bare = [f.id for f in node.outgoing if f.condition is None and f.id != node.default]
    if bare and (node.default is not None or len(bare) > 1):
        problems.add(node.id, f"its flow {bare[0]!r} has no condition and is not the default flow")
    for flow in node.outgoing:
        if flow.id == node.default and flow.condition is not None:
            problems.add(node.id, f"its default flow {flow.id!r} must not have a condition")


def _with_feeders(node: model.Node, nodes: Mapping[str, model.Node]) -> model.Node:
    if not isinstance(node.work, model.Inclusive):
        return node
    # as on Camunda: what only a boundary event could bring is not waited for
    before: dict[str, set[str]] = defaultdict(set)
    for each in nodes.values():
        for flow in each.outgoing:
            before[flow.target].add(each.id)
    found: set[str] = set()
    ahead = list(before[node.id])
    while ahead:
        name = ahead.pop()
        if name not in found and name != node.id:
            found.add(name)
            ahead.extend(before[name])
    return replace(node, work=model.Inclusive(feeders=frozenset(found)))
