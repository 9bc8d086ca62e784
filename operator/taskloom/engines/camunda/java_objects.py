"""Values in Java's own serialized form, as JSON: pure.

A list or map that a model writes itself is kept so, even where Spin is, and the engine gives it as
base64.  Maps, lists, numbers, texts and dates become JSON's; any other object becomes what its
fields hold.  Nothing is made from a class: the bytes are only read.
"""

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_MAGIC = b"\xac\xed\x00\x05"
_FIRST_HANDLE = 0x7E0000
_WRITE_METHOD, _SERIALIZABLE, _EXTERNALIZABLE, _BLOCK_DATA = 0x01, 0x02, 0x04, 0x08
_NULL, _REFERENCE, _CLASS, _OBJECT = 0x70, 0x71, 0x72, 0x73
_STRING, _ARRAY, _BLOCK, _END = 0x74, 0x75, 0x77, 0x78
_LONG_BLOCK, _LONG_STRING, _ENUM = 0x7A, 0x7C, 0x7E
_PRIMITIVES = {"B": ">b", "D": ">d", "F": ">f", "I": ">i", "J": ">q", "S": ">h"}
_DEEPEST = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_BOXES = frozenset(
    f"java.lang.{name}"
    for name in ("Boolean", "Byte", "Character", "Double", "Float", "Integer", "Long", "Short")
)
_LISTS = frozenset(
    f"java.util.{name}"
    for name in (
        "ArrayDeque", "ArrayList", "HashSet", "LinkedHashSet", "LinkedList", "TreeSet", "Vector"
    )
)  # fmt: skip
_MAPS = frozenset(
    f"java.util.{name}"
    for name in ("HashMap", "Hashtable", "LinkedHashMap", "TreeMap", "concurrent.ConcurrentHashMap")
)
_WRAPPED = ("a", "m", "c", "list", "element")  # fields that hold what a wrapper wraps


class NotJava(ValueError):
    """The bytes are no serialized object that can be read here."""


def read_java(text: str) -> Any:
    """Give the value of a serialized object in base64 as JSON; raises `NotJava`."""
    try:
        data = base64.b64decode(text, validate=True)
        if not data.startswith(_MAGIC):
            raise NotJava("it does not begin as one")
        return _Reader(data).value()
    except (struct.error, LookupError, RecursionError, UnicodeDecodeError) as exc:
        raise NotJava(f"it breaks off or holds what is not read here: {exc!r}") from exc
    except ValueError as exc:
        raise NotJava(str(exc)) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class _Class:
    name: str
    flags: int
    fields: Sequence[tuple[str, str]]  # type and name
    above: "_Class | None"


