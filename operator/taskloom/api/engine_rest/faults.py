"""Errors as Camunda's clients expect them: ``{type, message, code}``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskloom.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TaskloomError,
    Temporary,
    TooLarge,
    Unauthenticated,
    Unprocessable,
    UnsupportedMediaType,
)


@dataclass
class Fault(Exception):
    """An answer that is an error.

    `code` is Camunda's: None where its REST layer complains, 0 where its engine does.
    """

    status: int
    type: str
    message: str
    code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Give what is answered."""
        return {"type": self.type, "message": self.message, "code": self.code}


def invalid(message: str) -> Fault:
    """Say that the request is wrong."""
    return Fault(400, "InvalidRequestException", message)


def missing(message: str) -> Fault:
    """Say that the thing asked for is not there, as the REST layer does."""
    return Fault(404, "InvalidRequestException", message)


def null_value(message: str) -> Fault:
    """Say that something needed is null, as the engine does."""
    return Fault(500, "NullValueException", message, 0)


def not_offered(message: str) -> Fault:
    """Refuse what Camunda can and this cannot, rather than do something else."""
    return Fault(400, "InvalidRequestException", f"Not offered here: {message}")


def fault_of(error: TaskloomError) -> Fault:
    """Say how one of our errors is answered; the nearest in the table."""
    for kind, status, name, code in _TABLE:
        if isinstance(error, kind):
            return Fault(status, name, error.message, code, _headers(error))
    return Fault(500, "ProcessEngineException", error.message, 0)


# What a step of the model fails at is the engine's 500: the worker reports it, or tries again.
_TABLE: tuple[tuple[type[TaskloomError], int, str, int | None], ...] = (
    (Unauthenticated, 401, "AuthenticationException", None),
    (Forbidden, 403, "AuthorizationException", None),
    (NotFound, 404, "RestException", 0),
    (Conflict, 400, "BadUserRequestException", 0),
    (TooLarge, 413, "RestException", None),
    (UnsupportedMediaType, 415, "NotSupportedException", None),
    (Unprocessable, 500, "ProcessEngineException", 0),
    (Invalid, 400, "InvalidRequestException", None),
    (Temporary, 503, "RestException", None),
)


def _headers(error: TaskloomError) -> Mapping[str, str]:
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": 'Basic realm="taskloom", Bearer realm="taskloom"'}
    if isinstance(error, Temporary):
        return {"retry-after": str(max(1, round(error.delay)))}
    return {}
