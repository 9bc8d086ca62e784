"""What an endpoint's answer means for the delivery."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from taskloom.domain.retry import LONGEST_RETRY_AFTER, Outcome, Verdict
from taskloom.ports.sender import Failure, SendResult

_PACING_STATUSES: Final = frozenset({429, 502, 503, 504})
_WISH_HEADER: Final = "webhook-delivery"


def judge(result: SendResult, now: datetime) -> Verdict:
    """Judge the result of one attempt; `now` is what a Retry-After date counts from.

    2xx is delivered; a 3xx is a failure, as redirects are not followed; 410 disables the
    subscription; 429, 502, 503 and 504 ask to spare the endpoint; everything else is tried again.
    The response header ``webhook-delivery`` may say ``disable`` or ``abort-message``.
    """
    if isinstance(result, Failure):
        return Verdict(outcome=Outcome.RETRY, reason=f"{result.error}: {result.message}")
    wishes = _read_wishes(result.headers.get(_WISH_HEADER, ""))
    disables = "disable" in wishes or result.status == 410
    if 200 <= result.status <= 299:
        return Verdict(
            outcome=Outcome.DELIVERED,
            reason=f"HTTP {result.status}",
            disables_subscription=disables,
        )
    if disables or "abort-message" in wishes:
        outcome = Outcome.ABORT
    elif result.status in _PACING_STATUSES:
        outcome = Outcome.THROTTLE
    else:
        outcome = Outcome.RETRY
    reason = f"HTTP {result.status}"
    if 300 <= result.status <= 399:
        reason += ": redirects are not followed, give the subscription the final URL"
    return Verdict(
        outcome=outcome,
        reason=reason,
        retry_after=read_retry_after(result.headers.get("retry-after", ""), now),
        disables_subscription=disables,
    )


def read_retry_after(text: str, now: datetime) -> timedelta | None:
    """Read a Retry-After header, seconds or date, 24 hours at most; None if it says nothing."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Nine digits are decades already; a longer number need not be read.
        seconds = int(text) if len(text) <= 9 else LONGEST_RETRY_AFTER.total_seconds()
        return min(timedelta(seconds=seconds), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    if date.tzinfo is None:  # the date's oldest form names no zone and means GMT
        date = date.replace(tzinfo=UTC)
    try:
        wait = date - now
    except OverflowError:
        return None
    return min(wait, LONGEST_RETRY_AFTER) if wait > timedelta(0) else None


def _read_wishes(text: str) -> set[str]:
    return {wish.strip().lower() for wish in text.split(",")}
