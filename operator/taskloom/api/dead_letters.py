"""Messages that are no events: to look at, to repair, to replay, to discard."""

import base64
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Response
from pydantic import Field as Bound

from taskloom.api.calls import Count, call, chosen, filter_over, where_over
from taskloom.api.door import Door, json_response
from taskloom.api.services import Api
from taskloom.api.views import View
from taskloom.domain.dead_letters import DeadLetter
from taskloom.domain.permissions import Permission
from taskloom.domain.query_tree import Filter, Queryable, Where
from taskloom.domain.query_values import Field, FieldType
from taskloom.errors import Invalid, NotFound
from taskloom.flow.dead_letters import Repair, discard_letter, replay_letter, replay_source
from taskloom.flow.render import instant_to_json
from taskloom.resources.fields import EventKey

router = APIRouter(tags=["dead letters"], route_class=Door)

DEAD_LETTERS = Queryable(
    fields={
        "id": Field(type=FieldType.UUID),
        "source": Field(type=FieldType.TEXT),
        "reason": Field(type=FieldType.TEXT),
        "state": Field(type=FieldType.TEXT),
        "idempotencyKey": Field(type=FieldType.TEXT),
        "eventId": Field(type=FieldType.UUID),
        "createdOn": Field(type=FieldType.DATETIME),
    }
)


class DeadLetterView(View):
    """A message that is no event; `body` if it is text, `bodyBase64` if not, one alone only."""

    id: UUID | None = None
    source: str | None = None
    reason: str | None = None
    state: str | None = None
    headers: dict[str, str] | None = None
    idempotency_key: str | None = None
    size: int | None = None
    event_id: UUID | None = None
    created_on: str | None = None
    finished_at: str | None = None
    body: str | None = None
    body_base64: str | None = None


class RepairView(View):
    """What to read in place of what came; what is left out stays as it was."""

    body: str | None = None
    body_base64: str | None = None
    headers: dict[str, str] | None = None
    key: EventKey | None = None


class ReplayView(View):
    """Which letters to replay: the open ones of a source, `namespace/name`, the oldest first.

    `after` is where an earlier call left off: its `next`.
    """

    source: Annotated[str, Bound(min_length=3, max_length=507, pattern=r"^[^/]+/[^/]+$")]
    limit: Annotated[int, Bound(ge=1, le=10_000)] = 1000
    after: UUID | None = None
    dry_run: bool = False


class ReplayedView(View):
    """The event that a letter became; none if the source's filter passes it over."""

    event_id: UUID | None


class ReplayedManyView(View):
    """How many became events, are passed over by the filter, or are no events still.

    While there is a `next` there may be more: call again with it as `after`.
    """

    replayed: int
    filtered: int
    invalid: int
    next: UUID | None


@router.get(
    "/dead-letters",
    response_model=list[DeadLetterView],
    **call(Permission.VIEW_EVENTS, "List dead letters", asks="filter"),
)
async def list_dead_letters(
    api: Api, query: Annotated[Filter, filter_over(DEAD_LETTERS)]
) -> Response:
    """List messages of event sources that are no events, without their bodies."""
    async with api.flow.tasks.begin() as tx:
        letters = await tx.dead_letters.list(query)
    return json_response([chosen(letter_to_json(letter), query) for letter in letters])


@router.get(
    "/dead-letters/count",
    response_model=Count,
    **call(Permission.VIEW_EVENTS, "Count dead letters", asks="where"),
)
async def count_dead_letters(
    api: Api, where: Annotated[Where, where_over(DEAD_LETTERS)]
) -> Response:
    """Count the dead letters that match."""
    async with api.flow.tasks.begin() as tx:
        count = await tx.dead_letters.count(where)
    return json_response({"count": count})


@router.post(
    "/dead-letters/replay",
    response_model=ReplayedManyView,
    **call(Permission.TRIGGER_EVENTS, "Replay the dead letters of a source"),
)
async def post_replay_of_source(api: Api, asked: Annotated[ReplayView, Body()]) -> Response:
    """Read a source's open letters again, by the source as it is now; `dryRun` only counts."""
    done = await replay_source(
        api.flow,
        asked.source,
        limit=asked.limit,
        after=asked.after,
        dry_run=asked.dry_run,
    )
    return json_response(
        {
            "replayed": done.replayed,
            "filtered": done.filtered,
            "invalid": done.invalid,
            "next": None if done.last is None else str(done.last),
        }
    )


@router.get(
    "/dead-letters/{letter_id:uuid}",
    response_model=DeadLetterView,
    **call(Permission.VIEW_EVENTS, "Look at a dead letter"),
)
async def get_dead_letter(api: Api, letter_id: UUID) -> Response:
    """Show one, with its body."""
    async with api.flow.tasks.begin() as tx:
        letter = await tx.dead_letters.get(letter_id)
        body = await tx.dead_letters.body(letter_id)
    if letter is None:
        raise NotFound(f"There is no dead letter {letter_id}.")
    return json_response(letter_to_json(letter) | _body_to_json(body))


@router.post(
    "/dead-letters/{letter_id:uuid}/replay",
    response_model=ReplayedView,
    **call(Permission.TRIGGER_EVENTS, "Replay a dead letter"),
)
async def post_replay(
    api: Api, letter_id: UUID, repair: Annotated[RepairView | None, Body()] = None
) -> Response:
    """Read one again by its source as it is now, repaired if a body, headers or a key are given."""
    wanted = Repair() if repair is None else _repair(repair)
    event_id = await replay_letter(api.flow, letter_id, wanted)
    return json_response({"eventId": None if event_id is None else str(event_id)})


@router.post(
    "/dead-letters/{letter_id:uuid}/discard",
    status_code=204,
    **call(Permission.TRIGGER_EVENTS, "Discard a dead letter"),
)
async def post_discard(api: Api, letter_id: UUID) -> Response:
    """Close one: it is not to become an event."""
    await discard_letter(api.flow, letter_id)
    return Response(status_code=204)


def letter_to_json(letter: DeadLetter) -> dict[str, Any]:
    """Give a letter's JSON, without its body."""
    return {
        "id": str(letter.id),
        "source": letter.origin.removeprefix("source:"),
        "reason": letter.reason,
        "state": letter.state,
        "headers": dict(letter.headers),
        "idempotencyKey": letter.idempotency_key,
        "size": letter.size,
        "eventId": None if letter.event_id is None else str(letter.event_id),
        "createdOn": instant_to_json(letter.created_on),
        "finishedAt": instant_to_json(letter.finished_at),
    }


def _body_to_json(body: bytes | None) -> dict[str, str | None]:
    if body is None:
        return {"body": None}
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"bodyBase64": base64.b64encode(body).decode()}


def _repair(given: RepairView) -> Repair:
    body = None if given.body is None else given.body.encode("utf-8", "surrogatepass")
    if given.body_base64 is not None:
        if body is not None:
            raise Invalid("Give body or bodyBase64, not both.", field="bodyBase64")
        try:
            body = base64.b64decode(given.body_base64, validate=True)
        except ValueError as error:
            raise Invalid("bodyBase64 is no base64.", field="bodyBase64") from error
    headers = given.headers
    if headers is not None:
        headers = {name.lower(): value for name, value in headers.items()}
    return Repair(body=body, headers=headers, key=given.key)
