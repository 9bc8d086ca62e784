"""What the doctor finds of an engine elsewhere: whether it answers, and what it lacks."""

import re
from collections.abc import Iterator

from taskloom.cli.findings import Finding, Level
from taskloom.engines.camunda.engine import CamundaEngine
from taskloom.errors import TaskloomError

_OLDEST = (7, 20)
_CAMUNDA = 7  # Operaton and its kin count from 1


async def engine_findings(engine: CamundaEngine) -> list[Finding]:
    """Ask the engine for its version and for what it keeps variables as."""
    try:
        await engine.ping()
        version, spin = await engine.version(), await engine.has_spin()
    except TaskloomError as exc:
        return [Finding(about="engine", level=Level.WRONG, message=exc.message)]
    return list(judge_engine(version, spin=spin))


def judge_engine(version: str, *, spin: bool) -> Iterator[Finding]:
    """Tell what a version and a missing Spin mean."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers[:1] == (_CAMUNDA,) and numbers < _OLDEST:
        yield Finding(
            about="engine",
            level=Level.WRONG,
            message=f"It is Camunda {version}: too old.",
            remedy="Upgrade it to Camunda 7.20 or newer, Operaton 1.0 or CIB seven.",
        )
    else:
        yield Finding(about="engine", level=Level.OK, message=f"It answers, version {version}.")
    if not spin:
        yield Finding(
            about="engine",
            level=Level.NOTE,
            message="It has no Spin: texts of more than 4,000 characters are refused as variables.",
        )
