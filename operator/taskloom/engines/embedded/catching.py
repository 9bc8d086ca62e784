"""What catches a BPMN error."""

from taskloom.engines.embedded.model import ErrorBoundary, Node, Process
from taskloom.engines.embedded.state import State


def catching_event(process: Process, element: str, code: str) -> Node | None:
    """Find the boundary event of an element that catches an error code; its own code goes first."""
    events = [process.nodes[name] for name in process.nodes[element].boundary]
    for wanted in (code, None):
        for event in events:
            if isinstance(event.work, ErrorBoundary) and event.work.code == wanted:
                return event
    return None


def catches_above(process: Process, state: State, activity_id: str, code: str) -> bool:
    """Tell whether an activity, or a scope around it, catches an error code."""
    activities = {a.id: a for a in state.activities}
    at = activity_id
    while at in activities:
        if catching_event(process, activities[at].element, code) is not None:
            return True
        at = activities[at].parent
    return False
