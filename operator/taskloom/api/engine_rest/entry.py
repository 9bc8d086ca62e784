"""Who may enter: HTTP Basic with a ClientApp's key and secret, else as on the rest of the API.

The clients of an engine know Basic only.  A ClientApp may do what its scopes grant, no more.
"""

import base64
import binascii
from collections.abc import Mapping

from taskloom.api.door import admit
from taskloom.api.services import ApiServices
from taskloom.domain.json_text import storable
from taskloom.domain.permissions import SCOPES, Permission, Principal
from taskloom.domain.webhooks import ClientApp
from taskloom.errors import Forbidden, Unauthenticated
from taskloom.flow.subscribe import authenticate_client

_BASIC = "basic "
_HINT = "Send a ClientApp's apiKey and apiSecret by HTTP Basic, or a bearer token."


async def enter(
    services: ApiServices, headers: Mapping[str, str], permission: Permission
) -> Principal:
    """Return the caller; raises `Unauthenticated`, or `Forbidden` without the permission.

    `headers` has its names in lower case.
    """
    authorization = headers.get("authorization", "")
    if authorization[: len(_BASIC)].lower() != _BASIC:
        return await _enter_with_token(services, headers, permission)
    if not services.flow.webhooks:
        raise Unauthenticated("This installation has no ClientApps: use a bearer token.")
    key, secret = _credentials(authorization[len(_BASIC) :])
    client = await authenticate_client(services.flow, key, secret)
    check_scope(client, permission)
    held = frozenset(SCOPES[scope].value for scope in client.scopes if scope in SCOPES)
    return Principal(subject=client.name, permissions=held)


async def _enter_with_token(
    services: ApiServices, headers: Mapping[str, str], permission: Permission
) -> Principal:
    try:
        return await admit(services, headers, permission)
    except Unauthenticated as exc:
        if headers.get("authorization"):
            raise
        raise Unauthenticated(_HINT) from exc


def check_scope(client: ClientApp, permission: Permission) -> None:
    """Raise `Forbidden` unless one of the client's scopes grants the permission."""
    scopes = [scope for scope, granted in SCOPES.items() if granted is permission]
    if not scopes:
        raise Forbidden("No scope of a ClientApp grants this call: use a bearer token that does.")
    if not any(scope in client.scopes for scope in scopes):
        raise Forbidden(f"This client app lacks the scope {' or '.join(scopes)}.")


def _credentials(encoded: str) -> tuple[str, str]:
    try:
        key, found, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Unauthenticated(_HINT) from None
    if not found or not key or not secret or not storable(key):
        raise Unauthenticated(_HINT)
    return key, secret
