"""EventMapping: an event starts a workflow."""

from typing import ClassVar, Literal

from taskloom.resources.base import Column, Names, Part, Resource, Rule, ready_columns
from taskloom.resources.fields import EventKey, Expression, LongExpression
from taskloom.resources.mapping import MappingSpec, MappingStatus, key_rules


class EventMappingSpec(MappingSpec):
    """An event starts a workflow."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *key_rules("eventKey"),
        Rule(
            rule="self.eventKey == '*' || !self.eventKey.contains('*')",
            message="`eventKey` must be one key, or `*` alone for every event",
            field="eventKey",
        ),
    )

    event_key: EventKey
    """Key of the event, or `*` alone for every event."""
    filter: Expression | None = None
    """CEL over `event` (key, payload, source); only events for which it is true start it."""
    variables: LongExpression | None = None
    """CEL over `event` that gives the start variables as a map; the payload by default."""
    business_key: Expression | None = None
    """CEL over `event` that gives a string: two events with one business key start one
    instance."""


class EventMapping(Resource):
    """An event starts a workflow."""

    names: ClassVar[Names] = Names(kind="EventMapping", plural="eventmappings", short="evmap")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Key", path=".spec.eventKey"),
        Column(name="Workflow", path=".status.workflowKey"),
        *ready_columns(),
    )
    selectable: ClassVar[tuple[str, ...]] = (".spec.eventKey",)
    status_type: ClassVar[type[Part]] = MappingStatus

    kind: Literal["EventMapping"]
    spec: EventMappingSpec
