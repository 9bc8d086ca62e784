"""The command ``taskloom`` and its commands, each loaded when it is called."""

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from taskloom.cli.console import complain, say
from taskloom.errors import TaskloomError

COMMANDS = {
    "serve": "serve",
    "story": "story",
    "get": "get",
    "describe": "describe",
    "why": "why",
    "trigger": "trigger",
    "trace": "trace",
    "retry": "retry",
    "dead-letters": "dead_letters",
    "replay": "dead_letters",
    "discard": "dead_letters",
    "explain": "explain",
    "apply": "diff",
    "diff": "diff",
    "rotate": "rotate",
    "suspend": "suspend",
    "resume": "suspend",
    "token": "tokens",
    "listen": "listen",
    "migrate": "migrate",
    "doctor": "doctor",
}
"""The module of each command, in the order of the help; its function has the command's name."""


class Commands(TyperGroup):
    """Loads commands late, and turns the errors that people cause into one line and exit code 1."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a command; what serves needs far more than what only asks."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"taskloom.cli.{COMMANDS[cmd_name]}")
        single = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
        )
        single.command(cmd_name, context_settings=_HELP)(
            getattr(module, cmd_name.replace("-", "_"))
        )
        return get_command(single)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except TaskloomError as exc:
            complain(exc.message)
            raise typer.Exit(1) from exc
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


_HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="taskloom",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it would show local variables, secrets among them
    rich_markup_mode=None,
    context_settings=_HELP,
)


def _version(value: bool) -> None:
    if value:
        say(f"taskloom {version('taskloom')}")
        raise typer.Exit


@app.callback()
def taskloom(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Weave events into tasks: BPMN workflows, signed webhooks, declared as resources.

    Exit codes: 0 it worked, 1 it failed or found something wrong, 2 it was called wrongly.
    """
