"""Activities that are done several times: a body around them counts and ends them.

The body is a node of its own, ``<id>#multiInstanceBody`` as on Camunda: flows and boundary events
are the body's, the work is that of the activity within.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from taskloom.engines.embedded import model
from taskloom.engines.embedded.evaluation import Place
from taskloom.engines.embedded.expressions import ExpressionError
from taskloom.engines.embedded.operators import to_number

ALL = "nrOfInstances"
ACTIVE = "nrOfActiveInstances"
COMPLETED = "nrOfCompletedInstances"
COUNTER = "loopCounter"


def unfold(nodes: Mapping[str, model.Node]) -> dict[str, model.Node]:
    """Put a body around each multi-instance activity, and lead the flows to it."""
    bodies = {node.id: body_id(node.id) for node in nodes.values() if node.loop is not None}
    unfolded: dict[str, model.Node] = {}
    for node in nodes.values():
        outgoing = tuple(
            replace(flow, target=bodies.get(flow.target, flow.target)) for flow in node.outgoing
        )
        if node.loop is None:
            unfolded[node.id] = replace(node, outgoing=outgoing)
            continue
        body = model.Node(
            id=bodies[node.id],
            tag="multiInstanceBody",
            name=node.name,
            scope=node.scope,
            work=node.loop,
            incoming=node.incoming,
            outgoing=outgoing,
            default=node.default,
            boundary=node.boundary,
        )
        unfolded[body.id] = body
        unfolded[node.id] = replace(
            node, scope=body.id, incoming=0, outgoing=(), default=None, boundary=()
        )
    return unfolded


def body_id(element: str) -> str:
    """Name the body of a multi-instance activity."""
    return f"{element}#multiInstanceBody"


def count_instances(loop: model.MultiInstance, place: Place) -> int:
    """Tell how often the activity is to be done; raises `ExpressionError`."""
    if loop.cardinality is None:
        return len(_items(loop, place))
    value = loop.cardinality.evaluate(place)
    try:
        number = to_number(value)
    except ValueError as exc:
        raise ExpressionError(f"{loop.cardinality.source[:200]}: {exc}") from exc
    if number != int(number) or number < 0:
        raise ExpressionError(
            f"{loop.cardinality.source[:200]} gives {value!r}: a loop cardinality is a whole"
            " number that is not negative"
        )
    return int(number)


def loop_variables(loop: model.MultiInstance, counter: int, place: Place) -> dict[str, Any]:
    """Give the variables of the instance with this number, its item among them."""
    variables: dict[str, Any] = {COUNTER: counter}
    if loop.collection is not None and loop.item is not None:
        items = _items(loop, place)
        if counter >= len(items):
            raise ExpressionError(f"{loop.collection.source[:200]} has no item {counter} any more")
        variables[loop.item] = items[counter]
    return variables


def is_done(loop: model.MultiInstance, place: Place) -> bool:
    """Tell whether the completion condition holds."""
    return loop.until is not None and loop.until.evaluate_condition(place)


def _items(loop: model.MultiInstance, place: Place) -> list[Any]:
    assert loop.collection is not None, "it was read with a cardinality or a collection"
    value = loop.collection.evaluate(place)
    if not isinstance(value, list | tuple):
        raise ExpressionError(f"{loop.collection.source[:200]} is no list")
    return list(value)
