"""The reconcilers' plans: golden steps, and what must hold for all of them.

A case ``X.in.yaml`` is a list of steps, each the documents of a folder at that time;
``X.out.yaml`` what each step changed and told.  ``pytest --update-golden`` writes the latter.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from taskloom.domain.conditions import ConditionStatus, ConditionType
from taskloom.providers.files.read import merge, read_folder
from taskloom.reconcilers.snapshot import Snapshot
from taskloom.reconcilers.verdict import Verdict
from taskloom.testing.plans import State, Step, carry_out

FOLDER = Path(__file__).parent / "plans"
CASES = sorted(FOLDER.glob("*.in.yaml"))
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def read(folder: Path, documents: Sequence[Mapping[str, Any]]) -> Snapshot:
    """Write the documents of one step to a folder and read them."""
    for document in documents:
        document.setdefault("apiVersion", "taskloom.dev/v1alpha1")  # type: ignore[attr-defined]  # read by yaml
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "all.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return read_folder(folder)


def told(verdict: Verdict) -> dict[str, Any]:
    """Show a verdict in a few lines."""
    shown: dict[str, Any] = {}
    for condition in verdict.conditions:
        plain = condition.status is ConditionStatus.TRUE and not condition.message
        if condition.type is not ConditionType.READY and plain:
            continue
        text = f"{condition.status} {condition.reason}"
        shown[str(condition.type)] = f"{text}: {condition.message}" if condition.message else text
    fields = {
        name: value for name, value in verdict.fields.items() if not name.lower().endswith("id")
    }
    return {**shown, **({"fields": fields} if fields else {})}


def steps(case: Path, folder: Path) -> list[dict[str, Any]]:
    """Carry out a case."""
    state = State()
    snapshot = None
    shown = []
    for index, step in enumerate(yaml.safe_load(case.read_text())):
        new = read(folder, step["documents"])
        if step.get("incomplete"):
            new = Snapshot(provider="file", complete=False)
        snapshot = merge(snapshot, new)
        made = carry_out(state, snapshot, NOW + timedelta(minutes=index))
        again = carry_out(made.state, snapshot, NOW + timedelta(hours=1))

        assert () == again.changes
        assert made.state == again.state
        state = made.state
        shown.append(
            {
                "changes": list(made.changes),
                "told": {"/".join(key): told(made.verdicts[key]) for key in sorted(made.verdicts)},
            }
        )
    return shown


def test_there_are_cases() -> None:
    """The folder of cases is found."""
    assert CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix(".in.yaml"))
def test_a_case_comes_to_what_is_written(
    case: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each step changes and tells exactly what its golden file says; the same again, nothing."""
    golden = case.with_name(case.name.replace(".in.", ".out."))

    shown = steps(case, tmp_path)

    if request.config.getoption("--update-golden", default=False):
        golden.write_text(yaml.safe_dump(shown, sort_keys=False, width=100))
    assert yaml.safe_load(golden.read_text()) == shown


def objects() -> list[dict[str, Any]]:
    """Give objects that refer to one another, fight over keys and lack things."""

    def make(kind: str, name: str, **spec: Any) -> dict[str, Any]:
        api = "taskloom.dev/v1alpha1"
        return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}

    return [
        make("ClientApp", "shop"),
        make("ClientApp", "till", credentials={"imported": {"secretRef": {"name": "till"}}}),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "till"},
            "stringData": {"apiKey": "key-of-shop", "apiSecret": "word"},
        },
        make("Workflow", "buy", bpmn={"inline": "topic-charge"}),
        make("Workflow", "rent", externalIdentifier="buy", bpmn={"inline": "x"}),
        make("Command", "charge", topic="charge", http={"url": "http://a/"}),
        make("Command", "pay", topic="charge", http={"url": "http://b/"}),
        make("EventMapping", "buy", eventKey="purchase", workflowRef={"name": "buy"}),
        make("EventMapping", "again", eventKey="purchase", workflowKey="buy"),
        make("TaskMapping", "one", taskKey="t", workflowRef={"name": "buy"}),
        make("TaskMapping", "two", taskKey="t", workflowKey="buy"),
        make(
            "WebhookSubscription",
            "hook",
            clientAppRef={"name": "shop"},
            eventKeys=["*"],
            url="http://a/",
        ),
        make("EventSource", "in", http={"path": "/p"}),
        make("EventSource", "in2", http={"path": "/p"}),
    ]


def snapshot_of(folder: Path, chosen: Sequence[Mapping[str, Any]]) -> Snapshot:
    """Read some objects as a folder."""
    return read(folder, list(chosen))


def essence(step: Step) -> tuple[Any, ...]:
    """Take what must not depend on the way: rows and conditions, without times."""
    rows = step.state
    return (
        {row.id: row for row in rows.clients},
        {row.id: row for row in rows.subscriptions},
        {row.id: row for row in rows.commands},
        {row.id: row.key for row in rows.workflows},
        {row.id: row for row in rows.event_mappings},
        {row.id: row for row in rows.task_mappings},
        {row.id: row for row in rows.sources},
        {key: told(verdict) for key, verdict in step.verdicts.items()},
    )


@settings(deadline=None, max_examples=40)
@given(order=st.permutations(range(14)))
def test_the_order_of_documents_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    """However the documents are ordered, the end is the same."""
    folder = tmp_path_factory.mktemp("order")
    everything = objects()
    usual = carry_out(State(), snapshot_of(folder, everything), NOW)

    shuffled = carry_out(State(), snapshot_of(folder, [everything[i] for i in order]), NOW)

    assert essence(usual) == essence(shuffled)


@pytest.mark.parametrize("kind", ["Workflow", "Command", "EventSource"])
def test_of_two_as_old_the_one_that_has_the_key_keeps_it(kind: str, tmp_path: Path) -> None:
    """A cluster's times are whole seconds: an object of the same second is not the older one."""
    spec = {
        "Workflow": {"externalIdentifier": "buy", "bpmn": {"inline": "x"}},
        "Command": {"topic": "charge", "http": {"url": "http://a/"}},
        "EventSource": {"http": {"path": "/p"}},
    }[kind]
    second: dict[str, Any] = {"kind": kind, "metadata": {"name": "second"}, "spec": spec}
    first = {"kind": kind, "metadata": {"name": "first"}, "spec": spec}
    before = carry_out(State(), read(tmp_path, [second]), NOW)

    after = carry_out(before.state, read(tmp_path, [first, second]), NOW)

    assert () == after.changes
    assert "KeyConflict" in str(told(after.verdicts[kind, "default", "first"]))


@settings(deadline=None, max_examples=40)
@given(ways=st.lists(st.sets(st.integers(0, 13)), max_size=4))
def test_the_way_does_not_matter_once_objects_are_as_old(
    tmp_path_factory: pytest.TempPathFactory, ways: list[set[int]]
) -> None:
    """Through any states, twice the same is nothing new, and everything gone leaves nothing."""
    folder = tmp_path_factory.mktemp("way")
    everything = objects()
    state = State()
    for index, chosen in enumerate([*ways, set[int]()]):
        snapshot = snapshot_of(folder, [everything[i] for i in sorted(chosen)])
        step = carry_out(state, snapshot, NOW + timedelta(minutes=index))
        again = carry_out(step.state, snapshot, NOW + timedelta(hours=1))

        assert () == again.changes
        assert step.state == again.state
        state = step.state

    assert () == state.resources + state.clients + state.subscriptions + state.commands
    assert () == state.event_mappings + state.task_mappings + state.sources
    assert {"api"} >= {row.managed_by for row in state.workflows}
