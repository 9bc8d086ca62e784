"""Client apps: programs that subscribe to webhooks."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from taskloom.api.calls import call
from taskloom.api.door import Door, json_response
from taskloom.api.services import Api, check_webhooks
from taskloom.api.views import Input, Key, View
from taskloom.domain.permissions import Permission
from taskloom.flow.register_client import register_client

router = APIRouter(tags=["webhooks"], route_class=Door)


class NewClientApp(Input):
    """The name of a program."""

    client_name: Key


class ClientAppView(View):
    """A client app's credentials, shown this once."""

    name: str
    api_key: str
    api_secret: str
    signing_secret: str


_Name = Annotated[NewClientApp, Body(examples=[{"clientName": "billing"}])]


@router.post(
    "/client-app",
    response_model=ClientAppView,
    **call(Permission.CREATE_CLIENT_APP, "Register a client app"),
)
@router.post(
    "/client-apps",
    response_model=ClientAppView,
    **call(Permission.CREATE_CLIENT_APP, "Register a client app (the same as /client-app)"),
)
async def post_client_app(api: Api, new: _Name) -> Response:
    """Make credentials for a program; keep them, as they are shown only now.

    `apiKey` and `apiSecret` authenticate it, `apiSecret` verifies x-task-signature and
    `signingSecret` verifies webhook-signature.
    """
    check_webhooks(api)
    client = await register_client(api.flow, new.client_name)
    body: dict[str, Any] = {
        "name": client.name,
        "apiKey": client.api_key,
        "apiSecret": client.api_secret.reveal(),
        "signingSecret": client.signing_secret.reveal(),
    }
    return json_response(body, headers={"cache-control": "no-store"})
