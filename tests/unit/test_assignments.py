"""Which sources a process starts, stops and asks for."""

from dataclasses import replace

from taskloom.connectors.assignments import MOST_SLOTS, Plan, plan, slots_of
from taskloom.domain.sources import EventSource
from taskloom.testing.connectors import source_row

CRON = source_row({"cron": {"schedule": "@daily"}}, name="a")
KAFKA = source_row(
    {"kafka": {"bootstrapServers": ["k:9092"], "topics": ["t"]}, "placement": {"replicas": 2}},
    name="b",
)


def slots(source: EventSource) -> int:
    """Give the slots where cron is exclusive."""
    return slots_of(source, exclusive=source.kind == "cron")


def decided(sources: list[EventSource], running: list[EventSource], held: dict[str, int]) -> Plan:
    """Plan by names."""
    ids = {"a": CRON.id, "b": KAFKA.id}
    return plan(
        {source.id: source for source in sources},
        {source.id: source for source in running},
        {ids[name]: slot for name, slot in held.items()},
        slots,
    )


def made(**parts: object) -> Plan:
    """Write a plan."""
    empty: dict[str, object] = {
        "stop": frozenset(),
        "start": (),
        "release": frozenset(),
        "claim": {},
    }
    return Plan(**{**empty, **parts})  # type: ignore[arg-type]  # the parts are named by the tests


def test_what_nobody_is_known_to_run_is_asked_for() -> None:
    """An exclusive source once, another as often as its replicas."""
    assert made(claim={CRON.id: 1, KAFKA.id: 2}) == decided([CRON, KAFKA], [], {})


def test_what_is_held_is_started() -> None:
    """Once."""
    assert made(start=(CRON,)) == decided([CRON], [], {"a": 0})
    assert made() == decided([CRON], [CRON], {"a": 0})


def test_what_was_changed_is_stopped_then_started() -> None:
    """It keeps its slot; nothing else is touched."""
    changed = replace(CRON, spec={**CRON.spec, "filter": "true"})

    assert made(stop=frozenset({CRON.id})) == decided(
        [changed, KAFKA], [CRON, KAFKA], {"a": 0, "b": 1}
    )
    assert made(start=(changed,)) == decided([changed, KAFKA], [KAFKA], {"a": 0, "b": 1})


def test_what_is_gone_or_suspended_is_stopped_then_let_go() -> None:
    """Its slot is held until it has ended."""
    assert made(stop=frozenset({CRON.id})) == decided([], [CRON], {"a": 0})
    assert made(release=frozenset({CRON.id})) == decided([], [], {"a": 0})


def test_what_another_holds_by_now_is_stopped() -> None:
    """And not asked for before it has ended here."""
    assert made(stop=frozenset({CRON.id})) == decided([CRON], [CRON], {})


def test_a_slot_beyond_the_replicas_is_let_go() -> None:
    """Two replicas have the slots 0 and 1; none have none."""
    none = replace(KAFKA, spec={**KAFKA.spec, "placement": {"replicas": 0}})
    never = replace(CRON, spec={**CRON.spec, "placement": {"replicas": 0}})

    assert made(stop=frozenset({KAFKA.id})) == decided([KAFKA], [KAFKA], {"b": 2})
    assert made() == decided([none, never], [], {})


def test_pods_of_its_own_are_not_counted_here() -> None:
    """As many as there are may run it, but an exclusive source one of them only."""
    assert MOST_SLOTS == slots(replace(KAFKA, pool=None))
    assert 1 == slots(replace(CRON, pool=None))
