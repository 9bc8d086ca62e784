"""Resources that share what they have alike."""

from pathlib import Path

import pytest
import yaml

from taskloom.providers.kubernetes.compact import compact
from taskloom.resources.base import Resource
from taskloom.resources.client_app import ClientApp
from taskloom.resources.validate import is_ours, validate

ACCEPTED = Path(__file__).parents[1] / "golden" / "accepted"
DOCUMENTS = [
    document
    for path in sorted(ACCEPTED.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if isinstance(document, dict) and is_ours(document)
]


def read(document: object) -> Resource:
    """Read a resource."""
    assert isinstance(document, dict)
    made = validate(document)
    assert not isinstance(made, list), made
    return made


def client(name: str) -> ClientApp:
    """Read a ClientApp."""
    made = read(
        {
            "apiVersion": "taskloom.dev/v1alpha1",
            "kind": "ClientApp",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"displayName": name},
        }
    )
    assert isinstance(made, ClientApp)
    return made


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_compacted_resource_says_the_same(document: object) -> None:
    """Nothing of a resource changes: neither what it equals nor how it is written."""
    before = read(document)
    after = compact(read(document))

    assert before == after
    assert before.model_dump(exclude_unset=True) == after.model_dump(exclude_unset=True)


def test_equal_parts_are_one() -> None:
    """Of a thousand objects that leave a part at its default there is one such part."""
    one, other = client("one"), client("other")
    compact(one)
    compact(other)

    assert one.spec.credentials is other.spec.credentials
    assert one.metadata is not other.metadata
