"""Generated credentials as Secrets: adopted where they are there, never made anew over others'."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import structlog

from taskloom.domain.secret import Secret
from taskloom.errors import Conflict, Forbidden, NotFound
from taskloom.providers.kubernetes.cluster import Cluster
from taskloom.providers.kubernetes.mirror import Data, Mirror, Seen
from taskloom.providers.kubernetes.objects import DATA, OURS, SECRETS, Body, metadata_of
from taskloom.reconcilers.snapshot import Key
from taskloom.resources.client_app import ClientApp

log = structlog.get_logger()

_LABELS = {"app.kubernetes.io/managed-by": "taskloom"}


class ClusterSecrets:
    """The credentials of client apps, as the reconcilers ask for them.

    What the mirror knows is not asked for again.
    """

    def __init__(self, cluster: Cluster, mirror: Mirror) -> None:
        self._cluster = cluster
        self._mirror = mirror

    async def read(self, namespace: str, name: str) -> Mapping[str, Secret]:
        """Read the values of a Secret; empty if there is none."""
        key: Key = ("Secret", namespace, name)
        data = self._mirror.data(key)
        if data is None:
            await look_up(self._cluster, self._mirror, key)
            data = self._mirror.data(key)
        return {} if data is None else _texts(data)

    async def write(
        self, namespace: str, name: str, values: Mapping[str, Secret]
    ) -> Mapping[str, Secret]:
        """Add the values that a Secret lacks, making it if there is none.

        A Secret that is made here goes with its ClientApp; one that was there is only added to.
        """
        encoded = {key: _encoded(value) for key, value in values.items()}
        try:
            body = await self._cluster.create(
                SECRETS, namespace, self._made(namespace, name, encoded)
            )
        except Conflict:
            body = await self._complete(namespace, name, encoded)
        self._mirror.take({"kind": SECRETS.kind, **body})
        kept = {key: _decoded(text) for key, text in (body.get("data") or {}).items()}
        return {key: kept.get(key, value) for key, value in values.items()}

    async def replace(
        self,
        namespace: str,
        name: str,
        former: Mapping[str, Secret],
        values: Mapping[str, Secret],
    ) -> Mapping[str, Secret]:
        """Put new values in the place of former ones; what is not the former one stays.

        The Secret is written only as it was read, so of two that do this one finds the other's.
        """
        while True:
            body = await self._cluster.get(SECRETS, namespace, name)
            present = {key: _decoded(text) for key, text in (body.get("data") or {}).items()}
            new = {
                key: value
                for key, value in values.items()
                if not present.get(key) or present[key] == former[key]
            }
            if new:
                patch = {
                    "metadata": {"resourceVersion": metadata_of(body).get("resourceVersion")},
                    "data": {key: _encoded(value) for key, value in new.items()},
                }
                try:
                    body = await self._cluster.merge(SECRETS, namespace, name, patch)
                except Conflict:
                    continue
            self._mirror.take({"kind": SECRETS.kind, **body})
            return {key: new.get(key) or present[key] for key in values}

    async def remove(self, namespace: str, name: str) -> None:
        """Leave it to the garbage collector: what was made here is owned by its ClientApp."""

    async def _complete(self, namespace: str, name: str, encoded: Mapping[str, str]) -> Body:
        """Add what is missing to a Secret that is there, whoever's it is."""
        while True:
            body = await self._cluster.get(SECRETS, namespace, name)
            present = body.get("data") or {}
            missing = {key: text for key, text in encoded.items() if not present.get(key)}
            if not missing:
                return body
            patch = {
                "metadata": {"resourceVersion": metadata_of(body).get("resourceVersion")},
                "data": missing,
            }
            try:
                return await self._cluster.merge(SECRETS, namespace, name, patch)
            except Conflict:
                continue  # somebody else was quicker: what they wrote is adopted

    def _made(self, namespace: str, name: str, encoded: Mapping[str, str]) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": dict(_LABELS)}
        owner = self._owner(namespace, name)
        if owner is not None:
            metadata["ownerReferences"] = [owner]
        return {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "metadata": metadata,
            "type": "Opaque",
            "data": dict(encoded),
        }

    def _owner(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Find the ClientApp that a Secret goes with."""
        for key, seen in self._candidates(namespace, name):
            app = None if seen.declared is None else seen.declared.resource
            if key[:2] != ("ClientApp", namespace) or not isinstance(app, ClientApp):
                continue
            generated = app.spec.credentials.generated
            if generated is None or app.spec.secret_name(key[2]) != name:
                continue
            if generated.creation_policy == "Orphan":
                return None
            return {
                "apiVersion": OURS["ClientApp"].api_version,
                "kind": "ClientApp",
                "name": key[2],
                "uid": seen.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        return None

    def _candidates(self, namespace: str, name: str) -> Iterator[tuple[Key, Seen]]:
        """Give the objects that a Secret may go with: first the one whose name it has."""
        key: Key = ("ClientApp", namespace, name.removesuffix("-credentials"))
        seen = self._mirror.seen(key)
        if seen is not None and self._mirror.selects(seen):
            yield key, seen
        yield from self._mirror.selected()


async def look_up(cluster: Cluster, mirror: Mirror, key: Key) -> None:
    """Learn of one Secret or ConfigMap that the mirror does not know."""
    kind, namespace, name = key
    try:
        body = await cluster.get(DATA[kind], namespace, name)
    except NotFound:
        mirror.take_absence(key)
    except Forbidden as error:
        log.warning("kubernetes.forbidden", kind=kind, namespace=namespace, error=error.message)
        mirror.take_absence(key)
    else:
        mirror.take({"kind": kind, **body})


def _texts(data: Data) -> dict[str, Secret]:
    if data.found is None:
        return {}
    return {
        key: Secret(value.decode("utf-8", "replace").removesuffix("\n"))
        for key, value in data.found.data.items()
        if value
    }


def _encoded(value: Secret) -> str:
    return base64.b64encode(value.reveal().encode()).decode()


def _decoded(text: str) -> Secret:
    return Secret(base64.b64decode(text).decode("utf-8", "replace").removesuffix("\n"))
