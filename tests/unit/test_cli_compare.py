"""What a folder would change: checked alone, and held against what is in force."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taskloom.cli.app import app
from taskloom.cli.comparison import Change, Verb, compare
from taskloom.providers.files.read import read_folder
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.specs import spec_of

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICKSTART = EXAMPLES / "quickstart"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
MAPPING: Key = ("EventMapping", "default", "purchase-requested")
REQUEST: Key = ("Workflow", "default", "purchase-request")


def _in_force(folder: Path = QUICKSTART) -> list[dict[str, Any]]:
    """Tell of a folder's resources as a server that has them in force would."""
    return [
        {
            "kind": declared.resource.kind,
            "namespace": declared.resource.metadata.namespace,
            "name": declared.resource.metadata.name,
            "generation": 1,
            "place": str(declared.place),
            "createdOn": "2026-11-23T10:00:00.000Z",
            "spec": spec_of(declared.resource),
            "status": {},
        }
        for declared in read_folder(folder).resources
    ]


def _copy(into: Path, **replaced: tuple[str, str]) -> Path:
    """Copy the quickstart; `replaced` holds, by file, what is written in place of what."""
    into.mkdir()
    for file in QUICKSTART.glob("*.yaml"):
        old, new = replaced.get(file.stem.replace("-", "_"), ("", ""))
        text = file.read_text()
        assert old in text
        (into / file.name).write_text(text.replace(old, new) if old else text)
    return into


def _compare(folder: Path, resources: list[dict[str, Any]]) -> Mapping[Key, Change]:
    found = compare(read_folder(folder), resources, now=NOW)
    return {change.key: change for change in found}


def _verbs(changes: Mapping[Key, Change]) -> set[Verb]:
    return {change.verb for change in changes.values()}


def test_nothing_in_force_means_all_is_created() -> None:
    """Against an empty server everything is new, and nothing is wrong."""
    changes = _compare(QUICKSTART, [])

    assert {Verb.CREATED} == _verbs(changes)
    assert all(change.problem is None for change in changes.values())


def test_the_same_folder_changes_nothing() -> None:
    """What is in force already stays."""
    changes = _compare(QUICKSTART, _in_force())

    assert {Verb.UNCHANGED} == _verbs(changes)
    assert all(not change.lines for change in changes.values())


def test_a_changed_spec_is_shown_line_by_line(tmp_path: Path) -> None:
    """Only the object that was edited changes, and its lines say how."""
    folder = _copy(
        tmp_path / "files", purchase_request=("payload.amount > 0", "payload.amount > 5")
    )

    changes = _compare(folder, _in_force())

    assert [MAPPING] == [key for key, each in changes.items() if each.verb is Verb.CHANGED]
    lines = "\n".join(changes[MAPPING].lines)
    assert "-filter: has(event.payload.item) && event.payload.amount > 0" in lines
    assert "+filter: has(event.payload.item) && event.payload.amount > 5" in lines


def test_another_model_in_a_config_map_is_a_change() -> None:
    """The spec names the ConfigMap only; the digest in force tells that its content is new."""
    resources = _in_force()
    for resource in resources:
        if resource["name"] == REQUEST[2] and resource["kind"] == REQUEST[0]:
            resource["status"] = {"digest": "0" * 64}

    change = _compare(QUICKSTART, resources)[REQUEST]

    assert change.verb is Verb.CHANGED
    assert "a new version would be deployed" in change.lines[0]


def test_what_the_folder_lacks_is_removed(tmp_path: Path) -> None:
    """A file that is gone takes its objects with it."""
    folder = _copy(tmp_path / "files")
    (folder / "purchasing.yaml").unlink()

    changes = _compare(folder, _in_force())

    removed = {key[0] for key, change in changes.items() if change.verb is Verb.REMOVED}
    assert {"ClientApp", "WebhookSubscription"} == removed


