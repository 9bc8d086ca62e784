"""One call on its way: who calls, what was sent, and what it is answered with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from taskloom.api.door import json_response
from taskloom.api.engine_rest.faults import invalid
from taskloom.api.engine_rest.parameters import Filters, read_query
from taskloom.api.engine_rest.waiting import WaitingRoom
from taskloom.api.services import ApiServices
from taskloom.domain.json_text import read_json
from taskloom.domain.permissions import Principal
from taskloom.errors import Invalid
from taskloom.flow.foreign_work import TopicNotes
from taskloom.flow.services import Services
from taskloom.ports.hosted_engine import HostedEngine, Kind

ROOT = "/engine-rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was let in.

    `gone` returns when the client has hung up; `address` is the base of links.
    """

    services: ApiServices
    host: HostedEngine
    room: WaitingRoom
    notes: TopicNotes
    own_topics: frozenset[str]
    principal: Principal
    headers: Mapping[str, str]
    path: Mapping[str, str]
    query: Mapping[str, str]
    content: bytes
    address: str
    gone: Callable[[], Awaitable[None]]

    @property
    def flow(self) -> Services:
        """What the use cases work with."""
        return self.services.flow

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.path["id"]

    def body(self) -> Mapping[str, Any]:
        """Read the body: an object, empty if nothing was sent."""
        if not self.content.strip():
            return {}
        try:
            value = read_json(self.content)
        except Invalid as exc:
            raise invalid(exc.message) from exc
        if not isinstance(value, dict):
            raise invalid("The body must be a JSON object")
        return value

    def asked(self) -> Mapping[str, Any]:
        """Give a list's parameters, of the URL and of the body."""
        return {**self.body(), **self.query}

    def link(self, what: str, id_: str) -> Mapping[str, str]:
        """Make a link to something by its id."""
        return {"method": "GET", "href": f"{self.address}/{what}/{id_}", "rel": "self"}


Handler = Callable[[Call], Awaitable[Response]]


def answer(value: Any) -> Response:
    """Answer JSON."""
    return json_response(value)


async def answer_count(call: Call, kind: Kind, filters: Filters) -> Response:
    """Answer how many rows a list has."""
    query = read_query(call.asked(), filters)
    return answer({"count": 0 if query is None else await call.host.count(kind, query)})


def done() -> Response:
    """Answer that it is done, with nothing to say."""
    return Response(status_code=204)


async def hung_up(receive: Callable[[], Awaitable[Any]]) -> None:
    """Return when the client is gone; its request has been read."""
    message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
