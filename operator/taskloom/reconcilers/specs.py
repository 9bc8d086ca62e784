"""Specs as they are stored, and their digests."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from taskloom.resources.base import Resource


def spec_of(resource: Resource) -> dict[str, Any]:
    """Write a resource's spec as JSON, defaults included."""
    spec: dict[str, Any] = resource.spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    return spec


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Digest a spec, whatever the order of its fields."""
    return _digest(_text(spec))


def digest_of(resource: Resource) -> str:
    """Digest a resource's spec; empty if it cannot be stored, as it holds NUL characters."""
    text = _text(spec_of(resource))
    return "" if "\\u0000" in text else _digest(text)


def _text(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
