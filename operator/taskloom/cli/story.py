"""``taskloom story``: everything on one machine, and an example lived through."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
import uvloop
from rich.text import Text

from taskloom import bootstrap
from taskloom.cli.console import note, show
from taskloom.cli.event_input import check_object, read_file
from taskloom.cli.inbox import Inbox
from taskloom.cli.listen import secrets_in, webhook_line
from taskloom.cli.options import DEFAULT_DATA_DIR, DataDirOption
from taskloom.cli.pipes import reading_by
from taskloom.cli.plot import Plot
from taskloom.cli.receiver import ReceiverSecrets, Webhook, receiving
from taskloom.cli.server import connect
from taskloom.cli.settings import read_settings
from taskloom.cli.spans import seconds_of
from taskloom.cli.trace_tree import trace_tree
from taskloom.errors import Invalid, Permanent, TaskloomError
from taskloom.providers.files.read import read_folder
from taskloom.reconcilers.snapshot import Snapshot
from taskloom.resources.client_app import ClientApp
from taskloom.resources.webhook_subscription import WebhookSubscription
from taskloom.settings import Settings
from taskloom.telemetry import configure_logging

_FILES = Path("examples/quickstart")
_EVENT = Path("examples/events/purchase-requested.json")


def story(
    *,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="End after the story, with exit code 0 only if it all came true."
        ),
    ] = False,
    files: Annotated[
        Path, typer.Option("--files", help="The example's resources.", metavar="DIR")
    ] = _FILES,
    event: Annotated[
        Path, typer.Option("--event", help="The example's event.", metavar="FILE")
    ] = _EVENT,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="The API's port.", show_default="8080"),
    ] = None,
    receiver_port: Annotated[
        int | None,
        typer.Option(
            "--receiver-port",
            envvar="TASKLOOM_RECEIVER_PORT",
            min=1,
            max=65_535,
            help="The port of the webhook receiver; the one in the subscription's URL by default.",
            show_default=False,
        ),
    ] = None,
    engine_url: Annotated[
        str | None,
        typer.Option(
            "--engine-url",
            envvar="TASKLOOM_ENGINE_URL",
            help="The REST API of a Camunda 7, Operaton or CIB seven that runs the workflows.",
            metavar="URL",
            show_default="the embedded engine",
        ),
    ] = None,
    send_by: Annotated[
        str | None,
        typer.Option(
            "--send-by",
            help="A program that is given the event, in place of a post: a line of its standard "
            "input.",
            metavar="COMMAND",
            show_default=False,
        ),
    ] = None,
    read_by: Annotated[
        str | None,
        typer.Option(
            "--read-by",
            help="A program that prints what is told to a broker, a line each.",
            metavar="COMMAND",
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        str, typer.Option("--patience", help="How long a step may take.", metavar="SPAN")
    ] = "30s",
    log_level: Annotated[
        str,
        typer.Option(
            "--log-level", envvar="TASKLOOM_LOG_LEVEL", help="debug, info, warning or error."
        ),
    ] = "warning",
) -> None:
    """Serve the example and live it through.

    Runs all roles with the example's resources, posts the event, receives and verifies the
    webhooks, completes the user tasks over REST, prints the trace, and goes on serving until
    Ctrl-C.
    """
    seconds = seconds_of(patience, "--patience")
    told = check_object(read_file(str(event), "--event"), "--event")
    folder, snapshot, hook_port = _prepare(files, data_dir, receiver_port)
    settings = read_settings(
        files=folder,
        data_dir=data_dir,
        port=port,
        log_level=log_level,
        engine=None if engine_url is None else "camunda",
        engine_url=engine_url,
    )
    configure_logging(settings)
    inbox = Inbox()

    async def live(url: str) -> None:
        note(f"Taskloom serves at {url}.")
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(connect(url, None, data_dir))
            readings = None
            if read_by is not None:
                readings = await stack.enter_async_context(reading_by(read_by))
            plot = Plot(
                server=server,
                inbox=inbox,
                tell=_tell,
                patience=seconds,
                send=send_by,
                readings=readings,
            )
            _tell(f"{await plot.await_resources(snapshot)} resources are in force.")
            show(trace_tree(await plot.live(told)))
        _tell("The whole story came true.")

    credentials = _credentials_folder(data_dir, snapshot)
    uvloop.run(_run(settings, inbox, credentials, live, hook_port=hook_port, once=once))


def _prepare(files: Path, data_dir: Path, receiver_port: int | None) -> tuple[Path, Snapshot, int]:
    """Read the example; for another receiver's port, make a copy that names it."""
    snapshot = read_folder(files)
    if snapshot.problems:
        problems = "; ".join(str(problem) for problem in snapshot.problems)
        raise Invalid(f"The example in {files} cannot be read: {problems}")
    url = next(
        (
            declared.resource.spec.url
            for declared in snapshot.resources
            if isinstance(declared.resource, WebhookSubscription) and declared.resource.spec.url
        ),
        None,
    )
    here = urlsplit(url or "")
    if here.hostname != "127.0.0.1" or here.port is None:
        raise Invalid(f"No WebhookSubscription in {files} has a URL http://127.0.0.1:PORT/….")
    if receiver_port is None or receiver_port == here.port:
        return files, snapshot, here.port
    copy = data_dir / "story"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(mode=0o700, parents=True)
    for file in sorted(files.glob("*.yaml")):
        text = file.read_text().replace(here.netloc, f"127.0.0.1:{receiver_port}")
        (copy / file.name).write_text(text)
    return copy, read_folder(copy), receiver_port


