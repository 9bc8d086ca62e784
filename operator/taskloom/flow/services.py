"""What the use cases work with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from taskloom.ports.engine import WorkflowEngine
from taskloom.store.database import Database

SOURCE = "task-service"
"""What outgoing events name as their source, as the original's clients expect."""


def utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The two databases (perhaps the same one), the engine, and the clock.

    Without `webhooks` nothing is told to anyone, and the webhook tables are not touched.
    """

    tasks: Database
    workflows: Database
    engine: WorkflowEngine
    webhooks: bool = True
    now: Callable[[], datetime] = utc_now
