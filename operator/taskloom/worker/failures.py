"""What a command's failure means for its external task: a pure decision."""

from dataclasses import dataclass
from datetime import timedelta

from taskloom.errors import Invalid, Permanent, Temporary

FIRST_RETRIES = 5
_LONGEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """What the engine is told; `retries` 0 makes an incident."""

    message: str
    retries: int
    retry_after: timedelta


def report_failure(error: Exception, retries: int | None) -> FailureReport:
    """Decide on the tries that are left: `retries` is what the task had, None at its first failure.

    Five tries with pauses of 1, 2, 4, 8 s come before an incident; what can never work makes one
    at once.
    """
    message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
    if isinstance(error, Permanent | Invalid):
        return FailureReport(message=message, retries=0, retry_after=timedelta(0))
    left = max(0, (FIRST_RETRIES if retries is None else retries) - 1)
    made = max(0, FIRST_RETRIES - left - 1)
    pause = min(_LONGEST, timedelta(seconds=2**made))
    if isinstance(error, Temporary):
        pause = max(pause, timedelta(seconds=error.delay))
    return FailureReport(message=message, retries=left, retry_after=pause)
