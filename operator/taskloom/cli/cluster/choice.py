"""Whether a command is about a cluster, and about which."""

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import typer

from taskloom.errors import Permanent
from taskloom.providers.kubernetes.objects import Body, ResourceType

ClusterOption = Annotated[
    bool,
    typer.Option(
        "--cluster",
        help="Ask a Kubernetes cluster; what `kubectl taskloom` does of itself.",
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="The cluster of this context of the kubeconfig.",
        metavar="NAME",
        show_default=False,
    ),
]
KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="The kubeconfig that names the cluster.",
        metavar="FILE",
        show_default="as for kubectl",
    ),
]
AllNamespacesOption = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="All namespaces of the cluster.")
]
OneNamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="The namespace.",
        metavar="NAME",
        show_default="the context's",
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=0,
        max=3600,
        help="Seconds to wait until it is in force; 0 waits for nothing.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which cluster, and where in it; no namespace is the context's."""

    context: str | None = None
    kubeconfig: Path | None = None
    namespace: str | None = None
    all_namespaces: bool = False


class Hand(Protocol):
    """A cluster as a person handles it; raises what a `Cluster` raises."""

    async def get(self, type_: ResourceType, namespace: str, name: str) -> Body:
        """Read one object."""
        ...

    async def find(
        self, type_: ResourceType, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> list[Body]:
        """List the objects that selectors select."""
        ...

    async def rehearse(self, type_: ResourceType, namespace: str, name: str, body: Body) -> Body:
        """Give what an object would be, were `body` applied."""
        ...

    async def change(self, type_: ResourceType, namespace: str, name: str, patch: Body) -> Body:
        """Change some fields of a spec."""
        ...

    async def issue_token(self, namespace: str, account: str, audience: str, seconds: int) -> str:
        """Make a token of a ServiceAccount."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A cluster that was reached; no namespace is all of them."""

    cluster: Hand
    context: str
    namespace: str | None

    @property
    def one_namespace(self) -> str:
        """The namespace, where there has to be one."""
        assert self.namespace is not None
        return self.namespace


def called_by_kubectl(program: str | None = None) -> bool:
    """Tell whether this is ``kubectl taskloom``."""
    return Path(program or sys.argv[0]).name.startswith("kubectl-")


def is_about_cluster(call: typer.Context, *options: object, environment: bool = False) -> bool:
    """Decide between a cluster and a server.

    A cluster by one of its `options`, or by being called as ``kubectl taskloom``, unless --url
    says which server; TASKLOOM_URL says so too where `environment` is true.
    """
    source = call.get_parameter_source("url")
    given = "" if source is None else source.name
    has_url = given == "COMMANDLINE"
    if not any(options) and environment and given == "ENVIRONMENT":
        return False
    if any(options) and has_url:
        raise typer.BadParameter(
            "is for a server, and there is an option for a cluster beside it: give one of them",
            param_hint="--url",
        )
    return any(options) or (called_by_kubectl() and not has_url)


@contextlib.asynccontextmanager
async def reach(choice: Choice) -> AsyncIterator[Reached]:
    """Open a client of the chosen cluster."""
    try:
        # An extra (kubernetes), which only who has a cluster has.
        from taskloom.providers.kubernetes.hand import by_hand, load_access  # noqa: PLC0415 - extra
    except ModuleNotFoundError as error:
        raise Permanent(
            f"A cluster needs the package {error.name}: pip install 'taskloom[kubernetes]'."
        ) from error
    access = await load_access(choice.kubeconfig, choice.context)
    namespace = None if choice.all_namespaces else choice.namespace or access.namespace
    async with by_hand(access.configuration) as cluster:
        yield Reached(cluster=cluster, context=access.context, namespace=namespace)
