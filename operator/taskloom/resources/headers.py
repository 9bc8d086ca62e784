"""HTTP headers that a user adds to our calls."""

from typing import Annotated, ClassVar

from pydantic import Field

from taskloom.resources.base import Part, Rule, exactly_one
from taskloom.resources.fields import LIST_BY_NAME, HeaderName
from taskloom.resources.references import SecretKeySource


class Header(Part):
    """One header, its value written here or taken from a Secret."""

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("value", "valueFrom"),)

    name: HeaderName
    """Name of the header; Taskloom's own headers cannot be overridden."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """The value, in plain sight."""
    value_from: SecretKeySource | None = None
    """Where the value comes from."""


Headers = Annotated[tuple[Header, ...], Field(max_length=16, json_schema_extra=LIST_BY_NAME)]
