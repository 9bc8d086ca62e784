"""Generates ``crds/``: ``python -m taskloom.resources.crd --output crds/``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from taskloom.resources.base import API_VERSION, GROUP, VERSION, Column, Resource
from taskloom.resources.kinds import KINDS
from taskloom.resources.schema import structural_schema

_HEADER = (
    "# Generated from the models in operator/taskloom/resources: change those, "
    "then run `make generate`.\n"
)


def custom_resource_definition(kind: type[Resource]) -> dict[str, Any]:
    """Build the CustomResourceDefinition of a kind."""
    names = kind.names
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale is not None:
        subresources["scale"] = dict(kind.scale)
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "schema": {"openAPIV3Schema": structural_schema(kind)},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "taskloom"},
            "annotations": {
                "helm.sh/resource-policy": "keep",
                "argocd.argoproj.io/sync-options": "ServerSideApply=true",
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.kind,
                "listKind": f"{names.kind}List",
                "plural": names.plural,
                "singular": names.singular,
                "shortNames": [names.short],
                "categories": ["taskloom"],
            },
            "versions": [version],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    made: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        made["priority"] = column.priority
    return made


class _PlainDumper(yaml.SafeDumper):
    """Writes no anchors, and indents lists below their key's first letter."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(kind: type[Resource]) -> str:
    """Write the definition of a kind as YAML; the same models give the same bytes."""
    definition = custom_resource_definition(kind)
    return _HEADER + yaml.dump(
        definition, Dumper=_PlainDumper, sort_keys=False, width=100, allow_unicode=True
    )


def file_name(kind: type[Resource]) -> str:
    """Name the file that a kind's definition goes to."""
    return f"{GROUP}_{kind.names.plural}.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one file a kind."""
    parser = argparse.ArgumentParser(
        prog="python -m taskloom.resources.crd",
        description=f"Write the CustomResourceDefinitions of {API_VERSION}.",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    folder: Path = parser.parse_args(arguments).output
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS.values():
        (folder / file_name(kind)).write_text(render(kind), encoding="utf-8")


if __name__ == "__main__":
    main()
