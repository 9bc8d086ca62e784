"""Validation of manifests: defaults, strictness, changes, agreement of schema and models."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taskloom.resources.base import Resource
from taskloom.resources.client_app import ClientApp
from taskloom.resources.event_source import EventSource
from taskloom.resources.kinds import KINDS
from taskloom.resources.schema import structural_schema
from taskloom.resources.validate import is_ours, validate
from taskloom.resources.webhook_subscription import WebhookSubscription
from taskloom.resources.workflow import Workflow

MINIMAL: dict[str, dict[str, Any]] = {
    "ClientApp": {},
    "Command": {"topic": "charge", "http": {"url": "http://127.0.0.1:9000/"}},
    "EventMapping": {"eventKey": "*", "workflowKey": "buy"},
    "EventSink": {"kafka": {"bootstrapServers": ["kafka:9092"], "topic": "out"}},
    "EventSource": {"http": {"path": "/purchases"}},
    "TaskMapping": {"taskKey": "approve", "workflowRef": {"name": "approve"}},
    "WebhookSubscription": {
        "clientAppRef": {"name": "shop"},
        "eventKeys": ["*"],
        "url": "http://127.0.0.1:9000/hook?a=b@c",
    },
    "Workflow": {"bpmn": {"inline": "<xml/>"}},
}


def document(kind: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    """Write a manifest."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "it", **metadata},
        "spec": spec,
    }


def accepted(made: object) -> Resource:
    """Insist that a manifest was accepted."""
    assert isinstance(made, Resource), made
    return made


def refusal(made: object) -> list[str]:
    """Insist that a manifest was refused, and say where and why."""
    assert isinstance(made, list), made
    return [str(problem) for problem in made]


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_of_each_kind_is_accepted(kind: str) -> None:
    """A manifest with only what is required is accepted, in the default namespace."""
    made = accepted(validate(document(kind, MINIMAL[kind])))

    assert (kind, "default", "it") == made.key


@pytest.mark.parametrize("kind", KINDS)
def test_models_and_schema_fill_in_the_same_defaults(kind: str) -> None:
    """What the API server defaults is what the model defaults."""
    made = accepted(validate(document(kind, MINIMAL[kind])))
    alone = KINDS[kind].model_validate(document(kind, MINIMAL[kind]))

    assert alone.spec == made.spec


def test_null_counts_as_absent() -> None:
    """The API server drops nulls before it defaults and checks."""
    made = accepted(
        validate(document("ClientApp", {"suspend": None, "credentials": None, "displayName": None}))
    )

    assert isinstance(made, ClientApp)
    assert made.spec.suspend is False
    assert made.spec.display_name is None
    assert made.spec.secret_name("it") == "it-credentials"


def test_null_in_a_free_form_part_stays() -> None:
    """An input schema may well speak of null."""
    schema = {"enum": [None, "a"], "default": None}
    made = accepted(
        validate(document("Workflow", {"bpmn": {"inline": "x"}, "inputSchema": schema}))
    )

    assert isinstance(made, Workflow)
    assert schema == made.spec.input_schema


def test_a_whole_number_written_as_a_float_is_an_integer() -> None:
    """JSON knows no difference between 5 and 5.0."""
    spec = MINIMAL["WebhookSubscription"] | {"delivery": {"maxInFlight": 5.0}}
    made = accepted(validate(document("WebhookSubscription", spec)))

    assert isinstance(made, WebhookSubscription)
    assert made.spec.delivery.max_in_flight == 5


def test_a_pattern_ends_where_the_text_ends() -> None:
    """A trailing newline does not slip past `$`."""
    spec = MINIMAL["EventMapping"] | {"eventKey": "purchase\n"}

    assert "should match" in refusal(validate(document("EventMapping", spec)))[0]


def test_all_problems_are_told_at_once() -> None:
    """Unknown fields, metadata, bounds and rules come in one answer."""
    bad = document("EventMapping", {"eventKey": "", "typo": 1}, labels={"a": 1}, colour="red")
    bad["extra"] = True

    fields = {line.partition(": ")[0] for line in refusal(validate(bad))}

    metadata = {"metadata.colour", "metadata.labels[a]"}
    spec = {"spec", "spec.typo", "spec.eventKey"}
    assert {"extra"} | metadata | spec == fields


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"eventKey": "a b"}, ["spec.eventKey", "spec"]),
        ({"eventKey": 1}, ["spec.eventKey"]),
        ({}, ["spec.eventKey"]),
    ],
)
def test_rules_wait_for_the_shape_only(spec: dict[str, Any], expected: list[str]) -> None:
    """A wrong pattern does not hide a broken rule; a wrong type or a missing field does."""
    made = validate(document("EventMapping", spec))

    assert isinstance(made, list)
    assert expected == [problem.field for problem in made]


def test_a_rule_that_a_wrong_value_breaks_is_not_told_twice() -> None:
    """A duration that is none is told once, not again by the rule that compares it."""
    spec = MINIMAL["WebhookSubscription"] | {"delivery": {"timeout": "soon"}}
    made = validate(document("WebhookSubscription", spec))

    assert isinstance(made, list)
    assert ["spec.delivery.timeout"] == [problem.field for problem in made]


