"""Less memory for many objects that say much the same: equal parts of them become one.

Resources are immutable, so they can share.
"""

import sys
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from taskloom.resources.base import Resource

_SHORT = 256
_KINDS_OF_PART = 4096


def compact(resource: Resource) -> Resource:
    """Let a resource share its parts with those that were compacted before."""
    _compact(resource)
    return resource


def _compact(part: BaseModel) -> None:
    values = part.__dict__
    for name, value in values.items():
        if isinstance(value, BaseModel):
            _compact(value)
            values[name] = _shared(value)
        elif isinstance(value, tuple):
            values[name] = tuple(_text(item) for item in value)
        else:
            values[name] = _text(value)
    object.__setattr__(part, "__pydantic_fields_set__", _set(frozenset(part.model_fields_set)))


def _shared(part: BaseModel) -> BaseModel:
    try:
        return _one_of_equal(part)
    except TypeError:
        return part  # it holds a map, which has no hash


@lru_cache(maxsize=_KINDS_OF_PART)
def _one_of_equal(part: BaseModel) -> BaseModel:
    return part


@lru_cache(maxsize=_KINDS_OF_PART)
def _set(names: frozenset[str]) -> set[str]:
    return set(names)


def _text(value: Any) -> Any:
    return sys.intern(value) if type(value) is str and len(value) <= _SHORT else value
