"""The data folder of one machine: who may use it, and what is said when nobody can."""

import stat
from pathlib import Path

import pytest

from taskloom.bootstrap.local import local_jwt_secret, locked
from taskloom.errors import Conflict, Permanent


def test_a_data_folder_is_private(tmp_path: Path) -> None:
    """A folder that is made is its owner's alone, and so is the secret in it."""
    folder = tmp_path / "a" / "data"
    with locked(folder):
        local_jwt_secret(folder)

    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert 0o600 == stat.S_IMODE((folder / "jwt.secret").stat().st_mode)


def test_a_data_folder_is_one_process_s_own(tmp_path: Path) -> None:
    """A second one is refused, and told whom to look for."""
    with locked(tmp_path), pytest.raises(Conflict, match=r"pid \d+"), locked(tmp_path):
        pass


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_data_folder_that_cannot_be_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """A file where the folder should be is named, with what to do."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / name

    with pytest.raises(Permanent, match="--data-dir") as refused, locked(folder):
        pass

    assert str(folder) in refused.value.message
