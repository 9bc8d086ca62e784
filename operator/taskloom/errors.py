"""Every error a user or operator can meet, and what happens next.

::

    TaskloomError
    ├── Invalid                 the input is wrong: mend it and send it again
    │   ├── Unprocessable       well-formed, but it cannot be done (bad BPMN, schema mismatch)
    │   ├── TooLarge
    │   └── UnsupportedMediaType
    ├── Unauthenticated         no valid credential
    ├── Forbidden               a valid credential without the permission
    ├── NotFound
    ├── Conflict                the state of things refuses it
    ├── Temporary               the same call may work later; carries the delay
    │   └── Unavailable         a part we need does not answer
    ├── Superseded              another process has taken over: leave it to that one
    └── Permanent               it will never work; do not try again

A class's docstring is its default message.
"""

from typing import ClassVar


class TaskloomError(Exception):
    """Something went wrong in Taskloom."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        """Say what is wrong and what to do; `field` names the part of the input at fault."""
        self.message = message or (type(self).__doc__ or "").strip()
        self.field = field
        super().__init__(self.message)


class Invalid(TaskloomError):
    """The input is not valid."""

    code = "invalid"


class Unprocessable(Invalid):
    """The input is well-formed but cannot be processed."""

    code = "unprocessable"


class TooLarge(Invalid):
    """The input is too large."""

    code = "too-large"


class UnsupportedMediaType(Invalid):
    """The content type is not supported: send application/json."""

    code = "unsupported-media-type"


class Unauthenticated(TaskloomError):
    """The credential is missing or not valid."""

    code = "unauthenticated"


class Forbidden(TaskloomError):
    """The credential does not carry the permission that this call needs."""

    code = "forbidden"


class NotFound(TaskloomError):
    """There is no such thing here."""

    code = "not-found"


class Conflict(TaskloomError):
    """The present state does not allow this."""

    code = "conflict"


class Temporary(TaskloomError):
    """It did not work this time: try again later."""

    code = "temporary"

    def __init__(
        self, message: str | None = None, *, field: str | None = None, delay: float = 1.0
    ) -> None:
        """Carry the `delay` in seconds before the next try."""
        super().__init__(message, field=field)
        self.delay = delay


class Unavailable(Temporary):
    """A part that is needed does not answer: try again later."""

    code = "unavailable"


class Superseded(TaskloomError):
    """Another process leads by now: nothing was written."""

    code = "superseded"


class Permanent(TaskloomError):
    """It cannot work, now or later."""

    code = "permanent"
