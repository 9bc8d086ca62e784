"""How a resource names another object; always in its own namespace."""

from typing import ClassVar, Literal

from taskloom.resources.base import Part
from taskloom.resources.fields import DataKey, ObjectName


class ObjectRef(Part):
    """An object of a known kind."""

    atomic: ClassVar[bool] = True

    name: ObjectName
    """Name of the object."""


class SecretKeyRef(Part):
    """One value of a Secret."""

    atomic: ClassVar[bool] = True

    name: ObjectName
    """Name of the Secret."""
    key: DataKey
    """Key in its data."""


class SecretKeySource(Part):
    """Where a value comes from that may be secret."""

    secret_key_ref: SecretKeyRef
    """A value of a Secret."""


class CaRef(Part):
    """A bundle of certificate authorities in PEM."""

    kind: Literal["ConfigMap", "Secret"] = "ConfigMap"
    """What holds the bundle."""
    name: ObjectName
    """Name of the object."""
    key: DataKey = "ca.crt"
    """Key in its data."""
