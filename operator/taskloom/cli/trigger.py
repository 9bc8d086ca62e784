"""``taskloom trigger``: send an event, and perhaps wait until it has had its effect."""

import asyncio
import json
from typing import Annotated, Any
from uuid import UUID

import typer

from taskloom.cli.console import Output, complain, say, show, show_data
from taskloom.cli.event_input import event_body, read_given
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    OutputOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.progress import failures, is_settled
from taskloom.cli.server import Server, connect
from taskloom.cli.spans import seconds_of
from taskloom.cli.trace_tree import trace_tree

_PAUSE = 0.1


def trigger(
    *,
    key: Annotated[str, typer.Argument(help="The event's key, which mappings name.")],
    payload: Annotated[
        str,
        typer.Option(
            "--payload", "-p", help="A JSON object, @FILE with one, or - for standard input."
        ),
    ] = "{}",
    source: Annotated[
        str | None,
        typer.Option("--source", help="Who sends it; filters see it.", show_default=False),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            help="Send it again with the same key and source, and it counts once.",
            metavar="KEY",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Wait until nothing more happens of itself, and print the trace."
        ),
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", help="How long to wait for that.", metavar="SPAN")
    ] = "30s",
    output: OutputOption = Output.TABLE,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Send an event and print its id.

    With --wait its trace is printed, and the exit code is 1 if something failed on its way or
    the time ran out.
    """
    text = read_given(payload, "--payload")
    patience = seconds_of(timeout, "--timeout")

    async def run() -> tuple[UUID, dict[str, Any] | None, bool]:
        async with connect(url, token, data_dir) as server:
            event_id = await server.trigger(event_body(key, text, source=source), idempotency_key)
            if not wait:
                return event_id, None, True
            return event_id, *await _await_settled(server, event_id, patience)

    event_id, trace, settled = asyncio.run(run())
    if trace is None:
        say(str(event_id))
        return
    if output is Output.TABLE:
        show(trace_tree(trace))
    else:
        show_data(trace, output)
    wrong = failures(trace)
    for message in wrong:
        complain(message)
    if not settled:
        complain(f"It is not through after {timeout}: look again with taskloom trace {event_id}.")
    if wrong or not settled:
        raise typer.Exit(1)


async def _await_settled(
    server: Server, event_id: UUID, patience: float
) -> tuple[dict[str, Any], bool]:
    """Fetch the trace until it is settled twice running, as one step may be between two rows."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    before = ""
    while True:
        trace: dict[str, Any] = await server.get(f"/events/{event_id}/trace")
        now = json.dumps(trace)
        if is_settled(trace) and now == before:
            return trace, True
        if loop.time() >= until:
            return trace, False
        before = now
        await asyncio.sleep(_PAUSE)
