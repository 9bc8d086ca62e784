"""A look now and then at what changes without a reconciliation, which nothing waits for."""

import asyncio
from collections.abc import Mapping

import structlog

from taskloom.errors import Superseded, Temporary
from taskloom.providers.kubernetes.mirror import Seen
from taskloom.reconcilers.figures import Look
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict

log = structlog.get_logger()


class Glance:
    """Looks again and again, `pause` seconds apart, from one reconciliation to the next."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._look: Look | None = None
        self._judged: Mapping[Key, Seen] = {}
        self._due = 0.0
        self._looking: asyncio.Future[Mapping[Key, Verdict]] | None = None

    def begin(self, judged: Mapping[Key, Seen], look: Look | None) -> None:
        """Look from now on, at the objects as they were judged."""
        self._judged, self._look = judged, look
        self._due = asyncio.get_running_loop().time() + self._pause

    def take(self) -> tuple[Mapping[Key, Seen], Mapping[Key, Verdict]]:
        """Give the verdicts that a look has changed, and let the next begin if it is time."""
        found: Mapping[Key, Verdict] = {}
        if self._looking is not None and self._looking.done():
            looking, self._looking = self._looking, None
            found = _result(looking)
        now = asyncio.get_running_loop().time()
        if self._looking is None and self._look is not None and now >= self._due:
            self._due = now + self._pause
            self._looking = asyncio.ensure_future(self._look())
        return self._judged, found

    async def end(self) -> None:
        """Look no more."""
        self._look, looking, self._looking = None, self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait((looking,))
            if not looking.cancelled():
                looking.exception()


def _result(looking: "asyncio.Future[Mapping[Key, Verdict]]") -> Mapping[Key, Verdict]:
    try:
        return looking.result()
    except Temporary as error:
        log.debug("kubernetes.glance-later", error=error.message)
    except Superseded:
        raise
    except Exception:
        # Figures are told beside the point: the next reconciliation has them too.
        log.exception("kubernetes.glance-failed")
    return {}
