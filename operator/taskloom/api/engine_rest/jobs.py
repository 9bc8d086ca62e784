"""/job: timers that stopped are tried again; an incident names each as its configuration."""

from starlette.responses import Response

from taskloom.api.engine_rest.call import Call, done
from taskloom.api.engine_rest.external_tasks import read_retries
from taskloom.api.engine_rest.faults import Fault, not_offered
from taskloom.ports.engine import Outcome

_DIGITS = 18  # of the greatest numbers that jobs have


async def set_retries(call: Call) -> Response:
    """Try a job again that has an incident."""
    retries = read_retries(call)
    if retries == 0:
        raise not_offered("0 retries of a job.")
    if not await _retry(call, retries):
        message = f"No job with id '{call.id}' has stopped"
        raise Fault(500, "InvalidRequestException", message)
    return done()


async def _retry(call: Call, retries: int) -> bool:
    """Tell whether there was such a job."""
    if not (call.id.isascii() and call.id.isdigit() and len(call.id) <= _DIGITS):
        return False
    return await call.host.retry_timer(int(call.id), retries) is Outcome.DONE
