"""Which objects are this installation's business: namespaces and a label selector."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from taskloom.errors import Invalid

_KEY = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_TERM = re.compile(
    rf"""\s*(?:
        (?P<absent>!)\s*(?P<absent_key>{_KEY})
      | (?P<key>{_KEY})\s*(?:
            (?P<sign>==|!=|=)\s*(?P<value>{_VALUE})
          | (?P<word>(?<=\s)(?:in|notin)\b)\s*\((?P<values>[^()]*)\)
        )?
    )\s*(?:,|$)""",
    re.VERBOSE | re.ASCII,
)
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One demand on a label.

    Its value must be among `values`, or with `negated` must not; `values` None is any value.
    """

    key: str
    values: frozenset[str] | None = None
    negated: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object's labels meet it."""
        value = labels.get(self.key)
        met = value is not None and (self.values is None or value in self.values)
        return met != self.negated


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Namespaces (None is all of them) and demands on labels."""

    namespaces: tuple[str, ...] | None = None
    terms: tuple[Term, ...] = field(default=())

    @property
    def places(self) -> tuple[str | None, ...]:
        """The namespaces to list and watch; one None is all at once."""
        return (None,) if self.namespaces is None else self.namespaces

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels is this installation's business."""
        return all(term.matches(labels) for term in self.terms)


def read_scope(namespaces: Collection[str], selector: str | None) -> Scope:
    """Read the settings; no namespaces are all of them."""
    for namespace in namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            raise Invalid(f"`{namespace}` is no namespace: give names, separated by commas")
    return Scope(
        namespaces=tuple(dict.fromkeys(namespaces)) or None,
        terms=parse_selector(selector or ""),
    )


def parse_selector(text: str) -> tuple[Term, ...]:
    """Read a label selector as kubectl takes it: ``a=b,c!=d,e in (f,g),h,!i``."""
    terms, position = [], 0
    if not text.strip():
        return ()
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise Invalid(
                f"`{text}` is no label selector: write it as for kubectl, "
                "such as `team=shop,stage in (test,live)`"
            )
        terms.append(_term(match))
        position = match.end()
    if text.rstrip().endswith(","):
        raise Invalid(f"`{text}` is no label selector: it ends with a comma")
    return tuple(terms)


def _term(match: re.Match[str]) -> Term:
    if match["absent"]:
        return Term(key=match["absent_key"], negated=True)
    if match["sign"]:
        return Term(
            key=match["key"],
            values=frozenset({match["value"]}),
            negated=match["sign"] == "!=",
        )
    if match["word"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Term(key=match["key"], values=values, negated=match["word"] == "notin")
    return Term(key=match["key"])
