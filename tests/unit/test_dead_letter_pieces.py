"""Letters are written in statements of some megabytes."""

from uuid import UUID

from taskloom.domain.dead_letters import NewDeadLetter
from taskloom.store.dead_letters import _in_pieces


def _letter(number: int, *, body: bytes | None, header: str = "") -> NewDeadLetter:
    return NewDeadLetter(
        id=UUID(int=number),
        source_id=UUID(int=0),
        origin="source:shop/orders",
        reason="none",
        body=body,
        headers={"x": header},
    )


def test_headers_count_as_bodies_do() -> None:
    """Letters without bodies are split, too, when their headers are long."""
    letters = [_letter(each, body=None, header="h" * 3_000_000) for each in range(5)]

    assert [len(piece) for piece in _in_pieces(letters)] == [2, 2, 1]


def test_a_letter_above_the_bound_goes_alone() -> None:
    """A message of 10 MB is kept by a statement of its own, and none is lost beside it."""
    sizes = (1, 10_000_000, 1)
    letters = [_letter(each, body=b"b" * size) for each, size in enumerate(sizes)]

    assert [len(piece) for piece in _in_pieces(letters)] == [1, 1, 1]
