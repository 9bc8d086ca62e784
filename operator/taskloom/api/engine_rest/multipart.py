"""Forms with files (multipart/form-data), read by the standard library's reader of messages."""

from dataclasses import dataclass
from email import policy
from email.parser import BytesParser

from taskloom.api.engine_rest.faults import Fault, invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a form; a file has a `filename`."""

    name: str
    filename: str | None
    content: bytes

    @property
    def text(self) -> str:
        """Give a field's value."""
        return self.content.decode("utf-8", "replace").strip()


def read_form(content_type: str, content: bytes) -> list[Part]:
    """Read the parts of a form."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise Fault(415, "NotSupportedException", "HTTP 415 Unsupported Media Type")
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    message = BytesParser(policy=policy.HTTP).parsebytes(head + content)
    if not message.is_multipart():
        raise invalid("The form cannot be read: it has no parts with its boundary between them")
    parts = []
    for part in message.iter_parts():
        disposition = part["content-disposition"]
        name = None if disposition is None else disposition.params.get("name")
        if name is None:
            raise invalid("A part of the form has no name")
        content_of = part.get_payload(decode=True)
        parts.append(
            Part(
                name=name,
                filename=part.get_filename(),
                content=content_of if isinstance(content_of, bytes) else b"",
            )
        )
    return parts
