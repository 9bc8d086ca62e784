"""Keeps named services running: one that fails is started again after a pause."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from taskloom.errors import Temporary

log = structlog.get_logger()

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


async def supervise(services: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    """Run services side by side until cancelled; each ends by being cancelled, not by itself."""
    async with asyncio.TaskGroup() as group:
        for name, service in services.items():
            group.create_task(_keep_running(name, service), name=name)


async def _keep_running(name: str, service: Callable[[], Awaitable[None]]) -> None:
    pause = _FIRST_PAUSE
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await service()
        except Temporary as exc:
            log.warning("service.cut-off", service=name, error=exc.message, restart_in=pause)
        except Exception:
            log.exception("service.failed", service=name, restart_in=pause)
        else:
            log.info("service.ended", service=name, restart_in=pause)
        if asyncio.get_running_loop().time() - started > _LONGEST_PAUSE:
            pause = _FIRST_PAUSE  # it had been well
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
