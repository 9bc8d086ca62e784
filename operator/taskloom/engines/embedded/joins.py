"""Gateways that wait for other tokens: which tokens wait, and whether more can come."""

from taskloom.engines.embedded.model import Inclusive, Node
from taskloom.engines.embedded.state import Activity
from taskloom.engines.embedded.tokens import Tokens


def waiting_at(node: Node, scope: str, tokens: Tokens) -> list[Activity]:
    """List the tokens that wait at a gateway of a scope."""
    return [a for a in tokens.scopes.within(scope) if a.element == node.id]


def can_be_reached(node: Node, scope: str, tokens: Tokens) -> bool:
    """Tell whether another token of the scope can still come to an inclusive gateway."""
    assert isinstance(node.work, Inclusive)
    feeders = node.work.feeders
    return any(
        token.scope == scope and (token.node == node.id or token.node in feeders)
        for token in tokens.ahead
    ) or any(
        a.parent == scope and a.element != node.id and a.element in feeders
        for a in tokens.scopes.activities.values()
    )
