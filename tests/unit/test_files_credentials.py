"""Credentials as files: private, whole, adopted, never outside of their folder."""

import stat
from pathlib import Path

import pytest

from taskloom.domain.secret import Secret
from taskloom.errors import Conflict, Invalid, Permanent
from taskloom.providers.files.credentials import (
    read_credentials,
    remove_credentials,
    replace_credentials,
    write_credentials,
)

VALUES = {"apiKey": Secret("key"), "apiSecret": Secret("word")}


def mode(path: Path) -> int:
    """Read the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_private(tmp_path: Path) -> None:
    """0600 in 0700, and nothing else lies beside them."""
    written = write_credentials(tmp_path / "data", "shop", "shop-credentials", VALUES)

    folder = tmp_path / "data/credentials/shop/shop-credentials"
    assert VALUES == written == read_credentials(tmp_path / "data", "shop", "shop-credentials")
    assert sorted(file.name for file in folder.iterdir()) == ["apiKey", "apiSecret"]
    assert {0o600} == {mode(file) for file in folder.iterdir()}
    assert {0o700} == {mode(folder), mode(folder.parent), mode(folder.parent.parent)}
    assert (folder / "apiSecret").read_text() == "word"


def test_what_exists_is_adopted(tmp_path: Path) -> None:
    """A value that is there is never made anew, and its mode is mended."""
    folder = tmp_path / "credentials/shop/s"
    folder.mkdir(parents=True)
    (folder / "apiKey").write_text("mine\n")
    (folder / "apiKey").chmod(0o644)

    written = write_credentials(tmp_path, "shop", "s", VALUES)

    assert {"apiKey": Secret("mine"), "apiSecret": Secret("word")} == written
    assert mode(folder / "apiKey") == 0o600


def test_nothing_written_reads_as_nothing(tmp_path: Path) -> None:
    """No folder is no error, neither to read nor to remove."""
    assert read_credentials(tmp_path, "shop", "s") == {}
    remove_credentials(tmp_path, "shop", "s")


def test_removal_leaves_nothing(tmp_path: Path) -> None:
    """The files and their folder are gone."""
    write_credentials(tmp_path, "shop", "s", VALUES)

    remove_credentials(tmp_path, "shop", "s")

    assert list((tmp_path / "credentials/shop").iterdir()) == []


@pytest.mark.parametrize(
    ("namespace", "name"),
    [("..", "s"), ("shop", ".."), ("shop", "a/b"), ("", "s"), ("shop", "/etc"), ("shop", "a..b")],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, namespace: str, name: str) -> None:
    """Names that are no names of Kubernetes are refused."""
    with pytest.raises(Invalid):
        write_credentials(tmp_path, namespace, name, VALUES)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["../x", "a/b", "", ".hidden", ".."])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    """Keys that are no file names are refused."""
    with pytest.raises(Invalid):
        write_credentials(tmp_path, "shop", "s", {key: Secret("word")})


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nobody lends us a folder."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "credentials").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Conflict):
        write_credentials(tmp_path, "shop", "s", VALUES)


def test_a_data_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """The error says what to do."""
    (tmp_path / "data").write_text("a file")

    with pytest.raises(Permanent, match="writable"):
        write_credentials(tmp_path / "data", "shop", "s", VALUES)


def test_new_values_take_the_place_of_the_former_ones(tmp_path: Path) -> None:
    """A rotated value replaces its file; one that somebody has changed meanwhile stays."""
    write_credentials(tmp_path, "shop", "s", VALUES)
    folder = tmp_path / "credentials/shop/s"
    (folder / "apiKey").write_text("by-hand\n")
    new = {"apiKey": Secret("new-key"), "apiSecret": Secret("new-word")}

    replaced = replace_credentials(tmp_path, "shop", "s", VALUES, new)

    expected = {"apiKey": Secret("by-hand"), "apiSecret": Secret("new-word")}
    assert expected == replaced == read_credentials(tmp_path, "shop", "s")
    assert sorted(file.name for file in folder.iterdir()) == ["apiKey", "apiSecret"]
    assert 0o600 == mode(folder / "apiSecret")


def test_a_value_that_is_gone_cannot_be_replaced(tmp_path: Path) -> None:
    """It is told: the next look makes the file anew, and then rotates."""
    with pytest.raises(Permanent, match="cannot be written"):
        replace_credentials(tmp_path, "shop", "s", VALUES, VALUES)
