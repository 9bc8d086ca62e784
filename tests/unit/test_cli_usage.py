"""The command line as a whole: help, wrong calls, errors in one line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from taskloom.cli.app import COMMANDS, app
from taskloom.cli.reference import render_reference as render_commands
from taskloom.cli.settings_reference import render_reference as render_settings

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def _run(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments), input=stdin)
    return done.exit_code, done.stdout, done.stderr


def test_the_help_names_every_command() -> None:
    """Every command is in the help, with a first line that fits."""
    code, out, _ = _run("--help")

    assert code == 0
    for name in COMMANDS:
        line = next(line for line in out.splitlines() if line.strip().startswith(f"{name} "))
        assert not line.endswith("...")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    """Each command has a help of its own, under -h as well."""
    code, out, _ = _run(name, "-h")

    assert code == 0
    assert f"Usage: taskloom {name}" in out


def test_the_version_is_printed() -> None:
    """--version prints name and version, and nothing else."""
    code, out, _ = _run("--version")

    assert code == 0
    assert out.startswith("taskloom ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command"),
        (("get", "--output", "xml"), "--output"),
        (("trace", "not-a-uuid"), "EVENT_ID"),
        (("trigger", "k", "--payload", "{"), "--payload"),
        (("trigger", "k", "--payload", "[1]"), "a JSON object is wanted"),
        (("trigger", "k", "--payload", "@/nowhere.json"), "cannot be read"),
        (("trigger", "k", "--timeout", "soon"), "no span of time"),
        (("explain", "/nowhere.json"), "cannot be read"),
        (("apply", "/nowhere", "--dry-run"), "does not exist"),
        (("serve", "--files", "/nowhere"), "does not exist"),
        (("serve", "--port", "70000"), "--port"),
        (("serve", "--without", "tasks"), "only webhooks can be left out"),
        (("migrate", "--without", "workflows"), "only webhooks can be left out"),
        (("token", "--ttl", "forever"), "no span of time"),
        (("token", "--ttl", "0s"), "from 1s"),
        (("token", "--permissions", ","), "at least one code"),
        (("listen",), "without any nothing can be verified"),
        (("listen", "--secret", "x", "--credentials", "/tmp"), "not both"),
    ],
)
def test_a_wrong_call_is_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    """What was called wrongly is said on standard error, with exit code 2."""
    code, out, err = _run(*arguments)

    assert (code, out) == (2, "")
    assert said.lower() in " ".join(err.split()).lower()


def test_apply_without_dry_run_says_what_to_do() -> None:
    """There is nothing to apply to but a server that follows the folder."""
    code, _, err = _run("apply", str(DOCS))

    assert code == 2
    assert "taskloom serve --files" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "nonsense"), "There is no kind 'nonsense'"),
        (("get", "--url", "ftp://x", "--token", "t"), "mend --url"),
        (("get", "--url", "http://x:port", "--token", "t"), "is no URL"),
        (("get", "--token", "ü"), "mend --token"),
        (("listen", "--signing-secret", "short"), "whsec_"),
        (("listen", "--credentials", "/nowhere"), "There are no credentials in /nowhere"),
        (("serve", "--roles", "cook"), "--roles"),
        (("serve", "--log-level", "loud"), "--log-level"),
        (("migrate", "--database-url", "mysql://me:hidden@x/y"), "--database-url is no URL"),
        (("migrate", "--database-url", "postgresql:nonsense"), "--database-url is no URL"),
        (("migrate", "--database-url", "postgresql://x:port/y"), "--database-url is no URL"),
    ],
)
def test_an_expected_error_is_one_line_and_exit_code_1(
    arguments: tuple[str, ...], said: str
) -> None:
    """No traceback for what people cause."""
    code, out, err = _run(*arguments)

    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert said in err
    assert "hidden" not in err
    assert len(err.splitlines()) == 1


def test_a_missing_secret_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """Without a token and without a data folder there is a hint to both."""
    code, _, err = _run("get", "--data-dir", str(tmp_path))

    assert code == 1
    assert "jwt.secret" in err
    assert "--token" in err


def test_a_wrong_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting from the environment is named as it is set there."""
    monkeypatch.setenv("TASKLOOM_LEASE_SECONDS", "1")

    code, _, err = _run("serve")

    assert code == 1
    assert "TASKLOOM_LEASE_SECONDS" in err


@pytest.mark.parametrize(
    ("file", "expected"), [("cli.md", render_commands()), ("settings.md", render_settings())]
)
def test_the_references_are_as_generated(file: str, expected: str) -> None:
    """docs/reference is what the commands and settings say of themselves: `make generate`."""
    assert expected == (DOCS / file).read_text()
