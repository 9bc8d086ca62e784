"""A client app is registered and given its secrets, shown this once."""

import base64
import secrets

from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import ClientApp
from taskloom.flow.services import Services
from taskloom.ids import new_id


async def register_client(services: Services, name: str) -> ClientApp:
    """Make a client app with a new API key, API secret and signing secret."""
    now = services.now()
    client = ClientApp(
        id=new_id(),
        name=name,
        api_key=new_api_key(),
        api_secret=new_api_secret(),
        signing_secret=new_signing_secret(),
        scopes=("events.trigger", "webhooks.manage"),
        suspended=False,
        managed_by="api",
        created_on=now,
        issued_at=now,
    )
    async with services.tasks.begin() as tx:
        await tx.webhooks.put_client(client)
    return client


def new_api_key() -> str:
    """Make an API key: public, unguessable all the same."""
    return secrets.token_urlsafe(24)


def new_api_secret() -> Secret:
    """Make an API secret of 256 bits."""
    return Secret(secrets.token_urlsafe(32))


def new_signing_secret() -> Secret:
    """Make a Standard Webhooks secret of 256 bits."""
    return Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
