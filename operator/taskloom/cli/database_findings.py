"""What the doctor finds in the databases: migrations, resources, and work that stopped."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from taskloom.bootstrap.engine import running_engine
from taskloom.cli.engine_findings import engine_findings
from taskloom.cli.findings import Finding, Level
from taskloom.domain.jobs import JobState
from taskloom.domain.webhooks import Subscription
from taskloom.engines.camunda.engine import CamundaEngine
from taskloom.errors import TaskloomError, Unavailable
from taskloom.ports.engine import Incident
from taskloom.settings import Settings
from taskloom.store.database import Database
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.migrate import pending
from taskloom.store.resources import StoredResource
from taskloom.store.sealing import Sealer

_MOST = 5


async def database_findings(settings: Settings) -> list[Finding]:
    """Look into the databases, as far as they can be reached."""
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
    else:
        folder = settings.data_dir / "postgres"
        url = EmbeddedPostgres(folder).url
        if not (folder / "data" / "PG_VERSION").exists():
            message = "There is no database yet: the first start makes it."
            return [Finding(about="database", level=Level.NOTE, message=message)]
    workflow_url = settings.workflow_database_url
    other = url if workflow_url is None else workflow_url.get_secret_value()
    async with contextlib.AsyncExitStack() as stack:
        sealer = _sealer(settings)
        tasks = await stack.enter_async_context(_opened(url, sealer))
        workflows = tasks
        if other != url:
            workflows = await stack.enter_async_context(_opened(other, sealer))
        try:
            await tasks.ping()
            await workflows.ping()
        except Unavailable:
            return [_unreachable(settings)]
        found = await _migrations(settings, tasks.url, workflows.url)
        if any(finding.level is Level.WRONG for finding in found):
            return found
        try:
            return [*found, *await _contents(settings, tasks, workflows, sealed=sealer is None)]
        except TaskloomError as exc:
            return [*found, Finding(about="database", level=Level.WRONG, message=exc.message)]


@contextlib.asynccontextmanager
async def _opened(url: str, sealer: Sealer | None) -> AsyncIterator[Database]:
    database = Database(url, sealer=sealer, pool_size=1)
    try:
        yield database
    finally:
        await database.close()


def _sealer(settings: Settings) -> Sealer | None:
    given = settings.encryption_keys
    path = settings.data_dir / "encryption.keys"
    if given is not None:
        return Sealer([key.strip() for key in given.get_secret_value().split(",") if key.strip()])
    return Sealer(path.read_text().split()) if path.is_file() else None


def _unreachable(settings: Settings) -> Finding:
    if settings.database_url is None:
        message = "The embedded database does not run now: it runs while `taskloom serve` does."
        return Finding(about="database", level=Level.NOTE, message=message)
    return Finding(
        about="database",
        level=Level.WRONG,
        message="A database does not answer.",
        remedy="Check TASKLOOM_DATABASE_URL, TASKLOOM_WORKFLOW_DATABASE_URL, and that "
        "PostgreSQL runs there.",
    )


async def _migrations(settings: Settings, url: str, workflow_url: str) -> list[Finding]:
    branches = ["tasks", "webhooks"] if settings.webhooks else ["tasks"]
    missing = [*await pending(url, branches), *await pending(workflow_url, ["workflows"])]
    if missing:
        return [
            Finding(
                about="database",
                level=Level.WRONG,
                message=f"Migrations have not been run: {', '.join(missing)}.",
                remedy="taskloom migrate",
            )
        ]
    return [Finding(about="database", level=Level.OK, message="It answers, and is migrated.")]


async def _contents(
    settings: Settings, tasks: Database, workflows: Database, *, sealed: bool
) -> list[Finding]:
    async with tasks.begin() as tx:
        resources = await tx.resources.all()
        counts = await tx.jobs.count_by_state()
        subscriptions: list[Subscription] = []
        if settings.webhooks and not sealed:
            subscriptions = await tx.webhooks.subscriptions()
    async with running_engine(settings, tasks, workflows) as engine:
        about_engine: list[Finding] = []
        if isinstance(engine, CamundaEngine):
            about_engine = await engine_findings(engine)
        if not any(finding.level is Level.WRONG for finding in about_engine):
            about_engine += incident_findings(await engine.incidents())
    return [
        *resource_findings(resources),
        *job_findings(counts),
        *about_engine,
        *subscription_findings(subscriptions),
        *([_no_keys(settings.data_dir)] if settings.webhooks and sealed else []),
    ]


def resource_findings(resources: Iterable[StoredResource]) -> Iterator[Finding]:
    """Name the resources that are not in force, and what of the others does not work."""
    found, count = [], 0
    for resource in resources:
        count += 1
        name = f"{resource.kind} {resource.namespace}/{resource.name}"
        where = f" ({resource.place})" if resource.place else ""
        for condition in resource.status.get("conditions", ()):
            if not _is_bad(condition):
                continue
            said = f"{name} is not {condition['type']}"
            if condition["type"] == "Degraded":
                said = f"{name} is degraded"
            found.append(
                Finding(
                    about="resources",
                    level=Level.NOTE if condition["type"] == "Degraded" else Level.WRONG,
                    message=f"{said}: {condition['reason']}: {condition['message']}{where}",
                    remedy=f"Mend it; then: taskloom describe {resource.kind} {resource.name}",
                )
            )
    yield from found
    if not found:
        said = f"All {count} are in force." if count else "None is declared."
        yield Finding(about="resources", level=Level.OK, message=said)


def _is_bad(condition: Mapping[str, Any]) -> bool:
    match condition["type"], condition["status"]:
        case (("Ready" | "TopicsServed"), "False"):
            return bool(condition["reason"] != "Suspended")
        case "Degraded", "True":
            return True
    return False


def job_findings(counts: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    """Name the jobs that were given up."""
    dead = {kind: count for (kind, state), count in counts.items() if state == JobState.DEAD}
    for kind, count in sorted(dead.items()):
        yield Finding(
            about="jobs",
            level=Level.WRONG,
            message=f"{count} jobs {kind} were given up.",
            remedy="See why with taskloom trace EVENT_ID, mend it, then taskloom retry EVENT_ID; "
            "those that lacked a workflow run again once it is deployed.",
        )
    if not dead:
        waiting = sum(counts.values())
        yield Finding(about="jobs", level=Level.OK, message=f"None was given up; {waiting} wait.")


def incident_findings(incidents: Iterable[Incident]) -> Iterator[Finding]:
    """Name the instances that stopped."""
    found = list(incidents)
    for incident in found[:_MOST]:
        yield Finding(
            about="incidents",
            level=Level.WRONG,
            message=f"The instance {incident.root_instance_id} stopped at {incident.element_id}: "
            f"{incident.message}",
            remedy="Mend the cause named there, then taskloom retry EVENT_ID.",
        )
    if len(found) > _MOST:
        message = f"{len(found) - _MOST} more instances stopped."
        yield Finding(about="incidents", level=Level.WRONG, message=message)
    if not found:
        yield Finding(about="incidents", level=Level.OK, message="No instance stopped.")


def subscription_findings(subscriptions: Iterable[Subscription]) -> Iterator[Finding]:
    """Name the subscriptions that are told nothing any more."""
    found = list(subscriptions)
    disabled = [each for each in found if each.disabled_at is not None]
    for each in disabled:
        yield Finding(
            about="subscriptions",
            level=Level.WRONG,
            message=f"{each.id} to {each.host} was disabled: {each.disabled_reason}.",
            remedy="Mend the receiver, then subscribe anew or change its resource.",
        )
    if not disabled:
        message = f"None of {len(found)} is disabled."
        yield Finding(about="subscriptions", level=Level.OK, message=message)


def _no_keys(data_dir: Path) -> Finding:
    return Finding(
        about="subscriptions",
        level=Level.WRONG,
        message=f"There are no encryption keys in {data_dir}: stored secrets cannot be read.",
        remedy="Put encryption.keys back from your backup, or set TASKLOOM_ENCRYPTION_KEYS.",
    )
