"""``taskloom trace``: the whole way of an event."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any
from uuid import UUID

import typer

from taskloom.cli.cluster.choice import (
    Choice,
    ClusterOption,
    ContextOption,
    KubeconfigOption,
    is_about_cluster,
)
from taskloom.cli.cluster.installation import (
    AccountOption,
    ServiceOption,
    Way,
    connect_through,
)
from taskloom.cli.console import Output, show, show_data
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    OutputOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.server import Server, connect
from taskloom.cli.trace_tree import trace_tree


def trace(
    call: typer.Context,
    *,
    event_id: Annotated[
        UUID, typer.Argument(help="The event's id, as trigger and GET /events give it.")
    ],
    output: OutputOption = Output.TABLE,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    service: ServiceOption = None,
    service_account: AccountOption = None,
) -> None:
    """Show an event's whole way, with times.

    Mappings, instances, commands, tasks, user tasks and webhooks, as a tree.
    """
    way = Way(
        choice=Choice(context=context, kubeconfig=kubeconfig),
        service=service,
        account=service_account,
        token=token,
    )
    there = is_about_cluster(
        call, cluster, context, kubeconfig, service, service_account, environment=True
    )
    door = connect_through(way, data_dir) if there else connect(url, token, data_dir)
    found = asyncio.run(_fetch(door, event_id))
    if output is Output.TABLE:
        show(trace_tree(found))
    else:
        show_data(found, output)


async def _fetch(door: AbstractAsyncContextManager[Server], event_id: UUID) -> dict[str, Any]:
    async with door as server:
        found: dict[str, Any] = await server.get(f"/events/{event_id}/trace")
    return found
