"""Writes ``docs/reference/settings.md`` from the settings themselves."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from taskloom.settings import Settings

_HEAD = """<!-- Generated from operator/taskloom/settings.py.
Change that, then run `make generate`. -->

# Settings

Each is read from the environment; what `taskloom serve` is told by an option outweighs it.
Lists are separated by commas.

| Variable | Default | Meaning |
|---|---|---|
"""


def render_reference() -> str:
    """Write the reference of all settings as Markdown."""
    rows = [
        f"| `TASKLOOM_{name.upper()}` | {_default(field.default)} | {_meaning(field)} |"
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD + "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(field: Any) -> str:
    said = [(field.description or "").replace("|", "\\|")]
    if get_origin(field.annotation) is Literal:
        said.append(f"One of {', '.join(f'`{each}`' for each in get_args(field.annotation))}.")
    lowest = next((each.ge for each in field.metadata if hasattr(each, "ge")), None)
    highest = next((each.le for each in field.metadata if hasattr(each, "le")), None)
    if lowest is not None and highest is not None:
        said.append(f"From {lowest:g} to {highest:g}.")
    return " ".join(said)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the reference to a file."""
    parser = argparse.ArgumentParser(
        prog="python -m taskloom.cli.settings_reference",
        description="Write the reference of the settings as Markdown.",
    )
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    file: Path = parser.parse_args(arguments).output
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
