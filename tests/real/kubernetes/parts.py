"""Where the built parts of Kubernetes lie."""

import shutil
from pathlib import Path

BIN = Path(__file__).resolve().parents[3] / ".cache" / "real" / "kubernetes" / "bin"
NODE = BIN.with_name("node")

CLIENTS = frozenset({"helm", "kubectl"})


class PartMissing(RuntimeError):
    """A part that the tests run for real is not there."""


def part(name: str) -> Path:
    """Find a built program: etcd, kube-apiserver, kube-controller-manager, kubectl or helm.

    A client of one's own on the PATH does where none was built.
    Raises `PartMissing`, which says how to get it.
    """
    path = BIN / name
    if path.is_file():
        return path
    found = shutil.which(name) if name in CLIENTS else None
    if found is None:
        raise PartMissing(
            f"These tests run a real Kubernetes API server, and {path} is missing. "
            "Build the parts once with `make real` (it needs Go and some five minutes), "
            "or let TASKLOOM_TEST_KUBECONFIG name the kubeconfig of a cluster for tests."
        )
    return Path(found)


def node_part(name: str) -> Path:
    """Find a built program that only a node has: kube-scheduler, kubelet, kube-proxy, dns, pause.

    Raises `PartMissing`, which says how to get it.
    """
    path = NODE / name
    if not path.is_file():
        raise PartMissing(
            f"These tests run pods on a real node, and {path} is missing. "
            "`make e2e-node` builds it first (it needs Go and some five minutes, once)."
        )
    return path
