"""The kinds of field that resources are made of: every string, list and map has its bound."""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import Field

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
KEY_PATTERN = r"^[A-Za-z0-9*]([-A-Za-z0-9._:/*]*[A-Za-z0-9*])?$"

LIST_SET = {"x-kubernetes-list-type": "set"}
LIST_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
FREE_FORM = {"x-kubernetes-preserve-unknown-fields": True}

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
EventKey = Annotated[str, Field(min_length=1, max_length=253, pattern=KEY_PATTERN)]
Expression = Annotated[str, Field(min_length=1, max_length=1024)]
LongExpression = Annotated[str, Field(min_length=1, max_length=4096)]
Url = Annotated[str, Field(min_length=1, max_length=2048)]
Host = Annotated[str, Field(min_length=1, max_length=253)]
Duration = Annotated[str, Field(max_length=32, pattern=r"^([0-9]{1,6}(ms|s|m|h))+$")]
HeaderName = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Identifier = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0, le=2_147_483_647, json_schema_extra={"format": "int32"})]
Long = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


def bounded(low: int, high: int) -> object:
    """Describe a 32-bit integer between two bounds, both included."""
    return Field(ge=low, le=high, json_schema_extra={"format": "int32"})


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> timedelta:
    """Read a `Duration` such as ``1h30m``."""
    parts = re.findall(r"([0-9]+)(ms|s|m|h)", text)
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
