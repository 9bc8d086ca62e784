"""One parameter of a query string: `filter={…}` as JSON, or `filter[limit]=10` in brackets."""

from collections.abc import Iterable, Sequence
from typing import Any

from taskloom.domain.json_text import read_json
from taskloom.domain.query_tree import shown
from taskloom.errors import Invalid

MAX_DEPTH = 24


def query_parameter(pairs: Iterable[tuple[str, str]], name: str) -> tuple[Any, bool]:
    """Find the parameter in either style; the flag says that its values are text.

    Raises `Invalid` if it is there twice or cannot be read; None if it is absent or empty.
    """
    texts: list[str] = []
    tree: dict[str, Any] = {}
    for key, value in pairs:
        if key == name:
            texts.append(value)
        elif key.startswith(f"{name}["):
            _plant(tree, _steps(key, name), value, key)
    if len(texts) + bool(tree) > 1:
        raise Invalid(f"The parameter {name} is given more than once: keep one.", field=name)
    if tree:
        return _lists(tree), True
    if not texts or not texts[0].strip():
        return None, False
    try:
        return read_json(texts[0], max_depth=MAX_DEPTH), False
    except Invalid as exc:
        raise Invalid(f"The parameter {name} is no JSON text. {exc.message}", field=name) from exc


def _steps(key: str, name: str) -> list[str]:
    inner = key[len(name) :]
    steps = inner[1:-1].split("][")
    if not (inner.startswith("[") and inner.endswith("]")) or any(
        "[" in part or "]" in part for part in steps
    ):
        raise Invalid(
            f"The parameter {shown(key)} cannot be read: write {name}[where][field]=value.",
            field=name,
        )
    if len(steps) > MAX_DEPTH:
        raise Invalid(f"The parameter {name} nests too deep.", field=name)
    return steps


def _plant(tree: dict[str, Any], steps: Sequence[str], value: str, key: str) -> None:
    node = tree
    for part in steps[:-1]:
        below = node.setdefault(part or str(len(node)), {})
        if not isinstance(below, dict):
            raise Invalid(f"The parameter {shown(key)} contradicts another one.", field="filter")
        node = below
    last = steps[-1] or str(len(node))
    if last in node:
        # `[inq]=a&[inq]=b` is how some clients write a list
        earlier = node[last]
        if isinstance(earlier, dict):
            raise Invalid(f"The parameter {shown(key)} contradicts another one.", field="filter")
        node[last] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
    else:
        node[last] = value


def _lists(node: Any) -> Any:
    """Turn objects whose keys are 0, 1, 2 … into lists, as query strings mean them."""
    if not isinstance(node, dict):
        return node
    inner = {key: _lists(value) for key, value in node.items()}
    if all(key.isascii() and key.isdigit() and len(key) <= 6 for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
