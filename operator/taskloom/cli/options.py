"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from taskloom.cli.console import Output

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_DATA_DIR = Path(".taskloom")

UrlOption = Annotated[
    str,
    typer.Option("--url", envvar="TASKLOOM_URL", help="Where a Taskloom runs.", metavar="URL"),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="TASKLOOM_TOKEN",
        help="A token for it; made with the data folder's secret by default.",
        metavar="JWT",
        show_default=False,
    ),
]
DataDirOption = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="TASKLOOM_DATA_DIR",
        help="The folder of the database, keys and credentials.",
        metavar="DIR",
    ),
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="How it is printed.", case_sensitive=False)
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Only this namespace.", metavar="NAME", show_default=False
    ),
]
