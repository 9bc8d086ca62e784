"""Reads a folder of manifests into a snapshot."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from taskloom.providers.files.data_objects import read_data_object
from taskloom.providers.files.documents import Document, NotReadable, read_documents
from taskloom.reconcilers.snapshot import (
    DataObject,
    Declared,
    Key,
    Name,
    Place,
    Problem,
    Refused,
    Snapshot,
)
from taskloom.resources.problems import FieldProblem, describe
from taskloom.resources.validate import is_ours, validate

PROVIDER = "file"
MAX_FILE = 16 * 1024 * 1024
"""Bytes of one file."""
MAX_FILES = 10_000
"""Manifests of one folder."""
SUFFIXES = (".yaml", ".yml", ".json")
_KUSTOMIZATION = {"kustomization.yaml", "kustomization.yml"}


def read_folder(folder: Path) -> Snapshot:
    """Read every ``*.yaml``, ``*.yml`` and ``*.json`` below `folder`, links followed.

    Names that begin with a dot are left out, as editors and mounted ConfigMaps use them.
    What cannot be read becomes a problem; only a folder that cannot be listed as a whole makes
    the snapshot incomplete.
    """
    collected = _Collected()
    try:
        files = sorted(_manifests(folder, collected))
    except OSError as error:
        place = Place(file=str(folder))
        message = f"the folder cannot be read: {error.strerror or error}"
        problem = Problem(place=place, message=message)
        return Snapshot(provider=PROVIDER, problems=(problem,), complete=False)
    if len(files) > MAX_FILES:
        message = f"more than {MAX_FILES} manifests in one folder: is it the right one?"
        problem = Problem(place=Place(file=str(folder)), message=message)
        return Snapshot(provider=PROVIDER, problems=(problem,), complete=False)
    for file in files:
        _read_file(folder, file, collected)
    return collected.snapshot()


def merge(previous: Snapshot | None, new: Snapshot) -> Snapshot:
    """Let the last good state stand where the new snapshot could not be read.

    A file that broke keeps what it held, an object that is no longer valid its last valid form,
    a folder that vanished everything; the problems of the new snapshot are kept.
    """
    if previous is None:
        return new
    if not new.complete:
        return replace(
            previous, problems=new.problems, notes=new.notes, broken=new.broken, complete=False
        )
    refused = {item.key for item in new.refused}
    present = {declared.resource.key for declared in new.resources}

    def stands(key: Key, place: Place | None) -> bool:
        return key in refused or (place is not None and new.is_broken(place.file))

    return replace(
        new,
        resources=new.resources
        + tuple(
            declared
            for declared in previous.resources
            if declared.resource.key not in present
            and stands(declared.resource.key, declared.place)
        ),
        refused=new.refused
        + tuple(
            item
            for item in previous.refused
            if item.key not in present | refused
            and item.place is not None
            and new.is_broken(item.place.file)
        ),
        config_maps={
            name: item
            for name, item in previous.config_maps.items()
            if stands(("ConfigMap", *name), item.place)
        }
        | dict(new.config_maps),
        secrets={
            name: item
            for name, item in previous.secrets.items()
            if stands(("Secret", *name), item.place)
        }
        | dict(new.secrets),
    )


@dataclass(slots=True)
class _Collected:
    """What has been read so far."""

    resources: dict[Key, Declared] = field(default_factory=dict)
    refused: dict[Key, Refused] = field(default_factory=dict)
    config_maps: dict[Name, DataObject] = field(default_factory=dict)
    secrets: dict[Name, DataObject] = field(default_factory=dict)
    places: dict[Key, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            provider=PROVIDER,
            resources=tuple(self.resources.values()),
            refused=tuple(item for key, item in self.refused.items() if key not in self.resources),
            config_maps=self.config_maps,
            secrets=self.secrets,
            problems=tuple(self.problems),
            notes=tuple(self.notes),
            broken=frozenset(self.broken),
        )

    def break_file(self, file: str, message: str, line: int = 1) -> None:
        self.problems.append(Problem(place=Place(file=file, line=line), message=message))
        self.broken.add(file)


def _manifests(folder: Path, collected: _Collected) -> Iterator[str]:
    """Yield the manifests' paths relative to `folder`; each real folder is entered once."""
    stack = [""]
    entered: set[tuple[int, int]] = set()
    while stack:
        relative = stack.pop()
        here = folder / relative
        try:
            info = here.stat()
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            if not relative:
                raise
            collected.break_file(_shown(relative), f"cannot be read: {error.strerror or error}")
            continue
        if (info.st_dev, info.st_ino) in entered:
            continue
        entered.add((info.st_dev, info.st_ino))
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{relative}/{entry.name}" if relative else entry.name
            if _is_folder(entry):
                stack.append(path)
            elif entry.name.endswith(SUFFIXES):
                yield path


