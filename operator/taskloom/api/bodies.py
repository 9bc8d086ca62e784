"""Reading a request's body: how much, of what type."""

from collections.abc import Mapping
from email.message import Message
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from taskloom.errors import Invalid, TooLarge, UnsupportedMediaType


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes; raises `TooLarge` as soon as it is more."""
    announced = headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise TooLarge(_too_large(limit))
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("The request broke off before its body had arrived.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(_too_large(limit))
        if not message.get("more_body", False):
            return bytes(body)


def check_json(headers: Mapping[str, str]) -> None:
    """Raise `UnsupportedMediaType` unless the body says that it is plain JSON in UTF-8.

    A missing content type is refused as well: a browser can be made to send such a request by a
    foreign page without asking first.
    """
    if not _is_json(headers.get("content-type", "")):
        raise UnsupportedMediaType("Send the body as application/json in UTF-8.")
    check_encoding(headers)


def check_encoding(headers: Mapping[str, str]) -> None:
    """Raise `UnsupportedMediaType` if the body is compressed or the like."""
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("Send the body as it is, without a content-encoding.")


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    if not content_type:
        return False
    message = Message()
    message["content-type"] = content_type[:200]
    kind = message.get_content_type()
    charset = str(message.get_param("charset", "utf-8")).lower()
    return charset in {"utf-8", "utf8"} and (
        kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    )


class BodyLimit:
    """Reads each body before the application does, and refuses what is too large."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        """Wrap `app`; `limit` in bytes."""
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body in one piece."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await read_body(receive, header_map(scope), self._limit)
        first = True

        async def replay() -> AsgiMessage:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self._app(scope, replay, send)


def header_map(scope: Scope) -> dict[str, str]:
    """Give a request's headers by their names in lower case; the last of equals counts."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _too_large(limit: int) -> str:
    return f"The body is larger than {limit:,} bytes: send less."
