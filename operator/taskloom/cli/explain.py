"""``taskloom explain``: what an event would do, without doing it."""

import asyncio
from typing import Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

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
from taskloom.cli.console import Output, printable, show, show_data
from taskloom.cli.event_input import EVENT_FIELDS, check_object, read_file
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    OutputOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.server import connect
from taskloom.cli.texts import short_json


def explain(
    call: typer.Context,
    *,
    file: Annotated[
        str,
        typer.Argument(
            help="A file with {key, payload, source}, as POST /events/trigger takes it; - for "
            "standard input.",
            metavar="FILE|-",
        ),
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
    """Say what an event would start, without starting it.

    Names the mappings, their filters and the variables.  The exit code is 1 if it would start none.
    """
    text = read_file(file, "FILE")
    event = check_object(text, "FILE")
    if "key" not in event:
        raise typer.BadParameter(
            f"the event has no key: its fields are {', '.join(sorted(EVENT_FIELDS))}",
            param_hint="FILE",
        )
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

    async def run() -> dict[str, Any]:
        async with door as server:
            told: dict[str, Any] = await server.post("/explain", text.encode())
        return told

    told = asyncio.run(run())
    if output is Output.TABLE:
        show(explanation_tree(told))
    else:
        show_data(told, output)
    if not any(route["starts"] for route in told["routes"]):
        raise typer.Exit(1)


def explanation_tree(told: dict[str, Any]) -> Tree:
    """Draw what each mapping makes of an event."""
    tree = Tree(Text.assemble(("event ", "bold"), printable(told["key"])))
    if not told["routes"]:
        tree.add(Text("no mapping has its key: nothing would start", "yellow"))
    for route in told["routes"]:
        verdict = ("would start", "green") if route["starts"] else ("would not start", "yellow")
        branch = tree.add(
            Text.assemble(("workflow ", "bold"), printable(route["workflowKey"]), " ", verdict)
        )
        branch.add(_pair("mapped by", route["managedBy"]))
        if route["filter"] is not None:
            branch.add(_pair("filter", route["filter"]))
        if route["reason"] is not None:
            branch.add(_pair("because", route["reason"]))
        if route["starts"]:
            branch.add(_pair("version", str(route["version"])))
            if route["businessKey"] is not None:
                branch.add(_pair("business key", route["businessKey"]))
            variables = branch.add(Text("variables", "bold"))
            for name, value in sorted(route["variables"].items()):
                variables.add(_pair(name, short_json(value)))
    return tree


def _pair(name: str, value: str) -> Text:
    return Text.assemble((f"{printable(name)}: ", "bold"), printable(value))
