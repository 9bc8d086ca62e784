"""Many objects at once: few writes to the API server, none after a restart."""

import asyncio

from tests.real.kubernetes.api import Api
from tests.real.kubernetes.crowd import count_ready, create_all, crowd, patches
from tests.real.kubernetes.operator import Start, condition, until

KINDS = ("ClientApp", "WebhookSubscription")
COUNT = 300


async def test_a_crowd_costs_a_write_each_and_none_after_a_restart(
    cluster: Api, namespace: str, operate: Start
) -> None:
    """At most 1.1 PATCHes an object until all are Ready, and not one when the operator restarts."""
    operator = await operate()
    await until(lambda: operator.leads)
    before = patches(cluster)

    await create_all(cluster, crowd(COUNT, namespace))
    await until(lambda: count_ready(cluster, KINDS, namespace) == COUNT, seconds=120)
    written = patches(cluster) - before
    await operator.stop()
    marker = {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "TaskMapping",
        "metadata": {"name": "marker", "namespace": namespace},
        "spec": {"taskKey": "m", "workflowKey": "w"},
    }
    cluster.create(marker)
    before = patches(cluster)
    await operator.start()
    await until(lambda: condition(cluster, marker) is not None)
    await asyncio.sleep(1)  # what is written too much would come now

    assert COUNT <= written <= 1.1 * COUNT
    assert 1 == patches(cluster) - before  # the marker's
