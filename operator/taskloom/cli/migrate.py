"""``taskloom migrate``: bring the databases to the newest migration."""

import asyncio
from typing import Annotated

import typer

from taskloom import bootstrap
from taskloom.cli.console import say
from taskloom.cli.options import DEFAULT_DATA_DIR, DataDirOption
from taskloom.cli.serve import leaves_webhooks_out
from taskloom.cli.settings import read_settings
from taskloom.settings import Settings
from taskloom.store import migrate as migrations
from taskloom.telemetry import configure_logging


def migrate(
    *,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            help="Leave a branch of the migrations out; there is one: webhooks.",
            metavar="BRANCH",
            show_default=False,
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            help="The task database, instead of TASKLOOM_DATABASE_URL; the data folder's own "
            "by default.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    workflow_database_url: Annotated[
        str | None,
        typer.Option(
            "--workflow-database-url",
            help="The database of workflows, instead of TASKLOOM_WORKFLOW_DATABASE_URL; the same "
            "by default.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Bring the databases to the newest migration.

    `taskloom serve` does it too when it starts.
    """
    settings = read_settings(
        webhooks=False if leaves_webhooks_out(without) else None,
        database_url=database_url,
        workflow_database_url=workflow_database_url,
        data_dir=data_dir,
        log_level="warning",
    )
    configure_logging(settings)
    asyncio.run(_migrate(settings))
    branches = ["tasks", "workflows", *(["webhooks"] if settings.webhooks else [])]
    say(f"Migrated: {', '.join(branches)}.")


async def _migrate(settings: Settings) -> None:
    if settings.database_url is None:
        async with bootstrap.build(settings):
            return  # its database runs only while the data folder is held, and is migrated then
    url = settings.database_url.get_secret_value()
    branches = ["tasks", "webhooks"] if settings.webhooks else ["tasks"]
    workflow_url = settings.workflow_database_url
    other = url if workflow_url is None else workflow_url.get_secret_value()
    if other == url:
        await migrations.migrate(url, [*branches, "workflows"])
    else:
        await migrations.migrate(url, branches)
        await migrations.migrate(other, ["workflows"])
