"""A running Taskloom, spoken to over HTTP."""

import contextlib
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from taskloom.cli.local_token import own_token
from taskloom.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Permanent,
    TaskloomError,
    Unauthenticated,
    Unavailable,
)

_PATIENCE = 30.0
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_ERRORS: dict[int, type[TaskloomError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}


class Server:
    """Calls Taskloom; what it refuses is raised as the error it stands for."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def get(self, path: str, **query: Any) -> Any:
        """Fetch JSON; a query's values that are None are left out, others that are no text JSON."""
        wanted = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in query.items()
            if value is not None
        }
        return await self._call("GET", path, params=wanted)

    async def post(self, path: str, body: bytes, **headers: str) -> Any:
        """Send JSON text as it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["content-type"] = "application/json"
        return await self._call("POST", path, content=body, headers=named)

    async def trigger(self, body: bytes, idempotency_key: str | None) -> UUID:
        """Send an event; give the id under which it is durable."""
        headers = {"content-type": "application/json"}
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        response = await self._answer("POST", "/events/trigger", content=body, headers=headers)
        return UUID(response.headers["taskloom-event-id"])

    async def patch(self, path: str, value: Any) -> Any:
        """Send a change."""
        return await self._call("PATCH", path, json=value)

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        response = await self._answer(method, path, **options)
        return _json(response, self._url) if response.content else None

    async def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **options)
        except httpx.TransportError as exc:
            reason = str(exc) or type(exc).__name__
            raise Unavailable(
                f"No Taskloom answers at {self._url} ({reason}): start one with `taskloom serve`, "
                "or say with --url where it runs."
            ) from exc
        if response.is_success:
            return response
        raise _refusal(response, self._url)


@contextlib.asynccontextmanager
async def connect(url: str, token: str | None, data_dir: Path) -> AsyncIterator[Server]:
    """Open a connection to the Taskloom at `url`."""
    try:
        checked = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise Invalid(f"{url!r} is no URL: {exc}") from exc
    if checked.scheme not in {"http", "https"} or not checked.host:
        raise Invalid(f"{url!r} is no URL such as http://127.0.0.1:8080: mend --url.")
    bearer = (token or own_token(data_dir)).strip()
    if not (bearer.isascii() and bearer.isprintable()):
        raise Invalid("The token is no JWT: mend --token or TASKLOOM_TOKEN.")
    async with httpx.AsyncClient(
        base_url=checked,
        headers={"authorization": f"Bearer {bearer}"},
        timeout=_PATIENCE,
        trust_env=checked.host not in _HERE,  # no proxy reaches this machine's own ports
    ) as client:
        yield Server(client, url)


def _json(response: httpx.Response, url: str) -> Any:
    try:
        return response.json()
    except ValueError as exc:
        raise _stranger(url) from exc


def _refusal(response: httpx.Response, url: str) -> TaskloomError:
    try:
        problem = response.json()
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        if response.status_code == HTTPStatus.NOT_FOUND:
            return _stranger(url)
        detail = f"{url} answered {response.status_code} {response.reason_phrase}."
    kind = _ERRORS.get(response.status_code)
    if kind is None:
        kind = Invalid if response.is_client_error else Unavailable
    return kind(detail)


def _stranger(url: str) -> TaskloomError:
    return Permanent(f"What answers at {url} is not Taskloom: say with --url where it runs.")
