"""The webhooks that came, to be waited for."""

import asyncio
from collections.abc import Callable
from typing import Any

from taskloom.cli.receiver import Webhook
from taskloom.errors import Permanent

BOTH = ("x-task-signature", "webhook-signature")


class Inbox:
    """Keeps genuine webhooks once each, by their id, and remembers what was wrong with others."""

    def __init__(self) -> None:
        self._webhooks: dict[str, Webhook] = {}
        self._faults: list[str] = []
        self._came = asyncio.Event()

    def take(self, webhook: Webhook) -> None:
        """Put a webhook in; one that is delivered again counts once."""
        if webhook.fault is not None:
            self._faults.append(webhook.fault)
        elif webhook.verified != BOTH:
            self._faults.append(f"{webhook.key} carries only {', '.join(webhook.verified)}")
        else:
            self._webhooks.setdefault(webhook.id, webhook)
        self._came.set()

    def about(self, key: str, concerns: Callable[[Any], bool]) -> list[Webhook]:
        """List the webhooks of a key whose payload is the one looked for."""
        return [
            webhook
            for webhook in self._webhooks.values()
            if webhook.key == key and concerns(webhook.payload)
        ]

    async def find(self, key: str, concerns: Callable[[Any], bool], patience: float) -> Webhook:
        """Wait for a webhook for so many seconds."""
        try:
            async with asyncio.timeout(patience):
                while not (found := self.about(key, concerns)):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise Permanent(self._missing(key, patience)) from None
        return found[0]

    def _missing(self, key: str, patience: float) -> str:
        missing = f"no webhook {key} came within {patience:.0f} seconds"
        if self._faults:
            return f"{missing}; others were refused: {'; '.join(sorted(set(self._faults)))}"
        return missing
