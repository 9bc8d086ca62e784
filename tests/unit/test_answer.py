"""What an endpoint's answer means."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.delivery.answer import judge, read_retry_after
from taskloom.domain.retry import Outcome, Verdict
from taskloom.ports.sender import Answer, ErrorClass, Failure

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def answer(status: int, **headers: str) -> Answer:
    """Make an answer; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, body=b"", elapsed_ms=1)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(status: int) -> None:
    """Every success is one."""
    expected = Verdict(outcome=Outcome.DELIVERED, reason=f"HTTP {status}")

    assert expected == judge(answer(status), NOW)


@pytest.mark.parametrize(
    "status", [101, 400, 401, 403, 404, 408, 409, 418, 422, 500, 501, 505, 599, 999]
)
def test_other_answers_are_tried_again(status: int) -> None:
    """Neither a client's error nor a server's is for ever."""
    expected = Verdict(outcome=Outcome.RETRY, reason=f"HTTP {status}")

    assert expected == judge(answer(status), NOW)


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308])
def test_a_redirect_is_a_failure_that_says_what_to_do(status: int) -> None:
    """Redirects are not followed, which the owner of the subscription must know."""
    verdict = judge(answer(status, location="http://169.254.169.254/"), NOW)

    assert verdict.outcome is Outcome.RETRY
    assert "final URL" in verdict.reason


def test_gone_disables_the_subscription() -> None:
    """410 says that nobody listens there any more."""
    expected = Verdict(outcome=Outcome.ABORT, reason="HTTP 410", disables_subscription=True)

    assert expected == judge(answer(410), NOW)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_overload_spares_the_endpoint(status: int) -> None:
    """These answers are about the endpoint, not about the message."""
    expected = Verdict(
        outcome=Outcome.THROTTLE, reason=f"HTTP {status}", retry_after=timedelta(seconds=120)
    )

    assert expected == judge(answer(status, retry_after="120"), NOW)


@pytest.mark.parametrize("text", ["abort-message", " Abort-Message ", "x, abort-message"])
def test_a_receiver_can_refuse_one_message(text: str) -> None:
    """`webhook-delivery: abort-message` ends the delivery and keeps the subscription."""
    expected = Verdict(outcome=Outcome.ABORT, reason="HTTP 500")

    assert expected == judge(answer(500, webhook_delivery=text), NOW)


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, Outcome.DELIVERED), (503, Outcome.ABORT), (302, Outcome.ABORT)]
)
def test_a_receiver_can_end_its_subscription(status: int, outcome: Outcome) -> None:
    """`webhook-delivery: disable` disables with any status; a success stays delivered."""
    verdict = judge(answer(status, webhook_delivery="disable"), NOW)

    assert verdict.outcome is outcome
    assert verdict.disables_subscription


def test_unknown_wishes_are_ignored() -> None:
    """A value that nobody defined changes nothing."""
    assert judge(answer(500), NOW) == judge(answer(500, webhook_delivery="later"), NOW)


@pytest.mark.parametrize("error", ErrorClass)
def test_no_answer_is_tried_again(error: ErrorClass) -> None:
    """Whatever kept the answer away may be gone next time."""
    expected = Verdict(outcome=Outcome.RETRY, reason=f"{error.value}: why")

    assert expected == judge(Failure(error=error, message="why", elapsed_ms=1), NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta(0)),
        (" 120 ", timedelta(seconds=120)),
        ("86401", timedelta(hours=24)),
        ("9" * 5000, timedelta(hours=24)),
        ("Tue, 24 Nov 2026 10:01:00 GMT", timedelta(minutes=1)),
        ("Tuesday, 24-Nov-26 10:01:00 GMT", timedelta(minutes=1)),
        ("Tue Nov 24 10:01:00 2026", timedelta(minutes=1)),
        ("Tue, 24 Nov 2026 12:01:00 +0200", timedelta(minutes=1)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(hours=24)),
        ("Fri, 31 Dec 9999 23:59:59 -2359", timedelta(hours=24)),
        ("Tue, 24 Nov 2026 09:59:00 GMT", None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0661\u0662", None),
        ("Tue, 99 Nov 2026 10:01:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, expected: timedelta | None) -> None:
    """Both forms of the header are read, a day at most; nonsense and the past say nothing."""
    assert expected == read_retry_after(text, NOW)


@given(st.text() | st.from_regex(r"[A-Za-z]{3}, ?[0-9-]{1,5} [A-Za-z]{3} [0-9:+ -]*"))
def test_no_retry_after_can_break_the_judge(text: str) -> None:
    """Whatever a receiver writes there, a delay between nothing and a day comes out."""
    wait = judge(answer(503, retry_after=text), NOW).retry_after

    assert wait is None or timedelta(0) <= wait <= timedelta(hours=24)
