"""/job: timers that stopped are tried again; an incident names each as its configuration."""

from starlette.responses import Response

from taskloom.api.engine_rest.call import Call, done
from taskloom.api.engine_rest.faults import Fault, invalid, not_offered
from taskloom.api.engine_rest.parameters import number_of
from taskloom.ports.engine import Outcome

_DIGITS = 18  # of the greatest numbers that jobs have
_MOST = 10_000  # tries; they are counted in 16 bits


async def set_retries(call: Call) -> Response:
    """Try a job again that has an incident."""
    body = call.body()
    if body.get("retries") is None:
        raise invalid("The number of retries cannot be null.")
    retries = number_of(body, "retries")
    if retries < 0:
        raise _wrong(
            "ENGINE-13054 The number of job retries must be a non-negative Integer, "
            f"but '{retries}' has been provided."
        )
    if retries == 0:
        raise not_offered("0 retries of a job.")
    if not await _retry(call, min(retries, _MOST)):
        raise _wrong(f"ENGINE-13053 No job found with id '{call.id}'.'")
    return done()


async def _retry(call: Call, retries: int) -> bool:
    """Tell whether there was such a job."""
    if not (call.id.isascii() and call.id.isdigit() and len(call.id) <= _DIGITS):
        return False
    return await call.host.retry_timer(int(call.id), retries) is Outcome.DONE


def _wrong(message: str) -> Fault:
    return Fault(500, "InvalidRequestException", message)
