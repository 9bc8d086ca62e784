"""``taskloom listen``: receive webhooks on this machine, verify and print them."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from taskloom.cli.console import Output, note, printable, say, show, show_data
from taskloom.cli.options import OutputOption
from taskloom.cli.receiver import ReceiverSecrets, Webhook, receiving
from taskloom.cli.texts import short_json, styled
from taskloom.domain.secret import Secret
from taskloom.domain.signing import check_signing_secret
from taskloom.errors import Invalid
from taskloom.flow.render import instant_to_json


def listen(
    *,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="The port; 0 for any that is free.")
    ] = 8090,
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            envvar="TASKLOOM_API_SECRET",
            help="The client's API secret, which x-task-signature is made with.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    signing_secret: Annotated[
        str | None,
        typer.Option(
            "--signing-secret",
            envvar="TASKLOOM_SIGNING_SECRET",
            help="The client's signing secret (whsec_...), which webhook-signature is made with.",
            show_default=False,
        ),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            "--credentials",
            help="A folder with the files apiSecret and signingSecret, such as "
            ".taskloom/credentials/default/NAME-credentials, instead of the two.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", min=1, help="End after so many genuine webhooks.", show_default=False
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Receive webhooks here, verify and print them.

    Genuine ones are answered 204, all others 401.  Runs until Ctrl-C.
    """
    secrets = ReceiverSecrets(
        api_secret=None if secret is None else Secret(secret),
        signing_secret=None if signing_secret is None else Secret(signing_secret),
    )
    if credentials is not None:
        if secret is not None or signing_secret is not None:
            raise typer.BadParameter(
                "give a folder of secrets or the secrets, not both", param_hint="--credentials"
            )
        secrets = secrets_in(credentials)
    if secrets.signing_secret is not None:
        check_signing_secret(secrets.signing_secret)
    if secrets == ReceiverSecrets():
        raise typer.BadParameter(
            "give --secret, --signing-secret or --credentials: without any nothing can be verified",
            param_hint="--secret",
        )
    asyncio.run(_listen(port, secrets, count, output))


def secrets_in(folder: Path) -> ReceiverSecrets:
    """Read the secrets that Taskloom wrote for a client app."""
    try:
        return ReceiverSecrets(
            api_secret=Secret((folder / "apiSecret").read_text().strip()),
            signing_secret=Secret((folder / "signingSecret").read_text().strip()),
        )
    except OSError as exc:
        raise Invalid(f"There are no credentials in {folder}: {exc.strerror}.") from exc


async def _listen(port: int, secrets: ReceiverSecrets, count: int | None, output: Output) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    left = count

    def take(webhook: Webhook) -> None:
        nonlocal left
        _print(webhook, output)
        if left is not None and webhook.fault is None:
            left -= 1
            if left <= 0:
                stop.set()

    async with receiving(port, lambda: secrets, take) as url:
        note(f"Listening at {url} until Ctrl-C.")
        await stop.wait()


def _print(webhook: Webhook, output: Output) -> None:
    if output is Output.TABLE:
        show(webhook_line(webhook))
        return
    value = {
        "id": webhook.id,
        "receivedAt": instant_to_json(webhook.received_at),
        "genuine": webhook.fault is None,
        "verified": list(webhook.verified),
        "fault": webhook.fault,
        "event": dict(webhook.event),
    }
    if output is Output.JSON:
        say(json.dumps(value, ensure_ascii=False))  # one a line, for other programs to read
    else:
        say("---")
        show_data(value, output)


def webhook_line(webhook: Webhook) -> Text:
    """Put a webhook on one line."""
    state = "genuine" if webhook.fault is None else "wrong"
    said = webhook.fault or short_json(webhook.payload, 200)
    return Text.assemble(
        f"{webhook.received_at:%H:%M:%S} ",
        styled(state),
        f" {printable(webhook.key) or '-'} ",
        (printable(said), "dim" if webhook.fault is None else "red"),
    )
