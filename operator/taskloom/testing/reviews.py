"""A cluster that is asked about callers, in memory."""

import asyncio

from taskloom.domain.permissions import Right
from taskloom.errors import TaskloomError
from taskloom.ports.reviews import AccessReview, ClusterUser, TokenReview


class FakeReviews:
    """Knows the tokens it is given, and the rights.

    `users` are by token and audience, `rights` by user and namespace.  While it is set, `failure`
    is raised instead of an answer, `answer` is what is said of any token, and answers wait for
    `gate`.  `asked` lists what was asked, without the tokens.
    """

    def __init__(self) -> None:
        self.users: dict[tuple[str, str], ClusterUser] = {}
        self.rights: set[tuple[str, str, Right]] = set()
        self.failure: TaskloomError | None = None
        self.answer: TokenReview | None = None
        self.gate: asyncio.Event | None = None
        self.asked: list[str] = []

    async def review_token(self, token: str, audience: str) -> TokenReview:
        """Tell whom a token speaks for."""
        await self._begin("token")
        if self.answer is not None:
            return self.answer
        user = self.users.get((token, audience))
        if user is None:
            return TokenReview(user=None, error="invalid bearer token")
        return TokenReview(user=user, audiences=(audience,))

    async def review_access(self, user: ClusterUser, right: Right, namespace: str) -> AccessReview:
        """Tell whether a user has a right."""
        await self._begin(f"{right.verb} {right.resource}")
        return AccessReview(allowed=(user.name, namespace, right) in self.rights)

    async def _begin(self, asked: str) -> None:
        self.asked.append(asked)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
