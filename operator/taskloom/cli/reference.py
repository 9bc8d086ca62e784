"""Writes ``docs/reference/cli.md`` from the commands themselves."""

import argparse
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from taskloom.cli.app import COMMANDS

_HEAD = """<!-- Generated from the commands in operator/taskloom/cli.
Change those, then run `make generate`. -->

# The command line

`taskloom` is one command for everything; `kubectl-taskloom` is the same one, so that
`kubectl taskloom` finds it.
Results go to standard output, everything about them to standard error.
Colours show on a terminal only, and not where `NO_COLOR` is set.

| Exit code | Meaning |
|---|---|
| 0 | It worked. |
| 1 | It failed, or found something wrong. |
| 2 | It was called wrongly. |
| 130 | It was interrupted. |

Commands that ask a running Taskloom find it by `--url` and show it `--token`.
Without one they make it themselves, with the secret in the data folder.

Called as `kubectl taskloom` (or with `--cluster`, `--context` or `--kubeconfig`) a command is
about a cluster: [the guide](../how-to/find-out-why-an-object-is-not-ready.md).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """An argument or option, as its function declares it."""

    name: str
    kind: Any  # the type of its values
    info: ArgumentInfo | OptionInfo
    default: Any

    @property
    def shown(self) -> str:
        """Give an argument as the usage line shows it."""
        shown = str(self.info.metavar or self.name.upper())
        return shown if self.default is inspect.Parameter.empty else f"[{shown}]"


def render_reference() -> str:
    """Write the reference of all commands as Markdown."""
    parts = [_HEAD]
    for name, module in COMMANDS.items():
        parts += _command(
            name, getattr(import_module(f"taskloom.cli.{module}"), name.replace("-", "_"))
        )
    return "\n".join(parts)


def _command(name: str, command: Callable[..., None]) -> Iterator[str]:
    parameters = list(_parameters(command))
    arguments = [each for each in parameters if isinstance(each.info, ArgumentInfo)]
    shown = "".join(f"{each.shown} " for each in arguments)
    yield f"## taskloom {name}\n"
    yield f"```\ntaskloom {name} {shown}[OPTIONS]\n```\n"
    for paragraph in inspect.cleandoc(command.__doc__ or "").split("\n\n"):
        yield f"{_sentences(paragraph)}\n"
    rows = [f"| `{_cell(each.shown)}` | {_cell(_meaning(each))} |" for each in arguments]
    rows += [
        f"| {_options(each)} | {_cell(_meaning(each))} |"
        for each in parameters
        if isinstance(each.info, OptionInfo)
    ]
    yield "\n".join(["| Argument or option | Meaning |", "|---|---|", *rows, ""])


def _parameters(command: Callable[..., None]) -> Iterator[_Parameter]:
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if hints[name] is typer.Context:
            continue  # how it was called, not what it was given
        kind, info = get_args(hints[name])
        yield _Parameter(name=name, kind=kind, info=info, default=parameter.default)


def _options(parameter: _Parameter) -> str:
    # within Annotated, typer takes the first name for a default
    declared = (parameter.info.default, *(parameter.info.param_decls or ()))
    names = ", ".join(f"`{each}`" for each in declared if str(each).startswith("-"))
    if parameter.kind is bool:
        return names
    if isinstance(parameter.kind, type) and issubclass(parameter.kind, StrEnum):
        shown = "|".join(parameter.kind)
    else:
        shown = parameter.info.metavar or ("NUMBER" if _is_number(parameter.kind) else "TEXT")
    return f"{names} `{_cell(shown)}`"


def _is_number(kind: Any) -> bool:
    return bool({int, float} & {kind, *get_args(kind)})


def _meaning(parameter: _Parameter) -> str:
    said = [parameter.info.help or ""]
    default, shown = parameter.default, parameter.info.show_default
    if isinstance(shown, str):
        said.append(f"Default: `{shown}`.")
    elif shown and default not in (None, False, inspect.Parameter.empty):
        said.append(f"Default: `{default}`.")
    if parameter.info.envvar:
        said.append(f"Environment: `{parameter.info.envvar}`.")
    return " ".join(part for part in said if part)


def _sentences(paragraph: str) -> str:
    """Put each sentence on a line of its own."""
    return re.sub(r"(?<=[.;:]) +(?=[A-Z`])", "\n", " ".join(paragraph.split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the reference to a file."""
    parser = argparse.ArgumentParser(
        prog="python -m taskloom.cli.reference",
        description="Write the reference of the command line as Markdown.",
    )
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    file: Path = parser.parse_args(arguments).output
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
