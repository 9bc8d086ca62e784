"""Conditions: what keeps its time, what comes and goes, and how they are written."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from taskloom.domain.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    condition_to_json,
    json_to_condition,
    replace_conditions,
    set_condition,
)

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def condition(type_: ConditionType, status: ConditionStatus, message: str = "") -> Condition:
    """Make a condition."""
    return Condition(type=type_, status=status, reason="Reconciled", message=message)


def test_the_time_stays_while_the_status_stays() -> None:
    """A new message alone is no transition."""
    ready = condition(ConditionType.READY, ConditionStatus.TRUE)
    once = set_condition((), ready, NOW)

    again = set_condition(
        once, condition(ConditionType.READY, ConditionStatus.TRUE, message="still"), LATER
    )

    assert [(c.last_transition_time, c.message) for c in again] == [(NOW, "still")]


def test_the_time_changes_with_the_status() -> None:
    """True to False is a transition."""
    once = set_condition((), condition(ConditionType.READY, ConditionStatus.TRUE), NOW)

    again = set_condition(once, condition(ConditionType.READY, ConditionStatus.FALSE), LATER)

    assert [c.last_transition_time for c in again] == [LATER]


def test_some_conditions_are_shown_only_while_true() -> None:
    """Kstatus takes Stalled for a failure, so it goes when it does not hold."""
    stalled = set_condition((), condition(ConditionType.STALLED, ConditionStatus.TRUE), NOW)

    assert len(stalled) == 1
    gone = condition(ConditionType.STALLED, ConditionStatus.FALSE)
    assert set_condition(stalled, gone, LATER) == ()


def test_replacing_drops_what_is_not_told_any_more() -> None:
    """The new list is the whole list, in a fixed order."""
    former = set_condition((), condition(ConditionType.SUSPENDED, ConditionStatus.TRUE), NOW)
    former = set_condition(former, condition(ConditionType.READY, ConditionStatus.TRUE), NOW)

    new = replace_conditions(
        former,
        [
            condition(ConditionType.READY, ConditionStatus.TRUE),
            condition(ConditionType.ACCEPTED, ConditionStatus.TRUE),
        ],
        LATER,
    )

    expected = [(ConditionType.ACCEPTED, LATER), (ConditionType.READY, NOW)]
    assert expected == [(c.type, c.last_transition_time) for c in new]


def test_a_condition_survives_its_json() -> None:
    """What a status carries reads back, to the second."""
    (ready,) = set_condition((), condition(ConditionType.READY, ConditionStatus.TRUE, "so"), NOW)

    assert condition_to_json(ready)["lastTransitionTime"] == "2026-11-24T10:00:00Z"
    assert ready == json_to_condition(condition_to_json(ready))


def test_a_foreign_condition_is_left_alone() -> None:
    """Conditions of other controllers are not ours to read."""
    foreign = {"type": "Sunny", "status": "True", "reason": "Weather", "message": ""}

    assert json_to_condition(foreign) is None


conditions = st.builds(
    condition, st.sampled_from(ConditionType), st.sampled_from(ConditionStatus), st.text()
)


@given(st.lists(conditions, max_size=12))
def test_setting_twice_changes_nothing(given_conditions: list[Condition]) -> None:
    """Setting conditions is idempotent and keeps one a type."""
    once = replace_conditions((), given_conditions, NOW)
    last = {c.type: c for c in given_conditions}

    assert once == replace_conditions(once, last.values(), LATER)
    assert len({c.type for c in once}) == len(once)
