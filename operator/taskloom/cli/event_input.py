"""JSON that is given on the command line: as it is, in a file, or on standard input."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from taskloom.domain.json_text import read_json
from taskloom.errors import Invalid

EVENT_FIELDS = frozenset({"key", "payload", "source", "description"})


def read_given(text: str, option: str) -> str:
    """Read JSON text: itself, ``@file``, or ``-`` for standard input; an object is wanted."""
    source = text
    if text == "-":
        source = _decode(sys.stdin.buffer.read(), "standard input", option)
    elif text.startswith("@"):
        source = read_file(text[1:], option)
    check_object(source, option)
    return source


def read_file(name: str, option: str) -> str:
    """Read a file's text, or standard input's for ``-``."""
    if name == "-":
        return _decode(sys.stdin.buffer.read(), "standard input", option)
    try:
        return _decode(Path(name).read_bytes(), name, option)
    except OSError as exc:
        raise typer.BadParameter(
            f"{name} cannot be read: {exc.strerror or exc}", param_hint=option
        ) from exc


def check_object(text: str, option: str) -> dict[str, Any]:
    """Read a JSON object; anything else is a usage error of `option`."""
    try:
        value = read_json(text.encode("utf-8", "surrogatepass"))
    except Invalid as exc:
        raise typer.BadParameter(exc.message, param_hint=option) from exc
    if not isinstance(value, dict):
        raise typer.BadParameter("a JSON object is wanted, {…}", param_hint=option)
    return value


def event_body(key: str, payload: str, **more: str | None) -> bytes:
    """Put an event's body together; the payload's text stays as it is."""
    fields = {"key": key, **{name: value for name, value in more.items() if value is not None}}
    head = json.dumps(fields)[:-1]
    return f'{head}, "payload": {payload}}}'.encode()


def _decode(content: bytes, name: str, option: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise typer.BadParameter(f"{name} is not UTF-8", param_hint=option) from exc
