"""What is printed: results to standard output, everything about them to standard error.

Colours show on a terminal only, and not where NO_COLOR is set.
What came from outside is printed without its control characters.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import yaml
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_UNLIMITED = 10_000  # columns: where there is no terminal nothing is folded


class Output(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class ListOutput(StrEnum):
    """How a list of objects is printed."""

    TABLE = "table"
    WIDE = "wide"
    NAME = "name"
    JSON = "json"
    YAML = "yaml"


def say(text: str) -> None:
    """Print a line as it is to standard output."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def note(text: str, style: str = "") -> None:
    """Tell a person something on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(printable(text), style))


def complain(text: str) -> None:
    """Say what is wrong on standard error, in one line."""
    line = Text.assemble(("error: ", "bold red"), printable(" ".join(text.split())))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)


def show(renderable: RenderableType) -> None:
    """Print something of rich's to standard output, as wide as it is unless on a terminal."""
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else _UNLIMITED, highlight=False).print(renderable)


def show_data(value: Any, output: Output | ListOutput) -> None:
    """Print a JSON value as JSON or YAML."""
    if output == "yaml":
        say(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())
    else:
        say(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print aligned columns; a line each where nobody sees them on a terminal."""
    cells = [
        [cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row] for row in rows
    ]
    names = [column.upper() for column in columns]
    if not sys.stdout.isatty():
        _say_columns([names, *([cell.plain for cell in row] for row in cells)])
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in cells:
        table.add_row(*row)
    show(table)


def _say_columns(rows: Sequence[Sequence[str]]) -> None:
    flat = [[cell.replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    for row in flat:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say(line.rstrip())


def printable(text: str) -> str:
    """Write control characters out, as they could make a terminal do things; lines stay."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
        for each in text
    )
