"""Whether this process lives, and whether it can do its work."""

import asyncio
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel

from taskloom.api.door import json_response
from taskloom.api.services import Api, Check
from taskloom.errors import TaskloomError

log = structlog.get_logger()

router = APIRouter(tags=["operation"])

_PATIENCE = 5.0
"""Seconds a part may take to say that it is ready."""


class Health(BaseModel):
    """A process that lives."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Each part, with `ok` or what is wrong with it."""

    status: Literal["ok", "not ready"]
    checks: dict[str, str]


@router.get("/healthz", summary="Is the process alive?", response_model=Health)
async def get_health() -> Response:
    """Answer as long as the process can answer."""
    return json_response({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it do its work?",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "A part does not answer"}},
)
async def get_readiness(api: Api) -> Response:
    """Ask every part that is needed: databases, their migrations, the engine."""
    names = list(api.checks)
    answers = await asyncio.gather(*(_ask(name, api.checks[name]) for name in names))
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
