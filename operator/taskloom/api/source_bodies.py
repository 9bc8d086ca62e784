"""What is posted to an http source: of which type it may be, and the events it makes."""

from collections.abc import Mapping, Sequence

from taskloom.api.bodies import check_encoding, check_json
from taskloom.domain.cloud_events import ANY_STRUCTURED, BATCH, STRUCTURED, media_type, prefix_of
from taskloom.domain.events import NewEvent
from taskloom.domain.json_text import read_elements
from taskloom.domain.sources import EventSource, origin_of
from taskloom.errors import Invalid, TooLarge, UnsupportedMediaType
from taskloom.flow.read_message import Message, read_message
from taskloom.ids import new_id
from taskloom.resources.event_source import EventSourceSpec

MAX_BATCH = 5_000
"""Events of one call."""

_CREDENTIALS = frozenset({"authorization", "cookie", "x-api-secret"})
_WITHOUT_ASKING = frozenset(
    {"", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded"}
)
"""What a browser sends for a foreign page without asking first."""


def is_batch(spec: EventSourceSpec, headers: Mapping[str, str]) -> bool:
    """Tell whether a body holds several events."""
    kind = media_type(headers.get("content-type", ""))
    return spec.format.type == "CloudEvents" and kind == BATCH


def check_type(spec: EventSourceSpec, headers: Mapping[str, str]) -> None:
    """Raise `UnsupportedMediaType`, saying what to send, for a body the format cannot be read of.

    CloudEvents in binary mode have data of any type; an adapter reads any type, but of an
    anonymous sender none that a foreign page can make a browser send.
    """
    if spec.format.type == "CloudEvents":
        _check_cloud_events(headers)
    elif spec.format.type == "Adapter":
        auth = None if spec.http is None else spec.http.auth
        kind = media_type(headers.get("content-type", ""))
        if auth is not None and auth.anonymous and kind in _WITHOUT_ASKING:
            raise UnsupportedMediaType(
                "Say what the body is by a content-type that pages cannot send unasked, such as "
                "application/json: this source lets everybody in."
            )
        check_encoding(headers)
    else:
        check_json(headers)


def _check_cloud_events(headers: Mapping[str, str]) -> None:
    kind = media_type(headers.get("content-type", ""))
    if kind.startswith(ANY_STRUCTURED) and kind not in {STRUCTURED, BATCH}:
        raise UnsupportedMediaType(
            f"This source reads no {kind[:100]}: send {STRUCTURED}, {BATCH}, or the attributes in "
            "ce- headers beside data of any type."
        )
    if not kind.startswith(ANY_STRUCTURED) and prefix_of(headers) is not None:
        check_encoding(headers)
        return
    try:
        check_json(headers)
    except UnsupportedMediaType as error:
        raise UnsupportedMediaType(
            f"Send a CloudEvent as {STRUCTURED} in UTF-8, several as {BATCH}, or its attributes in "
            "ce- headers beside data of any type; without a content-encoding."
        ) from error


def read_events(
    source: EventSource,
    spec: EventSourceSpec,
    headers: Mapping[str, str],
    body: bytes,
    once: str | None,
) -> Sequence[NewEvent]:
    """Read all that was posted, or nothing of it; `once` is the call's idempotency key.

    Each event of a batch has its own key instead.  `Invalid` names the first event that is none.
    """
    seen = {name: value for name, value in headers.items() if name not in _CREDENTIALS}
    if not is_batch(spec, headers):
        return [_read(source, spec, seen, body, once)]
    elements = read_elements(body)
    if len(elements) > MAX_BATCH:
        raise TooLarge(f"The batch has {len(elements):,} events, of at most {MAX_BATCH:,}.")
    seen["content-type"] = STRUCTURED
    return [
        _read_element(source, spec, seen, element, place) for place, element in enumerate(elements)
    ]


def _read_element(
    source: EventSource, spec: EventSourceSpec, seen: Mapping[str, str], text: str, place: int
) -> NewEvent:
    try:
        return _read(source, spec, seen, text.encode(), None)
    except Invalid as error:
        within = "" if error.field is None else f".{error.field}"
        raise Invalid(
            f"Event [{place}] of the batch: {error.message} None of the batch was taken.",
            field=f"[{place}]{within}",
        ) from error


def _read(
    source: EventSource,
    spec: EventSourceSpec,
    seen: Mapping[str, str],
    body: bytes,
    once: str | None,
) -> NewEvent:
    return read_message(
        Message(body=body, headers=seen),
        spec.format,
        event_id=new_id(),
        origin=origin_of(source),
        idempotency_key=once,
    )
