"""Where generated credentials are kept outside of the database."""

from collections.abc import Mapping
from typing import Protocol

from taskloom.domain.secret import Secret


class CredentialStore(Protocol):
    """Files on one machine, Secrets in a cluster."""

    async def read(self, namespace: str, name: str) -> Mapping[str, Secret]:
        """Read the values kept under a Secret's name; empty if there are none."""
        ...

    async def write(
        self, namespace: str, name: str, values: Mapping[str, Secret]
    ) -> Mapping[str, Secret]:
        """Keep the values that are not there yet, and give back what is kept now."""
        ...

    async def replace(
        self,
        namespace: str,
        name: str,
        former: Mapping[str, Secret],
        values: Mapping[str, Secret],
    ) -> Mapping[str, Secret]:
        """Put new values in the place of former ones, and give back what is kept now.

        `former` and `values` have the same keys.
        A value that is not the former one any more stays: somebody else was quicker.
        """
        ...

    async def remove(self, namespace: str, name: str) -> None:
        """Forget a Secret's values, where nobody else sees to that; none is no error."""
        ...