def test_a_status_is_left_aside() -> None:
    """Applying what `kubectl get -o yaml` wrote works."""
    written = document(
        "ClientApp",
        {},
        uid="1",
        resourceVersion="2",
        creationTimestamp="2026-11-24T10:00:00Z",
        managedFields=[],
        generation=3,
        namespace="shop",
    )
    written["status"] = {"anything": "goes"}
    made = accepted(validate(written))

    assert (made.metadata.namespace, made.metadata.generation) == ("shop", 3)


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("taskloom.dev/v1alpha1", "Webhook"),
        ("taskloom.dev/v1", "Workflow"),
        ("taskloom.dev", "Workflow"),
        ("taskloom.dev/v1alpha1", None),
        ("taskloom.dev/v1alpha1", 7),
    ],
)
def test_an_unknown_kind_or_version_is_named(version: str, kind: object) -> None:
    """A kind that is not served is refused as kubectl refuses it."""
    made = document("Workflow", MINIMAL["Workflow"]) | {"apiVersion": version, "kind": kind}

    assert is_ours(made)
    assert f'no matches for kind "{kind}" in version "{version}"' in refusal(validate(made))[0]


@pytest.mark.parametrize("spec", [[], "text", 7, True])
def test_a_spec_must_be_a_map(spec: object) -> None:
    """A spec of another shape is a problem, not a crash."""
    assert "must be of type object" in refusal(validate(document("ClientApp", spec)))[0]


@pytest.mark.parametrize("metadata", [None, [], "it", {}, {"name": 7}, {"name": "a" * 254}])
def test_metadata_needs_a_name(metadata: object) -> None:
    """Metadata of another shape is a problem, not a crash."""
    bad = document("ClientApp", {}) | {"metadata": metadata}

    assert refusal(validate(bad))[0].startswith("metadata")


@pytest.mark.parametrize(
    ("kind", "before", "after", "field"),
    [
        ("EventMapping", {}, {"eventKey": "other"}, "spec.eventKey"),
        ("TaskMapping", {}, {"taskKey": "other"}, "spec.taskKey"),
        ("Workflow", {"externalIdentifier": "a"}, {"externalIdentifier": "b"}, "spec."),
        ("Workflow", {}, {"externalIdentifier": "b"}, "spec.externalIdentifier"),
        ("EventSource", {}, {"http": None, "cron": {"schedule": "* * * * *"}}, "spec"),
    ],
)
def test_a_forbidden_change_is_refused(
    kind: str, before: dict[str, Any], after: dict[str, Any], field: str
) -> None:
    """Rules about changes hold against the former document, and only then."""
    changed = {k: v for k, v in (MINIMAL[kind] | after).items() if v is not None}
    old = document(kind, MINIMAL[kind] | before)

    lines = refusal(validate(document(kind, changed), old=old))
    assert lines[0].startswith(field)
    assert "may not be changed" in lines[0]
    accepted(validate(document(kind, changed)))
    accepted(validate(old, old=old))


def test_a_rotation_is_never_taken_back() -> None:
    """A revision may rise and must not fall."""

    def rotated(revision: int) -> dict[str, Any]:
        generated = {"rotation": {"revision": revision}}
        return document("ClientApp", {"credentials": {"generated": generated}})

    accepted(validate(rotated(3), old=rotated(2)))
    assert "must not be lowered" in refusal(validate(rotated(1), old=rotated(2)))[0]


def test_a_source_knows_its_type() -> None:
    """The kind of source is the field that is set."""
    made = accepted(validate(document("EventSource", {"cron": {"schedule": "* * * * *"}})))

    assert isinstance(made, EventSource)
    assert made.spec.type == "cron"


def test_a_model_error_does_not_show_the_input() -> None:
    """Models never echo values, which could be secret."""
    with pytest.raises(ValidationError) as caught:
        ClientApp.model_validate(document("ClientApp", {"suspend": "sesame"}))

    assert "sesame" not in str(caught.value)


def specs(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Make values that mostly fit a schema."""
    wild = st.none() | st.integers() | st.text(max_size=5) | st.booleans() | st.just({"x": [1]})
    if schema["type"] == "object":
        properties = schema.get("properties", {})
        fitting: st.SearchStrategy[Any] = st.fixed_dictionaries(
            {}, optional={name: specs(child) for name, child in properties.items()}
        )
    elif schema["type"] == "array":
        fitting = st.lists(specs(schema["items"]), max_size=3)
    elif "enum" in schema:
        fitting = st.sampled_from(schema["enum"])
    elif schema["type"] == "boolean":
        fitting = st.booleans()
    elif schema["type"] == "integer":
        fitting = st.integers(0, 100)
    else:
        fitting = st.sampled_from(["a", "*", "10s", "/a", "http://a/", "a:1", "Etc/UTC", "1 TZ"])
    return st.one_of(*[fitting] * 9, wild)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_schema_and_model_agree(kind: str, data: st.DataObject) -> None:
    """What the schema and its rules accept, the model accepts: no field is judged twice."""
    spec = data.draw(specs(structural_schema(KINDS[kind])["properties"]["spec"]))
    made = validate(document(kind, spec))
    if isinstance(made, list):
        assert all("Input should" not in problem.message for problem in made), made
    else:
        assert KINDS[kind].model_validate(document(kind, made.spec.model_dump(by_alias=True)))
