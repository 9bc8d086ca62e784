"""Whether this process lives, and whether it can do its work."""

import asyncio
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel

from taskloom.api.door import json_response
from taskloom.api.services import Check, Process
from taskloom.errors import TaskloomError

log = structlog.get_logger()

router = APIRouter(tags=["operation"])

_PATIENCE = 5.0
"""Seconds a part may take to say that it is ready."""


class Health(BaseModel):
    """A process that lives; or what in it is stuck, and how that shows."""

    status: Literal["ok", "stuck"]
    stuck: dict[str, str] | None = None


class Readiness(BaseModel):
    """Each part, with `ok` or what is wrong with it."""

    status: Literal["ok", "not ready"]
    checks: dict[str, str]


@router.get(
    "/healthz",
    summary="Is the process alive?",
    response_model=Health,
    responses={503: {"model": Health, "description": "A part is stuck: a restart would help"}},
)
async def get_health(process: Process) -> Response:
    """Answer as long as the process can answer, and nothing in it is stuck.

    A part outside of it that does not answer, such as the database, is no reason to restart.
    """
    stuck = dict(process.stuck())
    if stuck:
        log.error("health.stuck", **stuck)
        return json_response({"status": "stuck", "stuck": stuck}, 503)
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it do its work?",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "A part does not answer"}},
)
async def get_readiness(process: Process) -> Response:
    """Ask every part that is needed: databases, their migrations, the engine."""
    names = list(process.checks)
    answers = await asyncio.gather(*(_ask(name, process.checks[name]) for name in names))
    checks = dict(zip(names, answers, strict=True))
    ready = all(answer == "ok" for answer in answers)
    body = {"status": "ok" if ready else "not ready", "checks": checks}
    return json_response(body, 200 if ready else 503)


async def _ask(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            await check()
    except TimeoutError:
        return f"did not answer within {_PATIENCE:.0f} seconds"
    except TaskloomError as exc:
        return exc.message
    except Exception as exc:  # noqa: BLE001 - whatever it is, the part is not ready
        log.warning("readiness.check_failed", check=name, error=repr(exc))
        return "failed: see the log"
    return "ok"
