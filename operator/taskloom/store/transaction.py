"""One transaction, and everything that can be asked within it."""

from functools import cached_property

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from taskloom.errors import Permanent
from taskloom.store.commands import Commands
from taskloom.store.dead_letters import DeadLetters
from taskloom.store.deliveries import Deliveries
from taskloom.store.delivery_health import DeliveryHealth
from taskloom.store.events import Events
from taskloom.store.fetched_topics import FetchedTopics
from taskloom.store.jobs import Jobs
from taskloom.store.ledger import Ledger
from taskloom.store.mappings import Mappings
from taskloom.store.outgoing import OutgoingEvents
from taskloom.store.resources import Resources
from taskloom.store.sealing import Sealer
from taskloom.store.sink_deliveries import SinkDeliveries
from taskloom.store.sink_states import SinkStates
from taskloom.store.sinks import Sinks
from taskloom.store.source_states import SourceStates
from taskloom.store.sources import Sources
from taskloom.store.tasks import Tasks
from taskloom.store.user_tasks import UserTasks
from taskloom.store.webhooks import Webhooks
from taskloom.store.workflows import Workflows


class Transaction:
    """An open transaction on `database`; wake-ups given to `notify` ring when it has committed."""

    def __init__(
        self,
        connection: AsyncConnection,
        database: str,
        topics: set[str],
        sealer: Sealer | None = None,
    ) -> None:
        self.connection = connection
        self.database = database
        self._topics = topics
        self._sealer = sealer

    def notify(self, topic: str) -> None:
        """Wake those who wait for `topic` once this transaction is committed."""
        self._topics.add(topic)

    def savepoint(self) -> AsyncTransaction:
        """Open a part (``async with``) that fails alone: an exception undoes that part only."""
        return self.connection.begin_nested()

    @cached_property
    def events(self) -> Events:
        """Events that came in."""
        return Events(self.connection)

    @cached_property
    def mappings(self) -> Mappings:
        """Event and task mappings."""
        return Mappings(self.connection)

    @cached_property
    def tasks(self) -> Tasks:
        """Tasks."""
        return Tasks(self.connection)

    @cached_property
    def user_tasks(self) -> UserTasks:
        """User tasks."""
        return UserTasks(self.connection)

    @cached_property
    def jobs(self) -> Jobs:
        """Jobs left for the relay."""
        return Jobs(self.connection)

    @cached_property
    def ledger(self) -> Ledger:
        """The external tasks that have had their effect."""
        return Ledger(self.connection)

    @cached_property
    def outgoing(self) -> OutgoingEvents:
        """Events to tell subscribers of."""
        return OutgoingEvents(self.connection)

    @cached_property
    def deliveries(self) -> Deliveries:
        """Deliveries and their attempts."""
        return Deliveries(self.connection)

    @cached_property
    def delivery_health(self) -> DeliveryHealth:
        """How deliveries to each subscription went of late."""
        return DeliveryHealth(self.connection)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Client apps and subscriptions."""
        return Webhooks(self.connection, self._needed_sealer)

    @cached_property
    def workflows(self) -> Workflows:
        """Workflows and their versions (on the workflow database)."""
        return Workflows(self.connection)

    @cached_property
    def fetched_topics(self) -> FetchedTopics:
        """The topics that foreign workers fetch (on the workflow database)."""
        return FetchedTopics(self.connection)

    @cached_property
    def sources(self) -> Sources:
        """Event sources."""
        return Sources(self.connection, self._needed_sealer)

    @cached_property
    def source_states(self) -> SourceStates:
        """Who runs which source, and how it stands."""
        return SourceStates(self.connection)

    @cached_property
    def sink_deliveries(self) -> SinkDeliveries:
        """Deliveries to sinks."""
        return SinkDeliveries(self.connection)

    @cached_property
    def sink_states(self) -> SinkStates:
        """Who produces to which sink, and how that goes."""
        return SinkStates(self.connection)

    @cached_property
    def sinks(self) -> Sinks:
        """Event sinks."""
        return Sinks(self.connection, self._needed_sealer)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """Messages that are no events."""
        return DeadLetters(self.connection)

    @cached_property
    def commands(self) -> Commands:
        """Commands declared as resources."""
        return Commands(self.connection, self._needed_sealer)

    @cached_property
    def resources(self) -> Resources:
        """Declared resources and their statuses."""
        return Resources(self.connection)

    @property
    def _needed_sealer(self) -> Sealer:
        if self._sealer is None:
            raise Permanent("This database was opened without encryption keys.")
        return self._sealer
