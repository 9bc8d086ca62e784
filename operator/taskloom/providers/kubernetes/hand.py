"""A cluster as a person handles it from the command line, by a kubeconfig."""

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from taskloom.errors import Permanent
from taskloom.providers.kubernetes.client import APPLY, MERGE, PAGE, KubernetesCluster
from taskloom.providers.kubernetes.objects import SERVICE_ACCOUNTS, Body, ResourceType
from taskloom.providers.kubernetes.pod import own_namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a person reaches a cluster: its context's name, and the namespace that it stands in."""

    configuration: Configuration
    context: str
    namespace: str


async def load_access(file: Path | None = None, context: str | None = None) -> Access:
    """Read a kubeconfig as kubectl does: the file given, else KUBECONFIG, else the home's.

    Where there is none, a pod's own cluster is taken.
    """
    configuration = Configuration()
    if file is not None and not await asyncio.to_thread(file.is_file):
        raise Permanent(f"There is no kubeconfig {file}: mend --kubeconfig.")
    path = None if file is None else str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loader = await config.load_kube_config(
                config_file=path,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (config.ConfigException, OSError, TypeError, KeyError) as error:
        if file is None and context is None:
            with contextlib.suppress(config.ConfigException):
                config.load_incluster_config(client_configuration=configuration)
                namespace = await asyncio.to_thread(own_namespace)
                return Access(
                    configuration=configuration, context="in-cluster", namespace=namespace
                )
        raise Permanent(
            f"No cluster: the kubeconfig cannot be used ({error}). "
            "Set KUBECONFIG, or give --kubeconfig and --context."
        ) from error
    current = loader.current_context
    namespace = current["context"].get("namespace") or "default"
    return Access(configuration=configuration, context=current["name"], namespace=namespace)


@contextlib.asynccontextmanager
async def by_hand(configuration: Configuration) -> AsyncIterator["HandledCluster"]:
    """Open a client for a person's calls."""
    async with ApiClient(configuration) as client:
        yield HandledCluster(client)


class HandledCluster(KubernetesCluster):
    """A cluster as a person handles it: looking things up, trying and changing specs."""

    async def find(
        self, type_: ResourceType, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> list[Body]:
        """List the objects that selectors select, as kubectl writes them."""
        token, found = "", list[Body]()
        while True:
            query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields}
            query["continue"] = token
            chosen = {name: value for name, value in query.items() if value}
            body = await self._call("GET", type_.path(namespace), query=chosen)
            found += body.get("items") or ()
            token = (body.get("metadata") or {}).get("continue") or ""
            if not token:
                return found

    async def rehearse(self, type_: ResourceType, namespace: str, name: str, body: Body) -> Body:
        """Give what an object would be, were `body` applied by ``kubectl apply --server-side``."""
        query = {"fieldManager": "kubectl", "force": "true", "dryRun": "All"}
        query["fieldValidation"] = "Strict"
        path = type_.path(namespace, name)
        return await self._call("PATCH", path, body=body, query=query, content=APPLY)

    async def change(self, type_: ResourceType, namespace: str, name: str, patch: Body) -> Body:
        """Change some fields of a spec (JSON merge patch), in the name of this command line."""
        query = {"fieldManager": "kubectl-taskloom"}
        path = type_.path(namespace, name)
        return await self._call("PATCH", path, body=patch, query=query, content=MERGE)

    async def issue_token(self, namespace: str, account: str, audience: str, seconds: int) -> str:
        """Make a token of a ServiceAccount."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": seconds},
        }
        path = SERVICE_ACCOUNTS.path(namespace, account, "token")
        answer = await self._call("POST", path, body=body)
        return str(answer["status"]["token"])
