"""The methods that an expression may call: a closed list by type of value, all without effect."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from taskloom.engines.embedded.iso8601 import Duration
from taskloom.engines.embedded.operators import (
    bounded,
    is_number,
    limited,
    name_type,
    to_text,
)

Method = Callable[..., Any]


def call_method(value: Any, name: str, arguments: list[Any]) -> Any:
    """Call a method on a value; raises `ValueError` if this type has no such method."""
    method = _methods_of(value).get(name)
    if method is None:
        raise ValueError(f"{name_type(value)} has no method {name}()")
    try:
        return method(value, *arguments)
    except (TypeError, AttributeError) as exc:
        raise ValueError(f"{name}() cannot be called with these arguments") from exc


def _methods_of(value: Any) -> Mapping[str, Method]:
    return next((methods for kind, methods in _BY_TYPE if isinstance(value, kind)), {})


def _same(left: Any, right: Any) -> bool:
    if is_number(left) and is_number(right):
        return bool(left == right)
    return type(left) is type(right) and bool(left == right)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _substring(value: str, start: int, end: int | None = None) -> str:
    stop = len(value) if end is None else end
    if not 0 <= start <= stop <= len(value):
        raise ValueError(f"substring({start}, {stop}) reaches beyond the text's {len(value)}")
    return value[start:stop]


def _char_at(value: str, index: int) -> str:
    if not 0 <= index < len(value):
        raise ValueError(f"charAt({index}) reaches beyond the text's {len(value)}")
    return value[index]


def _item(value: list[Any], index: int) -> Any:
    if isinstance(index, bool) or not 0 <= index < len(value):
        raise ValueError(f"the list of {len(value)} has no item {index}")
    return value[index]


def _prop(value: Mapping[str, Any], name: str) -> Any:
    if name not in value:
        raise ValueError(f"the object has no property {name!r}")
    return value[name]


def _replace(value: str, old: str, new: str) -> str:
    if old == "" or len(new) > 1 + len(old):
        limited("x" * min(2_000_000, len(value) + (value.count(old) + 1) * len(new)))
    return value.replace(_text(old), _text(new))


def _whole(value: float) -> int:
    return int(bounded(int(value)))


def _later(**unit: int) -> Method:
    def later(value: datetime, count: float) -> datetime:
        if not is_number(count):
            raise TypeError
        steps = int(count)
        if abs(steps) > 10**9:
            raise ValueError("the number is too large for a date")
        span = Duration(
            months=unit.get("months", 0) * steps,
            exact=timedelta(seconds=unit.get("seconds", 0)) * steps,
        )
        return span.after(value)

    return later


# the Spin library's readers, on values that are JSON already
_ANY: dict[str, Method] = {
    "equals": _same,
    "toString": to_text,
    "value": lambda value: value,
    "isNull": lambda value: value is None,
    "isString": lambda value: isinstance(value, str),
    "isNumber": is_number,
    "isBoolean": lambda value: isinstance(value, bool),
    "isArray": lambda value: isinstance(value, list | tuple),
    "isObject": lambda value: isinstance(value, Mapping),
}

_BOOLEAN: dict[str, Method] = _ANY | {
    "booleanValue": lambda value: value,
    "boolValue": lambda value: value,
}

_NUMBER: dict[str, Method] = _ANY | {
    "intValue": _whole,
    "longValue": _whole,
    "doubleValue": float,
    "numberValue": lambda value: value,
    "compareTo": lambda value, other: (value > other) - (value < other),
}

_TEXT: dict[str, Method] = _ANY | {
    "toLowerCase": str.lower,
    "toUpperCase": str.upper,
    "startsWith": lambda value, start: value.startswith(_text(start)),
    "endsWith": lambda value, end: value.endswith(_text(end)),
    "contains": lambda value, part: _text(part) in value,
    "equalsIgnoreCase": lambda value, other: (
        isinstance(other, str) and value.lower() == other.lower()
    ),
    "compareTo": lambda value, other: (value > _text(other)) - (value < _text(other)),
    "indexOf": lambda value, part: value.find(_text(part)),
    "lastIndexOf": lambda value, part: value.rfind(_text(part)),
    "length": len,
    "isEmpty": lambda value: not value,
    "isBlank": lambda value: not value.strip(),
    "trim": str.strip,
    "strip": str.strip,
    "concat": lambda value, other: limited(value + _text(other)),
    "replace": _replace,
    "substring": _substring,
    "charAt": _char_at,
    "stringValue": lambda value: value,
}

_LIST: dict[str, Method] = _ANY | {
    "size": len,
    "isEmpty": lambda value: not value,
    "contains": lambda value, item: any(_same(each, item) for each in value),
    "get": _item,
    "indexOf": lambda value, item: next(
        (at for at, each in enumerate(value) if _same(each, item)), -1
    ),
    "elements": lambda value: value,
}

_OBJECT: dict[str, Method] = _ANY | {
    "size": len,
    "isEmpty": lambda value: not value,
    "containsKey": lambda value, key: key in value,
    "containsValue": lambda value, item: any(_same(each, item) for each in value.values()),
    "get": lambda value, key: value.get(key),
    "getOrDefault": lambda value, key, default: value.get(key, default),
    "keySet": list,
    "values": lambda value: list(value.values()),
    "prop": _prop,
    "hasProp": lambda value, name: name in value,
    "fieldNames": list,
}

_DATE: dict[str, Method] = _ANY | {
    "toDate": lambda value: value,
    "before": lambda value, other: value < other,
    "after": lambda value, other: value > other,
    "isBefore": lambda value, other: value < other,
    "isAfter": lambda value, other: value > other,
    **{
        f"{verb}{name}": _later(**{unit: sign * size})
        for verb, sign in (("plus", 1), ("minus", -1))
        for name, unit, size in (
            ("Seconds", "seconds", 1),
            ("Minutes", "seconds", 60),
            ("Hours", "seconds", 3600),
            ("Days", "seconds", 86_400),
            ("Weeks", "seconds", 604_800),
            ("Months", "months", 1),
            ("Years", "months", 12),
        )
    },
}

_BY_TYPE: Sequence[tuple[type | tuple[type, ...], Mapping[str, Method]]] = (
    (bool, _BOOLEAN),  # before int, of which Python makes it a kind
    ((int, float), _NUMBER),
    (str, _TEXT),
    (datetime, _DATE),
    ((list, tuple), _LIST),
    (Mapping, _OBJECT),
)

METHODS = frozenset[str]().union(_BOOLEAN, _NUMBER, _TEXT, _LIST, _OBJECT, _DATE)
"""Every method name of the list: an expression with another one is refused at deployment."""
