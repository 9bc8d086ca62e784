"""What the file provider accepts, the API server accepts, and both read the same in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from taskloom.resources.base import Resource
from taskloom.resources.validate import is_ours, validate
from tests.real.kubernetes.api import Api, Json, Refusal

ROOT = Path(__file__).parents[2]


def documents(folder: str) -> Iterator[tuple[str, Json]]:
    """Read our documents in a folder and below it, each with its place."""
    for path in sorted((ROOT / folder).rglob("*.yaml")):
        for index, document in enumerate(yaml.safe_load_all(path.read_text())):
            if isinstance(document, dict) and is_ours(document):
                yield f"{path.relative_to(ROOT)}:{index}", document


def plan_documents() -> Iterator[tuple[str, Json]]:
    """Read the documents of the plans' steps that the file provider accepts."""
    for path in sorted((ROOT / "tests/golden/plans").glob("*.in.yaml")):
        steps = yaml.safe_load(path.read_text())
        for index, document in enumerate(d for step in steps for d in step.get("documents", ())):
            document.setdefault("apiVersion", "taskloom.dev/v1alpha1")
            if is_ours(document) and isinstance(validate(document), Resource):
                yield f"{path.stem}:{index}", document


ACCEPTED = [
    *documents("examples"),
    *documents("manifests"),
    *documents("tests/golden/accepted"),
    *plan_documents(),
]


@pytest.fixture(scope="module")
def namespace(cluster: Api) -> Iterator[str]:
    """Share one namespace: every test here deletes what it made."""
    with cluster.namespace() as name:
        yield name


def read_by_us(document: Json) -> Json:
    """Give the spec as the file provider reads it, its defaults filled in."""
    made = validate(document)
    assert isinstance(made, Resource), made
    spec: Json = made.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return spec


def stored(answer: Json | Refusal) -> Json:
    """Insist that the API server accepted a document, and give what it made of it."""
    assert not isinstance(answer, Refusal), answer
    return answer


def test_there_is_something_to_accept() -> None:
    """The folders are found."""
    assert len(ACCEPTED) > 60


@pytest.mark.parametrize(("place", "document"), ACCEPTED, ids=[place for place, _ in ACCEPTED])
def test_a_good_manifest_is_read_alike(
    cluster: Api, namespace: str, place: str, document: Json
) -> None:
    """What GET returns after an apply is what the file provider reads."""
    document = document | {"metadata": document["metadata"] | {"namespace": namespace}}

    stored(cluster.apply(document))
    found = stored(cluster.get(document))
    made = validate(document)

    assert isinstance(made, Resource)
    assert read_by_us(document) == found["spec"], place
    assert found["metadata"].get("labels", {}) == made.metadata.labels
    assert found["metadata"].get("annotations", {}) == made.metadata.annotations
    if "finalizers" in document["metadata"]:
        stored(cluster.apply(document | {"metadata": document["metadata"] | {"finalizers": []}}))
    # The owner that one names is not there: the garbage collector may have been quicker.
    cluster.delete(document)


def test_a_null_counts_as_absent_on_creation(cluster: Api) -> None:
    """`kubectl create` and `kubectl apply` drop a null, as the file provider does."""
    document = {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"name": "nulls", "labels": None},
        "spec": {
            "clientAppRef": {"name": "shop"},
            "eventKeys": ["*"],
            "url": "http://127.0.0.1/",
            "urlFrom": None,
            "filter": None,
            "suspend": None,
            "delivery": {"maxInFlight": None, "schedule": None},
        },
    }

    made = stored(cluster.create(document, dry_run=True))

    assert read_by_us(document) == made["spec"]


def test_an_object_is_read_anew_without_a_change(cluster: Api, namespace: str) -> None:
    """What was stored can be applied again as it is: its defaults are no change."""
    (document,) = (d for place, d in ACCEPTED if place.endswith("full/webhooksubscription.yaml:0"))
    document = document | {"metadata": {"name": "again", "namespace": namespace}}
    first = stored(cluster.apply(document))

    again = stored(cluster.apply(document | {"spec": first["spec"]}))

    assert first["metadata"]["generation"] == again["metadata"]["generation"]
    stored(cluster.delete(document))
