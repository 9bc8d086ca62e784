"""What a verified token claims, judged: its times, audience, issuer, and who it speaks for."""

import math
from collections.abc import Mapping
from typing import Any

from taskloom.domain.permissions import Principal
from taskloom.errors import Unauthenticated

LEEWAY = 30.0
"""Seconds by which clocks may differ."""

_SUBJECTS = ("sub", "id", "userTenantId", "username")


def judge_claims(
    claims: Mapping[str, Any],
    *,
    now: float,
    audience: str | None = None,
    issuer: str | None = None,
) -> tuple[Principal, float]:
    """Return who the claims speak for, and the second of the epoch until which they do.

    `exp` and `nbf` are checked where present; `aud` and `iss` where they are configured.
    Raises `Unauthenticated` saying which claim is at fault.
    """
    until = _moment(claims, "exp", default=math.inf) + LEEWAY
    if now >= until:
        raise Unauthenticated("The token has expired: get a new one.")
    if now < _moment(claims, "nbf", default=-math.inf) - LEEWAY:
        raise Unauthenticated("The token is not valid yet: check the clocks.")
    if audience is not None:
        given = claims.get("aud")
        if audience not in (given if isinstance(given, list) else [given]):
            raise Unauthenticated("The token is meant for another audience.")
    if issuer is not None and claims.get("iss") != issuer:
        raise Unauthenticated("The token comes from another issuer.")
    return Principal(subject=_subject(claims), permissions=_permissions(claims)), until


def _moment(claims: Mapping[str, Any], name: str, *, default: float) -> float:
    value = claims.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise Unauthenticated(f"The token's claim {name} must be a number of seconds.")
    return float(value)


def _subject(claims: Mapping[str, Any]) -> str:
    for name in _SUBJECTS:
        value = claims.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value):
            # what a text column takes, whatever the issuer wrote
            return str(value).encode("utf-8", "replace").decode().replace("\x00", "")[:255]
    return "anonymous"


def _permissions(claims: Mapping[str, Any]) -> frozenset[str]:
    value = claims.get("permissions", [])
    if not isinstance(value, list):
        raise Unauthenticated("The token's claim permissions must be a list of codes.")
    return frozenset(
        str(code) for code in value if isinstance(code, str | int) and not isinstance(code, bool)
    )
