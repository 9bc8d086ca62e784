"""The `where` of a query: fields held against values, joined by and and or."""

from typing import Any, Literal

from taskloom.domain.query_tree import (
    EVERY_ROW,
    Comparison,
    Group,
    Operator,
    Reading,
    Where,
    shown,
    step,
)
from taskloom.domain.query_values import Field, FieldType, Value, read_value
from taskloom.errors import Invalid

MAX_CONDITIONS = 100
MAX_DEPTH = 8
MAX_LIST = 1_000

_ORDERED = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN})
_TEXTUAL = frozenset(
    {Operator.LIKE, Operator.NLIKE, Operator.ILIKE, Operator.NILIKE, Operator.REGEXP}
)
_LISTS = frozenset({Operator.INQ, Operator.NIN, Operator.BETWEEN})


def read_conditions(raw: Any, path: str, reading: Reading, depth: int = 1) -> Where:
    """Read a `where`, every row if there is none; raises `Invalid` naming the part at fault."""
    if raw is None:
        return EVERY_ROW
    if not isinstance(raw, dict):
        raise Invalid(f'{path} must be an object, such as {{"status": "pending"}}.', field=path)
    if depth > MAX_DEPTH:
        raise Invalid(f"{path} nests deeper than {MAX_DEPTH} levels: flatten it.", field=path)
    conditions: list[Where] = []
    for name, value in raw.items():
        here = step(path, name)
        if name in {"and", "or"}:
            conditions.append(_group(name, value, here, reading, depth))
        else:
            conditions.extend(_comparisons(name, value, here, reading))
    if len(conditions) == 1:
        return conditions[0]
    return Group(operator="and", conditions=tuple(conditions))


def _group(
    name: Literal["and", "or"], value: Any, path: str, reading: Reading, depth: int
) -> Group:
    if not isinstance(value, list) or not value:
        raise Invalid(f"{path} must be a list of at least one condition.", field=path)
    inner = tuple(
        read_conditions(item, f"{path}[{index}]", reading, depth + 1)
        for index, item in enumerate(value)
    )
    return Group(operator=name, conditions=inner)


def _comparisons(name: str, value: Any, path: str, reading: Reading) -> list[Comparison]:
    reading.known(name, path)
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise Invalid(f'{path} is a list: write {{"inq": […]}} to match any of it.', field=path)
        value = {"eq": value}
    if not value:
        raise Invalid(f"{path} has no operator: use {', '.join(Operator)}.", field=path)
    return [
        _comparison(name, _operator(operator, path, reading), operand, path, reading)
        for operator, operand in value.items()
    ]


def _operator(name: str, path: str, reading: Reading) -> Operator:
    here = step(path, name)
    reading.conditions += 1
    if reading.conditions > MAX_CONDITIONS:
        raise Invalid(f"More than {MAX_CONDITIONS} conditions: ask for less at once.", field=here)
    try:
        return Operator(name)
    except ValueError:
        raise Invalid(
            f"There is no operator {shown(name)} (at {path}): use {', '.join(Operator)}.",
            field=here,
        ) from None


def _comparison(
    name: str, operator: Operator, operand: Any, path: str, reading: Reading
) -> Comparison:
    known = reading.target.fields[name]
    here = step(path, operator)
    _check_fits(name, known, operator, here)
    if operator is Operator.EXISTS:
        return Comparison(field=name, operator=operator, value=read_flag(operand, here, reading))
    if operator is Operator.REGEXP:
        pattern, ignore_case = _pattern(operand, here)
        return Comparison(field=name, operator=operator, value=pattern, ignore_case=ignore_case)
    if operator in _LISTS:
        return Comparison(
            field=name, operator=operator, value=_list(known, operator, operand, here, reading)
        )
    if operator in _TEXTUAL:
        return Comparison(field=name, operator=operator, value=_like(operand, here))
    value = read_value(known, operand, here, lenient=reading.lenient)
    if value is None and operator not in {Operator.EQ, Operator.NEQ}:
        raise Invalid(f"{here} cannot be null: use eq, neq or exists.", field=here)
    return Comparison(field=name, operator=operator, value=value)


def _check_fits(name: str, known: Field, operator: Operator, path: str) -> None:
    kind = known.type
    if operator in _TEXTUAL and kind not in {FieldType.TEXT, FieldType.ENUM}:
        fits = False
    elif operator in _ORDERED:
        fits = kind not in {FieldType.JSON, FieldType.BOOLEAN}
    else:
        fits = kind is not FieldType.JSON or operator in {
            Operator.EQ,
            Operator.NEQ,
            Operator.EXISTS,
        }
    if not fits:
        raise Invalid(
            f"The operator {operator} does not fit the field {name}, which holds {kind}.",
            field=path,
        )


def _list(
    known: Field, operator: Operator, operand: Any, path: str, reading: Reading
) -> tuple[Value, ...]:
    if reading.lenient and isinstance(operand, str):
        operand = [operand]
    if not isinstance(operand, list):
        raise Invalid(f"{path} must be a list.", field=path)
    if operator is Operator.BETWEEN and len(operand) != 2:
        raise Invalid(f"{path} must be a list of two values: [from, to].", field=path)
    if len(operand) > MAX_LIST:
        raise Invalid(f"{path} has more than {MAX_LIST} values: ask for less at once.", field=path)
    values = tuple(
        read_value(known, item, f"{path}[{index}]", lenient=reading.lenient)
        for index, item in enumerate(operand)
    )
    if operator is Operator.BETWEEN and None in values:
        raise Invalid(f"{path} cannot hold null.", field=path)
    return values


def _like(operand: Any, path: str) -> str:
    text = _text(operand, path)
    trailing = len(text) - len(text.rstrip("\\"))
    if trailing % 2:
        raise Invalid(f"{path} ends in a lone backslash: write \\\\ for one.", field=path)
    return text


def _pattern(operand: Any, path: str) -> tuple[str, bool]:
    """Take `^a` or, as LoopBack also does, `/^a/i`."""
    text = _text(operand, path)
    if not text.startswith("/") or "/" not in text[1:]:
        return text, False
    pattern, _, flags = text[1:].rpartition("/")
    if set(flags) - set("gi"):
        raise Invalid(f"{path} has the flags {shown(flags)}: only i is known.", field=path)
    return pattern, "i" in flags


def _text(operand: Any, path: str) -> str:
    value = read_value(Field(type=FieldType.TEXT), operand, path, lenient=False)
    if not isinstance(value, str):
        raise Invalid(f"{path} must be text.", field=path)
    if len(value) > 1_000:
        raise Invalid(f"{path} is longer than 1,000 characters.", field=path)
    return value


def read_flag(operand: Any, path: str, reading: Reading) -> bool:
    """Read true or false."""
    value = read_value(Field(type=FieldType.BOOLEAN), operand, path, lenient=reading.lenient)
    if not isinstance(value, bool):
        raise Invalid(f"{path} must be true or false.", field=path)
    return value