def _shown(path: str) -> str:
    """Spell a path so that it can be printed and stored, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _read_file(folder: Path, path: str, collected: _Collected) -> None:
    file = _shown(path)
    if Path(file).name in _KUSTOMIZATION:
        note = "a kustomization is not applied: give the folder that `kubectl kustomize` writes"
        collected.notes.append(Problem(place=Place(file=file), message=note))
        return
    try:
        documents = read_documents(_decode(_read_bytes(folder / path)))
    except NotReadable as error:
        collected.break_file(file, error.message, error.line)
        return
    except OSError as error:
        collected.break_file(file, f"cannot be read: {error.strerror or error}")
        return
    for document in documents:
        for key, line in document.doubled:
            place = Place(file=file, line=line)
            message = f"the key `{key}` is given twice; this last one holds"
            collected.notes.append(Problem(place=place, message=message))
        _take(_Item(document=document, value=document.value, path="", file=file), collected)


def _read_bytes(path: Path) -> bytes:
    """Read a regular file as it is at one moment; anything else would block or never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        for _ in range(3):
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise NotReadable("not a regular file")
            file.seek(0)
            content = file.read(MAX_FILE + 1)
            if len(content) > MAX_FILE:
                raise NotReadable(f"larger than {MAX_FILE} bytes")
            after = os.fstat(descriptor)
            if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
                return content
    raise NotReadable("changes while it is read")


def _decode(content: bytes) -> str:
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    encoding = "utf-16" if utf16 else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotReadable(f"not valid {encoding.removesuffix('-sig').upper()}", line) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """An object within a document: a list's item, or (with an empty path) all of it."""

    document: Document
    value: Any
    path: str
    file: str

    @property
    def place(self) -> Place:
        return self.place_of("")

    def place_of(self, field: str) -> Place:
        path = f"{self.path}.{field}" if self.path and field else self.path or field
        return Place(file=self.file, line=self.document.line_of(path))


def _take(item: _Item, collected: _Collected, level: int = 0) -> None:
    """Sort one object in; a list's items one by one."""
    value = item.value
    if not isinstance(value, dict):
        message = "a document must be a map with apiVersion, kind and metadata"
        collected.problems.append(Problem(place=item.place, message=message))
        return
    kind, version = value.get("kind"), value.get("apiVersion")
    if not (isinstance(kind, str) and isinstance(version, str) and kind and version):
        missing = "apiVersion" if isinstance(kind, str) and kind else "kind"
        message = f"{missing} is missing: a document needs apiVersion, kind and metadata"
        collected.problems.append(Problem(place=item.place, message=message))
    elif kind.endswith("List") and isinstance(value.get("items"), list) and level < 3:
        for index, inner in enumerate(value["items"]):
            path = f"{item.path}.items[{index}]" if item.path else f"items[{index}]"
            typed = _typed(inner, kind, version)
            _take(replace(item, value=typed, path=path), collected, level + 1)
    elif is_ours(value):
        _take_resource(item, collected)
    elif version == "v1" and kind in ("ConfigMap", "Secret"):
        _take_data_object(item, collected)
    else:
        message = f"{kind} ({version}) is not one of Taskloom's kinds: left aside"
        collected.notes.append(Problem(place=item.place, message=message))


def _typed(item: Any, list_kind: str, version: str) -> Any:
    """Give the items of a typed list (SecretList) the kind that they may leave out."""
    if list_kind == "List" or not isinstance(item, dict):
        return item
    return {"apiVersion": version, "kind": list_kind.removesuffix("List")} | item


def _take_resource(item: _Item, collected: _Collected) -> None:
    made = validate(item.value)
    if isinstance(made, list):
        _refuse(item, made, collected)
    elif _is_first(made.key, item.place, collected):
        collected.resources[made.key] = Declared(resource=made, place=item.place)


def _take_data_object(item: _Item, collected: _Collected) -> None:
    made = read_data_object(item.value, item.place)
    kind = item.value["kind"]
    if isinstance(made, list):
        _refuse(item, made, collected)
    elif _is_first((kind, made.namespace, made.name), item.place, collected):
        objects = collected.config_maps if kind == "ConfigMap" else collected.secrets
        objects[made.namespace, made.name] = made


def _refuse(item: _Item, problems: list[FieldProblem], collected: _Collected) -> None:
    place = item.place_of(problems[0].field)
    key = _key(item.value)
    named = f"{key[0]} {key[1]}/{key[2]}" if key else str(item.value["kind"])
    message = f"{named}: {describe(problems)}"
    collected.problems.append(Problem(place=place, message=message))
    if key is not None:
        refused = Refused(key=key, place=place, problems=tuple(problems))
        collected.refused.setdefault(key, refused)


def _is_first(key: Key, place: Place, collected: _Collected) -> bool:
    """Note where an object stands; a second one is a problem that names both places."""
    earlier = collected.places.setdefault(key, place)
    if earlier is place:
        return True
    message = f"{key[0]} {key[1]}/{key[2]} stands twice: the one at {earlier} holds"
    collected.problems.append(Problem(place=place, message=message))
    return False


def _key(value: Mapping[str, Any]) -> Key | None:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace") or "default"
    if not (isinstance(name, str) and isinstance(namespace, str) and name):
        return None
    return (str(value["kind"]), namespace, name)
