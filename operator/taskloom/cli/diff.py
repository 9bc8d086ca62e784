"""``taskloom diff`` and ``taskloom apply --dry-run``: what a folder would change."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from taskloom.cli.cluster.choice import (
    Choice,
    ClusterOption,
    ContextOption,
    KubeconfigOption,
    OneNamespaceOption,
    is_about_cluster,
    reach,
)
from taskloom.cli.cluster.difference import compare_with_cluster, is_compared
from taskloom.cli.cluster.manifests import read_manifests
from taskloom.cli.comparison import Change, Verb, compare
from taskloom.cli.console import Output, complain, note, printable, show, show_data
from taskloom.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_URL,
    DataDirOption,
    OutputOption,
    TokenOption,
    UrlOption,
)
from taskloom.cli.server import connect
from taskloom.domain.workflows import Workflow as WorkflowRow
from taskloom.providers.files.read import read_folder
from taskloom.reconcilers.snapshot import Snapshot
from taskloom.resources.kinds import KINDS

_Folder = Annotated[
    Path,
    typer.Argument(exists=True, file_okay=False, help="A folder of resources.", metavar="DIR"),
]
_Offline = Annotated[
    bool,
    typer.Option("--offline", help="Check the folder alone, as if nothing were in force yet."),
]
_STYLES = {
    Verb.CREATED: "green",
    Verb.CHANGED: "yellow",
    Verb.UNCHANGED: "dim",
    Verb.REMOVED: "magenta",
    Verb.REFUSED: "red",
}


def apply(
    *,
    folder: _Folder,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; the only way there is.")
    ] = False,
    offline: _Offline = False,
    output: OutputOption = Output.TABLE,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Say what reconciling a folder would do.

    The exit code is 1 if something in it is wrong.
    To do it, give the folder to `taskloom serve --files`, which follows it.
    """
    if not dry_run:
        raise typer.BadParameter(
            "give --dry-run: what a folder declares comes into force by `taskloom serve --files`",
            param_hint="--dry-run",
        )
    snapshot, changes = _compare(folder, None if offline else url, token, data_dir)
    if output is Output.TABLE:
        for change in changes:
            show(_headline(change))
        _sum_up(changes)
    else:
        show_data([_change_to_json(change) for change in changes], output)
    if _say_problems(snapshot) or any(change.problem for change in changes):
        raise typer.Exit(1)


def diff(
    call: typer.Context,
    *,
    folder: Annotated[
        Path | None,
        typer.Argument(exists=True, help="A folder of resources.", metavar="DIR"),
    ] = None,
    filename: Annotated[
        Path | None,
        typer.Option(
            "--filename",
            "-f",
            exists=True,
            help="The same, as kubectl takes it; of a cluster also a single file.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    offline: _Offline = False,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    namespace: OneNamespaceOption = None,
    cluster: ClusterOption = False,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show how a folder differs from what is in force.

    Of a cluster it asks the API server what `kubectl apply --server-side` would change.
    The exit code is 1 if something differs.
    """
    path = folder or filename
    if path is None or (folder and filename):
        raise typer.BadParameter("give one folder", param_hint="DIR or --filename")
    if is_about_cluster(call, cluster, context, kubeconfig) and not offline:
        choice = Choice(context=context, kubeconfig=kubeconfig, namespace=namespace)
        _diff_cluster(choice, path)
        return
    if not path.is_dir():
        raise typer.BadParameter(f"{path} is no folder", param_hint="DIR")
    if namespace is not None:
        raise typer.BadParameter("is for a cluster only", param_hint="--namespace")
    snapshot, changes = _compare(path, None if offline else url, token, data_dir)
    if _show_differences(changes) + _say_problems(snapshot):
        raise typer.Exit(1)
    note("No differences.")


def _diff_cluster(choice: Choice, path: Path) -> None:
    async def run() -> list[Change]:
        async with reach(choice) as reached:
            return await compare_with_cluster(reached, manifests)

    manifests = read_manifests(path)
    changes = asyncio.run(run())
    for manifest in manifests:
        if not is_compared(manifest):
            note(f"{manifest.kind} is not one of Taskloom's kinds: left aside ({manifest.place}).")
    if _show_differences(changes):
        raise typer.Exit(1)
    note("No differences.")


def _show_differences(changes: list[Change]) -> bool:
    differing = [change for change in changes if change.verb is not Verb.UNCHANGED]
    for change in differing:
        show(_headline(change))
        for line in change.lines:
            show(Text(printable(line), {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")))
    return bool(differing)


def _compare(
    folder: Path, url: str | None, token: str | None, data_dir: Path
) -> tuple[Snapshot, list[Change]]:
    snapshot = read_folder(folder)
    resources, workflows = ([], []) if url is None else asyncio.run(_in_force(url, token, data_dir))
    now = datetime.now(UTC)
    known = [_row(workflow, now) for workflow in workflows]
    return snapshot, compare(snapshot, resources, now=now, known=known)


async def _in_force(
    url: str, token: str | None, data_dir: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    async with connect(url, token, data_dir) as server:
        resources = await server.get("/resources")
        workflows = await server.get(
            "/workflows", filter={"limit": 10_000, "fields": ["id", "name", "externalIdentifier"]}
        )
    return resources, workflows


def _row(workflow: dict[str, Any], now: datetime) -> WorkflowRow:
    """Give as much of a deployed workflow as a mapping's plan asks for."""
    return WorkflowRow(
        id=UUID(workflow["id"]),
        key=workflow["externalIdentifier"],
        name=workflow["name"],
        description=None,
        provider="bpmn",
        version=1,
        input_schema=None,
        suspended=False,
        managed_by="api",
        created_on=now,
        modified_on=now,
        created_by=None,
        modified_by=None,
        deleted=False,
        deleted_on=None,
        deleted_by=None,
    )


def _headline(change: Change) -> Text:
    kind, namespace, name = change.key
    line = Text.assemble(
        f"{kind} {namespace}/{name} ", (f"would be {change.verb}", _STYLES[change.verb])
    )
    if change.verb is Verb.REFUSED:
        line.append(f": {printable(change.problem or '')}", "red")
    elif change.problem is not None:
        line.append(f", but: {printable(change.problem)}", "red")
    if change.place is not None:
        line.append(f" ({printable(change.place)})", "dim")
    return line


def _change_to_json(change: Change) -> dict[str, Any]:
    kind, namespace, name = change.key
    return {
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "verb": str(change.verb),
        "problem": change.problem,
        "place": change.place,
        "lines": list(change.lines),
    }


def _sum_up(changes: list[Change]) -> None:
    counts = Counter(change.verb for change in changes)
    said = ", ".join(f"{counts[verb]} {verb}" for verb in Verb if counts[verb])
    note(f"Dry run: {said or 'nothing is declared'}.")


def _say_problems(snapshot: Snapshot) -> bool:
    """Say what could not be read, besides the objects that are named already."""
    named = {str(refused.place) for refused in snapshot.refused if refused.key[0] in KINDS}
    for problem in snapshot.problems:
        if str(problem.place) not in named:
            complain(str(problem))
    return bool(snapshot.problems)
