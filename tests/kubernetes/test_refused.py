"""What the file provider refuses, the API server refuses, at the same field."""

import re
from pathlib import Path

import pytest
import yaml

from taskloom.resources.validate import validate
from tests.real.kubernetes.api import Api, Json, Refusal

GOLDEN = Path(__file__).parents[1] / "golden"
REFUSED = sorted((GOLDEN / "refused").glob("*.yaml"))
CHANGES = sorted((GOLDEN / "changes").glob("*.yaml"))


def our_fields(document: Json, old: Json | None = None) -> set[str]:
    """Name the fields at which the file provider refuses a document."""
    problems = validate(document, old=old)
    assert isinstance(problems, list)
    return {problem.field for problem in problems}


def refusal(answer: Json | Refusal) -> Refusal:
    """Insist that the API server said no."""
    assert isinstance(answer, Refusal), answer
    return answer


def without_indices(text: str) -> str:
    """Drop what stands for an item: `[1]` or, in the words of server-side apply, `[name="a"]`."""
    return re.sub(r"\[.*?\]", "", text)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.stem)
def test_a_bad_manifest_is_refused_on_creation(cluster: Api, case: Path) -> None:
    """`kubectl create` is told the very fields that the file provider names."""
    document = yaml.safe_load(case.read_text())
    ours = our_fields(document)

    no = refusal(cluster.create(document, dry_run=True))

    if no.causes:
        assert ours == {field for field, _ in no.causes if field != "<nil>"}
    else:
        # What cannot even be read is told in a sentence; Go writes ObjectMeta for metadata.
        words = no.message.replace("ObjectMeta.", "metadata.")
        assert all(field in words for field in ours), words


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.stem)
def test_a_bad_manifest_is_refused_on_apply(cluster: Api, case: Path) -> None:
    """`kubectl apply --server-side` is told the fields that the file provider names."""
    document = yaml.safe_load(case.read_text())
    ours = our_fields(document)

    no = refusal(cluster.apply(document, dry_run=True))

    told = {field for field, _ in no.causes if field != "<nil>"}
    words = without_indices(no.message)
    assert told == ours or all(f".{without_indices(field)}" in words for field in ours), words


def test_kubectl_shows_the_field(cluster: Api) -> None:
    """Whoever applies a bad manifest reads which field is wrong, and why."""
    text = (GOLDEN / "refused" / "delivery-timeout.yaml").read_text()

    with pytest.raises(AssertionError) as caught:
        cluster.kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", given=text)

    assert "spec.delivery.timeout" in str(caught.value)
    assert "`timeout` must be more than 0s and at most 60s" in str(caught.value)


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.stem)
def test_a_forbidden_change_is_refused(cluster: Api, namespace: str, case: Path) -> None:
    """An object that exists may not take the other form."""
    before, after = yaml.safe_load_all(case.read_text())
    for document in (before, after):
        document["metadata"]["namespace"] = namespace
    assert not isinstance(cluster.apply(before), Refusal)

    no = refusal(cluster.apply(after, dry_run=True))

    assert our_fields(after, before) == {field for field, _ in no.causes}
    assert case.read_text().splitlines()[1].removeprefix("# message: ") in no.message
