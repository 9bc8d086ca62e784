"""Run the story beside a real Kafka: ``python -m tests.real.kafka.run taskloom story …``.

The event is produced by Kafka's console producer, what is told is read by its console consumer;
the broker ends with the story.
"""

import asyncio
import shlex
import sys
import tempfile
from pathlib import Path

from tests.real.kafka.broker import KafkaMissing, RealKafka
from tests.real.process import NotStarted, wait_for

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = (ROOT / "examples" / "quickstart", ROOT / "examples" / "kafka" / "resources")
EVENTS, TOLD = "taskloom.events", "taskloom.told"
DECLARED = "127.0.0.1:9092"
_TOOLS = "org.apache.kafka.tools"


async def run(command: list[str]) -> int:
    """Start the broker, run the command to its end, give its exit code."""
    with tempfile.TemporaryDirectory(prefix="taskloom-kafka-") as name:
        folder = Path(name)
        kafka = RealKafka(folder / "kafka")
        try:
            await kafka.start()
            for topic in (EVENTS, TOLD):
                await kafka.create_topic(topic, partitions=3)
            program = await asyncio.create_subprocess_exec(
                *command,
                *("--files", str(_files(folder / "files", kafka.plaintext))),
                *("--send-by", _client(kafka, "ConsoleProducer", EVENTS)),
                *(
                    "--read-by",
                    _client(kafka, "consumer.ConsoleConsumer", TOLD, "--from-beginning"),
                ),
            )
            return await wait_for(program)
        except (KafkaMissing, NotStarted) as exc:
            sys.stderr.write(f"{exc}\n")
            return 1
        finally:
            kafka.kill()


def _files(folder: Path, server: str) -> Path:
    """Copy the example, for the broker that runs here."""
    folder.mkdir()
    for example in EXAMPLES:
        for file in sorted(example.glob("*.yaml")):
            (folder / file.name).write_text(file.read_text().replace(DECLARED, server))
    return folder


def _client(kafka: RealKafka, program: str, topic: str, *more: str) -> str:
    return shlex.join(
        kafka.command(
            f"{_TOOLS}.{program}",
            *("--bootstrap-server", kafka.plaintext, "--topic", topic, *more),
        )
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(run(sys.argv[1:])))
