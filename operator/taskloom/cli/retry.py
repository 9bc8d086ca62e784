"""``taskloom retry``: give what stopped on an event's way another try."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

import typer

from taskloom.cli.console import say
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.server import connect


def retry(
    *,
    event_id: Annotated[UUID, typer.Argument(help="The event's id, as its trace names it.")],
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Try again what failed of an event.

    Starts that were given up and incidents.  Mend the cause first; what is done stays done.
    """

    async def run() -> dict[str, Any]:
        async with connect(url, token, data_dir) as server:
            retried: dict[str, Any] = await server.post(f"/events/{event_id}/retry", b"{}")
            return retried

    retried = asyncio.run(run())
    say(f"{retried['starts']} starts and {retried['incidents']} incidents are tried again.")
