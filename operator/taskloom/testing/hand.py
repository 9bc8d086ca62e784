"""A cluster in memory, for tests of the commands that handle one."""

import copy
from collections.abc import Iterable
from typing import Any

from taskloom.errors import Forbidden, Invalid, NotFound
from taskloom.providers.kubernetes.objects import Body, ResourceType


class FakeHand:
    """Holds `objects`; kinds in `forbidden` may not be read, those in `undefined` are not known.

    Selectors select by ``metadata.name`` and by ``involvedObject``'s fields; labels by equality.
    """

    def __init__(
        self,
        objects: Iterable[Body] = (),
        *,
        forbidden: Iterable[str] = (),
        undefined: Iterable[str] = (),
    ) -> None:
        self.objects: list[dict[str, Any]] = [copy.deepcopy(dict(body)) for body in objects]
        self.changes: list[Body] = []
        self._forbidden = frozenset(forbidden)
        self._undefined = frozenset(undefined)

    async def get(self, type_: ResourceType, namespace: str, name: str) -> Body:
        """Read one object."""
        for body in self._readable(type_):
            if (body["metadata"]["namespace"], body["metadata"]["name"]) == (namespace, name):
                return copy.deepcopy(body)
        raise NotFound(f"{type_.plural} {name} not found")

    async def find(
        self, type_: ResourceType, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> list[Body]:
        """List the objects that selectors select."""
        return [
            copy.deepcopy(body)
            for body in self._readable(type_)
            if namespace in (None, body["metadata"]["namespace"])
            and all(_field(body, path) == value for path, value in _pairs(fields))
            and all(
                (body["metadata"].get("labels") or {}).get(name) == value
                for name, value in _pairs(labels)
            )
        ]

    async def rehearse(self, type_: ResourceType, namespace: str, name: str, body: Body) -> Body:
        """Put `body` over what is there; a spec with the field `refused` is refused."""
        if "refused" in (body.get("spec") or {}):
            raise Invalid("The API server answers 422: spec.refused: Invalid value")
        known = [each for each in self._readable(type_) if each["metadata"]["name"] == name]
        before = known[0] if known else {"metadata": {"uid": "new", "generation": 1}}
        return {**before, **body, "metadata": {**before["metadata"], **body["metadata"]}}

    async def change(self, type_: ResourceType, namespace: str, name: str, patch: Body) -> Body:
        """Note a change, and count the generation on."""
        for body in self._readable(type_):
            if (body["metadata"]["namespace"], body["metadata"]["name"]) == (namespace, name):
                self.changes.append(patch)
                body["metadata"]["generation"] = body["metadata"].get("generation", 1) + 1
                body["spec"] = {**body.get("spec", {}), **patch.get("spec", {})}
                return copy.deepcopy(body)
        raise NotFound(f"{type_.plural} {name} not found")

    async def issue_token(self, namespace: str, account: str, audience: str, seconds: int) -> str:
        """Make a token that says for whom it is."""
        return f"{namespace}.{account}.{audience}"

    def _readable(self, type_: ResourceType) -> list[dict[str, Any]]:
        if type_.kind in self._undefined:
            raise NotFound("the server could not find the requested resource")
        if type_.kind in self._forbidden:
            raise Forbidden(f"The API server answers 403: you may not read {type_.plural}")
        return [body for body in self.objects if body["kind"] == type_.kind]


def _pairs(selector: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in selector.split(",") if part]
    return [(name, value) for name, _, value in parts]


def _field(body: Body, path: str) -> Any:
    value: Any = body
    for step in path.split("."):
        value = (value or {}).get(step)
    return value