def test_a_change_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    """A rule about changes holds against what is in force."""
    folder = _copy(
        tmp_path / "files", purchase_request=("eventKey: purchase-requested", "eventKey: other")
    )

    change = _compare(folder, _in_force())[MAPPING]

    assert change.verb is Verb.REFUSED
    assert "may not be changed" in (change.problem or "")


@pytest.mark.parametrize(
    ("file", "edit", "key", "said"),
    [
        (
            "purchase_request",
            ('camunda:topic="create-tasks"', 'camunda:class="org.example.Delegate"'),
            REQUEST,
            "Activity_CreateTasks",
        ),
        (
            "purchase_request",
            (
                "configMapKeyRef:\n      name: purchase-request",
                "configMapKeyRef:\n      name: elsewhere",
            ),
            REQUEST,
            "there is no ConfigMap default/elsewhere",
        ),
        (
            "purchase_request",
            ("workflowRef:\n    name: purchase-request", "workflowRef:\n    name: elsewhere"),
            MAPPING,
            "there is no Workflow default/elsewhere",
        ),
        ("purchase_request", ("has(event.payload.item)", "has(event"), MAPPING, "spec.filter"),
        (
            "purchasing",
            ("clientAppRef:\n    name: purchasing", "clientAppRef:\n    name: elsewhere"),
            ("WebhookSubscription", "default", "purchasing"),
            "elsewhere",
        ),
    ],
)
def test_what_would_not_be_in_force_says_why(
    tmp_path: Path, file: str, edit: tuple[str, str], key: Key, said: str
) -> None:
    """Models and references are checked before anything is done."""
    folder = _copy(tmp_path / "files", **{file: edit})

    change = _compare(folder, [])[key]

    assert said in (change.problem or "")


def test_a_mapping_waits_for_its_broken_workflow(tmp_path: Path) -> None:
    """A workflow that cannot be deployed cannot be started either."""
    folder = _copy(
        tmp_path / "files",
        purchase_request=('camunda:topic="create-tasks"', 'camunda:class="org.example.Delegate"'),
    )

    assert "is not deployed" in (_compare(folder, [])[MAPPING].problem or "")


def _run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_a_dry_run_offline_lists_every_object() -> None:
    """One line an object, where it is written, and exit code 0 as nothing is wrong."""
    code, out, err = _run("apply", "--dry-run", "--offline", str(QUICKSTART))

    assert code == 0
    assert len(out.splitlines()) == 6
    assert "Workflow default/purchase-request would be created (purchase-request.yaml:" in out
    assert "Dry run: 6 created." in err


def test_a_dry_run_is_readable_for_programs() -> None:
    """--output json gives the same as data."""
    code, out, _ = _run("apply", "--dry-run", "--offline", "-o", "json", str(QUICKSTART))

    assert code == 0
    assert {"created"} == {change["verb"] for change in json.loads(out)}


def test_one_bad_object_does_not_hide_the_others(tmp_path: Path) -> None:
    """The refused one is named once with file and line, and the exit code is 1."""
    folder = _copy(tmp_path / "files")
    (folder / "bad.yaml").write_text(
        "apiVersion: taskloom.dev/v1alpha1\nkind: TaskMapping\nmetadata:\n  name: bad\n"
        "spec:\n  taskKey: x\n  nonsense: 1\n"
    )
    (folder / "broken.yaml").write_text("a: [")

    code, out, err = _run("apply", "--dry-run", "--offline", str(folder))

    assert code == 1
    assert out.count("would be created") == 6
    assert (out + err).count('unknown field "spec.nonsense"') == 1
    assert "bad.yaml:7" in out
    assert "error: broken.yaml:1" in err


def test_a_difference_is_exit_code_1() -> None:
    """It shows the specs that would come, and says by its exit code that there are some."""
    code, out, _ = _run("diff", "--offline", str(QUICKSTART))

    assert code == 1
    assert "+eventKey: purchase-requested" in out


def test_no_difference_is_exit_code_0(tmp_path: Path) -> None:
    """An empty folder asks for nothing."""
    code, out, err = _run("diff", "--offline", str(tmp_path))

    assert (code, out) == (0, "")
    assert "No differences." in err
