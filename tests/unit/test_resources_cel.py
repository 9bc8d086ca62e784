"""CEL: what expressions give, how they fail, and what the runtime must never be handed."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.errors import Invalid
from taskloom.resources.cel import (
    MAX_DEPTH,
    MAX_EXPRESSION,
    MAX_VALUES,
    Verdict,
    compile_expression,
    judge,
)

EVENT: dict[str, Any] = {
    "key": "purchase",
    "source": "shop",
    "payload": {
        "amount": 5,
        "items": [1, 2, 3],
        "nothing": None,
        "ratio": 1.5,
        "event": {"key": 1},
    },
}


def evaluate(expression: str, event: Any = EVENT) -> Any:
    """Compile and evaluate over one event."""
    return compile_expression(expression, ("event",)).evaluate({"event": event})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("event.key == 'purchase' && event.payload.amount > 4.5", True),
        ("event.payload.nothing == null", True),
        ("has(event.payload.amount) && !has(event.payload.missing)", True),
        ("event.payload.items.map(i, i * 2)", [2, 4, 6]),
        ("event.payload.items.exists(i, i == event.payload.amount)", False),
        ("{'amount': event.payload.amount, 'shop': event.source}", {"amount": 5, "shop": "shop"}),
        ("event.payload", EVENT["payload"]),
        ("event", EVENT),
        ("event.payload.size()", 5),
        ("size(event.payload)", 5),
        ("event.key.size()", 8),
        ("'amount' in event.payload", True),
        ("event['payload']['amount']", 5),
        ("(event).payload.amount", 5),
        ("dyn(event).payload.amount", 5),
        ("event // the rest of the line says nothing\n . payload . amount", 5),
        ("event.payload.event.key", 1),
        ("[1].map(event, event + 1)", [2]),
        ("timestamp('2026-11-24T10:00:00+01:00')", "2026-11-24T09:00:00Z"),
        ("duration('90s')", "90s"),
        ("b'abc'", "YWJj"),
        ("{1: 'a'}", {"1": "a"}),
    ],
)
def test_an_expression_gives_its_value(expression: str, expected: object) -> None:
    """A value comes back as JSON, whatever part of the event the expression reads."""
    assert expected == evaluate(expression)


@pytest.mark.parametrize(
    ("expression", "fragment"),
    [
        ("event.payload.missing", 'no such field: "missing"'),
        ("event.missing.deeper", 'no such field: "missing"'),
        ("event.payload.amount + 1.5", "No matching overloads found"),
        ("event.payload.items[7]", "index=7"),
        ("event.payload.amount / 0", "divide by zero"),
        ("9223372036854775807 + event.payload.amount", "integer overflow"),
        ("0.0 / 0.0", "which JSON cannot say"),
        ("type(event)", "not JSON"),
        ("event.key.matches('(')", "invalid regular expression"),
    ],
)
def test_what_fails_at_run_time_says_why(expression: str, fragment: str) -> None:
    """A failure at run time is Invalid with a reason, never another exception."""
    with pytest.raises(Invalid) as caught:
        evaluate(expression)

    assert fragment in caught.value.message


@pytest.mark.parametrize(
    ("expression", "fragment"),
    [
        ("event.", "`event.`: line 1, column 7: Syntax error"),
        ("event.key ==\n  'a' 'b'", "line 2, column 7"),
        ("evnt.key", "line 1, column 5: undeclared reference to 'evnt.key'"),
        ("1 + 'a'", "line 1, column 3: found no matching overload"),
        ("", "Syntax error"),
        ("x" * (MAX_EXPRESSION + 1), "too long"),
        ("[" * 100 + "]" * 100, "recursion"),
        ("'\x00'", "NUL"),
        ("'\ud800'", "surrogate"),
    ],
)
def test_a_wrong_expression_names_itself_and_the_place(expression: str, fragment: str) -> None:
    """What cannot be compiled is Invalid and says where."""
    with pytest.raises(Invalid) as caught:
        compile_expression(expression, ("event",))

    assert fragment in caught.value.message


def test_one_expression_is_compiled_once() -> None:
    """The same expression over the same variables is the same program."""
    first = compile_expression("event.key == 'once'", ("event",))

    assert first is compile_expression("event.key == 'once'", ("event",))


def test_an_integer_beyond_64_bits_is_read_as_a_double() -> None:
    """Large integers compare as JSON's readers in Go and JavaScript would."""
    assert evaluate("event.payload > 1000 && event.payload == 1e30", {"payload": 10**30}) is True
    assert evaluate("event.payload > 0", {"payload": 2**63}) is True
    assert evaluate("event.payload < -1e308", {"payload": -(10**400)}) is True


