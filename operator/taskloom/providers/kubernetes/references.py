"""The ConfigMaps and Secrets that a resource refers to."""

from collections.abc import Iterator

from pydantic import BaseModel

from taskloom.reconcilers.snapshot import Key
from taskloom.resources.base import Resource
from taskloom.resources.broker import PasswordRef, UsernameRef
from taskloom.resources.client_app import ClientApp, ImportedCredentials
from taskloom.resources.references import CaRef, ObjectRef, SecretKeyRef
from taskloom.resources.workflow import BpmnConfigMapRef

_CERTIFICATE = "client_certificate_ref"


def references_of(resource: Resource) -> frozenset[Key]:
    """Name the ConfigMaps and Secrets that a resource needs, a client's own credentials too."""
    namespace = resource.metadata.namespace
    found = {(kind, namespace, name) for kind, name in _walk(resource.spec)}
    if isinstance(resource, ClientApp):
        found.add(("Secret", namespace, resource.spec.secret_name(resource.metadata.name)))
    return frozenset(found)


def _walk(part: object) -> Iterator[tuple[str, str]]:
    if isinstance(part, tuple | list):
        for item in part:
            yield from _walk(item)
    if not isinstance(part, BaseModel):
        return
    if isinstance(part, CaRef):
        yield (part.kind, part.name)
    elif isinstance(part, BpmnConfigMapRef):
        yield ("ConfigMap", part.name)
    elif isinstance(part, ImportedCredentials):
        yield ("Secret", part.secret_ref.name)
    elif isinstance(part, SecretKeyRef | UsernameRef | PasswordRef):
        yield ("Secret", part.name)
    else:
        for field in type(part).model_fields:
            value = getattr(part, field)
            if field == _CERTIFICATE and isinstance(value, ObjectRef):
                yield ("Secret", value.name)
            else:
                yield from _walk(value)