@dataclass(slots=True)
class _Written:
    """What was written for one object: its fields, and what its class wrote besides."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    objects: list[Any] = field(default_factory=list)
    blocks: bytes = b""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = len(_MAGIC)
        self._handles: list[Any] = []
        self._depth = 0

    def value(self) -> Any:
        """Read one value."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotJava(f"it is nested deeper than {_DEEPEST} levels")
        kind = self._byte()
        readers: Mapping[int, Callable[[], Any]] = {
            _NULL: lambda: None,
            _REFERENCE: self._reference,
            _STRING: lambda: self._text(self._number(">H")),
            _LONG_STRING: lambda: self._text(self._number(">q")),
            _OBJECT: self._object,
            _ARRAY: self._array,
            _ENUM: self._enum,
            _CLASS: self._class_body,
        }
        if kind not in readers:
            raise NotJava(f"there is a mark {kind:#x}")
        found = readers[kind]()
        self._depth -= 1
        return found

    def _reference(self) -> Any:
        return self._handles[self._number(">i") - _FIRST_HANDLE]

    def _text(self, length: int) -> str:
        text = _modified_utf8(self._take(length))
        self._handles.append(text)
        return text

    def _object(self) -> Any:
        described = self._class()
        handle = self._new_handle()
        written = _Written(described.name)
        for each in _from_the_top(described):
            if each.flags & _SERIALIZABLE:
                for kind, name in each.fields:
                    written.fields[name] = self._field(kind)
            if each.flags & _WRITE_METHOD or (
                each.flags & _EXTERNALIZABLE and each.flags & _BLOCK_DATA
            ):
                self._annotations(written)
        value = _to_json(written)
        self._handles[handle] = value
        return value

    def _array(self) -> list[Any]:
        described = self._class()
        handle = self._new_handle()
        kind = described.name[1]
        value = [self._field(kind) for _ in range(self._number(">i"))]
        self._handles[handle] = value
        return value

    def _enum(self) -> Any:
        self._class()
        handle = self._new_handle()
        self._handles[handle] = self.value()
        return self._handles[handle]

    def _field(self, kind: str) -> Any:
        if kind in "L[":
            return self.value()
        if kind == "Z":
            return self._byte() != 0
        if kind == "C":
            return chr(self._number(">H"))
        return self._number(_PRIMITIVES[kind])

    def _annotations(self, written: _Written) -> None:
        while (kind := self._data[self._at]) != _END:
            if kind in {_BLOCK, _LONG_BLOCK}:
                self._at += 1
                length = self._byte() if kind == _BLOCK else self._number(">i")
                written.blocks += self._take(length)
            else:
                written.objects.append(self.value())
        self._at += 1

    def _class(self) -> _Class:
        kind = self._byte()
        if kind == _REFERENCE:
            found = self._reference()
            if isinstance(found, _Class):
                return found
        if kind != _CLASS:
            raise NotJava("an object has no class")
        return self._class_body()

    def _class_body(self) -> _Class:
        name = _modified_utf8(self._take(self._number(">H")))
        self._take(8)  # its version
        handle = self._new_handle()
        flags = self._byte()
        fields = []
        for _ in range(self._number(">H")):
            kind = chr(self._byte())
            fields.append((kind, _modified_utf8(self._take(self._number(">H")))))
            if kind in "L[":
                self.value()  # the name of its type
        self._annotations(_Written(name))
        above = None
        if self._data[self._at] == _NULL:
            self._at += 1
        else:
            above = self._class()
        described = _Class(name=name, flags=flags, fields=fields, above=above)
        self._handles[handle] = described
        return described

    def _new_handle(self) -> int:
        self._handles.append(None)
        return len(self._handles) - 1

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _number(self, form: str) -> Any:
        [number] = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return number

    def _take(self, length: int) -> bytes:
        if length < 0 or self._at + length > len(self._data):
            raise NotJava("it breaks off")
        self._at += length
        return self._data[self._at - length : self._at]


def _from_the_top(described: _Class) -> list[_Class]:
    line = [described]
    while line[0].above is not None:
        line.insert(0, line[0].above)
    return line


def _to_json(written: _Written) -> Any:
    name, fields, objects = written.name, written.fields, written.objects
    if name in _LISTS:
        return objects
    if name in _MAPS:
        return {_key(key): value for key, value in zip(objects[::2], objects[1::2], strict=False)}
    if name in _BOXES:
        return fields["value"]
    if name in _SCALARS:
        return _SCALARS[name](written)
    return _of_fields(name, fields)


def _big_integer(written: _Written) -> int:
    magnitude = bytes(byte & 0xFF for byte in written.fields["magnitude"])
    return int(written.fields["signum"]) * int.from_bytes(magnitude)


def _big_decimal(written: _Written) -> float:
    return int(written.fields["intVal"]) / float(10 ** int(written.fields["scale"]))


def _date(written: _Written) -> str:
    [milliseconds] = struct.unpack(">q", written.blocks[:8])
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat()


_SCALARS: Mapping[str, Callable[[_Written], Any]] = {
    "java.math.BigInteger": _big_integer,
    "java.math.BigDecimal": _big_decimal,
    "java.util.Date": _date,
    "java.sql.Timestamp": _date,
}
_EMPTY: Mapping[str, Any] = {"$EmptyList": [], "$EmptySet": [], "$EmptyMap": {}}


def _of_fields(name: str, fields: Mapping[str, Any]) -> Any:
    """Read a class of Java's that only wraps, or somebody's own."""
    if not name.startswith("java."):
        return dict(fields)
    kind = name.removeprefix("java.util.Collections")
    if kind in _EMPTY:
        return _EMPTY[kind]
    if kind == "$SingletonMap":
        return {_key(fields["k"]): fields["v"]}
    for wrapped in _WRAPPED:
        if wrapped in fields:
            return [fields[wrapped]] if wrapped == "element" else fields[wrapped]
    raise NotJava(f"the class {name} is not read here")


def _key(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _modified_utf8(data: bytes) -> str:
    """Read Java's UTF-8, which writes NUL with two bytes, and some characters as two halves."""
    text = data.replace(b"\xc0\x80", b"\x00").decode("utf-8", "surrogatepass")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
