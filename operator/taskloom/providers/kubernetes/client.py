"""The API server as the Kubernetes client speaks to it."""

import contextlib
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from taskloom.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Permanent,
    Superseded,
    TaskloomError,
    Unauthenticated,
    Unavailable,
)
from taskloom.providers.kubernetes.cluster import MANAGER, Page, as_applied
from taskloom.providers.kubernetes.objects import Body, ResourceType, metadata_of

PAGE = 500
_SECONDS = 30.0
_LONGEST_DELAY = 60.0
_JSON, MERGE, APPLY = (
    "application/json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)
_ERRORS: Mapping[int, type[TaskloomError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Unavailable,
    413: Invalid,
    422: Invalid,
}

Count = Callable[[str, int], None]
"""Is told the method of a call and the code of its answer; 0 is no answer."""


async def load_configuration() -> Configuration:
    """Find the cluster: the one that this process is a pod of, else the kubeconfig's."""
    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                await config.load_kube_config(
                    client_configuration=configuration, persist_config=False
                )
        except (config.ConfigException, OSError, TypeError) as error:
            raise Permanent(
                f"No cluster: this is no pod, and no kubeconfig can be read ({error}). "
                "Set KUBECONFIG, or run without --kubernetes."
            ) from error
    return configuration


@contextlib.asynccontextmanager
async def connected(
    configuration: Configuration, count: Count = lambda _method, _code: None
) -> AsyncIterator["KubernetesCluster"]:
    """Open a client of the API server; `count` is told of each call."""
    configuration.connection_pool_maxsize = 32
    async with ApiClient(configuration) as client:
        yield KubernetesCluster(client, count=count)


class KubernetesCluster:
    """A `Cluster` over HTTP; nothing is written to it while `may_write` says no."""

    def __init__(
        self,
        client: ApiClient,
        may_write: Callable[[], bool] = lambda: True,
        *,
        count: Count = lambda _method, _code: None,
    ) -> None:
        self._client = client
        self._may_write = may_write
        self._count = count

    def written_while(self, holds: Callable[[], bool]) -> "KubernetesCluster":
        """Give the same cluster for one who may write while `holds` only, else `Superseded`."""
        return KubernetesCluster(self._client, holds, count=self._count)

    async def serves(self, type_: ResourceType) -> bool:
        """Tell whether a type's group and version are known here."""
        try:
            await self._call("GET", f"/apis/{type_.api_version}")
        except NotFound:
            return False
        return True

    async def apply(self, type_: ResourceType, body: Body, *, manager: str) -> Body:
        """Make or change an object by server-side apply."""
        metadata = metadata_of(body)
        return await self._call(
            "PATCH",
            type_.path(metadata["namespace"], metadata["name"]),
            body=body,
            query={"fieldManager": manager, "force": "true"},
            content=APPLY,
        )

    async def pages(
        self, type_: ResourceType, namespace: str | None, *, selector: str = ""
    ) -> AsyncIterator[Page]:
        """List a collection piece by piece; all of one version."""
        token = ""
        while True:
            query = {"limit": str(PAGE)} | ({"continue": token} if token else {})
            if selector:
                query["labelSelector"] = selector
            body = await self._call("GET", type_.path(namespace), query=query)
            metadata = body.get("metadata") or {}
            yield Page(
                items=body.get("items") or (), version=int(metadata.get("resourceVersion") or 0)
            )
            token = metadata.get("continue") or ""
            if not token:
                return

    async def get(self, type_: ResourceType, namespace: str, name: str) -> Body:
        """Read one object."""
        return await self._call("GET", type_.path(namespace, name))

    async def create(self, type_: ResourceType, namespace: str, body: Body) -> Body:
        """Make an object."""
        query = {"fieldManager": MANAGER}
        return await self._call("POST", type_.path(namespace), body=body, query=query)

    async def replace(self, type_: ResourceType, namespace: str, name: str, body: Body) -> Body:
        """Put another in an object's place."""
        query = {"fieldManager": MANAGER}
        return await self._call("PUT", type_.path(namespace, name), body=body, query=query)

    async def merge(self, type_: ResourceType, namespace: str, name: str, patch: Body) -> Body:
        """Change some fields."""
        query = {"fieldManager": MANAGER}
        path = type_.path(namespace, name)
        return await self._call("PATCH", path, body=patch, query=query, content=MERGE)

    async def apply_status(
        self, type_: ResourceType, namespace: str, name: str, status: Body
    ) -> Body:
        """Write a status by server-side apply."""
        return await self._call(
            "PATCH",
            type_.path(namespace, name, "status"),
            body=as_applied(type_, namespace, name, status),
            query={"fieldManager": MANAGER, "force": "true"},
            content=APPLY,
        )

    async def set_finalizers(
        self, type_: ResourceType, namespace: str, name: str, finalizers: Sequence[str], *, uid: str
    ) -> Body:
        """Make these the finalizers that we put on the object of that uid, by server-side apply."""
        metadata = {"name": name, "namespace": namespace, "uid": uid, "finalizers": [*finalizers]}
        body = {"apiVersion": type_.api_version, "kind": type_.kind, "metadata": metadata}
        query = {"fieldManager": MANAGER, "force": "true"}
        path = type_.path(namespace, name)
        return await self._call("PATCH", path, body=body, query=query, content=APPLY)

    async def delete(self, type_: ResourceType, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of that uid."""
        body = {"preconditions": {"uid": uid}}
        await self._call("DELETE", type_.path(namespace, name), body=body)

    async def review(self, type_: ResourceType, body: Body) -> Body:
        """Ask for a review, which is answered and kept nowhere."""
        return await self._call("POST", type_.path(None), body=body)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content: str = _JSON,
    ) -> dict[str, Any]:
        if method != "GET" and not self._may_write():
            raise Superseded
        url = f"{self._client.configuration.host}{quote(path)}"
        if query:
            url += f"?{urlencode(query)}"
        try:
            headers = {"Accept": _JSON, "Content-Type": content, **await self._authorization()}
            answer = await self._client.call_api(
                method, url, header_params=headers, body=body, _request_timeout=_SECONDS
            )
            text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._count(method, 0)
            raise Unavailable(f"The API server does not answer: {error or 'too slow'}.") from error
        self._count(method, answer.status)
        if answer.status >= 300:
            raise error_of(answer.status, answer.headers.get("Retry-After"), text)
        try:
            made: dict[str, Any] = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise Unavailable("The API server's answer is no JSON.") from error
        return made

    async def _authorization(self) -> dict[str, str]:
        settings = await self._client.configuration.auth_settings()
        return {
            setting["key"]: setting["value"]
            for setting in settings.values()
            if setting["in"] == "header" and setting["value"]
        }


def error_of(status: int, retry_after: str | None, text: bytes) -> TaskloomError:
    """Translate an answer; the API server's own words say best what is wrong."""
    try:
        message = str(msgspec.json.decode(text)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = text[:200].decode("utf-8", "replace").strip()
    message = f"The API server answers {status}: {message}"
    if status == 429 or status >= 500:
        delay = float(retry_after) if retry_after and retry_after.isdecimal() else 1.0
        return Unavailable(message, delay=min(delay, _LONGEST_DELAY))
    return _ERRORS.get(status, Permanent)(message)
