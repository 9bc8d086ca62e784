"""Manifests of a file or folder, as kubectl would apply them: unchecked, in order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskloom.errors import Invalid
from taskloom.providers.files.documents import NotReadable, read_documents
from taskloom.providers.files.read import SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One object to apply, and where it is written."""

    body: Mapping[str, Any]
    place: str

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.body.get("kind"))

    @property
    def name(self) -> str:
        """Its name; `Invalid` if it has none."""
        name = (self.body.get("metadata") or {}).get("name")
        if not isinstance(name, str) or not name:
            raise Invalid(f"{self.place}: metadata.name is missing.")
        return name


def read_manifests(path: Path) -> list[Manifest]:
    """Read all objects of a file, or of a folder and those below it; lists are taken apart.

    Raises `Invalid` naming the file and the line that cannot be read.
    """
    files = [path] if path.is_file() else sorted(_files(path))
    found = []
    for file in files:
        try:
            documents = read_documents(file.read_text(encoding="utf-8-sig"))
        except NotReadable as error:
            raise Invalid(f"{file}:{error.line}: {error.message}") from error
        except (OSError, ValueError) as error:
            raise Invalid(f"{file} cannot be read: {error}") from error
        for document in documents:
            place = f"{file}:{document.line}"
            found += [Manifest(body=body, place=place) for body in _objects(document.value, place)]
    return found


def _files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        wanted = file.suffix in SUFFIXES and file.stem != "kustomization"
        if wanted and not hidden and file.is_file():
            yield file


def _objects(value: Any, place: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise Invalid(f"{place}: a document needs apiVersion, kind and metadata.")
    if value["kind"].endswith("List") and isinstance(value.get("items"), list):
        for item in value["items"]:
            yield from _objects(item, place)
    else:
        yield value
