"""Every error as `application/problem+json` (RFC 9457), by one table."""

import json
import re
import secrets
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskloom.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Permanent,
    Superseded,
    TaskloomError,
    Temporary,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    UnsupportedMediaType,
)

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"

_STATUSES: Mapping[type[TaskloomError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    UnsupportedMediaType: 415,
    Unprocessable: 422,
    Permanent: 422,
    Superseded: 503,
    Temporary: 503,
    Unavailable: 503,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is answered to an error; `errors` says where in the input it lies."""

    status: int
    code: str
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


def problem_of(error: TaskloomError) -> Problem:
    """Say how an error is answered."""
    status = next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)
    headers: tuple[tuple[str, str], ...] = ()
    if status == 401:
        headers = (("www-authenticate", 'Bearer realm="taskloom"'),)
    elif isinstance(error, Temporary):
        headers = (("retry-after", str(max(1, round(error.delay)))),)
    errors = ((error.field, error.message),) if error.field else ()
    return Problem(
        status=status, code=error.code, detail=error.message, errors=errors, headers=headers
    )


def problem_response(problem: Problem, path: str) -> Response:
    """Put a problem into a response about `path`."""
    body: dict[str, Any] = {
        "type": f"urn:taskloom:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
    }
    if problem.errors:
        body["errors"] = [{"field": field, "detail": detail} for field, detail in problem.errors]
    return Response(
        json.dumps(body),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(problem.headers),
    )


def incident(error: Exception, path: str) -> Problem:
    """Log what nobody foresaw, and answer only a number by which it is found in the log."""
    number = secrets.token_hex(8)
    # as text, as some renderers of tracebacks print local variables, and those may be secrets
    trace = "".join(traceback.format_exception(error))
    log.error("api.unexpected", incident=number, path=path, exception=trace)
    return Problem(
        status=500,
        code="unexpected",
        detail=f"Something unexpected happened here. Ask the operators for incident {number}.",
    )


class Problems:
    """Answers the errors that reach the rim; the outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and turn an exception into its problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as exc:
            path = scope["path"]
            problem = problem_of(exc) if isinstance(exc, TaskloomError) else incident(exc, path)
            if started:
                raise
            await problem_response(problem, path)(scope, receive, send)


def answer_framework_errors(app: FastAPI, allowed: Callable[[str], Sequence[str]]) -> None:
    """Give the framework's own errors the same form; `allowed` lists the methods of a path."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, exc: RequestValidationError) -> Response:
        errors = tuple(validation_errors(exc.errors()))
        detail = "; ".join(f"{field}: {text}" for field, text in errors[:3])
        problem = Problem(status=400, code=Invalid.code, detail=detail, errors=errors)
        return problem_response(problem, request.scope["path"])

    @app.exception_handler(HTTPException)
    async def http(request: Request, exc: HTTPException) -> Response:
        path = request.scope["path"]
        if exc.status_code in {404, 405}:
            problem = _no_route(request.method, path, allowed(path))
        elif exc.status_code < 500:
            problem = Problem(status=exc.status_code, code=Invalid.code, detail=str(exc.detail))
        else:
            problem = incident(exc, path)
        return problem_response(problem, path)


def _no_route(method: str, path: str, allowed: Sequence[str]) -> Problem:
    if not allowed:
        detail = f"There is no {method} {path}. Ids are UUIDs; /docs lists every call."
        return Problem(status=404, code=NotFound.code, detail=detail)
    methods = ", ".join(allowed)
    return Problem(
        status=405,
        code="method-not-allowed",
        detail=f"{method} is not allowed here: use {methods}.",
        headers=(("allow", methods),),
    )


def validation_errors(errors: Sequence[Any]) -> list[tuple[str, str]]:
    """Name each field at fault as the caller wrote it, with what is wrong."""
    named = []
    for error in errors[:20]:
        place, *path = error["loc"]
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
        field = steps.removeprefix(".") or str(place)
        named.append((field[:200], re.sub(r"^Value error, ", "", str(error["msg"]))))
    return named
