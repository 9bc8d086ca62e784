"""``taskloom doctor``: what is wrong, and how to mend it."""

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from taskloom.cli.console import Output, printable, show, show_data
from taskloom.cli.database_findings import database_findings
from taskloom.cli.findings import Finding, Level, machine_findings
from taskloom.cli.options import DEFAULT_DATA_DIR, DataDirOption, OutputOption
from taskloom.cli.settings import read_settings
from taskloom.telemetry import configure_logging

_SIGNS = {Level.OK: ("✓", "green"), Level.NOTE: ("·", "cyan"), Level.WRONG: ("✗", "bold red")}


def doctor(
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    host: Annotated[
        str | None,
        typer.Option("--host", help="The API's address.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="The API's port.", show_default="8080"),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check this machine and the database.

    The exit code is 1 if something is wrong; how to mend it is said.
    It changes nothing, and may run beside a Taskloom that serves.
    """
    settings = read_settings(data_dir=data_dir, host=host, port=port, log_level="error")
    configure_logging(settings)
    findings = [*machine_findings(settings), *asyncio.run(database_findings(settings))]
    if output is Output.TABLE:
        for finding in findings:
            show(finding_line(finding))
    else:
        show_data(
            [
                {
                    "about": finding.about,
                    "level": str(finding.level),
                    "message": finding.message,
                    "remedy": finding.remedy,
                }
                for finding in findings
            ],
            output,
        )
    if any(finding.level is Level.WRONG for finding in findings):
        raise typer.Exit(1)


def finding_line(finding: Finding) -> Text:
    """Put a finding and its remedy into a line or two."""
    sign, style = _SIGNS[finding.level]
    line = Text.assemble(
        (f"{sign} ", style), (f"{finding.about}: ", "bold"), printable(finding.message)
    )
    if finding.remedy and finding.level is Level.WRONG:
        line.append(f"\n    → {printable(finding.remedy)}", "yellow")
    return line
