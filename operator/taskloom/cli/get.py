"""``taskloom get``: declared resources and how they stand."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from taskloom.cli.cluster.choice import (
    AllNamespacesOption,
    Choice,
    ClusterOption,
    ContextOption,
    KubeconfigOption,
    is_about_cluster,
    reach,
)
from taskloom.cli.cluster.objects import (
    Found,
    Named,
    as_printed,
    as_resource,
    fetch,
    read_named,
    search,
)
from taskloom.cli.console import (
    ListOutput,
    complain,
    note,
    say,
    show_data,
    show_table,
)
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    NamespaceOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.resource_table import (
    by_trouble,
    find_kind,
    is_well,
    table_of_all,
    table_of_kind,
)
from taskloom.cli.server import connect
from taskloom.errors import NotFound
from taskloom.resources.base import API_VERSION, GROUP, Resource
from taskloom.resources.kinds import KINDS

_Kind = Annotated[
    str | None,
    typer.Argument(help="A kind: workflows, Workflow or bpwf; every one by default."),
]


def get(
    call: typer.Context,
    *,
    kind: _Kind = None,
    name: Annotated[str | None, typer.Argument(help="A resource's name.")] = None,
    namespace: NamespaceOption = None,
    all_namespaces: AllNamespacesOption = False,
    selector: Annotated[
        str | None,
        typer.Option(
            "--selector",
            "-l",
            help="Only the cluster's objects with these labels, as for kubectl.",
            metavar="LABELS",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        ListOutput,
        typer.Option("--output", "-o", help="How it is printed.", case_sensitive=False),
    ] = ListOutput.TABLE,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """List declared resources and how they stand.

    What is not ready comes first; the exit code is 1 if there is any.

    A server tells of all its namespaces, a cluster of the context's namespace, or of all with -A.
    """
    wanted = _wanted(kind, name)
    choice = Choice(
        context=context, kubeconfig=kubeconfig, namespace=namespace, all_namespaces=all_namespaces
    )
    listing = asyncio.run(
        _of_cluster(choice, wanted, selector)
        if is_about_cluster(call, cluster, context, kubeconfig, all_namespaces, selector)
        else _of_server(url, token, data_dir, wanted, namespace=namespace)
    )
    for trouble in listing.troubles:
        complain(trouble)
    _print_listing(listing, wanted, output)
    if listing.troubles or not all(is_well(resource) for resource in listing.resources):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is to be listed; None is all there are."""

    kind: type[Resource] | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """Resources as GET /resources gives them, the same as objects, and what could not be read."""

    resources: Sequence[Mapping[str, Any]]
    objects: Sequence[Mapping[str, Any]]
    troubles: Sequence[str] = ()
    namespace: str | None = None


def _wanted(kind: str | None, name: str | None) -> _Wanted:
    if kind is not None and name is None and "/" in kind:
        named = read_named(kind, None)
        return _Wanted(kind=named.kind, name=named.name)
    return _Wanted(kind=None if kind in {None, "all"} else find_kind(str(kind)), name=name)


async def _of_server(
    url: str, token: str | None, data_dir: Path, wanted: _Wanted, *, namespace: str | None
) -> _Listing:
    kind = None if wanted.kind is None else wanted.kind.names.kind
    found = await fetch_resources(url, token, data_dir, kind, name=wanted.name, namespace=namespace)
    if wanted.name is not None and not found:
        raise NotFound(f"There is no {kind or 'resource'} {wanted.name}.")
    resources = by_trouble(found)
    return _Listing(resources=resources, objects=[_as_object(dict(each)) for each in resources])


async def _of_cluster(choice: Choice, wanted: _Wanted, selector: str | None) -> _Listing:
    async with reach(choice) as reached:
        if wanted.kind is not None and wanted.name is not None and reached.namespace is not None:
            named = Named(wanted.kind, wanted.name)
            body = await fetch(reached, named)
            found = Found(bodies=(body,))
        else:
            kinds = KINDS.values() if wanted.kind is None else [wanted.kind]
            fields = "" if wanted.name is None else f"metadata.name={wanted.name}"
            found = await search(reached, kinds, labels=selector or "", fields=fields)
            if wanted.name is not None and not found.bodies:
                raise NotFound(f"There is nothing of the name {wanted.name}.")
    pairs = [(as_resource(body), as_printed(body)) for body in found.bodies]
    order = by_trouble([resource for resource, _ in pairs])
    printed = {id(resource): body for resource, body in pairs}
    objects = [printed[id(resource)] for resource in order]
    return _Listing(
        resources=order, objects=objects, troubles=found.troubles, namespace=reached.namespace
    )


def _print_listing(listing: _Listing, wanted: _Wanted, output: ListOutput) -> None:
    if output in {ListOutput.JSON, ListOutput.YAML}:
        one = wanted.name is not None and len(listing.objects) == 1
        objects = list(listing.objects)
        show_data(
            objects[0] if one else {"apiVersion": "v1", "kind": "List", "items": objects}, output
        )
    elif output is ListOutput.NAME:
        for each in listing.resources:
            say(f"{each['kind'].lower()}.{GROUP}/{each['name']}")
    elif not listing.resources:
        if not listing.troubles:
            what = "resources" if wanted.kind is None else wanted.kind.names.plural
            there = "" if listing.namespace is None else f" in the namespace {listing.namespace}"
            note(f"There are no {what}{there}.")
    else:
        now, wide = datetime.now(UTC), output is ListOutput.WIDE
        show_table(
            *(
                table_of_all(listing.resources, now)
                if wanted.kind is None
                else table_of_kind(wanted.kind, listing.resources, now, wide=wide)
            )
        )


async def fetch_resources(
    url: str,
    token: str | None,
    data_dir: Path,
    kind: str | None,
    *,
    name: str | None,
    namespace: str | None,
) -> list[dict[str, Any]]:
    """Ask a server for its resources, of one kind or all."""
    async with connect(url, token, data_dir) as server:
        found: list[dict[str, Any]] = await server.get(
            "/resources", kind=kind, name=name, namespace=namespace
        )
    return found


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
