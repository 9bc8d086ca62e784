"""What the parts of one reconciliation share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from taskloom.flow.services import Services
from taskloom.reconcilers.credentials import CredentialStore
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.drift import Applied
from taskloom.reconcilers.event_sources import FormerValues
from taskloom.reconcilers.runners import Runners
from taskloom.reconcilers.settle import Plan, Row
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict, unsupported
from taskloom.resources.client_app import ClientApp
from taskloom.resources.event_sink import EventSink
from taskloom.resources.webhook_subscription import WebhookSubscription

R = TypeVar("R", bound=Row)


@dataclass(slots=True, kw_only=True)
class Run:
    """One reconciliation on its way: what it works with, and what it has come to."""

    services: Services
    world: World
    credentials: CredentialStore
    topics: frozenset[str]
    runners: Runners
    applied: Applied
    verdicts: dict[Key, Verdict] = field(default_factory=dict)
    changes: int = 0
    retry: bool = False
    moments: list[datetime] = field(default_factory=list)  # when something changes by time alone
    lingering: set[str] = field(default_factory=set)  # managers whose rows could not go yet
    leaving: Mapping[str, Desired] = field(default_factory=dict)  # by their managers
    asked_to_go: frozenset[Key] = frozenset()
    released: frozenset[Key] = frozenset()
    former: FormerValues = field(default_factory=dict)
    remade: Mapping[Key, str] = field(default_factory=dict)

    def take(self, plan: Plan[R]) -> Plan[R]:
        """Count a plan's changes and keep its verdicts."""
        self.verdicts |= plan.verdicts
        self.changes += len(plan.put) + len(plan.remove)
        return plan

    def leave_out(self, kind: type[ClientApp | WebhookSubscription | EventSink]) -> None:
        """Tell the objects of a kind that this installation has no webhooks."""
        for desired, _ in self.world.of(kind):
            self.verdicts[desired.key] = unsupported(
                desired, "webhooks are left out of this installation"
            )
