"""Drift: a row that is not as it was left, although what it is made from did not change.

What was put, or found as it should be, is remembered as a digest for as long as one process leads.
If the same row is wanted again and another one is there, somebody else has changed it.
Nothing is told of what happened while nobody led, as nobody can tell then whose change it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from taskloom.domain.secret import Secret
from taskloom.reconcilers.snapshot import Key

_TABLES: Mapping[str, str] = MappingProxyType(
    {
        "ClientApp": "client_apps",
        "Command": "commands",
        "EventMapping": "event_workflows",
        "EventSink": "event_sinks",
        "EventSource": "event_sources",
        "TaskMapping": "task_workflows",
        "WebhookSubscription": "webhook_subscriptions",
        "Workflow": "workflows",
    }
)
_OWN = frozenset(
    {
        *("created_on", "revision", "issued_at", "former"),
        *("disabled_at", "disabled_reason"),
    }
)
"""Columns that say how a row came to be as it is; they change with time alone."""


class Applied:
    """The rows as they were left, and those that were found to have drifted."""

    def __init__(self) -> None:
        self._digests: dict[str, dict[Key, bytes]] = {}
        self._found: dict[Key, str] = {}
        self._drifted: dict[Key, str] = {}

    def note(self, kind: str, settled: Mapping[Key, tuple[Any | None, Any]]) -> None:
        """Learn which rows of a kind are in force now, each with the one that was there before.

        To be told only when the rows are stored.
        """
        former, now = self._digests.get(kind, {}), {}
        for key, (before, after) in settled.items():
            known = former.get(key)
            changed = [] if before is None else _changed(before, after)
            if known is not None and before is not None and not changed:
                now[key] = known
                continue
            now[key] = _digest(after)
            if now[key] == known:
                table = _TABLES.get(kind, kind)
                self._found[key] = _describe(table, changed if before is not None else None)
        self._digests[kind] = now

    def left_otherwise(self, kind: str, key: Key, row: Any) -> bool:
        """Tell whether an object's row is known to have been left in another form."""
        known = self._digests.get(kind, {}).get(key)
        return known is not None and known != _digest(row)

    def finish(self, *, look: bool) -> Mapping[Key, str]:
        """End a reconciliation: give what was repaired in it.

        After a `look` at everything, what had drifted before is told no more.
        """
        found, self._found = self._found, {}
        self._drifted = found if look else self._drifted | found
        return found

    @property
    def drifted(self) -> Mapping[Key, str]:
        """Which objects' rows were repaired, and how, since the look before the last."""
        return self._drifted


def _describe(table: str, changed: list[str] | None) -> str:
    if changed is None:
        return f"the row of this object in {table} had been removed by another, and was made again"
    columns = ", ".join(changed)
    return (
        f"the row of this object in {table} had been changed by another ({columns}), "
        "and was put right"
    )


def _changed(before: Any, after: Any) -> list[str]:
    """Name the columns that differ."""
    if before == after:
        return []
    return [name for name, value in _columns(after) if getattr(before, name) != value]


def _columns(row: Any) -> Iterator[tuple[str, Any]]:
    for column in fields(row):
        if column.name not in _OWN:
            yield column.name, getattr(row, column.name)


def _digest(row: Any) -> bytes:
    digest = blake2b(digest_size=16)
    for name, value in _columns(row):
        digest.update(f"{name}={_spell(value)!r};".encode("utf-8", "surrogatepass"))
    return digest.digest()


def _spell(value: Any) -> Any:
    """Write a value so that equal ones look the same; it does not leave the process."""
    if isinstance(value, Secret):
        return ("secret", value.reveal())
    if isinstance(value, Mapping):
        return sorted((str(name), _spell(item)) for name, item in value.items())
    if isinstance(value, tuple | list):
        return [_spell(item) for item in value]
    if is_dataclass(value):
        return [_spell(getattr(value, column.name)) for column in fields(value)]
    return value
