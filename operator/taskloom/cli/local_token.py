"""Tokens made here, for a server whose secret is at hand."""

import time
from pathlib import Path
from typing import Any

import jwt

from taskloom.cli.settings import read_settings
from taskloom.domain.permissions import EVERYTHING
from taskloom.errors import Invalid, Unauthenticated
from taskloom.settings import Settings


def make_token(
    settings: Settings, *, permissions: list[str], subject: str, seconds: int, secret: str
) -> str:
    """Sign a token that a server with these settings accepts for so many seconds."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": subject,
        "permissions": permissions,
        "iat": now,
        "exp": now + seconds,
    }
    if settings.jwt_audience is not None:
        claims["aud"] = settings.jwt_audience
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    return jwt.encode(claims, secret, algorithm="HS256")


def own_token(data_dir: Path) -> str:
    """Make a token for a command of this command line, with a secret that is there already."""
    settings = read_settings(data_dir=data_dir)
    secret = given_secret(settings)
    if secret is None:
        path = data_dir / "jwt.secret"
        try:
            secret = path.read_text().strip()
        except OSError as exc:
            raise Unauthenticated(
                f"No token was given, and {path} cannot be read to make one ({exc.strerror}): "
                "give --token, or --data-dir of the server."
            ) from exc
    return make_token(
        settings, permissions=[EVERYTHING], subject="taskloom-cli", seconds=3600, secret=secret
    )


def given_secret(settings: Settings) -> str | None:
    """Give the secret that the environment holds; `Invalid` if tokens are not made by secret."""
    if settings.auth_mode not in {"jwt-secret", "disabled"}:
        raise Invalid(
            f"The auth mode is {settings.auth_mode}, so tokens come from elsewhere: give --token."
        )
    given = settings.jwt_secret
    return None if given is None else given.get_secret_value()
