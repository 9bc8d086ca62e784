"""What a message of a source is: an event, one to pass over, or none; decided, not done."""

from dataclasses import dataclass

from taskloom.domain.cloud_events import prefix_of
from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.domain.events import NewEvent
from taskloom.domain.sources import EventSource, origin_of
from taskloom.errors import Invalid, Permanent
from taskloom.flow.filters import reason_against
from taskloom.flow.read_message import Message, read_message
from taskloom.ids import new_id
from taskloom.ports.connector import Incoming
from taskloom.resources.event_source import EventSourceSpec


@dataclass(frozen=True, slots=True)
class PassedOver:
    """The source's filter does not let the event through."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoEvent:
    """The message is none."""

    reason: str


def admit(
    source: EventSource, spec: EventSourceSpec, message: Incoming
) -> NewEvent | PassedOver | NoEvent:
    """Read a message as the source's format and filter say."""
    body = message.body
    if body is None:
        if spec.format.type != "CloudEvents" or prefix_of(message.headers) is None:
            return NoEvent("The message has no payload.")
        body = b""  # its headers say all: a CloudEvent need not have data
    if len(body) > spec.max_message_bytes:
        return NoEvent(
            f"The message has {len(body):,} bytes, and this source takes "
            f"{spec.max_message_bytes:,}: send less, or raise spec.maxMessageBytes."
        )
    try:
        event = read_message(
            Message(body=body, headers=message.headers),
            spec.format,
            event_id=new_id(),
            origin=origin_of(source),
            idempotency_key=message.idempotency_key,
        )
    except Invalid as error:
        return NoEvent(error.message)
    reason = reason_against(spec.filter, event.key, event.payload, event.source)
    return event if reason is None else PassedOver(reason)


def dead_letter(source: EventSource, message: Incoming, reason: str) -> NewDeadLetter:
    """Write a message that is no event down."""
    return NewDeadLetter(
        id=new_id(),
        source_id=source.id,
        origin=origin_of(source),
        reason=reason,
        body=message.body,
        headers=message.headers,
        idempotency_key=message.idempotency_key,
    )


def spec_of(source: EventSource) -> EventSourceSpec:
    """Read a row's spec; `Permanent` if another version wrote it and this one cannot."""
    given = {name: value for name, value in source.spec.items() if name != "resolved"}
    try:
        return EventSourceSpec.model_validate(given)
    except ValueError as error:
        raise Permanent("This version cannot read the source's spec.") from error
