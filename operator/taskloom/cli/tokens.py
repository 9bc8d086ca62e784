"""``taskloom token``: a JWT for local use, signed with the data folder's secret."""

import time
from pathlib import Path
from typing import Annotated, Any

import jwt
import typer

from taskloom.bootstrap import local_jwt_secret
from taskloom.cli.console import note, say
from taskloom.cli.options import DEFAULT_DATA_DIR, DataDirOption
from taskloom.cli.settings import read_settings
from taskloom.cli.spans import seconds_of
from taskloom.domain.permissions import EVERYTHING, Permission, codes
from taskloom.errors import Invalid, Unauthenticated
from taskloom.settings import Settings

_LONGEST = 10 * 365 * 86_400


def token(
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    permissions: Annotated[
        list[str] | None,
        typer.Option(
            "--permissions",
            help="Permission codes, separated by commas; * for all. May be repeated.",
            metavar="CODES",
            show_default="*",
        ),
    ] = None,
    subject: Annotated[
        str, typer.Option("--subject", help="Whom the token speaks for.", metavar="NAME")
    ] = "local",
    ttl: Annotated[
        str, typer.Option("--ttl", help="How long it is valid: 90s, 30m, 24h.", metavar="SPAN")
    ] = "24h",
) -> None:
    """Make a token for local use and print it, and nothing else.

    It is signed with TASKLOOM_JWT_SECRET, or with the data folder's secret, which is made if
    there is none.
    """
    granted = [code.strip() for given in permissions or ["*"] for code in given.split(",")]
    granted = [code for code in granted if code]
    if not granted:
        raise typer.BadParameter("give at least one code, or *", param_hint="--permissions")
    seconds = seconds_of(ttl, "--ttl")
    if not 1 <= seconds <= _LONGEST:
        raise typer.BadParameter("must be from 1s to ten years", param_hint="--ttl")
    known = {EVERYTHING, *(code for permission in Permission for code in codes(permission))}
    for code in sorted(set(granted) - known):
        note(f"No call here asks for the permission {code}.", "yellow")
    settings = read_settings(data_dir=data_dir)
    say(
        make_token(
            settings,
            permissions=granted,
            subject=subject,
            seconds=int(seconds),
            secret=_secret(settings) or local_jwt_secret(data_dir),
        )
    )


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
    secret = _secret(settings)
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


def _secret(settings: Settings) -> str | None:
    if settings.auth_mode not in {"jwt-secret", "disabled"}:
        raise Invalid(
            f"The auth mode is {settings.auth_mode}, so tokens come from elsewhere: give --token."
        )
    given = settings.jwt_secret
    return None if given is None else given.get_secret_value()
