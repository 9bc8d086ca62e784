"""Namespaces and label selectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.errors import Invalid
from taskloom.providers.kubernetes.scope import Scope, parse_selector, read_scope

LABELS = {"team": "shop", "stage": "live", "example.org/tier": "1", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("", True),
        ("team=shop", True),
        ("team==shop", True),
        ("team = shop , stage = live", True),
        ("team=other", False),
        ("team!=other", True),
        ("team!=shop", False),
        ("absent!=anything", True),
        ("team", True),
        ("absent", False),
        ("!absent", True),
        ("! absent", True),
        ("!team", False),
        ("stage in (test, live)", True),
        ("stage in (test)", False),
        ("stage notin (test)", True),
        ("absent notin (test)", True),
        ("stage notin (test,live)", False),
        ("example.org/tier=1", True),
        ("empty=", True),
        ("stage in (live),team=shop,!absent", True),
    ],
)
def test_selectors_select_as_kubectl(selector: str, selected: bool) -> None:
    """A label selector selects what kubectl would with it."""
    scope = Scope(terms=parse_selector(selector))

    assert selected == scope.selects(LABELS)


@pytest.mark.parametrize(
    "selector",
    [
        "a=b,",
        ",a=b",
        "a=b c=d",
        "a in b",
        "a in (b",
        "=b",
        "a===b",
        "-a",
        "a=b;c",
        "a>1",
        "ain (b)",
    ],
)
def test_what_is_no_selector_is_refused(selector: str) -> None:
    """What kubectl would not take is refused, and the message shows it."""
    with pytest.raises(Invalid) as caught:
        parse_selector(selector)

    assert selector in caught.value.message


@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    """No text does anything but parse or be refused."""
    try:
        terms = parse_selector(text)
    except Invalid:
        return

    assert all(term.key for term in terms)


def test_namespaces_are_named_once_and_in_order() -> None:
    """The same namespace twice is one; none are all."""
    assert ("b", "a") == read_scope(("b", "a", "b"), None).namespaces
    assert (None,) == read_scope((), None).places


@pytest.mark.parametrize("namespace", ["", "A", "a_b", "a*", "-a", "a" * 64])
def test_what_is_no_namespace_is_refused(namespace: str) -> None:
    """Patterns are not taken for namespaces."""
    with pytest.raises(Invalid):
        read_scope((namespace,), None)
