"""All kinds of resource, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from taskloom.resources.base import Resource
from taskloom.resources.client_app import ClientApp
from taskloom.resources.command import Command
from taskloom.resources.event_mapping import EventMapping
from taskloom.resources.event_sink import EventSink
from taskloom.resources.event_source import EventSource
from taskloom.resources.task_mapping import TaskMapping
from taskloom.resources.webhook_subscription import WebhookSubscription
from taskloom.resources.workflow import Workflow

KINDS: Mapping[str, type[Resource]] = MappingProxyType(
    {
        kind.names.kind: kind
        for kind in (
            ClientApp,
            Command,
            EventMapping,
            EventSink,
            EventSource,
            TaskMapping,
            WebhookSubscription,
            Workflow,
        )
    }
)
