"""Waiting until a change is in force."""

import asyncio
import time
from collections.abc import Callable

from taskloom.cli.cluster.choice import Reached
from taskloom.cli.cluster.objects import Named
from taskloom.providers.kubernetes.objects import Body

_PAUSE = 0.3


async def wait_until(
    reached: Reached, named: Named, holds: Callable[[Body], bool], seconds: float
) -> bool:
    """Look at an object until something holds of it; False if it did not in time."""
    end = time.monotonic() + seconds
    while True:
        body = await reached.cluster.get(named.type_, reached.one_namespace, named.name)
        if holds(body):
            return True
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(_PAUSE)
