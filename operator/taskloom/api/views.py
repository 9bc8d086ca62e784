"""What request bodies and answers have in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from taskloom.domain.json_text import storable


class View(BaseModel):
    """An answer, described; any field can be left out by `fields`."""

    model_config = ConfigDict(alias_generator=to_camel)


class Input(BaseModel):
    """A request's body; members that are not known are passed over."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


def _storable(text: str) -> str:
    if not storable(text):
        raise ValueError("NUL and lone surrogates cannot be stored")
    return text


Key = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_storable)]
"""A name by which something is found."""

Url = Annotated[str, StringConstraints(min_length=1, max_length=2_000), AfterValidator(_storable)]
"""An address; what is wrong with it is found where it is used."""

Text = Annotated[str, StringConstraints(max_length=1 << 20), AfterValidator(_storable)]
"""Words for people, or a file."""
