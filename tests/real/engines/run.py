"""Run a program beside a real workflow engine: ``python -m tests.real.engines.run operaton CMD…``.

The program finds the engine by TASKLOOM_ENGINE_URL; the engine, its tables in memory, ends with it.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from tests.real.engines.engine import ENGINES, EngineMissing, RealEngine
from tests.real.process import NotStarted, wait_for


async def run(kind: str, command: list[str]) -> int:
    """Start the engine, run the command to its end, give its exit code."""
    if kind not in ENGINES:
        return _refuse(f"There is no engine {kind}: choose {' or '.join(ENGINES)}.")
    with tempfile.TemporaryDirectory(prefix="taskloom-engine-") as folder:
        engine = RealEngine(kind, Path(folder))  # type: ignore[arg-type]  # it is one of them
        try:
            await engine.start()
            environment = os.environ | {
                "TASKLOOM_ENGINE": "camunda",
                "TASKLOOM_ENGINE_URL": engine.url,
            }
            program = await asyncio.create_subprocess_exec(*command, env=environment)
            return await wait_for(program)
        except (EngineMissing, NotStarted) as exc:
            return _refuse(str(exc))
        finally:
            engine.stop()


def _refuse(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(run(sys.argv[1], sys.argv[2:])))
