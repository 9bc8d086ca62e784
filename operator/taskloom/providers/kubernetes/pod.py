"""The pod that this process runs in."""

from pathlib import Path

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def own_namespace() -> str:
    """Name the namespace that this process is a pod in; ``default`` outside of a cluster."""
    try:
        return _NAMESPACE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"
