"""The part of every plan that is the same: who gets a key, what is put, what goes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from taskloom.domain.conditions import Reason
from taskloom.errors import Invalid
from taskloom.reconcilers.desired import API, Desired, World
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict, conflicted, invalid, unresolved


class Row(Protocol):
    """What every managed row has."""

    @property
    def id(self) -> UUID:
        """Its id."""
        ...

    @property
    def managed_by(self) -> str:
        """Who manages it."""
        ...

    @property
    def created_on(self) -> datetime | None:
        """When it was made."""
        ...


R = TypeVar("R", bound=Row)


class Unresolved(Exception):
    """Something that an object refers to is not there."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Want(Generic[R]):
    """A wanted object and the row it asks for; no row means that the present one stays.

    `row_id` is the row that belongs to the object.
    """

    desired: Desired
    row: R | None
    verdict: Verdict
    row_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Generic[R]):
    """What is to be done, removals first, and what is then told of each object.

    `settled` gives for each object in force the row that was there, if any, and the one that is to.
    """

    remove: tuple[R, ...] = ()
    put: tuple[R, ...] = ()
    verdicts: dict[Key, Verdict] = field(default_factory=dict)
    settled: dict[Key, tuple[R | None, R]] = field(default_factory=dict)


def want(
    desired: Desired, make: Callable[[], tuple[R, Verdict]], *, row_id: UUID | None = None
) -> Want[R]:
    """Ask for the row that `make` gives; what it raises becomes the verdict."""
    own = desired.id if row_id is None else row_id
    try:
        row, verdict = make()
    except Unresolved as error:
        verdict = unresolved(desired, error.reason, error.message)
        return Want(desired=desired, row=None, verdict=verdict, row_id=own)
    except Invalid as error:
        message = f"{error.field}: {error.message}" if error.field else error.message
        return Want(desired=desired, row=None, verdict=invalid(desired, message), row_id=own)
    return Want(desired=desired, row=row, verdict=verdict, row_id=own)


def settle(
    world: World,
    wants: Iterable[Want[R]],
    rows: Sequence[R],
    *,
    claim_of: Callable[[R], str | None],
    policy: str = "Delete",
    cascades: bool = False,
    exchange: bool = False,
    heir: Callable[[R], str] = lambda _row: API,
    same: Callable[[R, R], bool] = lambda one, other: one == other,
) -> Plan[R]:
    """Compare the wanted rows with those that are there.

    `claim_of` gives a row's unique key: a row of somebody else's keeps its key, and among the
    wanted the oldest object gets it; of two as old, the one that has it.
    `policy` is the one of objects that nobody remembers.
    Rows whose removal `cascades` are not removed to make room for others: they keep the key that
    they have until they want another, which is to be put in the order of the plan.
    Rows that may `exchange` their keys are stored so that they can.
    A row that names a wanted object as its manager, but is not that object's own, goes: it was made
    or changed by hand.
    `heir` names the manager of a row that outlives its object.
    """
    present = {row.id: row for row in rows}
    wanted, blocked = _oldest_first(wants, present, claim_of), dict[UUID, str]()
    if cascades:
        wanted, blocked = _in_turn(wanted, present, claim_of, exchange=exchange)
    own = frozenset(item.row_id for item in wanted)
    others = [row for row in rows if row.id not in own]
    managers = frozenset(item.desired.manager for item in wanted)
    leaving = {
        row.id: "Delete"
        if row.managed_by in managers
        else world.leaving(row.managed_by, policy, row.created_on)
        for row in others
    }
    remove = [row for row in others if leaving[row.id] == "Delete"]
    put = [_with(row, managed_by=heir(row)) for row in others if leaving[row.id] == "Retain"]
    left = [*put, *(row for row in others if leaving[row.id] is None)]
    holders = {claim_of(row): _spoken(row.managed_by) for row in left}
    verdicts: dict[Key, Verdict] = {}
    settled: dict[Key, tuple[R | None, R]] = {}
    for item in wanted:
        before = present.get(item.row_id)
        verdicts[item.desired.key] = item.verdict
        staying = item.row if item.row is not None else before
        if staying is None:
            continue
        claim = claim_of(staying)
        holder = blocked.get(item.row_id) or holders.get(claim)
        if holder is not None and claim is not None:
            if item.row is not None:
                message = f"`{claim}` belongs to {holder}, which was first"
                verdicts[item.desired.key] = conflicted(item.desired, message)
            if before is not None and not cascades:
                remove.append(before)
            continue
        holders[claim] = _spoken(item.desired.manager)
        if item.row is None:
            continue
        after = item.row if before is None else _with(item.row, created_on=before.created_on)
        settled[item.desired.key] = (before, after)
        if before is not None and same(before, after):
            continue
        if before is not None and claim_of(before) != claim and not cascades:
            remove.append(before)
        put.append(after)
    return Plan(remove=tuple(remove), put=tuple(put), verdicts=verdicts, settled=settled)


