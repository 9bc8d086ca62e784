"""Messages are read by an adapter, and whatever it does, the source goes on."""

import math
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from taskloom.domain.events import NewEvent
from taskloom.errors import Invalid, Permanent, Temporary
from taskloom.flow.adapt import installed_adapters
from taskloom.flow.read_message import Message, read_message
from taskloom.ports.adapter import Adapted, Adapter
from taskloom.resources.event_source import Format

ID = uuid.UUID(int=1)


def read(adapter: Adapter, once: str | None = None, **form: Any) -> NewEvent:
    """Read a message by an adapter."""
    return read_message(
        Message(body=b"7;desk", headers={"x-kind": "paid"}),
        Format.model_validate({"type": "Adapter", "adapter": "rows", **form}),
        event_id=ID,
        origin="source:default/in",
        idempotency_key=once,
        adapters={"rows": adapter},
    )


def rows(body: bytes, headers: Mapping[str, str]) -> Adapted:
    """Read two columns."""
    number, item = body.decode().split(";")
    return Adapted(
        key=headers["x-kind"],
        payload={"number": int(number), "item": item},
        source="till",
        description=item,
        idempotency_key=number,
    )


def giving(value: Any) -> Adapter:
    """Give an adapter that returns this, whatever comes."""
    return lambda _body, _headers: value


def raising(error: BaseException) -> Adapter:
    """Give an adapter that raises this."""

    def adapter(_body: bytes, _headers: Mapping[str, str]) -> Adapted:
        raise error

    return adapter


def test_an_adapter_says_what_the_event_is() -> None:
    """It is given the bytes and the headers."""
    expected = NewEvent(
        id=ID,
        key="paid",
        payload='{"number": 7, "item": "desk"}',
        source="till",
        description="desk",
        origin="source:default/in",
        idempotency_key="7",
    )
    assert expected == read(rows)


def test_the_format_goes_before_the_adapter() -> None:
    """Its key and idempotency key count, and the transport's before the adapter's."""
    event = read(
        rows,
        key={"expression": "'sold.' + message.body.item"},
        idempotency_key="message.headers['x-kind']",
    )

    assert ("sold.desk", "paid") == (event.key, event.idempotency_key)
    assert "t/0/1" == read(rows, once="t/0/1").idempotency_key


@pytest.mark.parametrize(
    "error", [ValueError("secret"), KeyError("secret"), RecursionError(), SystemExit("secret")]
)
def test_what_an_adapter_raises_makes_the_message_no_event(error: BaseException) -> None:
    """Its class is named, and its text, which may hold anything, is not."""
    with pytest.raises(Invalid, match=f"broke with {type(error).__name__}") as caught:
        read(raising(error))

    assert "secret" not in caught.value.message


def test_taskloom_errors_of_an_adapter_make_the_message_no_event() -> None:
    """`Invalid` says in its own words why; others do not stop the source either."""
    with pytest.raises(Invalid, match="the row has one column"):
        read(raising(Invalid("the row has one column")))
    for error in (Temporary("wait"), Permanent("never")):
        with pytest.raises(Invalid, match=f"broke with {type(error).__name__}"):
            read(raising(error))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "gave NoneType, which is no Adapted"),
        ({"key": "k"}, "gave dict"),
        (Adapted(key="", payload={}), "gave a key"),
        (Adapted(key="k" * 256, payload={}), "gave a key"),
        (Adapted(key="\x00", payload={}), "gave a key"),
        (Adapted(key="k", payload={}, source="\ud800"), "gave a source"),
        (Adapted(key="k", payload={}, description="d" * 10_001), "gave a description"),
        (Adapted(key="k", payload={}, idempotency_key=""), "gave a idempotency_key"),
        (Adapted(key="k", payload={}, idempotency_key="i" * 256), "gave a idempotency_key"),
        (Adapted(key="k", payload=b"bytes"), "no JSON value"),
        (Adapted(key="k", payload={"n": math.nan}), "no JSON value"),
        (Adapted(key="k", payload={1j: 1}), "no JSON value"),
    ],
)
def test_what_is_no_event_is_said(value: Any, said: str) -> None:
    """The reason names the adapter and what it gave."""
    with pytest.raises(Invalid, match=f"The adapter `rows` {said}|The adapter `rows` .*{said}"):
        read(giving(value))


def test_wrong_types_are_no_event() -> None:
    """Nothing checks what a package gives before it is run."""
    for fields in ({"key": 7}, {"key": "k", "source": 7}, {"key": "k", "description": []}):
        made: Any = Adapted
        with pytest.raises(Invalid, match="The adapter `rows` gave a"):
            read(giving(made(payload={}, **fields)))


def test_deep_and_circular_payloads_are_no_event() -> None:
    """Neither breaks what reads them later."""
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    circle: list[Any] = []
    circle.append(circle)

    for payload in (deep, circle):
        with pytest.raises(Invalid, match="no JSON value"):
            read(giving(Adapted(key="k", payload=payload)))


def test_an_adapter_cannot_change_the_message() -> None:
    """What is kept as a dead letter is what came."""

    def adapter(_body: bytes, headers: Any) -> Adapted:
        headers["x-kind"] = "other"
        return Adapted(key="k", payload={})

    with pytest.raises(Invalid, match="broke with TypeError"):
        read(adapter)


def test_a_missing_adapter_is_not_the_messages_fault() -> None:
    """It stays with its sender or broker until a package offers one."""
    form = Format.model_validate({"type": "Adapter", "adapter": "nobodys"})

    with pytest.raises(Temporary, match="offers the adapter `nobodys`"):
        read_message(Message(body=b""), form, event_id=ID, origin="o")


def test_none_is_installed_here() -> None:
    """Taskloom has no adapter of its own."""
    assert {} == installed_adapters()