@pytest.mark.parametrize(
    "text", ["a\x00b", "\ud800", "x\udfffy\x00", "\U0010e000", "e\u0301 \U0001f600"]
)
def test_hostile_text_passes_through_unharmed(text: str) -> None:
    """NUL and lone surrogates neither truncate nor kill, as values and as keys."""
    event = {"payload": {text: [text], "length": len(text)}}

    assert event["payload"] == evaluate("event.payload", event)
    assert evaluate("event.payload.exists(k, size(k) == event.payload.length)", event) is True


def nested(levels: int) -> Any:
    """Nest lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_deep_nesting_is_refused_only_where_it_is_read() -> None:
    """A payload nested a hundred thousand deep does not stop a filter on the key."""
    event = {"key": "deep", "payload": nested(100_000)}

    assert evaluate("event.key == 'deep'", event) is True
    with pytest.raises(Invalid, match="nested deeper"):
        evaluate("event.payload == 1", event)


def test_the_deepest_value_allowed_is_safe_in_a_thread() -> None:
    """What passes the limit does not overflow a thread's stack, in, out and compared."""
    event = {"payload": nested(MAX_DEPTH - 1)}
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.extend(
            [evaluate("event.payload", event), evaluate("event.payload == event.payload", event)]
        )
    )
    thread.start()
    thread.join()

    assert [event["payload"], True] == results


def test_too_many_values_are_refused() -> None:
    """A huge payload is refused with its limit instead of stopping the process for seconds."""
    with pytest.raises(Invalid, match=f"more than {MAX_VALUES}"):
        evaluate("event.payload", {"payload": [0] * (MAX_VALUES + 1)})


def test_comprehensions_within_comprehensions_end() -> None:
    """Cubes of iterations hit the budget."""
    event = {"payload": list(range(100))}
    with pytest.raises(Invalid, match="budget"):
        evaluate("event.payload.all(a, event.payload.all(b, event.payload.all(c, c >= 0)))", event)


def test_text_cannot_be_multiplied_without_bound() -> None:
    """Doubling a large text again and again is refused before memory runs out."""
    doubling = "[[event.payload].map(a, a + a)[0]].map(a, a + a)[0]"
    with pytest.raises(Invalid, match="too large"):
        evaluate(doubling, {"payload": "a" * 100_000})

    assert evaluate(doubling, {"payload": "ab"}) == "ab" * 4


@pytest.mark.parametrize("expression", ["event.key", "1", "null", "[true]"])
def test_a_filter_must_give_true_or_false(expression: str) -> None:
    """Anything but a boolean is no answer to a filter, and the reason says so."""
    verdict = judge(compile_expression(expression, ("event",)), {"event": EVENT})

    assert not verdict.matched
    assert "not true or false" in (verdict.reason or "")


def test_a_filter_that_fails_lets_nothing_through_and_says_why() -> None:
    """A missing field counts as false, with the reason; no filter lets all through."""
    failing = compile_expression("event.payload.missing > 1", ("event",))

    expected = Verdict(matched=False, reason='no such field: "missing"')
    assert expected == judge(failing, {"event": EVENT})
    assert Verdict(matched=True) == judge(None, {"event": EVENT})


def test_hostile_text_beside_its_own_disguise_is_refused() -> None:
    """Where the way back would be ambiguous, nothing is guessed."""
    with pytest.raises(Invalid, match="cannot read both"):
        evaluate("event.payload", {"payload": ["\U0010e000", "\ud800"]})


text = st.text(
    st.characters(exclude_categories=(), max_codepoint=0x10DFFF), max_size=20
)  # lone surrogates included
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_any_json_value_survives_the_journey(value: Any) -> None:
    """Every JSON value comes back as it went in."""
    assert value == evaluate("event.payload", {"payload": value})
