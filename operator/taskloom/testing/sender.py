"""A sender without a network, for tests of whatever sends."""

from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from taskloom.domain.egress import decide, decide_host
from taskloom.ports.sender import (
    MOST_BODY_KEPT,
    Answer,
    ErrorClass,
    Failure,
    OutgoingRequest,
    SendResult,
)

NO_CONTENT: Final = Answer(status=204, headers={}, body=b"", elapsed_ms=1)


class FakeSender:
    """Answers as it was told to, by URL, and remembers the `requests` it was given.

    It keeps the rules of the port: bodies are cut, and a literal address that the request's policy
    refuses is not called.
    """

    def __init__(self, default: SendResult = NO_CONTENT) -> None:
        self.requests: list[OutgoingRequest] = []
        self._default = default
        self._scripts: dict[str, list[SendResult]] = {}

    def script(self, url: str, *results: SendResult) -> None:
        """Let `url` give these results one after another, the last one ever after."""
        self._scripts[url] = list(results)

    async def send(self, request: OutgoingRequest) -> SendResult:
        """Give the next result of the request's URL."""
        refusal = _refusal(request)
        if refusal:
            return Failure(error=ErrorClass.REFUSED_BY_POLICY, message=refusal, elapsed_ms=0)
        self.requests.append(request)
        script = self._scripts.get(request.url) or [self._default]
        result = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(result, Failure):
            return result
        return replace(
            result,
            headers={name.lower(): value for name, value in result.headers.items()},
            body=result.body[:MOST_BODY_KEPT],
        )


def _refusal(request: OutgoingRequest) -> str:
    host = urlsplit(request.url).hostname or ""
    if host.replace(".", "").isdigit() or ":" in host:
        return decide(host, request.policy).reason
    return decide_host(host).reason
