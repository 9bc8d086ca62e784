"""Deliveries that were given up: to make due once more."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Response
from pydantic import AwareDatetime

from taskloom.api.calls import Count, call
from taskloom.api.door import Door, json_response
from taskloom.api.services import Api
from taskloom.api.views import View
from taskloom.domain.permissions import Permission
from taskloom.flow.replay_deliveries import replay_deliveries

router = APIRouter(tags=["deliveries"], route_class=Door)


class ReplayDeliveriesView(View):
    """Whose: the id of a subscription or sink; `since` and `until` bound when they were made."""

    to: UUID
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    dry_run: bool = False


@router.post(
    "/deliveries/replay",
    response_model=Count,
    **call(Permission.SUBSCRIBE_WEBHOOKS, "Replay the dead deliveries of a subscription or sink"),
)
async def post_replay(api: Api, asked: Annotated[ReplayDeliveriesView, Body()]) -> Response:
    """Make dead deliveries due now, each for one attempt more at least; `dryRun` only counts."""
    count = await replay_deliveries(
        api.flow, asked.to, since=asked.since, until=asked.until, dry_run=asked.dry_run
    )
    return json_response({"count": count})
