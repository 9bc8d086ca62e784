"""The one finalizer: a Workflow to be deleted with its rows waits until no instance runs.

It is there only while instances do run: what nothing keeps goes at once, whether anybody is left
to take a finalizer away or not.
"""

import asyncio
from collections.abc import Collection, Mapping

import structlog

from taskloom.errors import Conflict, NotFound, Superseded, TaskloomError
from taskloom.providers.kubernetes.cluster import Cluster
from taskloom.providers.kubernetes.mirror import HELD, Mirror, Seen
from taskloom.providers.kubernetes.objects import OURS
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict
from taskloom.resources.workflow import Workflow

log = structlog.get_logger()

FINALIZER = "taskloom.dev/instances"
_AT_ONCE = 16


def wants_finalizer(seen: Seen, *, running: int | None, released: bool) -> bool | None:
    """Tell whether an object is to be kept from going; None leaves it as it is.

    `running` counts its instances, if that is known; `released` says that its rows are gone, or
    outlive it.
    Only the policy Delete asks for it.
    """
    workflow = None if seen.declared is None else seen.declared.resource
    held = FINALIZER in seen.finalizers
    if seen.deleted:
        wanted = held and not released
    elif not isinstance(workflow, Workflow):
        return None
    elif workflow.spec.deletion_policy != "Delete":
        wanted = False
    elif running is None:
        return None
    else:
        wanted = running > 0
    return None if wanted == held else wanted


async def keep_finalizers(
    cluster: Cluster,
    mirror: Mirror,
    judged: Mapping[Key, Seen],
    verdicts: Mapping[Key, Verdict],
    released: Collection[Key] = (),
) -> bool:
    """Put the finalizer on what is to be kept and take it from the rest; tell if all went well."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def bring(key: Key, uid: str, *, wanted: bool) -> bool:
        finalizers = (FINALIZER,) if wanted else ()
        async with places:
            try:
                body = await cluster.set_finalizers(OURS[HELD], *key[1:], finalizers, uid=uid)
            except (NotFound, Conflict):
                return True  # it is gone, or another by now: news of it are on their way
            except Superseded:
                raise
            except TaskloomError as error:
                log.warning(
                    "kubernetes.finalizer-not-written",
                    namespace=key[1],
                    name=key[2],
                    wanted=wanted,
                    error=error.message,
                )
                return False
        mirror.take({"kind": HELD, **body})
        return True

    todo = {}
    for key, seen in judged.items():
        if key[0] != HELD:
            continue
        running = verdicts[key].fields.get("runningInstances") if key in verdicts else None
        wanted = wants_finalizer(seen, running=running, released=key in released)
        if wanted is not None:
            todo[key] = wanted
    done = await asyncio.gather(
        *(bring(key, judged[key].uid, wanted=wanted) for key, wanted in todo.items())
    )
    return all(done)
