"""``kubectl taskloom rotate``: new credentials for a ClientApp, now."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from taskloom.cli.cluster.choice import (
    Choice,
    ContextOption,
    KubeconfigOption,
    OneNamespaceOption,
    TimeoutOption,
    reach,
)
from taskloom.cli.cluster.objects import Named, fetch, observed, read_named
from taskloom.cli.cluster.waiting import wait_until
from taskloom.cli.console import say
from taskloom.errors import Invalid, Unavailable
from taskloom.providers.kubernetes.objects import Body
from taskloom.resources.client_app import ClientApp


def rotate(
    *,
    kind: Annotated[
        str, typer.Argument(help="The ClientApp: capp/orders, or its name.", metavar="NAME")
    ],
    name: Annotated[
        str | None, typer.Argument(help="Its name, if the kind is given before.", metavar="NAME")
    ] = None,
    namespace: OneNamespaceOption = None,
    timeout: TimeoutOption = 60,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Make new credentials for a ClientApp.

    Raises the `revision` of its rotation, waits until they are in its Secret, and says until
    when the former ones are good.
    The exit code is 1 if no operator made them in time.
    Where the spec is kept in Git raise `revision` there, as it may not be lowered again.
    """
    named = read_named(kind, name, kind=ClientApp)
    if named.kind is not ClientApp:
        raise Invalid(f"A {named.kind.names.kind} has no credentials: only a ClientApp has.")
    choice = Choice(context=context, kubeconfig=kubeconfig, namespace=namespace)
    asyncio.run(_rotate(choice, named, timeout))


async def _rotate(choice: Choice, named: Named, patience: float) -> None:
    async with reach(choice) as reached:
        namespace = reached.one_namespace
        body = await fetch(reached, named)
        revision = next_revision(body)
        patch = {
            # whoever rotates at the same time is not to be overtaken unseen
            "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
            "spec": {"credentials": {"generated": {"rotation": {"revision": revision}}}},
        }
        await reached.cluster.change(named.type_, namespace, named.name, patch)
        shown = f"ClientApp {namespace}/{named.name}"
        if not patience:
            say(f"{shown}: revision {revision} is asked for.")
            return
        if not await wait_until(
            reached, named, lambda newer: has_revision(newer, revision), patience
        ):
            raise Unavailable(
                f"{shown}: revision {revision} is asked for, but no operator made it within "
                f"{patience:g} s: kubectl taskloom why {named.shown} -n {namespace}"
            )
        say(explain_rotation(await fetch(reached, named), namespace))


def next_revision(body: Body) -> int:
    """Give the revision to ask for; `Invalid` where the credentials are somebody else's."""
    credentials = (body.get("spec") or {}).get("credentials") or {}
    imported = credentials.get("imported")
    if imported is not None:
        secret = (imported.get("secretRef") or {}).get("name")
        raise Invalid(
            f"Its credentials are kept by somebody else, in the Secret {secret}: change them "
            "there, and they are taken over."
        )
    rotation = (credentials.get("generated") or {}).get("rotation") or {}
    asked = int(rotation.get("revision") or 0)
    return max(asked, int(_issued(body).get("revision") or 0)) + 1


def has_revision(body: Body, revision: int) -> bool:
    """Tell whether the credentials of a revision are in force."""
    return observed(body) and int(_issued(body).get("revision") or 0) >= revision


def explain_rotation(body: Body, namespace: str) -> str:
    """Say where the new credentials are, and how long the former ones are good."""
    issued = _issued(body)
    name = body["metadata"]["name"]
    secret = (issued.get("secretRef") or {}).get("name") or f"{name}-credentials"
    text = (
        f"ClientApp {namespace}/{name} has new credentials (revision {issued.get('revision')}) in "
        f"the Secret {secret}."
    )
    until = issued.get("previousValidUntil")
    return f"{text}\nThe former ones are good until {until}." if until else text


def _issued(body: Body) -> Mapping[str, Any]:
    return (body.get("status") or {}).get("credentials") or {}
