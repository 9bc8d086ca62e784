"""What crosses a call activity, on the way in and on the way out."""

from collections.abc import Mapping
from typing import Any

from taskloom.engines.embedded.evaluation import evaluate_integer, evaluate_text, map_variables
from taskloom.engines.embedded.flows import naming
from taskloom.engines.embedded.model import Call, Node
from taskloom.engines.embedded.scopes import Scopes
from taskloom.engines.embedded.state import NewCall


def new_call(node: Node, call: Call, activity_id: str, scopes: Scopes) -> NewCall:
    """Compute which process is called, and with which variables."""
    place = scopes.place(activity_id, node)
    everywhere = scopes.everywhere(activity_id, node)
    crossing = map_variables(call.ins, everywhere, scopes.local(activity_id, node))
    return NewCall(
        activity_id=activity_id,
        element=node.id,
        call=call,
        called=evaluate_text(call.called, place) or "",
        version=None if call.version is None else evaluate_integer(call.version, place),
        business_key=evaluate_text(call.business_key, place),
        variables={name: value for name, value, _ in crossing},
    )


def take_back(node: Node, activity_id: str, variables: Mapping[str, Any], scopes: Scopes) -> None:
    """Set what a called instance gives back of its variables."""
    assert isinstance(node.work, Call)
    source = scopes.outside(variables, node)
    with naming(node):
        crossing = map_variables(node.work.outs, source, source)
    for name, value, local in crossing:
        if local:
            scopes.set_own(name, value, activity_id)
        else:
            scopes.set(name, value, activity_id)
