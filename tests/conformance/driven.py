"""What the interpreter was seen doing: for engines made of it, the fake and the embedded one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from taskloom.engines.embedded import stepping
from taskloom.engines.embedded.drive import Batch, drive
from taskloom.testing import engine as memory


class Driven:
    """The instances that began, and their variables: the engines drop those of ended ones."""

    def __init__(self) -> None:
        self._roots: list[str] = []
        self._variables: dict[str, Mapping[str, Any]] = {}

    async def roots(self) -> Sequence[str]:
        """List the ids of the instances that nobody called, the oldest first."""
        return self._roots

    async def variables(self, roots: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Give the variables of the processes themselves, also when they have ended."""
        return {root: self._variables[root] for root in roots}

    def note(self, batch: Batch) -> None:
        """Take in what one transaction has done."""
        if batch.uncaught is not None:
            return  # nothing has changed
        self._roots += [live.id for live in batch.started.values() if live.id == live.root_id]
        self._variables.update((id_, state.variables) for id_, state in batch.states.items())


@contextmanager
def watching() -> Iterator[Driven]:
    """Look on while the interpreter drives."""
    driven = Driven()

    async def seen(*given: Any, **named: Any) -> Batch:
        batch = await drive(*given, **named)
        driven.note(batch)
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "drive", seen)
        patch.setattr(memory, "drive", seen)
        yield driven
