"""``taskloom describe``: one declared resource and what became of it."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from textwrap import indent
from typing import Annotated, Any

import typer
import yaml
from rich.text import Text

from taskloom.cli.cluster.choice import (
    Choice,
    ClusterOption,
    ContextOption,
    KubeconfigOption,
    is_about_cluster,
    reach,
)
from taskloom.cli.cluster.description import (
    condition_rows,
    dependent_rows,
    event_rows,
    reference_rows,
)
from taskloom.cli.cluster.facts import Facts, gather_facts
from taskloom.cli.cluster.objects import Named, as_resource, read_named
from taskloom.cli.console import printable, say, show, show_table
from taskloom.cli.get import fetch_resources
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    NamespaceOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.resource_table import is_well
from taskloom.cli.texts import styled
from taskloom.errors import NotFound


def describe(
    call: typer.Context,
    *,
    kind: Annotated[str, typer.Argument(help="A kind: workflows, Workflow or bpwf; or kind/name.")],
    name: Annotated[str | None, typer.Argument(help="The resource's name.")] = None,
    namespace: NamespaceOption = None,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show one resource, its conditions and status.

    Of a cluster's object also what it refers to, what refers to it, and its Events.
    The exit code is 1 if it is not ready.
    """
    named = read_named(kind, name)
    if is_about_cluster(call, cluster, context, kubeconfig):
        choice = Choice(context=context, kubeconfig=kubeconfig, namespace=namespace)
        facts = asyncio.run(_facts(choice, named))
        _describe_object(facts)
        if not is_well(as_resource(facts.body)):
            raise typer.Exit(1)
        return
    wanted = named.kind.names.kind
    found = asyncio.run(
        fetch_resources(url, token, data_dir, wanted, name=named.name, namespace=namespace)
    )
    if not found:
        raise NotFound(f"There is no {wanted} {named.name}.")
    for number, resource in enumerate(found):
        if number:
            show("")
        _describe(resource)
    if not all(is_well(resource) for resource in found):
        raise typer.Exit(1)


async def _facts(choice: Choice, named: Named) -> Facts:
    async with reach(choice) as reached:
        return await gather_facts(reached, named, datetime.now(UTC))


def _describe_object(facts: Facts) -> None:
    metadata = facts.body["metadata"]
    generation = str(metadata.get("generation", 1))
    labels = metadata.get("labels") or {}
    _print_fields(
        ("Kind", facts.body["kind"]),
        ("Namespace", metadata["namespace"]),
        ("Name", metadata["name"]),
        ("Labels", ", ".join(f"{name}={value}" for name, value in labels.items()) or "-"),
        ("Generation", generation if facts.seen else f"{generation}, not looked at yet"),
        ("Created", metadata["creationTimestamp"]),
    )
    for title, columns, rows in (
        ("Conditions:", ["type", "status", "reason", "since", "message"], condition_rows(facts)),
        ("Refers to:", ["object", "state", "by"], reference_rows(facts)),
        ("Used by:", ["object", "by"], dependent_rows(facts)),
        ("Events:", ["age", "type", "reason", "times", "message"], event_rows(facts)),
    ):
        show(Text(title, "bold"))
        if rows:
            indented = [f"  {columns[0]}", *columns[1:]]
            show_table(
                indented, [[f"  {row[0]}", *(styled(cell) for cell in row[1:])] for row in rows]
            )
        else:
            say("  none")
    status = {k: v for k, v in (facts.body.get("status") or {}).items() if k != "conditions"}
    _print_blocks(status, facts.body.get("spec") or {})


def _describe(resource: dict[str, Any]) -> None:
    status = dict(resource["status"])
    conditions = status.pop("conditions", [])
    _print_fields(
        ("Kind", resource["kind"]),
        ("Namespace", resource["namespace"]),
        ("Name", resource["name"]),
        ("Written at", resource["place"] or "-"),
        ("Generation", str(resource["generation"])),
        ("Created", resource["createdOn"]),
    )
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
    _print_blocks(status, resource["spec"])


def _print_fields(*fields: tuple[str, str]) -> None:
    for label, value in fields:
        show(Text.assemble((f"{label + ':':<14}", "bold"), printable(value)))


def _print_blocks(status: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    for label, value in (("Status:", status), ("Spec:", spec)):
        show(Text(label, "bold"))
        text = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True)
        say(indent(text.rstrip(), "  "))
