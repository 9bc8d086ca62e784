"""What is worth an Event: an object's readiness changed, or something of it was repaired."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskloom.domain.conditions import ConditionType
from taskloom.reconcilers.snapshot import Key

_LONGEST_NOTE = 1024
_FAULTS = (ConditionType.DRIFTED, ConditionType.DEGRADED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened to an object; a `warning` is what somebody should look at."""

    key: Key
    uid: str
    api_version: str
    reason: str
    note: str
    warning: bool = True

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two of them the same."""
        return (self.uid, self.reason, self.note)


def notices_of(
    key: Key, uid: str, api_version: str, former: Mapping[str, Any], status: Mapping[str, Any]
) -> list[Notice]:
    """Tell what changed from one status of an object to the next."""
    before, after = _conditions(former), _conditions(status)
    found = []
    ready = after.get(ConditionType.READY)
    if ready is not None and _said(ready) != _said(before.get(ConditionType.READY)):
        good = ready.get("status") == "True"
        reason = str(ready.get("reason"))
        found.append((("Ready" if good and reason == "Reconciled" else reason), ready, not good))
    for type_ in _FAULTS:
        now, was = after.get(type_), before.get(type_)
        if now is not None and (was is None or was.get("message") != now.get("message")):
            reason = str(type_ if type_ is ConditionType.DRIFTED else now.get("reason"))
            found.append((reason, now, True))
    notices = [
        Notice(
            key=key,
            uid=uid,
            api_version=api_version,
            reason=reason,
            note=_note(condition),
            warning=warning,
        )
        for reason, condition, warning in found
    ]
    changed = _new_secrets(former.get("credentials") or {}, status.get("credentials") or {})
    if changed is not None:
        notices.append(
            Notice(
                key=key,
                uid=uid,
                api_version=api_version,
                reason="SecretsChanged",
                note=changed,
                warning=False,
            )
        )
    return notices


def _new_secrets(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Say that a client has other secrets than before, if so, and what became of the former."""
    since, until = after.get("issuedAt"), after.get("previousValidUntil")
    if since is None or before.get("issuedAt") is None:
        return None
    # Times are whole seconds: what is rotated in its first has an overlap to be known by.
    if since == before["issuedAt"] and until in (None, before.get("previousValidUntil")):
        return None
    fate = "are refused" if until is None else f"are good until {until}"
    return f"the secrets in force are of {since}; the former ones {fate}"


def _note(condition: Mapping[str, Any]) -> str:
    fine = "it is suspended" if condition.get("reason") == "Suspended" else "it is in force"
    text = str(condition.get("message") or fine)
    return text if len(text) <= _LONGEST_NOTE else text[: _LONGEST_NOTE - 1] + "…"


def _said(condition: Mapping[str, Any] | None) -> tuple[Any, Any] | None:
    return None if condition is None else (condition.get("status"), condition.get("reason"))


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(value.get("type")): value for value in status.get("conditions") or ()}
