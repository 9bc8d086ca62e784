"""What every route has in common: first who calls, then what is sent, then the route itself."""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from taskloom.api.bodies import check_json
from taskloom.api.callers import PREFIX
from taskloom.api.services import ApiServices
from taskloom.domain.json_text import read_json
from taskloom.domain.permissions import Permission, Principal, codes
from taskloom.errors import Forbidden, Invalid, Unauthenticated

_encode = msgspec.json.Encoder().encode


class Needs:
    """A dependency: lets in callers that hold a permission, and gives the route who it is."""

    def __init__(self, permission: Permission) -> None:
        """Ask for `permission`."""
        self.permission = permission

    async def __call__(self, request: Request) -> Principal:
        """Return the caller; raises `Unauthenticated` or `Forbidden`."""
        known: Principal | None = getattr(request.state, "principal", None)
        if known is None:
            services: ApiServices = request.app.state.services
            known = await admit(services, dict(request.headers), self.permission)
            request.state.principal = known
        return known


async def admit(
    services: ApiServices, headers: Mapping[str, str], permission: Permission
) -> Principal:
    """Return the caller; raises `Unauthenticated`, or `Forbidden` without the permission.

    `headers` has its names in lower case.
    """
    if services.callers is not None:
        account = await services.callers.admit(headers, permission)
        if account is not None:
            return account
    principal = await services.authenticator.authenticate(headers)
    if services.callers is not None and principal.subject.startswith(PREFIX):
        # however it was written: only the cluster says who is a ServiceAccount
        raise Unauthenticated("Only a token of the cluster speaks for a ServiceAccount.")
    check_permission(principal, permission)
    return principal


def check_permission(principal: Principal, permission: Permission) -> None:
    """Raise `Forbidden`, naming the code that is missing."""
    if not principal.may(permission):
        names = " or ".join(codes(permission))
        raise Forbidden(f"This call needs the permission {names} in the token.")


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


Caller = Annotated[Principal, Depends(_principal)]
"""A route's argument: who calls, on routes that need a permission."""


class Door(APIRoute):
    """A route that asks for the permission before it looks at the body, and reads JSON strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the checks before the framework's own handler."""
        handle = super().get_route_handler()
        needs = next(
            (item.dependency for item in self.dependencies if isinstance(item.dependency, Needs)),
            None,
        )
        takes_body = self.body_field is not None

        async def checked(request: Request) -> Response:
            if needs is not None:
                await needs(request)
            if takes_body and await request.body():
                check_json(request.headers)
                request.state.body = await request.body()
                request = _Parsed(request.scope, request.receive, read_json(request.state.body))
            return await handle(request)

        return checked


class _Parsed(Request):
    """A request whose JSON has been read already."""

    def __init__(self, scope: Any, receive: Any, value: Any) -> None:
        super().__init__(scope, receive)
        self._value = value
        self._body = b"x"  # only that there is one matters now

    async def json(self) -> Any:
        """Return what was read."""
        return self._value


def needs(permission: Permission) -> Any:
    """Give a route's `dependencies` entry for a permission."""
    return Depends(Needs(permission))


def idempotency_key(given: str | None, name: str = "Idempotency-Key") -> str | None:
    """Check a header that is an idempotency key; `Invalid` unless it is short and plain."""
    if given is None:
        return None
    if not 0 < len(given) <= 255 or not given.isascii() or not given.isprintable():
        raise Invalid(
            f"The header {name} must be 1 to 255 printable ASCII characters.",
            field=name,
        )
    return given


def json_response(
    value: Any, status: int = 200, *, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer JSON; `msgspec.Raw` in it goes out as it is."""
    try:
        body = _encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
        body = json.dumps(value, default=_unpack).encode()
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def _unpack(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    raise TypeError(f"{type(value).__name__} is no JSON")
