"""BPMN files as bytes, read without entities, DTD or network."""

import re

from lxml import etree
from lxml.etree import _Element

from taskloom.errors import TooLarge, Unprocessable

Element = _Element

MAX_BYTES = 4 * 1024 * 1024

BPMN = "http://www.omg.org/spec/BPMN/20100524/MODEL"
# Camunda reads its forerunner's namespace as its own
EXTENSIONS = (
    "http://camunda.org/schema/1.0/bpmn",
    "http://operaton.org/schema/1.0/bpmn",
    "http://activiti.org/bpmn",
)

# what a file may be written in that is not UTF-8, by the name in its declaration
_ENCODINGS = frozenset({"iso-8859-1", "iso-8859-15", "windows-1252"})
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DECLARATION = re.compile(rb"\s*<\?xml\s[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_PROLOG = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)


def read_xml(bpmn: bytes) -> Element:
    """Give the root element; raises `TooLarge`, or `Unprocessable` with line and column."""
    if len(bpmn) > MAX_BYTES:
        raise TooLarge(
            f"The BPMN has {len(bpmn):,} bytes: at most {MAX_BYTES:,} are read.", field="bpmn"
        )
    text = _as_utf8(bpmn).removeprefix(b"\xef\xbb\xbf").lstrip()
    _check_prolog(text)
    parser = etree.XMLParser(
        encoding="utf-8",  # whatever the declaration says
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(text, parser)
    except etree.XMLSyntaxError as exc:
        raise Unprocessable(f"The BPMN is no well-formed XML: {exc}", field="bpmn") from exc
    if root is None or root.getroottree().docinfo.internalDTD is not None:
        raise _doctype()
    if root.tag != f"{{{BPMN}}}definitions":
        raise Unprocessable(
            f"The XML begins with <{root.tag}>: a BPMN 2.0 file begins with <definitions>"
            f" of the namespace {BPMN}.",
            field="bpmn",
        )
    return root


def local_name(element: Element) -> str:
    """Give an element's tag without its namespace."""
    return str(etree.QName(element).localname)


def namespace(element: Element) -> str:
    """Give an element's namespace, "" for none."""
    return str(etree.QName(element).namespace or "")


def is_bpmn(element: Element) -> bool:
    """Tell whether an element is one of BPMN's own."""
    return namespace(element) == BPMN


def bpmn_children(element: Element, *names: str) -> list[Element]:
    """Give the child elements of BPMN's namespace, of these names if any are given."""
    return [c for c in element if is_bpmn(c) and (not names or local_name(c) in names)]


def extension_attribute(element: Element, name: str) -> str | None:
    """Give the value of ``camunda:name``, or None if it is missing or blank."""
    for each in EXTENSIONS:
        value = element.get(f"{{{each}}}{name}")
        if value is not None and value.strip():
            return str(value).strip()
    return None


def extension_elements(element: Element, *names: str) -> list[Element]:
    """Give the ``camunda:…`` elements among an element's extension elements."""
    return [
        child
        for holder in bpmn_children(element, "extensionElements")
        for child in holder
        if namespace(child) in EXTENSIONS and (not names or local_name(child) in names)
    ]


def text_of(element: Element) -> str:
    """Give an element's own text, trimmed."""
    return (element.text or "").strip()


def _as_utf8(bpmn: bytes) -> bytes:
    """Give the file in UTF-8, so that no encoding can hide a DOCTYPE.

    A declaration counts only where the bytes are not UTF-8: a file that came to us as text is
    UTF-8 whatever it was when it was saved.
    """
    declared = _DECLARATION.match(bpmn)
    name = declared[1].decode("ascii").lower() if declared else "utf-8"
    try:
        if bpmn.startswith(_UTF16):
            text = bpmn.decode("utf-16").encode()
        elif _is_utf8(bpmn):
            text = bpmn
        elif name in _ENCODINGS:
            text = bpmn.decode(name).encode()
        else:
            raise _encoding()
    except UnicodeDecodeError as exc:
        raise _encoding() from exc
    if b"\x00" in text:
        raise _encoding()
    return text


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _encoding() -> Unprocessable:
    return Unprocessable("The BPMN is not encoded in UTF-8: save it as UTF-8.", field="bpmn")


def _check_prolog(bpmn: bytes) -> None:
    prolog = _PROLOG.match(bpmn)
    if prolog is not None and bpmn.startswith(b"<!", prolog.end()):
        raise _doctype()


def _doctype() -> Unprocessable:
    return Unprocessable(
        "The BPMN carries a DOCTYPE, which could bring in entities: remove it.", field="bpmn"
    )
