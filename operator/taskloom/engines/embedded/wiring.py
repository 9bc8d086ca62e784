"""How nodes hang together: flows, boundary events, what each gateway asks of its flows."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from taskloom.engines.embedded import model
from taskloom.engines.embedded.attaching import attach, check_handlers
from taskloom.engines.embedded.multi_instance import unfold
from taskloom.engines.embedded.problems import Problems

_UNREACHABLE = {
    model.Boundary: "a boundary event",
    model.EventSubProcess: "an event sub-process",
    model.LinkCatch: "a link catch event",
}


def wire(
    nodes: Mapping[str, model.Node],
    flows: Sequence[tuple[str, model.Flow]],
    problems: Problems,
) -> dict[str, model.Node]:
    """Give every node its flows and boundary events; what does not fit is noted as a problem.

    A node's outgoing flows keep the order of the file, in which their conditions are asked.
    Flows to a link lead to where it is caught; a multi-instance activity gets a node around it.
    """
    links = _links(nodes, problems)
    outgoing: dict[str, list[model.Flow]] = defaultdict(list)
    incoming: Counter[str] = Counter()
    for scope, flow in flows:
        if _check_flow(flow, scope, nodes, problems):
            target = links.get(flow.target, flow.target)
            outgoing[flow.source].append(replace(flow, target=target))
            incoming[target] += 1
    boundary = attach(nodes, problems)
    check_handlers(nodes, problems)
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
        _check_node(node, wired, problems)
    unfolded = unfold(wired)
    return {node.id: _with_targets(node, unfolded) for node in unfolded.values()}


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
    for kind, name in _UNREACHABLE.items():
        if target is not None and isinstance(target.work, kind):
            problems.add(flow.id, f"it leads to {name}")
    return found


def _links(nodes: Mapping[str, model.Node], problems: Problems) -> dict[str, str]:
    """Find where each link leads, by the throw event's id."""
    caught: dict[tuple[str, str], str] = {}
    for node in nodes.values():
        if isinstance(node.work, model.LinkCatch):
            if (node.scope, node.work.link) in caught:
                problems.add(node.id, f"the link {node.work.link!r} is caught twice")
            caught[node.scope, node.work.link] = node.id
    links = {}
    for node in nodes.values():
        if isinstance(node.work, model.LinkThrow):
            target = caught.get((node.scope, node.work.link))
            if target is None:
                problems.add(node.id, f"no event beside it catches the link {node.work.link!r}")
            else:
                links[node.id] = target
    return links


def _check_node(node: model.Node, nodes: Mapping[str, model.Node], problems: Problems) -> None:
    if node.tag == "endEvent" and node.outgoing:
        problems.add(node.id, "a flow leaves an end event")
    if isinstance(node.work, model.LinkThrow) and node.outgoing:
        problems.add(node.id, "a flow leaves a link throw event")
    if isinstance(node.work, model.EventSubProcess):
        if node.outgoing:
            problems.add(node.id, "a flow leaves an event sub-process")
        if node.loop is not None:
            problems.add(node.id, "an event sub-process cannot be multi-instance")
    if node.default is not None and node.default not in {flow.id for flow in node.outgoing}:
        problems.add(node.id, f"its default {node.default!r} names no flow that leaves it")
    if isinstance(node.work, model.Exclusive):
        _check_exclusive(node, problems)
    if isinstance(node.work, model.EventGateway):
        _check_events(node, nodes, problems)


def _check_events(node: model.Node, nodes: Mapping[str, model.Node], problems: Problems) -> None:
    if not node.outgoing:
        problems.add(node.id, "no flow leaves the event-based gateway")
    for flow in node.outgoing:
        target = nodes[flow.target]
        if target.tag != "intermediateCatchEvent" or not isinstance(target.work, model.Catch):
            problems.add(
                node.id,
                f"it leads to {target.id!r}: an event-based gateway leads to events of messages,"
                " signals and timers only",
            )


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


def _with_targets(node: model.Node, nodes: Mapping[str, model.Node]) -> model.Node:
    """Give a gateway the nodes that it looks at while it waits."""
    if isinstance(node.work, model.EventGateway):
        targets = tuple(flow.target for flow in node.outgoing)
        return replace(node, work=model.EventGateway(targets=targets))
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
