"""``taskloom serve``: run the roles."""

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from taskloom import bootstrap
from taskloom.cli.console import say
from taskloom.cli.settings import read_settings
from taskloom.settings import ROLES
from taskloom.telemetry import configure_logging


def serve(
    *,
    files: Annotated[
        Path | None,
        typer.Option(
            "--files",
            exists=True,
            file_okay=False,
            help="A folder of resources, the YAML that kubectl would apply; watched for changes.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    kubernetes: Annotated[
        bool,
        typer.Option(
            "--kubernetes",
            help="Reconcile the resources of a cluster: the pod's own, else the kubeconfig's.",
        ),
    ] = False,
    namespaces: Annotated[
        str | None,
        typer.Option(
            "--namespaces",
            help="The cluster's namespaces to reconcile, separated by commas.",
            metavar="NAMES",
            show_default="all",
        ),
    ] = None,
    selector: Annotated[
        str | None,
        typer.Option(
            "--selector",
            help="Reconcile only the cluster's resources with these labels, as for kubectl.",
            metavar="LABELS",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            help="The folder of the database, keys and credentials.",
            metavar="DIR",
            show_default=".taskloom",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", help="The address to listen on.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65_535,
            help="The port to listen on; 0 for any that is free.",
            show_default="8080",
        ),
    ] = None,
    roles: Annotated[
        str | None,
        typer.Option(
            "--roles",
            help=f"What this process does, separated by commas: {', '.join(ROLES)}.",
            metavar="ROLES",
            show_default="all",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            help="Leave a part out; there is one: webhooks.",
            metavar="PART",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", help="debug, info, warning or error.", show_default="info"),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option("--log-format", help="auto, console or json.", show_default="auto"),
    ] = None,
) -> None:
    """Run Taskloom until Ctrl-C or SIGTERM.

    It then finishes what is in hand.

    Every setting can also be given in the environment; docs/reference/settings.md lists them.
    """
    settings = read_settings(
        files=files,
        kubernetes=kubernetes or None,
        namespaces=namespaces,
        selector=selector,
        data_dir=data_dir,
        host=host,
        port=port,
        roles=roles,
        webhooks=False if leaves_webhooks_out(without) else None,
        log_level=log_level,
        log_format=log_format,
    )
    configure_logging(settings)
    uvloop.run(bootstrap.serve(settings, ready=lambda url: say(f"Taskloom serves at {url}")))


def leaves_webhooks_out(without: list[str] | None) -> bool:
    """Read ``--without``; what it names besides webhooks is a usage error."""
    parts = {part.strip() for given in without or () for part in given.split(",")}
    unknown = parts - {"webhooks"}
    if unknown:
        raise typer.BadParameter(
            f"only webhooks can be left out, not {', '.join(sorted(unknown))}",
            param_hint="--without",
        )
    return bool(parts)
