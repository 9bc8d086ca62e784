"""Expressions: what they give, what they refuse at deployment, what fails when they are asked."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.engines.embedded.expressions import ExpressionError, parse_expression

VARIABLES: dict[str, Any] = {
    "n": 5,
    "half": 2.5,
    "text": "Hello",
    "digits": "7",
    "empty_text": "",
    "yes": True,
    "nothing": None,
    "list": [1, "two", [3]],
    "map": {"key": "value", "a b": 1, "n": None, "list": [{"x": 9}]},
    "emptyList": [],
    "key": "key",
    "and_more": 1,
    "big": 2**62,
}


@dataclass
class Place:
    """A scope with the variables above."""

    now: datetime = datetime(2030, 1, 31, 12, tzinfo=UTC)
    properties: dict[str, Any] = field(
        default_factory=lambda: {
            "processInstanceId": "i-1",
            "processBusinessKey": "b-1",
            "processDefinitionId": "d-1",
            "currentActivityId": "a-1",
            "currentActivityName": None,
        }
    )

    def find(self, name: str) -> tuple[bool, Any]:
        """Look a variable up."""
        return name in VARIABLES, VARIABLES.get(name)


def value_of(text: str) -> Any:
    """Parse and evaluate."""
    return parse_expression(text).evaluate(Place())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("  trimmed  ", "trimmed"),
        ("", ""),
        ("5", "5"),
        ("${n}", 5),
        ("#{n}", 5),
        ("${ n }", 5),
        ("a ${n} b #{text}", "a 5 b Hello"),
        ("${n}${n}", "55"),
        ("x${nothing}${yes}${half}", "xtrue2.5"),
        ("${list} ${map.list}", '[1,"two",[3]] [{"x":9}]'),
        (r"\${n}", "${n}"),
        (r"a\b \\${n}", r"a\b \${n}"),
        ("$n #n {n} $", "$n #n {n} $"),
        ("${'}'}", "}"),
        (r"${'it\'s \\ \"ok\"'}", 'it\'s \\ "ok"'),
        ("${1 + 2 * 3 - 4 / 2}", 5.0),
        ("${(1 + 2) * 3}", 9),
        ("${7 / 2}", 3.5),
        ("${7 div 2}", 3.5),
        ("${7 % 4} ${7 mod 4} ${-7 % 4} ${7.5 % 2}", "3 3 -3 1.5"),
        ("${-n}", -5),
        ("${- -n}", 5),
        ("${1.5e3}", 1500.0),
        ("${.5}", 0.5),
        ("${digits + 1}", 8),
        ("${'1.5' + 1}", 2.5),
        ("${nothing + 1}", 1),
        ("${empty_text + 1}", 1),
        ("${1 == 1.0}", True),
        ("${digits == 7}", True),
        ("${digits < 10}", True),
        ("${digits < '10'}", False),
        ("${nothing == null}", True),
        ("${nothing == 0}", False),
        ("${nothing != 0}", True),
        ("${nothing < 1}", False),
        ("${nothing >= 0}", False),
        ("${nothing <= null}", True),
        ("${yes == 'true'}", True),
        ("${yes == 'TRUE'}", True),
        ("${'a' eq 'a' and 1 ne 2 && 1 lt 2 and 2 gt 1 and 1 le 1 and 1 ge 1}", True),
        ("${1 >= 2 or 2 <= 1 || false}", False),
        ("${not yes}", False),
        ("${!yes}", False),
        ("${!!yes}", True),
        ("${!nothing}", True),
        ("${yes || missing}", True),
        ("${false && missing}", False),
        ("${empty nothing and empty empty_text and empty emptyList and not empty list}", True),
        ("${empty map}", False),
        ("${yes ? 'a' : 'b'}", "a"),
        ("${n > 9 ? 'a' : n > 4 ? 'b' : 'c'}", "b"),
        ("${map.key}", "value"),
        ("${map['key']}", "value"),
        ("${map[key]}", "value"),
        ("${map['a b']}", 1),
        ("${map.missing}", None),
        ("${map.n.deeper.still}", None),
        ("${nothing.anything}", None),
        ("${map.list[0].x}", 9),
        ("${list[1]}", "two"),
        ("${list['1']}", "two"),
        ("${list[9]}", None),
        ("${list[-1]}", None),
        ("${list[2][0]}", 3),
        ("${list}", [1, "two", [3]]),
        ("${and_more}", 1),
        ("${text.toLowerCase()}", "hello"),
        ("${text.toUpperCase().startsWith('HE')}", True),
        ("${text.endsWith('lo') && text.contains('ell') && text.length() == 5}", True),
        ("${' x '.trim()}", "x"),
        ("${text.equals('Hello')}", True),
        ("${text.equals(5)}", False),
        ("${text.equalsIgnoreCase('HELLO')}", True),
        ("${text.substring(1, 3)}", "el"),
        ("${text.substring(3)}", "lo"),
        ("${text.replace('l', 'L')}", "HeLLo"),
        ("${text.concat('!')}", "Hello!"),
        ("${text.indexOf('l')} ${text.lastIndexOf('l')} ${text.indexOf('z')}", "2 3 -1"),
        ("${empty_text.isEmpty()}", True),
        ("${list.size()}", 3),
        ("${list.contains('two') && !list.contains('1')}", True),
        ("${list.contains(1.0) and not list.contains(true)}", True),
        ("${list.get(1)}", "two"),
        ("${emptyList.isEmpty()}", True),
        ("${map.size()}", 4),
        ("${map.containsKey('key') and !map.containsKey('zzz')}", True),
        ("${map.get('key')}", "value"),
        ("${map.keySet()}", ["key", "a b", "n", "list"]),
        ("${n.equals(5) and n.toString().equals('5')}", True),
        ("${half.intValue()}", 2),
        ("${S(map).prop('key').stringValue()}", "value"),
        ("${JSON(map).prop('list').elements().get(0).prop('x').numberValue()}", 9),
        ("${S(map).hasProp('key')}", True),
        ("${map.prop('a b').value()}", 1),
        ("${execution.processInstanceId}", "i-1"),
        ("${execution.getProcessInstanceId()}", "i-1"),
        ("${execution.processBusinessKey}-${execution.businessKey}", "b-1-b-1"),
        ("${execution.currentActivityId}", "a-1"),
        ("${execution.getVariable('n')}", 5),
        ("${execution.getVariable('zzz')}", None),
        ("${execution.hasVariable('n') and not execution.hasVariable('zzz')}", True),
        ("${now()}", "2030-01-31T12:00:00Z"),
        ("${dateTime().plusMonths(1).minusHours(1).toDate()}", "2030-02-28T11:00:00Z"),
        ("on ${dateTime().plusDays(1)}", "on 2030-02-01T12:00:00Z"),
        ("${dateTime().plusDays(1) > now()}", True),
        ("a ${1.0} ${100000000.0} ${0.0001} ${1e21}", "a 1.0 1.0E8 1.0E-4 1.0E21"),
    ],
)
def test_expression_has_its_value(text: str, expected: Any) -> None:
    """The subset of JUEL means what Camunda makes of it."""
    actual = value_of(text)
    assert expected == actual
    assert type(expected) is type(actual)


@pytest.mark.parametrize(
    "text",
    [
        "${}",
        "${ }",
        "${",
        "${n",
        "${n}} ${",
        "${n +}",
        "${+ n}",
        "${n n}",
        "${(n}",
        "${list[0}",
        "${'open}",
        "${n = 5}",
        "${n; m}",
        "${`x`}",
        "${n ? 1}",
        "${n instanceof String}",
        "${[1, 2]}",
        "${{'a': 1}}",
        "${x -> x}",
        "${bean.run()}",
        "${text.getClass()}",
        "${text.getClass().forName('x')}",
        "${text.matches('(a+)+')}",
        "${''.class.forName('java.lang.Runtime').getRuntime()}",
        "${__import__('os')}",
        "${print(n)}",
        "${now(1)}",
        "${S(map, 1)}",
        "${execution}",
        "${execution.setVariable('n', 1)}",
        "${execution.engineServices}",
        "${execution.getVariable('a', 'b')}",
        "${execution.process.x.y()}",
        "${99999999999999999999}",
        "${1e999}",
        "${" + "(" * 100 + "n" + ")" * 100 + "}",
        "${" + "-" * 100 + "n}",
        "${n" + ".a" * 100 + "}",
        "${n" + "[0]" * 100 + "}",
        "${" + "n ? 1 : " * 100 + "2}",
        "x" * 10_001,
    ],
)
def test_expression_outside_the_subset_is_refused_when_parsed(text: str) -> None:
    """Whatever is not understood is refused at deployment, not when it is too late."""
    with pytest.raises(ExpressionError):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${missing}", "there is no variable 'missing'"),
        ("${missing.deep}", "there is no variable 'missing'"),
        ("a ${missing} b", "there is no variable 'missing'"),
        ("${text + 1}", "'Hello' is no number"),
        ("${yes + 1}", "a boolean is no number"),
        ("${list + 1}", "a list is no number"),
        ("${1 / 0}", "division by zero"),
        ("${1 % 0}", "division by zero"),
        ("${big * 4}", "64 bits"),
        ("${1e308 * 10}", "infinite"),
        ("${'nan' + 1}", "infinite or undefined"),
        ("${text.key}", "a text has no property 'key'"),
        ("${n.key}", "a number has no property"),
        ("${nothing.length()}", "called on null"),
        ("${n.length()}", "a number has no method length"),
        ("${text.startsWith(n)}", "cannot be called with these arguments"),
        ("${text.length(1)}", "cannot be called with these arguments"),
        ("${text.substring(9)}", "reaches beyond"),
        ("${list.get(9)}", "has no item 9"),
        ("${map.prop('zzz')}", "no property 'zzz'"),
        ("${map > 1}", "an object is no number"),
        ("${map > map}", "have no order"),
        ("${text == 5}", "is no number"),
        ("${list ? 1 : 2}", "neither true nor false"),
        ("${n && yes}", "neither true nor false"),
        ("${dateTime().plusYears(9999)}", "outside the years"),
        ("${dateTime().plusDays(99999999999)}", "too large"),
        ("${text.replace('', text)}${big}" + "${text}" * 5, None),
    ],
)
def test_expression_without_a_value_says_why(text: str, reason: str | None) -> None:
    """What has no value here fails with the expression and the reason."""
    expression = parse_expression(text)
    if reason is None:
        assert expression.evaluate(Place())
        return
    with pytest.raises(ExpressionError, match=reason) as failed:
        expression.evaluate(Place())

    assert text in str(failed.value)


def test_text_cannot_grow_without_bounds() -> None:
    """Repeated doubling of a text ends in an error before it hurts."""
    text = "${text" + ".replace('l', text).concat('llllllllll')" * 19 + "}"
    with pytest.raises(ExpressionError, match="longer than"):
        parse_expression(text.replace("text", "'" + "l" * 200 + "'", 1)).evaluate(Place())


@pytest.mark.parametrize(("text", "expected"), [("${n > 1}", True), ("${1 > n}", False)])
def test_condition_is_true_or_false(text: str, expected: bool) -> None:
    """A condition gives its truth."""
    assert expected is parse_expression(text).evaluate_condition(Place())


@pytest.mark.parametrize("text", ["${n}", "${'true'}", "${nothing}", "true", "a ${yes}"])
def test_condition_of_another_type_is_an_error(text: str) -> None:
    """As on Camunda, nothing is taken for a truth that is none."""
    with pytest.raises(ExpressionError, match="must be true or false"):
        parse_expression(text).evaluate_condition(Place())


@given(st.text(max_size=60) | st.text(alphabet="${}#()[].,'\"+-*/<>=!?:& |n1 empty", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text makes the parser or the evaluation fail otherwise than by its own error."""
    for candidate in (text, "${" + text + "}"):
        try:
            parse_expression(candidate).evaluate(Place())
        except ExpressionError:
            continue


@given(st.text())
def test_text_without_expressions_stays_itself(text: str) -> None:
    """Only backslashes before an expression have a meaning in plain text."""
    plain = text.replace("\\", "").replace("{", "").strip()

    assert plain == parse_expression(plain).literal or plain == ""
