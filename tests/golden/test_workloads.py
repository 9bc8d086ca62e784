"""What dedicated sources are given, from a template: golden files.

``pytest --update-golden`` writes them anew.
"""

import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskloom.errors import Invalid
from taskloom.providers.kubernetes.pod_template import read_template
from taskloom.providers.kubernetes.workloads import (
    Dedicated,
    differs,
    owns_replicas,
    problem_of,
    seen_of,
    workloads_of,
)
from taskloom.resources.event_source import EventSourceSpec

FOLDER = Path(__file__).parent / "workloads"
CASES = sorted(FOLDER.glob("*.in.yaml"))
TEMPLATE = read_template((FOLDER / "template.yaml").read_text())


def source(spec: dict[str, Any], name: str = "orders") -> Dedicated:
    """Write a source of the namespace shop; its pods run in taskloom."""
    return Dedicated(
        namespace="shop",
        name=name,
        source_id=uuid.UUID(int=7),
        spec=EventSourceSpec.model_validate(spec),
        home="taskloom",
    )


FIXED = {
    "kafka": {"bootstrapServers": ["k:9092"], "topics": ["orders"]},
    "placement": {"mode": "Dedicated"},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix(".in.yaml"))
def test_a_source_is_given_what_is_written(case: Path, request: pytest.FixtureRequest) -> None:
    """Each case gives exactly the objects of its golden file."""
    golden = case.with_name(case.name.replace(".in.", ".out."))
    given = yaml.safe_load(case.read_text())

    made = [
        workload.body
        for workload in workloads_of(source(given["spec"]), TEMPLATE, has_keda=given["has_keda"])
    ]

    if request.config.getoption("--update-golden", default=False):
        golden.write_text(yaml.safe_dump_all(made, sort_keys=False, width=100))
    assert list(yaml.safe_load_all(golden.read_text())) == made


def test_names_are_short_and_of_one_source_each() -> None:
    """However long a name is, or alike two of them are."""
    names = {
        source(FIXED, name=name).object_name
        for name in ("a", "a.b", "a-b", "x" * 253, "x" * 252 + "y", "a" * 26 + ".b")
    }

    assert 6 == len(names)
    assert all(len(name) <= 52 and "." not in name and "--" not in name for name in names)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "one document, not 0"),
        ("a: 1\n---\nb: 2", "one document, not 2"),
        ("[", "no YAML (line 1)"),
        ("just text", "a Deployment of apps/v1"),
        ("{apiVersion: v1, kind: Pod}", "a Deployment of apps/v1"),
        ("{apiVersion: apps/v1, kind: Deployment}", "lacks `spec`"),
        ("{apiVersion: apps/v1, kind: Deployment, spec: {template: }}", "lacks `template`"),
        (
            "{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: []}}}}",
            "a list of containers with names",
        ),
        (
            "{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: [{}]}}}}",
            "a list of containers with names",
        ),
    ],
)
def test_a_template_that_cannot_be_used_says_why(text: str, complaint: str) -> None:
    """In words for whoever wrote it."""
    with pytest.raises(Invalid) as refused:
        read_template(text)

    assert complaint in refused.value.message


def live(body: Any) -> Any:
    """Answer as an API server does: with defaults, and its own spelling of quantities."""
    made = yaml.safe_load(yaml.safe_dump(body))
    made["metadata"] |= {"uid": "1", "resourceVersion": "5"}
    made["status"] = {}
    made["spec"]["progressDeadlineSeconds"] = 600
    connectors = made["spec"]["template"]["spec"]["containers"][1]
    connectors["resources"]["requests"]["cpu"] = "500m"
    connectors["terminationMessagePath"] = "/dev/termination-log"
    made["spec"]["template"]["spec"]["containers"].append({"name": "injected"})
    return made


def test_defaults_and_other_spellings_and_additions_do_not_differ() -> None:
    """What was accepted when it was applied stays so."""
    [wanted] = workloads_of(source(FIXED), TEMPLATE, has_keda=False)
    answer = live(wanted.body)
    accepted = seen_of(wanted, answer)

    assert not differs(wanted, answer, accepted)
    assert differs(wanted, answer, None)


@pytest.mark.parametrize("change", ["replicas", "image", "env", "label", "annotation"])
def test_a_change_by_hand_differs(change: str) -> None:
    """Of anything that is ours to say."""
    [wanted] = workloads_of(source(FIXED), TEMPLATE, has_keda=False)
    answer = live(wanted.body)
    accepted = seen_of(wanted, answer)
    pod = answer["spec"]["template"]
    if change == "replicas":
        answer["spec"]["replicas"] = 4
    elif change == "image":
        pod["spec"]["containers"][1]["image"] = "other"
    elif change == "env":
        pod["spec"]["containers"][1]["env"].pop()
    elif change == "label":
        del pod["metadata"]["labels"]["app.kubernetes.io/component"]
    else:
        del answer["metadata"]["annotations"]["taskloom.dev/digest"]

    assert differs(wanted, answer, accepted)


def test_replicas_that_an_autoscaler_sets_do_not_differ() -> None:
    """They are not ours to say."""
    spec = FIXED | {"placement": {"mode": "Dedicated", "autoscaling": {}}}
    wanted, _ = workloads_of(source(spec), TEMPLATE, has_keda=False)
    answer = live(wanted.body)
    accepted = seen_of(wanted, answer)
    answer["spec"]["replicas"] = 9

    assert not differs(wanted, answer, accepted)


def test_who_owns_the_replicas_is_read_from_the_managed_fields() -> None:
    """Only what was applied counts."""
    entry = {
        "manager": "taskloom",
        "operation": "Apply",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }

    assert owns_replicas({"metadata": {"managedFields": [entry]}}, "taskloom")
    assert not owns_replicas(
        {"metadata": {"managedFields": [entry | {"operation": "Update"}]}}, "taskloom"
    )
    assert not owns_replicas({"metadata": {}}, "taskloom")


def test_what_is_wrong_with_a_deployment_is_what_its_controller_says() -> None:
    """Pods that may not be made, or do not come up in time."""
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    fine = {"type": "Progressing", "status": "True", "message": "ok"}

    assert "exceeded quota" == problem_of({"status": {"conditions": [fine, failure]}})
    assert problem_of({"status": {"conditions": [fine]}}) is None
    assert problem_of({}) is None