async def _run(
    settings: Settings,
    inbox: Inbox,
    credentials: Path,
    live: Callable[[str], Coroutine[Any, Any, None]],
    *,
    hook_port: int,
    once: bool,
) -> None:
    """Serve, `live` the story beside it, and stop when asked to or when it ends."""
    stop = asyncio.Event()
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    is_over = False

    def take(webhook: Webhook) -> None:
        inbox.take(webhook)
        if is_over:
            show(webhook_line(webhook))

    async with receiving(hook_port, lambda: _secrets(credentials), take, option="--receiver-port"):
        note("Starting Taskloom and its database …")
        serving = asyncio.create_task(
            bootstrap.serve(settings, ready=listening.set_result, stop=stop)
        )
        try:
            both: set[asyncio.Future[Any]] = {serving, listening}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                await serving  # raises why it could not start
                return
            url = listening.result()
            serving.add_done_callback(lambda _: stop.set())
            await _beside(stop, live(url))
            is_over = True
            if not once:
                note(f"Taskloom goes on serving at {url} ({url}/docs) until Ctrl-C.", "bold")
                await serving
        finally:
            stop.set()
            await serving


async def _beside(stop: asyncio.Event, story: Coroutine[Any, Any, None]) -> None:
    """Run the story unless the server is asked to stop, or stops."""
    living = asyncio.create_task(story)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, living}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        living.cancel()
        await asyncio.wait({living})
        raise Permanent("The story was interrupted.")
    try:
        await living
    except TaskloomError as exc:
        raise Permanent(f"The story did not come true: {exc.message}") from exc


def _tell(text: str) -> None:
    show(Text.assemble(("✓ ", "green"), text))


def _credentials_folder(data_dir: Path, snapshot: Snapshot) -> Path:
    for declared in snapshot.resources:
        if isinstance(declared.resource, ClientApp):
            metadata = declared.resource.metadata
            name = declared.resource.spec.secret_name(metadata.name)
            return data_dir / "credentials" / metadata.namespace / name
    raise Invalid("The example declares no ClientApp.")


def _secrets(folder: Path) -> ReceiverSecrets:
    try:
        return secrets_in(folder)
    except Invalid:
        return ReceiverSecrets()  # not made yet: nothing can be genuine
