"""Gateways that wait for other tokens: which tokens wait, and whether more can come."""

from collections.abc import Iterable

from taskloom.engines.embedded.model import Inclusive, Node
from taskloom.engines.embedded.scopes import Scopes
from taskloom.engines.embedded.state import Activity


def waiting_at(node: Node, scope: str, scopes: Scopes) -> list[Activity]:
    """List the tokens that wait at a gateway of a scope."""
    return [a for a in scopes.within(scope) if a.element == node.id]


def can_be_reached(
    node: Node, scope: str, ahead: Iterable[tuple[str, str]], scopes: Scopes
) -> bool:
    """Tell whether another token of the scope can still come to an inclusive gateway.

    `ahead` are the tokens on flows: the node each leads to, and its scope.
    """
    assert isinstance(node.work, Inclusive)
    feeders = node.work.feeders
    return any(
        where == scope and (name == node.id or name in feeders) for name, where in ahead
    ) or any(
        a.parent == scope and a.element != node.id and a.element in feeders
        for a in scopes.activities.values()
    )
