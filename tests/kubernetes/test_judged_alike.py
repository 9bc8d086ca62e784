"""Samples with a piece exchanged are judged alike by the API server and the file provider."""

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskloom.resources.base import Resource
from taskloom.resources.validate import validate
from tests.real.kubernetes.api import Api, Json, Refusal

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples" / "full"
DOCUMENTS: list[Json] = [
    document
    for path in sorted(SAMPLES.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
PIECES: list[Any] = [
    *(None, True, False, 0, 1, -1, 1001, 2**31, 1.5, "", " ", "a", "A", "*", "a b", "é", "a\n"),
    *("a" * length for length in (63, 64, 128, 129, 253, 254, 1025)),
    *("é" * length for length in (64, 65, 128, 129)),
    *("0s", "10s", "61s", "1h30m", "721h", "1.5s", "-1s", "1d", "1ms"),
    *("http://a", "HTTPS://a/b?c", "http://", "http://u:p@h/", "http://[::1]:80/x", "http://a/ b"),
    *("/a", "/", "/a b", "a:1", "[::1]:9092", "* * * * *", "TZ=UTC * * * * *", "JSON", "Both"),
    *([], {}, ["a"], ["a", "a"], [None], [1], {"name": "a"}, {"name": "A"}, {"key": "a"}, {"a": 1}),
    *([{"name": "a"}], [{"name": "a"}, {"name": "a"}], {"generated": {}}, {"inline": "x"}),
]
GONE = object()


def places(value: Any) -> list[tuple[str | int, ...]]:
    """List the ways to all parts of a value."""
    found: list[tuple[str | int, ...]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        found.append((key,))
        if isinstance(item, dict | list):
            found.extend((key, *rest) for rest in places(item))
    return found


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """Take a sample, and exchange, add or remove one or two of its pieces."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([*places(document["spec"]), ("typo",)]))
        holder: Any = document["spec"]
        for key in way:
            holder = holder[key]
        piece = draw(st.sampled_from([*PIECES, GONE]))
        if piece is not GONE:
            holder[last] = copy.deepcopy(piece)
        elif last != "typo":
            del holder[last]
        if not isinstance(document["spec"], dict):
            break
    return document


def is_echo(field: str, message: str) -> bool:
    """Tell whether a cause only repeats another: a rule that could not be judged, a scale path."""
    return (
        field == "<nil>"
        or field.startswith(".")
        or "evaluating rule" in message
        or "must be an object for an array" in message
    )


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=documents())
def test_a_sample_with_another_piece_is_judged_alike(cluster: Api, document: Json) -> None:
    """Both accept it and fill in the same defaults, or both refuse it at the same fields."""
    ours = validate(document)
    theirs = cluster.create(document, dry_run=True)

    if isinstance(theirs, Refusal):
        assert isinstance(ours, list), theirs
        fields = {problem.field for problem in ours}
        if theirs.causes:
            assert {f for f, message in theirs.causes if not is_echo(f, message)} == fields
        else:
            assert any(field in theirs.message for field in fields), theirs
    else:
        assert isinstance(ours, Resource), ours
        spec = ours.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert theirs["spec"] == spec
