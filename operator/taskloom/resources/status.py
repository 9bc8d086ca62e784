"""The part of a status that every kind has."""

from typing import Annotated, Literal

from pydantic import Field

from taskloom.resources.base import Part
from taskloom.resources.fields import Long, Timestamp


class ConditionEntry(Part):
    """A metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """What it is about: Accepted, ResolvedRefs, Programmed, Ready and others."""
    status: Literal["False", "True", "Unknown"]
    """Whether it holds."""
    observed_generation: Long | None = None
    """The generation of the object that it was judged by."""
    last_transition_time: Timestamp
    """When `status` changed last."""
    reason: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ]
    """Why, in one word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, in a sentence for people."""


class Status(Part):
    """What became of an object."""

    observed_generation: Long | None = None
    """The generation that this status speaks of."""
    conditions: (
        Annotated[
            tuple[ConditionEntry, ...],
            Field(
                max_length=16,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
            ),
        ]
        | None
    ) = None
    """How it stands."""
