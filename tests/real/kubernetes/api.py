"""The API server as a test speaks to it: JSON there and back, refusals as values."""

import contextlib
import re
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from taskloom.resources.kinds import KINDS
from tests.real.kubernetes.parts import part

Json = dict[str, Any]
_CORE = {"Secret": "secrets", "ConfigMap": "configmaps", "Namespace": "namespaces"}
_SERVING = re.compile(r"Starting to serve on (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A Status that says no."""

    code: int
    message: str
    causes: tuple[tuple[str, str], ...]
    """Field and message of each cause, where the API server tells them apart."""


class Api:
    """An API server at `client`'s base URL."""

    def __init__(self, client: httpx.Client, kubeconfig: Path, cache: Path) -> None:
        self._client = client
        self._cache = cache
        self.kubeconfig = kubeconfig

    @property
    def url(self) -> str:
        """Where the API server is spoken to, without a login."""
        return str(self._client.base_url)

    def call(self, method: str, path: str, **options: Any) -> Json | Refusal:
        """Call the API server: the object or list that it answers with, or its refusal."""
        answer = self._client.request(method, path, **options)
        body: Json = answer.json()
        if answer.is_success:
            return body
        causes = body.get("details", {}).get("causes", [])
        return Refusal(
            code=answer.status_code,
            message=body["message"],
            causes=tuple((cause.get("field", ""), cause.get("message", "")) for cause in causes),
        )

    def create(self, document: Json, *, dry_run: bool = False) -> Json | Refusal:
        """Create an object, as ``kubectl create`` does."""
        return self.call(
            "POST",
            collection(document),
            params={"fieldValidation": "Strict", "fieldManager": "test"} | _dry(dry_run),
            json=document,
        )

    def apply(
        self, document: Json, *, dry_run: bool = False, subresource: str = ""
    ) -> Json | Refusal:
        """Apply an object, as ``kubectl apply --server-side`` does."""
        return self.call(
            "PATCH",
            f"{place(document)}{subresource}",
            params={"fieldValidation": "Strict", "fieldManager": "test", "force": "true"}
            | _dry(dry_run),
            headers={"content-type": "application/apply-patch+yaml"},
            json=document,
        )

    def get(self, document: Json, *, subresource: str = "") -> Json | Refusal:
        """Read an object."""
        return self.call("GET", f"{place(document)}{subresource}")

    def delete(self, document: Json) -> Json | Refusal:
        """Delete an object."""
        return self.call("DELETE", place(document))

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """Make a namespace that nobody else uses, and delete it afterwards."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.apply(document)
        yield name
        self.delete(document)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl and give what it prints; its complaint is the error's."""
        return self._run("kubectl", f"--cache-dir={self._cache}", *arguments, given=given)

    def helm(self, *arguments: str, given: str | None = None) -> str:
        """Run helm and give what it prints; its complaint is the error's."""
        return self._run("helm", *arguments, given=given)

    def _run(self, program: str, *arguments: str, given: str | None = None) -> str:
        done = subprocess.run(
            [str(part(program)), f"--kubeconfig={self.kubeconfig}", *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def connect(kubeconfig: Path) -> Iterator[Api]:
    """Speak to the API server that a kubeconfig names, whatever way it logs in."""
    proxy = subprocess.Popen(
        [str(part("kubectl")), f"--kubeconfig={kubeconfig}", "proxy", "--port=0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert proxy.stdout is not None
        serving = _SERVING.search(proxy.stdout.readline())
        assert serving is not None, f"kubectl cannot use {kubeconfig}"
        with (
            tempfile.TemporaryDirectory() as cache,
            httpx.Client(base_url=f"http://{serving[1]}", trust_env=False, timeout=30) as client,
        ):
            yield Api(client, kubeconfig, Path(cache))
    finally:
        proxy.terminate()
        proxy.wait()
        if proxy.stdout is not None:
            proxy.stdout.close()


def collection(document: Mapping[str, Any]) -> str:
    """Give the path of all objects of a document's kind, in its namespace."""
    kind, version = document["kind"], document["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = KINDS[kind].names.plural if kind in KINDS else _CORE.get(kind, f"{kind.lower()}s")
    if kind in ("Namespace", "CustomResourceDefinition"):
        return f"{root}/{plural}"
    namespace = document["metadata"].get("namespace", "default")
    return f"{root}/namespaces/{namespace}/{plural}"


def place(document: Mapping[str, Any]) -> str:
    """Give the path of an object."""
    return f"{collection(document)}/{document['metadata']['name']}"


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
