"""``taskloom get`` and ``taskloom describe``: declared resources and what became of them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import Annotated, Any

import typer
import yaml
from rich.text import Text

from taskloom.cli.console import Output, note, printable, say, show, show_data, show_table
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    NamespaceOption,
    OutputOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.resource_table import find_kind, is_well, table_of_all, table_of_kind
from taskloom.cli.server import connect
from taskloom.cli.texts import styled
from taskloom.errors import NotFound
from taskloom.resources.base import API_VERSION

_Kind = Annotated[
    str | None,
    typer.Argument(help="A kind: workflows, Workflow or bpwf; every one by default."),
]


def get(
    *,
    kind: _Kind = None,
    name: Annotated[str | None, typer.Argument(help="A resource's name.")] = None,
    namespace: NamespaceOption = None,
    output: OutputOption = Output.TABLE,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List declared resources and how they stand.

    The exit code is 1 if one of them is not ready.
    """
    chosen = None if kind is None else find_kind(kind)
    found = asyncio.run(
        _fetch(
            url,
            token,
            data_dir,
            None if chosen is None else chosen.names.kind,
            name=name,
            namespace=namespace,
        )
    )
    if name is not None and not found:
        raise NotFound(f"There is no {kind} {name}.")
    if output is not Output.TABLE:
        values = [_as_object(resource) for resource in found]
        show_data(values[0] if name is not None and len(values) == 1 else values, output)
    elif not found:
        note("No resources are declared." if chosen is None else f"There are no {kind}.")
    else:
        now = datetime.now(UTC)
        show_table(
            *(table_of_all(found, now) if chosen is None else table_of_kind(chosen, found, now))
        )
    if not all(is_well(resource) for resource in found):
        raise typer.Exit(1)


def describe(
    *,
    kind: Annotated[str, typer.Argument(help="A kind: workflows, Workflow or bpwf.")],
    name: Annotated[str, typer.Argument(help="The resource's name.")],
    namespace: NamespaceOption = None,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show one resource, its conditions and status.

    The exit code is 1 if it is not ready.
    """
    chosen = find_kind(kind)
    found = asyncio.run(
        _fetch(url, token, data_dir, chosen.names.kind, name=name, namespace=namespace)
    )
    if not found:
        raise NotFound(f"There is no {chosen.names.kind} {name}.")
    for number, resource in enumerate(found):
        if number:
            show("")
        _describe(resource)
    if not all(is_well(resource) for resource in found):
        raise typer.Exit(1)


async def _fetch(
    url: str,
    token: str | None,
    data_dir: Path,
    kind: str | None,
    *,
    name: str | None,
    namespace: str | None,
) -> list[dict[str, Any]]:
    async with connect(url, token, data_dir) as server:
        found: list[dict[str, Any]] = await server.get(
            "/resources", kind=kind, name=name, namespace=namespace
        )
    return found


def _describe(resource: dict[str, Any]) -> None:
    status = dict(resource["status"])
    conditions = status.pop("conditions", [])
    for label, value in (
        ("Kind", resource["kind"]),
        ("Namespace", resource["namespace"]),
        ("Name", resource["name"]),
        ("Written at", resource["place"] or "-"),
        ("Generation", str(resource["generation"])),
        ("Created", resource["createdOn"]),
    ):
        show(Text.assemble((f"{label + ':':<14}", "bold"), printable(value)))
    show(Text("Conditions:", "bold"))
    show_table(
        ["  type", "status", "reason", "since", "message"],
        [
            [
                f"  {each['type']}",
                styled(each["status"]),
                each["reason"],
                each["lastTransitionTime"],
                each["message"],
            ]
            for each in conditions
        ],
    )
    for label, value in (("Status:", status), ("Spec:", resource["spec"])):
        show(Text(label, "bold"))
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        say(indent(text.rstrip(), "  "))


def _as_object(resource: dict[str, Any]) -> dict[str, Any]:
    """Give a resource the form in which ``kubectl get`` prints it."""
    return {
        "apiVersion": API_VERSION,
        "kind": resource["kind"],
        "metadata": {
            "name": resource["name"],
            "namespace": resource["namespace"],
            "generation": resource["generation"],
            "creationTimestamp": resource["createdOn"],
            **(
                {"annotations": {"taskloom.dev/place": resource["place"]}}
                if resource["place"]
                else {}
            ),
        },
        "spec": resource["spec"],
        "status": resource["status"],
    }
