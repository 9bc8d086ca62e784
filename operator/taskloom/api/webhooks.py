"""Subscriptions of client apps to outgoing events."""

from typing import Annotated

from fastapi import APIRouter, Body, Header

from taskloom.api.calls import call
from taskloom.api.door import Door
from taskloom.api.services import Api, check_webhooks
from taskloom.api.views import Input, Key, Url
from taskloom.domain.permissions import Permission
from taskloom.flow.subscribe import host_of, subscribe

router = APIRouter(tags=["webhooks"], route_class=Door)


class NewSubscription(Input):
    """Where to tell of events of a key."""

    url: Url
    key: Key


@router.post(
    "/webhooks/subscribe",
    status_code=204,
    **call(Permission.SUBSCRIBE_WEBHOOKS, "Subscribe a URL to events"),
)
async def post_subscription(
    api: Api,
    new: Annotated[
        NewSubscription,
        Body(examples=[{"url": "https://billing.example.com/hooks", "key": "task-*"}]),
    ],
    x_api_key: Annotated[str, Header(description="The client app's key.")] = "",
    x_api_secret: Annotated[str, Header(description="The client app's secret.")] = "",
) -> None:
    """Tell `url` of outgoing events whose key is `key` (a glob: `*` is every one)."""
    check_webhooks(api)
    host_of(new.url)
    await subscribe(api.flow, api_key=x_api_key, api_secret=x_api_secret, url=new.url, key=new.key)
