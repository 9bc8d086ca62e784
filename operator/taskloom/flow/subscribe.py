"""A client app subscribes a URL to events of a key."""

from urllib.parse import urlsplit

from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import ClientApp, DeliveryOptions, Subscription, Target
from taskloom.errors import Forbidden, Invalid, Unauthenticated
from taskloom.flow.services import Services
from taskloom.ids import derived_id

SCOPE = "webhooks.manage"


async def authenticate_client(services: Services, api_key: str, api_secret: str) -> ClientApp:
    """Find the client app these belong to; unknown and wrong are told apart to nobody."""
    async with services.tasks.begin() as tx:
        client = await tx.webhooks.client_by_key(api_key)
    given = Secret(api_secret)
    if client is None or all(given != secret for secret in client.api_secrets(services.now())):
        raise Unauthenticated("Invalid API key or secret")
    if client.suspended:
        raise Forbidden("This client app is suspended.")
    return client


async def subscribe(
    services: Services, *, api_key: str, api_secret: str, url: str, key: str
) -> Subscription:
    """Subscribe `url` to events of `key` (a glob); the same again changes nothing."""
    client = await authenticate_client(services, api_key, api_secret)
    if SCOPE not in client.scopes:
        raise Forbidden(f"This client app may not subscribe: it lacks the scope {SCOPE}.")
    subscription = Subscription(
        id=derived_id("subscription", client.id, url, key),
        client_id=client.id,
        event_keys=(key,),
        filter=None,
        target=Target(url=Secret(url)),
        host=host_of(url),
        scheme="Both",
        delivery=DeliveryOptions(),
        suspended=False,
        disabled_at=None,
        disabled_reason=None,
        managed_by="api",
        created_on=services.now(),
    )
    async with services.tasks.begin() as tx:
        await tx.webhooks.put_subscription(subscription)
        tx.notify("subscriptions")
    return subscription


def host_of(url: str) -> str:
    """Give the host of a webhook URL; `Invalid` unless it is an absolute http or https one."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises for one out of range
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise Invalid(
            "url must be an absolute http or https URL, such as https://example.com/hooks.",
            field="url",
        )
    if parts.username is not None or parts.password is not None:
        raise Invalid("url must not hold a user name or password.", field="url")
    return host
