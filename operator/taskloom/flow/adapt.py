"""A message is read by an adapter that a package offers, and what that says is checked."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

import structlog

from taskloom.domain.json_text import check_depth, storable
from taskloom.domain.task_event import MAX_DESCRIPTION, MAX_KEY, MAX_SOURCE
from taskloom.errors import Invalid, Temporary
from taskloom.ports.adapter import Adapted, Adapter

log = structlog.get_logger()

ENTRY_POINTS = "taskloom.adapters"
MAX_IDEMPOTENCY_KEY = 255
_MISSING_SECONDS = 30.0


@cache
def installed_adapters() -> Mapping[str, Adapter]:
    """Give the adapters that installed packages offer as entry points, by name.

    Each is a function, or a class whose objects are called; it is made without arguments.
    """
    adapters: dict[str, Adapter] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            loaded = entry.load()
            adapter = loaded() if isinstance(loaded, type) else loaded
        except Exception:
            # One broken package must not keep the others from being served.
            log.exception("adapter.not-loaded", entry_point=entry.name, target=entry.value)
            continue
        if not callable(adapter):
            log.error("adapter.not-callable", entry_point=entry.name, target=entry.value)
            continue
        adapters.setdefault(entry.name, adapter)
    return adapters


def adapt(
    name: str,
    body: bytes,
    headers: Mapping[str, str],
    adapters: Mapping[str, Adapter] | None = None,
) -> Adapted:
    """Read a message by an adapter, the installed one of that name by default.

    Raises `Invalid` whatever the adapter raises, or if it gives what is no event; `Temporary` if
    there is no such adapter here.
    """
    adapter = (installed_adapters() if adapters is None else adapters).get(name)
    if adapter is None:
        raise Temporary(
            f"No package that is installed here offers the adapter `{name}`.",
            delay=_MISSING_SECONDS,
        )
    try:
        # a view, as a message that is no event is kept with its headers
        adapted: object = adapter(body, MappingProxyType(headers))
    except Invalid:
        raise
    except (Exception, SystemExit) as error:
        log.warning("adapter.failed", adapter=name, exc_info=True)
        # Its text may hold anything, a password too.
        raise Invalid(
            f"The adapter `{name}` broke with {type(error).__name__}; the log says more."
        ) from error
    if not isinstance(adapted, Adapted):
        raise Invalid(f"The adapter `{name}` gave {type(adapted).__name__}, which is no Adapted.")
    _check(name, "key", adapted.key, MAX_KEY, fewest=1)
    for field, longest in (("source", MAX_SOURCE), ("description", MAX_DESCRIPTION)):
        if (value := getattr(adapted, field)) is not None:
            _check(name, field, value, longest)
    if adapted.idempotency_key is not None:
        _check(name, "idempotency_key", adapted.idempotency_key, MAX_IDEMPOTENCY_KEY, fewest=1)
    return adapted


def payload_text(name: str, adapted: Adapted) -> str:
    """Write what an adapter gave as payload; `Invalid` if JSON cannot say it."""
    try:
        text = json.dumps(adapted.payload, allow_nan=False)
        check_depth(text)
    except (TypeError, ValueError, RecursionError, Invalid) as error:
        raise Invalid(
            f"The adapter `{name}` gave a payload that is no JSON value: {error}.", field="payload"
        ) from error
    return text


def _check(name: str, field: str, value: object, longest: int, *, fewest: int = 0) -> None:
    if not isinstance(value, str) or not fewest <= len(value) <= longest or not storable(value):
        raise Invalid(
            f"The adapter `{name}` gave a {field} that is no string of {fewest} to {longest:,} "
            "characters without NUL and lone surrogates.",
            field=field,
        )
