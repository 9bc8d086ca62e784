"""Which command runs which topic: the two of our own, those installed, those declared."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points

import structlog

from taskloom.commands.create_tasks import CreateTasks
from taskloom.commands.end_task import EndTask
from taskloom.commands.http import HttpTopic
from taskloom.domain.egress import EgressPolicy
from taskloom.domain.sources import HttpCommand
from taskloom.ports.command import Command
from taskloom.ports.sender import Sender

log = structlog.get_logger()

ENTRY_POINTS = "taskloom.commands"


class Registry:
    """The commands in force.  A declared one takes the place of no built-in or installed one."""

    def __init__(
        self, sender: Sender, policy: EgressPolicy, fixed: Iterable[Command] | None = None
    ) -> None:
        self._sender = sender
        self._policy = policy
        commands = installed() if fixed is None else list(fixed)
        self._fixed: dict[str, Command] = {command.topic: command for command in commands}
        self._declared: dict[str, Command] = {}

    def declare(self, commands: Iterable[HttpCommand]) -> None:
        """Replace the declared commands by these."""
        self._declared = {
            command.topic: HttpTopic(command, self._sender, self._policy)
            for command in commands
            if not command.suspended and command.topic not in self._fixed
        }

    def installed_topics(self) -> frozenset[str]:
        """Name the topics that need no declaration."""
        return frozenset(self._fixed)

    def topics(self) -> frozenset[str]:
        """Name every topic that is served."""
        return frozenset(self._fixed) | frozenset(self._declared)

    def variables(self) -> Mapping[str, Sequence[str]]:
        """Name the variables that commands read, by topic, of those that say it."""
        said = {
            topic: getattr(command, "variables", None)
            for topic, command in (self._declared | self._fixed).items()
        }
        return {topic: tuple(names) for topic, names in said.items() if names is not None}

    def find(self, topic: str) -> Command | None:
        """Give the command of a topic."""
        return self._fixed.get(topic) or self._declared.get(topic)


def installed() -> list[Command]:
    """Give our own commands and those that installed packages offer as entry points."""
    commands: list[Command] = [CreateTasks(), EndTask()]
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            commands.append(entry.load()())
        except Exception:
            # One broken package must not keep the others from being served.
            log.exception("command.not-loaded", entry_point=entry.name, target=entry.value)
    return commands