def _oldest_first(
    wants: Iterable[Want[R]], present: Mapping[UUID, R], claim_of: Callable[[R], str | None]
) -> list[Want[R]]:
    """Sort by age; of those as old, who has its key already comes first."""

    def order(item: Want[R]) -> tuple[datetime, bool, Key]:
        before = present.get(item.row_id)
        keeps = item.row is None or (before is not None and claim_of(before) == claim_of(item.row))
        created_on, key = item.desired.age
        return (created_on, not keeps, key)

    return sorted(wants, key=order)


def _in_turn(
    wanted: Sequence[Want[R]],
    present: Mapping[UUID, R],
    claim_of: Callable[[R], str | None],
    *,
    exchange: bool,
) -> tuple[list[Want[R]], dict[UUID, str]]:
    """Let everybody wait until the row that has its key has let go of it.

    Also tell whose turn never comes, by row, and who has the key.
    """
    owners = {
        claim: item
        for item in wanted
        if (before := present.get(item.row_id)) is not None
        and (claim := claim_of(before)) is not None
    }
    turn: list[Want[R]] = []
    waiting = list(wanted)
    while waiting:
        still = []
        for item in waiting:
            before = present.get(item.row_id)
            staying = item.row if item.row is not None else before
            claim = None if staying is None else claim_of(staying)
            if claim is not None and owners.get(claim, item) is not item:
                still.append(item)
                continue
            if before is not None and (former := claim_of(before)) is not None:
                owners.pop(former, None)
            if claim is not None:
                owners[claim] = item
            turn.append(item)
        if len(still) == len(waiting):
            ring = _ring(waiting, owners, claim_of) if exchange else []
            if not ring:
                break
            turn += ring
            owners |= {claim: item for item in ring if (claim := _wish(item, claim_of)) is not None}
            exchanged = {item.row_id for item in ring}
            still = [item for item in waiting if item.row_id not in exchanged]
        waiting = still
    blocked = {
        item.row_id: _spoken(owners[claim].desired.manager)
        for item in waiting
        if item.row is not None and (claim := claim_of(item.row)) is not None
    }
    return [*turn, *waiting], blocked


def _wish(item: Want[R], claim_of: Callable[[R], str | None]) -> str | None:
    return None if item.row is None else claim_of(item.row)


def _ring(
    waiting: Sequence[Want[R]],
    owners: Mapping[str, Want[R]],
    claim_of: Callable[[R], str | None],
) -> list[Want[R]]:
    """Find some who each want the key that the next one has, and the last one that of the first."""
    everybody = {item.row_id for item in waiting}
    for first in waiting:
        ring, item = {first.row_id: first}, first
        while (wish := _wish(item, claim_of)) is not None and (owner := owners.get(wish)):
            if owner is first:
                return list(ring.values())
            if owner.row_id in ring or owner.row_id not in everybody:
                break
            ring[owner.row_id] = item = owner
    return []


def _with(row: R, **changes: Any) -> R:
    changed: R = replace(row, **changes)  # type: ignore[type-var]  # every row is a dataclass
    return changed


def _spoken(manager: str) -> str:
    if manager == API:
        return "one that the API made or that a deleted object left"
    return manager.partition(":")[2] or manager
