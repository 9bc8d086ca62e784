"""The command ``taskloom`` and its commands."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from taskloom.cli.console import complain, say
from taskloom.cli.diff import apply, diff
from taskloom.cli.doctor import doctor
from taskloom.cli.explain import explain
from taskloom.cli.get import describe, get
from taskloom.cli.listen import listen
from taskloom.cli.migrate import migrate
from taskloom.cli.serve import serve
from taskloom.cli.story import story
from taskloom.cli.tokens import token
from taskloom.cli.trace import trace
from taskloom.cli.trigger import trigger
from taskloom.errors import TaskloomError


class _Guarded(TyperGroup):
    """Turns the errors that people cause into one line and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except TaskloomError as exc:
            complain(exc.message)
            raise typer.Exit(1) from exc
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


app = typer.Typer(
    name="taskloom",
    cls=_Guarded,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it would show local variables, secrets among them
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
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


for command in (
    serve,
    story,
    get,
    describe,
    trigger,
    trace,
    explain,
    apply,
    diff,
    token,
    listen,
    migrate,
    doctor,
):
    app.command()(command)
