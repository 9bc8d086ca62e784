"""Targets of calls as the JSON that is sealed."""

from collections.abc import Mapping
from typing import Any

from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import Target


def target_to_json(target: Target) -> dict[str, Any]:
    """Spell a target out, secrets included."""
    certificate = target.client_certificate
    return {
        "url": target.url.reveal(),
        "headers": {name: value.reveal() for name, value in target.headers.items()},
        "ca_bundle": target.ca_bundle,
        "client_certificate": None if certificate is None else certificate.reveal(),
    }


def json_to_target(value: Mapping[str, Any]) -> Target:
    """Read back what `target_to_json` gave."""
    certificate = value["client_certificate"]
    return Target(
        url=Secret(value["url"]),
        headers={name: Secret(text) for name, text in value["headers"].items()},
        ca_bundle=value["ca_bundle"],
        client_certificate=None if certificate is None else Secret(certificate),
    )
