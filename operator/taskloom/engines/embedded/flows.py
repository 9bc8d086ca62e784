"""Which of its outgoing flows a token takes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from taskloom.engines.embedded.evaluation import Place
from taskloom.engines.embedded.expressions import ExpressionError
from taskloom.engines.embedded.model import Exclusive, Flow, Node, Parallel
from taskloom.errors import Unprocessable


def choose_flows(node: Node, place: Place) -> Sequence[Flow]:
    """Give the flows to take; raises `ExpressionError` if a condition has no truth or none holds.

    A parallel gateway takes all, whatever their conditions; an exclusive one the first that
    holds; every other node all that hold.  The default flow is for when none does.
    """
    if not node.outgoing or isinstance(node.work, Parallel):
        return node.outgoing
    holding = (flow for flow in node.outgoing if flow.id != node.default and _holds(flow, place))
    if isinstance(node.work, Exclusive):
        first = next(holding, None)
        chosen = [] if first is None else [first]
    else:
        chosen = list(holding)
    return chosen or _default(node)


@contextmanager
def naming(node: Node) -> Iterator[None]:
    """Name the element at which an expression fails."""
    try:
        yield
    except ExpressionError as exc:
        raise Unprocessable(f"{node.written}: {exc}.", field=node.written) from exc


def _holds(flow: Flow, place: Place) -> bool:
    return flow.condition is None or flow.condition.evaluate_condition(place)


def _default(node: Node) -> Sequence[Flow]:
    for flow in node.outgoing:
        if flow.id == node.default:
            return (flow,)
    raise ExpressionError("no condition of its outgoing flows holds, and there is no default flow")
