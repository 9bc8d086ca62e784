"""Text into documents of JSON values, with the line of every field.

Built from the parser's events rather than by a loader: aliases are counted as they expand,
depth is bounded, and no tag makes an object.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Never

import yaml

from taskloom.providers.files.scalars import ScalarError, is_merge, key_text, resolve

MAX_DEPTH = 200
"""Levels of maps and lists."""
MAX_NODES = 500_000
"""Values of a file, counted after aliases are expanded."""
MAX_CHARACTERS = 64 * 1024 * 1024
"""Characters of a file, counted after aliases are expanded."""


class NotReadable(ValueError):
    """A file that cannot be read as YAML or JSON; `line` counts from 1."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document: a value, and where it stood.

    `lines` maps the path of a field to its line.
    `doubled` names the keys that were given twice, with their line; the last one holds.
    """

    value: Any
    line: int
    lines: Mapping[str, int]
    doubled: tuple[tuple[str, int], ...] = ()

    def line_of(self, path: str) -> int:
        """Find the line of a field, or of the nearest one above it that has a line."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.line


def read_documents(text: str) -> list[Document]:
    """Read every document that is not empty; raises `NotReadable` if any of them is broken."""
    if text.lstrip().startswith("{"):
        documents = _read_json(text)
        if documents is not None:
            return documents
    try:
        return list(_Reader(text).documents())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else min(mark.line + 1, max(len(text.splitlines()), 1))
        raise NotReadable(f"not valid YAML: {error.problem or error.context}", line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = error.character
        code = ord(character) if isinstance(character, str) else character
        raise NotReadable(f"not valid YAML: character #x{code:04x} is not allowed", line) from error
    except yaml.YAMLError as error:
        raise NotReadable(f"not valid YAML: {error}") from error


def _read_json(text: str) -> list[Document] | None:
    """Read JSON texts one after another; None if it is not JSON, then it may be YAML."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    documents: list[Document] = []
    position = len(text) - len(text.lstrip())
    try:
        while position < len(text):
            line = text.count("\n", 0, position) + 1
            value, position = decoder.raw_decode(text, position)
            documents.append(Document(value=_as_in_go(value, 0, line), line=line, lines={}))
            while position < len(text) and text[position].isspace():
                position += 1
    except NotReadable:
        raise
    except ValueError:
        return None
    except RecursionError as error:
        raise NotReadable("nested too deeply") from error
    return documents


def _as_in_go(value: Any, depth: int, line: int) -> Any:
    """Read JSON as Go does: halves of surrogate pairs are replaced, large integers are doubles."""
    if depth > MAX_DEPTH:
        raise NotReadable(f"nested deeper than {MAX_DEPTH} levels", line)
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {
            _as_in_go(key, depth, line): _as_in_go(item, depth + 1, line)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_as_in_go(item, depth + 1, line) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise NotReadable("a number is too large", line)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 10**308 else _too_large(line)
    return value


def _too_large(line: int) -> Never:
    raise NotReadable("a number is too large", line)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


@dataclass(slots=True)
class _Anchored:
    value: Any
    nodes: int
    characters: int


class _Reader:
    """Builds values from the events of one text."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._anchors: dict[str, _Anchored | None] = {}
        self._lines: dict[str, int] = {}
        self._doubled: list[tuple[str, int]] = []
        self._nodes = 0
        self._characters = 0

    def documents(self) -> Iterator[Document]:
        """Yield the documents that hold anything."""
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            self._anchors, self._lines, self._doubled = {}, {}, []
            first = next(self._events)
            value = self._node(first, "", 0)
            if value is not None:
                yield Document(
                    value=value,
                    line=first.start_mark.line + 1,
                    lines=self._lines,
                    doubled=tuple(self._doubled),
                )

    def _node(self, event: Any, path: str, depth: int) -> Any:
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise NotReadable(f"nested deeper than {MAX_DEPTH} levels", line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        self._count(1, 0, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        nodes, characters = self._nodes, self._characters
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._list(path, depth)
        else:
            value = self._map(path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(
                value, self._nodes - nodes + 1, self._characters - characters
            )
        return value

    def _alias(self, name: str | None, line: int) -> Any:
        if name is None or name not in self._anchors:
            raise NotReadable(f"unknown anchor '{name}' referenced", line)
        anchored = self._anchors[name]
        if anchored is None:
            raise NotReadable(f"anchor '{name}' value contains itself", line)
        self._count(anchored.nodes, anchored.characters, line)
        return anchored.value

    def _scalar(self, event: Any, line: int) -> Any:
        self._count(0, len(event.value), line)
        tag = event.tag if event.tag != "!" else "tag:yaml.org,2002:str"
        try:
            return resolve(event.value, tag, plain=event.implicit[0])
        except ScalarError as error:
            raise NotReadable(str(error), line) from error

    def _list(self, path: str, depth: int) -> list[Any]:
        made: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            here = f"{path}[{len(made)}]"
            self._lines[here] = event.start_mark.line + 1
            made.append(self._node(event, here, depth + 1))
        return made

    def _map(self, path: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        given: set[str] = set()
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = event.start_mark.line + 1
            if isinstance(event, yaml.ScalarEvent) and is_merge(
                event.value, event.tag, plain=event.implicit[0]
            ):
                made.update(self._merged(self._node(next(self._events), path, depth + 1), line))
                continue
            key = self._key(event, line)
            here = f"{path}.{key}" if path else key
            if key in given:
                self._doubled.append((here, line))
            given.add(key)
            self._lines[here] = line
            made[key] = self._node(next(self._events), here, depth + 1)
        return made

    def _key(self, event: Any, line: int) -> str:
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            raise NotReadable("a map's key must be a text, a number or a boolean", line)
        value = self._node(event, "", 0)
        if isinstance(value, dict | list):
            raise NotReadable("a map's key must be a text, a number or a boolean", line)
        try:
            return key_text(value)
        except ScalarError as error:
            raise NotReadable(str(error), line) from error

    def _merged(self, value: Any, line: int) -> dict[str, Any]:
        maps = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in maps):
            raise NotReadable("map merge requires map or sequence of maps as the value", line)
        made: dict[str, Any] = {}
        for item in reversed(maps):
            made.update(item)
        return made

    def _count(self, nodes: int, characters: int, line: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES:
            raise NotReadable(f"too large: more than {MAX_NODES} values, aliases expanded", line)
        if self._characters > MAX_CHARACTERS:
            raise NotReadable(
                f"too large: more than {MAX_CHARACTERS} characters, aliases expanded", line
            )
