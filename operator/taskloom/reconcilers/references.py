"""What an object refers to, looked up in the world."""

import re
from collections.abc import Sequence

from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.errors import Invalid
from taskloom.reconcilers.desired import World
from taskloom.reconcilers.settle import Unresolved
from taskloom.resources.cel import compile_expression
from taskloom.resources.headers import Header
from taskloom.resources.references import CaRef, SecretKeyRef

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def secret_text(world: World, namespace: str, name: str, key: str) -> Secret:
    """Read a value of a Secret as text; a newline at its end does not belong to it."""
    secret = world.secrets.get((namespace, name))
    if secret is None:
        raise Unresolved(Reason.SECRET_NOT_FOUND, f"there is no Secret {namespace}/{name}")
    if key not in secret.data:
        message = f"the Secret {namespace}/{name} has no key `{key}`"
        raise Unresolved(Reason.SECRET_NOT_FOUND, message)
    try:
        text = secret.data[key].decode("utf-8")
    except UnicodeDecodeError:
        message = f"`{key}` of the Secret {namespace}/{name} is not text"
        raise Unresolved(Reason.SECRET_NOT_FOUND, message) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        message = f"`{key}` of the Secret {namespace}/{name} is empty"
        raise Unresolved(Reason.SECRET_NOT_FOUND, message)
    return Secret(text)


def referenced_secret(world: World, namespace: str, ref: SecretKeyRef) -> Secret:
    """Read what a reference names."""
    return secret_text(world, namespace, ref.name, ref.key)


def config_map_text(world: World, namespace: str, name: str, key: str) -> str:
    """Read a value of a ConfigMap as text."""
    config_map = world.config_maps.get((namespace, name))
    if config_map is None:
        message = f"there is no ConfigMap {namespace}/{name}"
        raise Unresolved(Reason.CONFIG_MAP_NOT_FOUND, message)
    if key not in config_map.data:
        message = f"the ConfigMap {namespace}/{name} has no key `{key}`"
        raise Unresolved(Reason.CONFIG_MAP_NOT_FOUND, message)
    try:
        return config_map.data[key].decode("utf-8-sig")
    except UnicodeDecodeError:
        message = f"`{key}` of the ConfigMap {namespace}/{name} is not UTF-8 text"
        raise Unresolved(Reason.CONFIG_MAP_NOT_FOUND, message) from None


def ca_bundle(world: World, namespace: str, ref: CaRef) -> str:
    """Read certificates in PEM."""
    if ref.kind == "ConfigMap":
        text = config_map_text(world, namespace, ref.name, ref.key)
    else:
        text = secret_text(world, namespace, ref.name, ref.key).reveal()
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise Invalid(f"`{ref.key}` of the {ref.kind} {namespace}/{ref.name} is no PEM certificate")
    return text


def resolved_headers(
    world: World, namespace: str, headers: Sequence[Header] | None
) -> dict[str, Secret]:
    """Read the headers' values; none may hold a line end, which would smuggle another header."""
    made: dict[str, Secret] = {}
    for index, header in enumerate(headers or ()):
        if header.value_from is not None:
            value = referenced_secret(world, namespace, header.value_from.secret_key_ref)
        else:
            value = Secret(header.value or "")
        if _CONTROL.search(value.reveal()):
            raise Invalid(
                "the value holds a control character", field=f"spec.headers[{index}].value"
            )
        made[header.name] = value
    return made


def check_expression(expression: str | None, field: str, variable: str = "event") -> None:
    """Raise `Invalid`, naming the field, unless the expression compiles."""
    if expression is None:
        return
    try:
        compile_expression(expression, (variable,))
    except Invalid as error:
        raise Invalid(error.message, field=field) from error
