"""``taskloom token``: a JWT for local use, signed with the data folder's secret."""

from typing import Annotated

import typer

from taskloom.bootstrap import local_jwt_secret
from taskloom.cli.console import note, say
from taskloom.cli.local_token import given_secret, make_token
from taskloom.cli.options import DEFAULT_DATA_DIR, DataDirOption
from taskloom.cli.settings import read_settings
from taskloom.cli.spans import seconds_of
from taskloom.domain.permissions import EVERYTHING, Permission, codes

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
    """Make a token for local use and print it.

    Nothing else is printed.  It is signed with TASKLOOM_JWT_SECRET, or with the data folder's
    secret, which is made if there is none.
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
            secret=given_secret(settings) or local_jwt_secret(data_dir),
        )
    )
