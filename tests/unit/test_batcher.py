"""Group commit: everything is written once, together where it can be."""

import asyncio
from collections.abc import Sequence

import pytest

from taskloom.errors import Unavailable
from taskloom.runtime.batcher import Batcher


async def test_what_arrives_meanwhile_is_one_batch() -> None:
    """While the first item is written the others gather, and are written together."""
    batches: list[list[int]] = []

    async def write(items: Sequence[int]) -> Sequence[int]:
        batches.append(list(items))
        await asyncio.sleep(0)
        return [item * 2 for item in items]

    batcher = Batcher(write)
    results = await asyncio.gather(*(batcher.put(number) for number in range(5)))

    assert [0, 2, 4, 6, 8] == results
    assert [0, 1, 2, 3, 4] == sorted(number for batch in batches for number in batch)
    assert len(batches) < 5


async def test_a_batch_is_no_larger_than_its_limit() -> None:
    """More than the limit makes another batch."""
    sizes: list[int] = []

    async def write(items: Sequence[int]) -> Sequence[None]:
        sizes.append(len(items))
        return [None] * len(items)

    batcher = Batcher(write, limit=3)
    await asyncio.gather(*(batcher.put(number) for number in range(10)))

    assert max(sizes) == 3
    assert sum(sizes) == 10


async def test_only_the_culprit_fails() -> None:
    """A batch that fails is tried one by one: the others are written."""
    written: list[int] = []

    async def write(items: Sequence[int]) -> Sequence[None]:
        if 3 in items:
            raise ValueError("three")
        written.extend(items)
        return [None] * len(items)

    batcher = Batcher(write)
    results = await asyncio.gather(
        *(batcher.put(number) for number in range(5)), return_exceptions=True
    )

    assert [0, 1, 2, 4] == sorted(written)
    assert isinstance(results[3], ValueError)
    assert [None] * 4 == [result for index, result in enumerate(results) if index != 3]


async def test_a_caller_that_goes_away_harms_no_other() -> None:
    """Cancelling one caller leaves the batch and its other callers alone."""
    release = asyncio.Event()

    async def write(items: Sequence[int]) -> Sequence[int]:
        await release.wait()
        return list(items)

    batcher = Batcher(write)
    first = asyncio.create_task(batcher.put(1))
    second = asyncio.create_task(batcher.put(2))
    await asyncio.sleep(0)
    first.cancel()
    release.set()

    assert 2 == await second
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_cut_connection_is_not_noticed() -> None:
    """A batch that fails for now is tried once more before anybody is told."""
    tries: list[Sequence[int]] = []

    async def write(items: Sequence[int]) -> Sequence[int]:
        tries.append(items)
        if len(tries) == 1:
            raise Unavailable
        return items

    batcher = Batcher(write)

    assert [1, 2] == list(await asyncio.gather(batcher.put(1), batcher.put(2)))
    assert [[1, 2], [1, 2]] == tries


async def test_an_outage_fails_a_batch_as_a_whole() -> None:
    """Nobody is the culprit when nothing can be written: the items are not tried one by one."""
    tries: list[Sequence[int]] = []

    async def write(items: Sequence[int]) -> Sequence[int]:
        tries.append(items)
        raise Unavailable

    batcher = Batcher(write)
    results = await asyncio.gather(
        *(batcher.put(number) for number in range(3)), return_exceptions=True
    )

    assert all(isinstance(result, Unavailable) for result in results)
    assert len(tries) == 2
