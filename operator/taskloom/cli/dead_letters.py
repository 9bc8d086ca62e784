"""``taskloom dead-letters``, ``replay`` and ``discard``: what stopped, and another try for it."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer

from taskloom.cli.console import Output, say, show_data, show_table
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    OutputOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.server import Server, connect
from taskloom.errors import Invalid

T = TypeVar("T")
_AT_ONCE = 500
_Id = Annotated[UUID | None, typer.Argument(help="A dead letter's id.", show_default=False)]
_Source = Annotated[
    str | None,
    typer.Option("--source", help="An EventSource.", metavar="NAMESPACE/NAME", show_default=False),
]


def dead_letters(
    *,
    letter_id: _Id = None,
    source: _Source = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Also those that were replayed or discarded.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="How many are listed.")
    ] = 100,
    output: OutputOption = Output.TABLE,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Look at messages of event sources that are no events.

    Without an id it lists the newest, with why they are none; with one it shows the message.
    """
    if letter_id is not None:
        shown = _call(url, token, data_dir, lambda server: server.get(f"/dead-letters/{letter_id}"))
        if output is Output.TABLE:
            _show(shown)
        else:
            show_data(shown, output)
        return
    where: dict[str, Any] = {} if closed else {"state": "open"}
    if source is not None:
        where["source"] = f"source:{source}"
    query = {"where": where, "order": ["createdOn DESC"], "limit": limit}
    letters = _call(url, token, data_dir, lambda server: server.get("/dead-letters", filter=query))
    if output is not Output.TABLE:
        show_data(letters, output)
    elif letters:
        show_table(
            ("ID", "SOURCE", "STATE", "BYTES", "CREATED", "REASON"),
            [
                (
                    each["id"],
                    each["source"],
                    each["state"],
                    str(each["size"]),
                    each["createdOn"],
                    each["reason"],
                )
                for each in letters
            ],
        )
    else:
        say("There are no dead letters.")


def replay(
    *,
    letter_id: _Id = None,
    source: _Source = None,
    deliveries_to: Annotated[
        UUID | None,
        typer.Option(
            "--deliveries-to",
            help="A subscription or sink whose dead deliveries are to be tried again.",
            show_default=False,
        ),
    ] = None,
    body_file: Annotated[
        Path | None,
        typer.Option(
            "--body-file", help="Read this in place of the message's body.", show_default=False
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Take this as the event's key.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Give dead letters, or dead deliveries, another try.

    One letter by its id, repaired if a body or key is given; or all open ones of a source, which
    are read as the source is declared now; or what was given up of a subscription or sink.
    """
    if [letter_id, source, deliveries_to].count(None) != 2:
        raise Invalid("Name one of these: a dead letter's id, --source, --deliveries-to.")
    if letter_id is None and (body_file is not None or key is not None):
        raise Invalid("--body-file and --key repair one dead letter: give its id.")
    if letter_id is not None:
        if dry_run:
            raise Invalid("--dry-run counts: give --source or --deliveries-to.")
        done = _post(
            url, token, data_dir, f"/dead-letters/{letter_id}/replay", _repair(body_file, key)
        )
        event = done["eventId"]
        say(f"It is the event {event}." if event else "The source's filter passes it over.")
    elif source is not None:
        done = _call(url, token, data_dir, lambda server: _replay_all(server, source, dry_run))
        verb = "would become" if dry_run else "became"
        say(
            f"{done['replayed']} {verb} events, {done['filtered']} the filter passes over, "
            f"{done['invalid']} are no events still."
        )
    else:
        asked = {"to": str(deliveries_to), "dryRun": dry_run}
        done = _post(url, token, data_dir, "/deliveries/replay", asked)
        say(f"{done['count']} deliveries {'would be' if dry_run else 'are'} tried again.")


def discard(
    *,
    letter_id: Annotated[UUID, typer.Argument(help="A dead letter's id.")],
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Close a dead letter: it is not to become an event."""
    _post(url, token, data_dir, f"/dead-letters/{letter_id}/discard", {})
    say("It is discarded.")


async def _replay_all(server: Server, source: str, dry_run: bool) -> Mapping[str, int]:
    """Replay a source's letters, some at a time, so that no call takes long."""
    total = {"replayed": 0, "filtered": 0, "invalid": 0}
    after = None
    while True:
        asked = {"source": source, "limit": _AT_ONCE, "after": after, "dryRun": dry_run}
        done = await server.post("/dead-letters/replay", json.dumps(asked).encode())
        total = {name: count + done[name] for name, count in total.items()}
        after = done["next"]
        if after is None:
            return total


def _repair(body_file: Path | None, key: str | None) -> dict[str, str]:
    repair: dict[str, str] = {}
    if body_file is not None:
        try:
            body = body_file.read_bytes()
        except OSError as error:
            raise Invalid(f"--body-file {body_file} cannot be read: {error.strerror}.") from error
        repair["bodyBase64"] = base64.b64encode(body).decode()
    if key is not None:
        repair["key"] = key
    return repair


def _show(letter: Mapping[str, Any]) -> None:
    for name in ("id", "source", "state", "reason", "createdOn", "eventId", "idempotencyKey"):
        if letter[name] is not None:
            say(f"{name}: {letter[name]}")
    for name, value in letter["headers"].items():
        say(f"header {name}: {value}")
    body = letter.get("body")
    say(f"bytes: {letter['size']}")
    say(letter.get("bodyBase64", "") if body is None else body)


def _post(url: str, token: str | None, data_dir: Path, path: str, body: Mapping[str, Any]) -> Any:
    content = json.dumps(body).encode()
    return _call(url, token, data_dir, lambda server: server.post(path, content))


def _call(url: str, token: str | None, data_dir: Path, ask: Callable[[Server], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connect(url, token, data_dir) as server:
            return await ask(server)

    return asyncio.run(run())
