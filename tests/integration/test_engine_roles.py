"""What a process does goes by where the engine is."""

from pathlib import Path

import pytest

from taskloom.bootstrap.door import _checks
from taskloom.bootstrap.parts import build
from taskloom.bootstrap.roles import services_of
from taskloom.bootstrap.work import _worker_id
from taskloom.cli.settings import read_settings
from taskloom.settings import Settings

AWAY = {"engine": "camunda", "engine_url": "http://127.0.0.1:9/engine-rest"}


def settings(data_dir: Path, database_url: str, **given: str) -> Settings:
    """Set a process up on the tests' database."""
    return read_settings(data_dir=data_dir, database_url=database_url, **given)


@pytest.mark.parametrize(
    ("given", "timers", "asks"),
    [
        ({"roles": "worker,relay"}, True, True),
        ({"roles": "worker,relay", **AWAY}, False, True),
        ({"roles": "api,worker", **AWAY}, False, False),
        ({"roles": "api"}, False, True),
    ],
)
async def test_timers_and_readiness_go_by_the_engine(
    tmp_path: Path, database_url: str, given: dict[str, str], *, timers: bool, asks: bool
) -> None:
    """Only ours has timers to fire; events are taken in though one elsewhere is away."""
    async with build(settings(tmp_path, database_url, **given)) as parts:
        assert timers == ("timers" in services_of(parts))
        assert asks == ("engine" in _checks(parts))


async def test_worker_is_named_for_its_folder(tmp_path: Path) -> None:
    """So that what it held before a restart is its own, and no other machine's."""
    names = []
    for folder in ("one", "one", "two"):
        async with build(read_settings(data_dir=tmp_path / folder, **AWAY)) as parts:
            names.append(_worker_id(parts))

    first, again, other = names
    assert first == again
    assert first != other
