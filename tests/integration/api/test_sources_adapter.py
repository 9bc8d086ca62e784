"""Sources whose messages an installed package reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskloom.flow.adapt import installed_adapters
from tests.integration.api.declared import ANYBODY, Declared, document, reason, source

MODULE = """
from taskloom.errors import Invalid
from taskloom.ports.adapter import Adapted

def read_words(body, headers):
    if body == b"none":
        raise Invalid("The message is no word.")
    if body == b"break":
        raise ZeroDivisionError("a password")
    return Adapted(key=headers.get("x-kind", "word"), payload=body.decode(), idempotency_key="w")

class Reader:
    def __call__(self, body, headers):
        return Adapted(key="made", payload={})

nothing = None
"""
ENTRIES = """[taskloom.adapters]
words = words:read_words
reader = words:Reader
nothing = words:nothing
missing = words:missing
broken = nowhere:at_all
"""


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with good adapters and bad ones."""
    info = tmp_path / "packages" / "words-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: words\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (info.parent / "words.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(info.parent))
    installed_adapters.cache_clear()
    yield
    installed_adapters.cache_clear()


def form(name: str) -> dict[str, Any]:
    """Write a format."""
    return {"type": "Adapter", "adapter": name}


def test_good_adapters_are_offered() -> None:
    """A function, or a class whose objects are called; what cannot be loaded is left out."""
    assert {"words", "reader"} == set(installed_adapters())


async def test_an_installed_adapter_reads_what_is_posted(declared: Declared) -> None:
    """Of any type, with what the sender says of idempotency before what the adapter does."""
    await declared.apply(source("/in", ANYBODY, format=form("words")))

    answers = [
        await declared.post("/sources/in", b"desk", by={"content-type": "text/csv"}, x_kind="paid"),
        await declared.post("/sources/in", b"desk", by={"content-type": "text/csv"}),
        await declared.post("/sources/in", b"desk", idempotency_key="other"),
    ]

    assert [204] * 3 == [answer.status_code for answer in answers]
    found = {(e.key, e.payload, e.idempotency_key) for e in await declared.events()}
    assert {("paid", '"desk"', "w"), ("word", '"desk"', "other")} == found


async def test_an_adapter_that_refuses_or_breaks_is_told_the_sender(declared: Declared) -> None:
    """400 in its own words, or with the class of what it broke with."""
    await declared.apply(source("/in", ANYBODY, format=form("words")))

    refused = await declared.post("/sources/in", b"none")
    broken = await declared.post("/sources/in", b"break")

    assert [400, 400] == [refused.status_code, broken.status_code]
    assert "The message is no word." == reason(refused)
    assert "`words` broke with ZeroDivisionError" in reason(broken)
    assert "password" not in broken.text


@pytest.mark.parametrize("name", ["nobodys", "broken", "nothing", "missing"])
async def test_a_source_without_its_adapter_is_not_ready(declared: Declared, name: str) -> None:
    """Its path is nobody's, and it says what is missing."""
    await declared.apply(source("/in", ANYBODY, format=form(name)), expect="False")

    assert 404 == (await declared.post("/sources/in", b"desk")).status_code


async def test_an_event_stays_with_its_sender_while_the_adapter_is_gone(
    declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that lacks the package answers 503."""
    await declared.apply(source("/in", ANYBODY, format=form("words")))
    monkeypatch.setattr("taskloom.flow.adapt.installed_adapters", dict)

    answer = await declared.post("/sources/in", b"desk")

    assert (503, "30") == (answer.status_code, answer.headers["retry-after"])
    assert "`words`" in reason(answer)


@pytest.mark.parametrize(
    ("content_type", "by_anybody"),
    [
        ("", 415),
        ("text/plain;charset=UTF-8", 415),
        ("application/x-www-form-urlencoded", 415),
        ("Multipart/Form-Data; boundary=x", 415),
        ("text/csv", 204),
        ("application/json", 204),
    ],
)
async def test_a_page_cannot_make_a_browser_send_an_event(
    declared: Declared, content_type: str, by_anybody: int
) -> None:
    """What is sent without asking is refused where anybody may send, and fine of a client."""
    await declared.apply(
        document("ClientApp", "shop", {}),
        source("/all", ANYBODY, name="all", format=form("words")),
        source("/shop", name="shop", format=form("words")),
    )
    headers = {"content-type": content_type}

    anybody = await declared.post("/sources/all", b"desk", by=headers)
    shop = await declared.post("/sources/shop", b"desk", by=headers | declared.credentials("shop"))

    assert [by_anybody, 204] == [anybody.status_code, shop.status_code]
