"""``kubectl taskloom suspend`` and ``resume``: stop an object's work for a while."""

import asyncio
from typing import Annotated

import typer

from taskloom.cli.cluster.choice import (
    Choice,
    ContextOption,
    KubeconfigOption,
    OneNamespaceOption,
    Reached,
    TimeoutOption,
    reach,
)
from taskloom.cli.cluster.links import dependents_of
from taskloom.cli.cluster.objects import Named, fetch, observed, read_named, search
from taskloom.cli.cluster.waiting import wait_until
from taskloom.cli.console import say
from taskloom.errors import Invalid, Unavailable
from taskloom.providers.kubernetes.objects import Body
from taskloom.resources.base import Resource
from taskloom.resources.kinds import KINDS

_Kind = Annotated[str, typer.Argument(help="A kind and a name: whsub/orders, or the kind alone.")]
_Name = Annotated[str | None, typer.Argument(help="The object's name, if it is not given before.")]


def suspend(
    *,
    kind: _Kind,
    name: _Name = None,
    namespace: OneNamespaceOption = None,
    timeout: TimeoutOption = 30,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Stop an object's work until it is resumed.

    Sets `spec.suspend` and waits until it is in force.
    The exit code is 1 if no operator took it up in time.
    """
    choice = Choice(context=context, kubeconfig=kubeconfig, namespace=namespace)
    asyncio.run(_set(choice, read_named(kind, name), suspended=True, patience=timeout))


def resume(
    *,
    kind: _Kind,
    name: _Name = None,
    namespace: OneNamespaceOption = None,
    timeout: TimeoutOption = 30,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Let a suspended object work again.

    Unsets `spec.suspend` and waits until it is in force.
    The exit code is 1 if no operator took it up in time.
    """
    choice = Choice(context=context, kubeconfig=kubeconfig, namespace=namespace)
    asyncio.run(_set(choice, read_named(kind, name), suspended=False, patience=timeout))


async def _set(choice: Choice, named: Named, *, suspended: bool, patience: float) -> None:
    word = "suspended" if suspended else "resumed"
    async with reach(choice) as reached:
        body = await fetch(reached, named)
        if not can_suspend(named.kind):
            raise Invalid(await _refusal(reached, named, body))
        shown = f"{named.kind.names.kind} {reached.one_namespace}/{named.name}"
        if bool((body.get("spec") or {}).get("suspend")) is suspended:
            say(f"{shown} is {word} already.")
            return
        patch = {"spec": {"suspend": suspended}}
        namespace = reached.one_namespace
        changed = await reached.cluster.change(named.type_, namespace, named.name, patch)
        generation = changed["metadata"]["generation"]
        if patience and not await wait_until(reached, named, observed, patience):
            raise Unavailable(
                f"{shown} has `spec.suspend: {str(suspended).lower()}` (generation {generation}), "
                f"but no operator took it up within {patience:g} s: "
                f"kubectl taskloom why {named.shown} -n {namespace}"
            )
        say(f"{shown} is {word}.")


def can_suspend(kind: type[Resource]) -> bool:
    """Tell whether a kind has `spec.suspend`."""
    spec = kind.model_fields["spec"].annotation
    return spec is not None and "suspend" in spec.model_fields


async def _refusal(reached: Reached, named: Named, body: Body) -> str:
    kinds = ", ".join(kind.names.singular for kind in KINDS.values() if can_suspend(kind))
    text = f"A {named.kind.names.kind} cannot be suspended; {kinds} can."
    others = (await search(reached)).bodies
    whole = {"kind": named.type_.kind, **body}
    users = [
        f"{KINDS[each.kind].names.singular}/{each.name}"
        for each in dependents_of(whole, others)
        if can_suspend(KINDS[each.kind])
    ]
    return f"{text} What uses it: {', '.join(users)}." if users else text
