"""``taskloom trace``: the whole way of an event."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from taskloom.cli.console import Output, show, show_data
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    OutputOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.server import connect
from taskloom.cli.trace_tree import trace_tree


def trace(
    *,
    event_id: Annotated[
        UUID, typer.Argument(help="The event's id, as trigger and GET /events give it.")
    ],
    output: OutputOption = Output.TABLE,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show an event's whole way, with times.

    Mappings, instances, commands, tasks, user tasks and webhooks, as a tree.
    """
    found = asyncio.run(_fetch(url, token, data_dir, event_id))
    if output is Output.TABLE:
        show(trace_tree(found))
    else:
        show_data(found, output)


async def _fetch(url: str, token: str | None, data_dir: Path, event_id: UUID) -> dict[str, Any]:
    async with connect(url, token, data_dir) as server:
        found: dict[str, Any] = await server.get(f"/events/{event_id}/trace")
    return found
