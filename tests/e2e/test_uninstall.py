"""Taking it away again: nothing hangs, and nothing is left but what was to be kept."""

from tests.e2e.release import Release
from tests.e2e.shop import Shop
from tests.e2e.workload import wait_until
from tests.real.kubernetes.api import Api

CALLERS = {
    "callers": {"enabled": True, "eventPosters": [{"name": "poster", "namespace": "default"}]}
}


def test_it_leaves_the_definitions_only(release: Release, shop: Shop) -> None:
    """The samples and the release go, in this order; the kinds stay, as others may use them."""
    release.install(CALLERS)
    shop.declare()

    shop.withdraw()
    release.uninstall()

    def left() -> set[str]:
        return {name.split("/")[0] for name in release.objects()}

    # Pods finish what they have in hand.
    wait_until("the pods are gone", lambda: "pod" not in left())
    assert {"customresourcedefinition.apiextensions.k8s.io"} == left()


def test_objects_can_be_deleted_after_it(api: Api, release: Release, shop: Shop) -> None:
    """The release goes first: no finalizer of an operator that is gone holds an object."""
    release.install(CALLERS)
    shop.declare()

    release.uninstall()
    shop.withdraw()
    left = api.kubectl("get", "taskloom", "--all-namespaces", "--output=name").split()

    assert [] == left
