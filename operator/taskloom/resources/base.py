"""What every resource shares: the object's frame, its metadata, CEL rules, printer columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

GROUP = "taskloom.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A CEL rule of the CRD; one that reads `oldSelf` is checked on updates only.

    `field` is the child, relative to the object, that a failure is reported at.
    """

    rule: str
    message: str
    field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `kubectl get`; priority 1 shows with ``-o wide`` only."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """How a kind is called."""

    kind: str
    plural: str
    short: str

    @property
    def singular(self) -> str:
        """The kind in lower case."""
        return self.kind.lower()


class Part(BaseModel):
    """A piece of a resource: camelCase outside, unknown fields refused, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[Sequence[Rule]] = ()
    atomic: ClassVar[bool] = False

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Carry the CEL rules and the map type into the schema."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.atomic:
            schema["x-kubernetes-map-type"] = "atomic"
        if cls.rules:
            schema["x-kubernetes-validations"] = [_rule_schema(rule) for rule in cls.rules]
        return schema


def _rule_schema(rule: Rule) -> dict[str, Any]:
    schema = {"rule": rule.rule, "message": rule.message}
    if rule.field is not None:
        schema["fieldPath"] = f".{rule.field}"
    return schema


def immutable(field: str, *, of: str = "") -> Rule:
    """Forbid a change of an optional field; goes on its parent, which the message calls `of`."""
    return Rule(
        rule=f"has(self.{field}) == has(oldSelf.{field}) "
        f"&& (!has(self.{field}) || self.{field} == oldSelf.{field})",
        message=f"`{of}{field}` may not be changed after creation; create a new object instead",
        field=field,
    )


def exactly_one(*fields: str) -> Rule:
    """Demand one of several fields."""
    if len(fields) == 2:
        first, second = fields
        rule = f"has(self.{first}) != has(self.{second})"
    else:
        rule = f"[{', '.join(f'has(self.{f})' for f in fields)}].filter(x, x).size() == 1"
    return Rule(rule=rule, message=f"exactly one of {_listed(fields)} must be specified")


def unchanged(*fields: str, noun: str) -> Rule:
    """Forbid that another one of several fields is given than before."""
    rule = " && ".join(f"has(self.{field}) == has(oldSelf.{field})" for field in fields)
    return Rule(rule=rule, message=f"the kind of {noun} may not be changed after creation")


def at_most_one(first: str, second: str) -> Rule:
    """Forbid two fields together."""
    return Rule(
        rule=f"!(has(self.{first}) && has(self.{second}))",
        message=f"only one of {_listed((first, second))} may be specified",
    )


def _listed(fields: Sequence[str]) -> str:
    quoted = [f"`{field}`" for field in fields]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


class ObjectMeta(Part):
    """The metadata that Taskloom reads; the rest is Kubernetes' own."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    generation: int = 1
    uid: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class Resource(Part):
    """An object as it is applied: apiVersion, kind, metadata, spec."""

    names: ClassVar[Names]
    columns: ClassVar[Sequence[Column]]
    selectable: ClassVar[Sequence[str]] = ()
    scale: ClassVar[dict[str, str] | None] = None
    status_type: ClassVar[type[Part]]

    api_version: Literal["taskloom.dev/v1alpha1"]
    kind: str
    metadata: ObjectMeta
    spec: Any

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace and name: what makes an object itself."""
        return (self.kind, self.metadata.namespace, self.metadata.name)


def ready_columns(*wide: Column) -> tuple[Column, ...]:
    """Give the columns that end every kind's list."""
    ready = '.status.conditions[?(@.type=="Ready")]'
    return (
        Column(name="Ready", path=f"{ready}.status"),
        Column(name="Reason", path=f"{ready}.reason"),
        *wide,
        Column(name="Message", path=f"{ready}.message", priority=1),
        Column(name="Age", path=".metadata.creationTimestamp", type="date"),
    )
