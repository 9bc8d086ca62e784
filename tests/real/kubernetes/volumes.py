"""What a pod's containers find: volumes as folders of this machine, variables, tokens."""

import base64
from pathlib import Path

from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.control_plane import ControlPlane


class Volumes:
    """The volumes of one pod below `folder`; claims are kept below `shared`, as they outlive it."""

    def __init__(
        self, api: Api, plane: ControlPlane, body: Json, folder: Path, shared: Path
    ) -> None:
        self._api = api
        self._plane = plane
        self._body = body
        self._folder = folder
        self._shared = shared
        self._places: dict[str, Path] = {}
        self._kubeconfig: Path | None = None

    def make(self) -> None:
        """Make all volumes."""
        for volume in self._body["spec"].get("volumes", ()):
            self._places[volume["name"]] = self._make(volume)

    def always(self, container: Json) -> dict[str, str]:
        """Give the variables that are there whatever the pod says."""
        found = {"TMPDIR": self.here("/tmp", container), "HOME": self.here("/tmp", container)}
        if self._kubeconfig is not None:
            found["KUBECONFIG"] = str(self._kubeconfig)
        return found

    def environment(self, container: Json) -> dict[str, str]:
        """Give the variables of a container; a folder of a volume is the one on this machine."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            found |= self._all_of(source)
        for entry in container.get("env", ()):
            value = entry.get("value", "")
            if "valueFrom" in entry:
                value = self._value(entry["valueFrom"])
            found[entry["name"]] = self.here(value, container)
        return found

    def here(self, path: str, container: Json) -> str:
        """Give the place on this machine of a path in a container, if it is in a volume."""
        for mount in container.get("volumeMounts", ()):
            inside = mount["mountPath"].rstrip("/")
            if path == inside or path.startswith(f"{inside}/"):
                return f"{self._places[mount['name']]}{path[len(inside) :]}"
        return path

    def _make(self, volume: Json) -> Path:
        place: Path = self._folder / "volumes" / volume["name"]
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            self._read("persistentvolumeclaims", claim)
            place = self._shared / "claims" / self._namespace / claim
        place.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            found = self._read("configmaps", volume["configMap"]["name"])
            for name, text in found.get("data", {}).items():
                (place / name).write_text(text)
        for source in volume.get("projected", {}).get("sources", ()):
            if "serviceAccountToken" in source:
                self._write_token(source["serviceAccountToken"], place)
        return place

    def _write_token(self, source: Json, place: Path) -> None:
        """Ask for a token bound to the pod, as a kubelet does."""
        metadata = self._body["metadata"]
        audience = source.get("audience")
        bound = {"apiVersion": "v1", "kind": "Pod"}
        spec = {
            "audiences": [] if audience is None else [audience],
            "boundObjectRef": bound | {"name": metadata["name"], "uid": metadata["uid"]},
        }
        answer = self._api.call(
            "POST",
            f"/api/v1/namespaces/{self._namespace}/serviceaccounts/"
            f"{self._body['spec']['serviceAccountName']}/token",
            json={
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": spec,
            },
        )
        assert not isinstance(answer, Refusal), answer
        token = answer["status"]["token"]
        (place / source["path"]).write_text(token)
        if audience is None:
            self._kubeconfig = self._folder / "kubeconfig"
            self._plane.write_kubeconfig(self._kubeconfig, token, namespace=self._namespace)

    def _value(self, source: Json) -> str:
        if "fieldRef" in source:
            found = self._body
            for part in source["fieldRef"]["fieldPath"].split("."):
                found = found[part]
            return str(found)
        if "configMapKeyRef" in source:
            ref = source["configMapKeyRef"]
            return str(self._read("configmaps", ref["name"])["data"][ref["key"]])
        ref = source["secretKeyRef"]
        return _plain(self._read("secrets", ref["name"])["data"][ref["key"]])

    def _all_of(self, source: Json) -> dict[str, str]:
        if "configMapRef" in source:
            found: dict[str, str] = self._read("configmaps", source["configMapRef"]["name"])["data"]
            return found
        data = self._read("secrets", source["secretRef"]["name"])["data"]
        return {name: _plain(value) for name, value in data.items()}

    def _read(self, plural: str, name: str) -> Json:
        found = self._api.call("GET", f"/api/v1/namespaces/{self._namespace}/{plural}/{name}")
        assert not isinstance(found, Refusal), found
        return found

    @property
    def _namespace(self) -> str:
        return str(self._body["metadata"]["namespace"])


def _plain(value: str) -> str:
    return base64.b64decode(value).decode()
