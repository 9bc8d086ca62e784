"""The type that keeps secrets out of sight."""

import copy
import dataclasses
import json
import pickle

import pytest

from taskloom.domain.secret import Secret


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Something with a secret in it."""

    secret: Secret


def test_a_secret_is_never_printed() -> None:
    """Neither repr nor str nor a format shows the text, alone or inside other things."""
    secret = Secret("hunter2")
    shown = f"{secret} {secret!r} {secret!s} {Holder(secret=secret)} {[secret]} {vars}"

    assert "hunter2" not in shown
    assert repr(secret) == "***"


def test_a_secret_reveals_itself_on_request() -> None:
    """The one call that needs the text gets it."""
    expected = "hunter2"

    assert expected == Secret("hunter2").reveal()


def test_secrets_compare_by_text() -> None:
    """Equal texts are equal secrets; a bare text is no secret."""
    assert Secret("é") == Secret("é")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_an_empty_secret_is_false() -> None:
    """A missing secret can be told from one that is set."""
    assert not Secret("")
    assert Secret("a")


def test_a_copy_is_the_secret_itself() -> None:
    """Copies of things that hold a secret hold the same one."""
    holder = Holder(secret=Secret("hunter2"))

    assert copy.copy(holder.secret) is holder.secret
    assert copy.deepcopy(holder) == holder
    assert dataclasses.asdict(holder) == {"secret": holder.secret}


def test_a_secret_does_not_leave_the_process_by_accident() -> None:
    """It is neither pickled nor written as JSON."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret("hunter2"))
    with pytest.raises(TypeError):
        json.dumps(Secret("hunter2"))
