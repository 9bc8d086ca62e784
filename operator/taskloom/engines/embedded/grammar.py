"""The grammar of expressions: tokens, precedence, and what each form does.

::

    choice   = or ['?' choice ':' choice]
    or … and … equality … comparison … sum … product        left to right, in this order
    unary    = ('-' | '!' | 'not' | 'empty') unary | postfix
    postfix  = primary ('.' name ['(' arguments ')'] | '[' choice ']')*
    primary  = literal | name | function '(' arguments ')' | '(' choice ')'
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taskloom.engines.embedded.methods import METHODS, call_method
from taskloom.engines.embedded.operators import (
    BINARY,
    bounded,
    is_empty,
    is_number,
    name_type,
    to_boolean,
    to_number,
    to_text,
)

if TYPE_CHECKING:
    from taskloom.engines.embedded.expressions import Scope

MAX_LENGTH = 10_000
MAX_DEPTH = 40

Evaluate = Callable[["Scope"], Any]

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])"
    r"|(?P<end>$))",
    re.DOTALL,
)
_WORDS = {
    "and": "&&", "or": "||", "not": "!", "div": "/", "mod": "%",
    "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=",
}  # fmt: skip
_LEVELS: Sequence[frozenset[str]] = (
    frozenset({"==", "!="}),
    frozenset({"<", ">", "<=", ">="}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
_PROPERTIES = {
    "processInstanceId": "processInstanceId",
    "processBusinessKey": "processBusinessKey",
    "businessKey": "processBusinessKey",
    "processDefinitionId": "processDefinitionId",
    "currentActivityId": "currentActivityId",
    "currentActivityName": "currentActivityName",
    "id": "processInstanceId",
}
_GETTERS = {"get" + name[0].upper() + name[1:]: key for name, key in _PROPERTIES.items()}


class ExpressionError(Exception):
    """The expression lies outside the subset, or has no value here."""


def parse_pieces(text: str) -> tuple[str | Evaluate, ...]:
    """Split a text into its literal parts and its parsed ``${…}``."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the text is longer than {MAX_LENGTH:,} characters")
    pieces: list[str | Evaluate] = []
    literal: list[str] = []
    at, escaped = 0, False
    while at < len(text):
        character = text[at]
        opens = character in "$#" and text.startswith("{", at + 1)
        if opens and not escaped:
            if literal:
                pieces.append("".join(literal))
                literal.clear()
            parser = _Parser(text, at + 2)
            pieces.append(parser.parse())
            at = parser.position
            continue
        if character == "\\":
            if escaped:
                literal.append("\\")
            escaped = True
        else:
            # a backslash only speaks before ${ and #{
            if escaped and not opens:
                literal.append("\\")
            literal.append(character)
            escaped = False
        at += 1
    if escaped:
        literal.append("\\")
    if literal:
        pieces.append("".join(literal))
    return tuple(pieces)


class _Parser:
    """Reads one expression up to its closing brace."""

    def __init__(self, text: str, position: int) -> None:
        self._source = text
        self.position = position
        self._depth = 0
        self._kind = self._lexeme = ""
        self._next()

    def parse(self) -> Evaluate:
        """Parse the whole of it; `position` is then behind the closing brace."""
        if self._lexeme == "}":
            raise self._error("it is empty")
        value = self._choice()
        if self._lexeme != "}":
            raise self._unexpected()
        return value

    def _next(self) -> None:
        match = _TOKEN.match(self._source, self.position)
        if match is None:
            raise self._error(f"it cannot be read at {self._source[self.position :][:20]!r}")
        self._kind = str(match.lastgroup)
        self._lexeme = match[self._kind]
        if self._kind == "name" and self._lexeme in _WORDS:
            self._kind, self._lexeme = "sign", _WORDS[self._lexeme]
        self.position = match.end()

    def _take(self, lexeme: str) -> bool:
        if self._kind == "sign" and self._lexeme == lexeme:
            self._next()
            return True
        return False

    def _expect(self, lexeme: str) -> None:
        if not self._take(lexeme):
            raise self._unexpected()

    def _unexpected(self) -> ExpressionError:
        if self._kind == "end":
            return self._error("its closing brace is missing")
        return self._error(f"{self._lexeme!r} is not understood there")

    def _error(self, reason: str) -> ExpressionError:
        return ExpressionError(f"the expression {self._source[:200]} is not supported: {reason}")

    def _choice(self) -> Evaluate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"it nests deeper than {MAX_DEPTH} levels")
        condition = self._or()
        if self._take("?"):
            then = self._choice()
            self._expect(":")
            other = self._choice()
            chosen = condition
            condition = lambda s: then(s) if to_boolean(chosen(s)) else other(s)  # noqa: E731 - one closure a form
        self._depth -= 1
        return condition

    def _or(self) -> Evaluate:
        terms = [self._and()]
        while self._take("||"):
            terms.append(self._and())
        if len(terms) == 1:
            return terms[0]
        return lambda s: any(to_boolean(term(s)) for term in terms)

    def _and(self) -> Evaluate:
        terms = [self._binary(0)]
        while self._take("&&"):
            terms.append(self._binary(0))
        if len(terms) == 1:
            return terms[0]
        return lambda s: all(to_boolean(term(s)) for term in terms)

    def _binary(self, level: int) -> Evaluate:
        if level == len(_LEVELS):
            return self._unary()
        first = self._binary(level + 1)
        rest: list[tuple[Callable[[Any, Any], Any], Evaluate]] = []
        while self._kind == "sign" and self._lexeme in _LEVELS[level]:
            operator = BINARY[self._lexeme]
            self._next()
            rest.append((operator, self._binary(level + 1)))
        if not rest:
            return first

        def fold(s: "Scope") -> Any:
            value = first(s)
            for operator, operand in rest:
                value = operator(value, operand(s))
            return value

        return fold

    def _unary(self) -> Evaluate:
        signs: list[str] = []
        while (self._kind == "sign" and self._lexeme in "-!") or (
            self._kind == "name" and self._lexeme == "empty"
        ):
            signs.append(self._lexeme)
            self._next()
        if len(signs) > MAX_DEPTH:
            raise self._error(f"it nests deeper than {MAX_DEPTH} levels")
        value = self._postfix()
        for sign in reversed(signs):
            value = _UNARY[sign](value)
        return value

    def _postfix(self) -> Evaluate:
        if self._kind == "name" and self._lexeme == "execution":
            value = self._execution()
        else:
            value = self._primary()
        links = 0
        while self._kind == "sign" and self._lexeme in ".[":
            links += 1
            if links > MAX_DEPTH:
                raise self._error(f"it nests deeper than {MAX_DEPTH} levels")
            if self._take("["):
                value = _index(value, self._choice())
                self._expect("]")
                continue
            self._next()
            name = self._name()
            if self._take("("):
                if name not in METHODS:
                    raise self._error(f"the method {name}() is not one of those that can be called")
                value = _method(value, name, self._arguments())
            else:
                value = _index(value, _constant(name))
        return value

    def _name(self) -> str:
        name = self._lexeme
        if self._kind != "name":
            raise self._unexpected()
        self._next()
        return name

    def _arguments(self) -> list[Evaluate]:
        arguments: list[Evaluate] = []
        if self._take(")"):
            return arguments
        while True:
            arguments.append(self._choice())
            if self._take(")"):
                return arguments
            self._expect(",")

    def _primary(self) -> Evaluate:
        kind, lexeme = self._kind, self._lexeme
        if self._take("("):
            value = self._choice()
            self._expect(")")
            return value
        if kind in {"sign", "end"}:
            raise self._unexpected()
        self._next()
        if kind == "number":
            return _constant(self._number(lexeme))
        if kind == "text":
            return _constant(re.sub(r"\\(.)", r"\1", lexeme[1:-1], flags=re.DOTALL))
        if lexeme in _LITERALS:
            return _constant(_LITERALS[lexeme])
        if lexeme == "instanceof":
            raise self._error("instanceof is not supported")
        if self._take("("):
            return self._function(lexeme)
        return _variable(lexeme)

    def _number(self, lexeme: str) -> int | float:
        try:
            return bounded(int(lexeme) if lexeme.isdigit() else float(lexeme))
        except ValueError as exc:
            raise self._error(str(exc)) from exc

    def _function(self, name: str) -> Evaluate:
        arguments = self._arguments()
        if name in {"S", "JSON"} and len(arguments) == 1:
            return arguments[0]  # Spin's wrappers: values are JSON already
        if name in {"now", "dateTime"} and not arguments:
            return lambda s: s.now
        raise self._error(f"the function {name}() is not one of those that can be called")

    def _execution(self) -> Evaluate:
        self._next()
        self._expect(".")
        name = self._name()
        if not self._take("("):
            if name not in _PROPERTIES:
                raise self._error(f"execution.{name} is not supported")
            key = _PROPERTIES[name]
            return lambda s: s.properties[key]
        arguments = self._arguments()
        if name in _GETTERS and not arguments:
            key = _GETTERS[name]
            return lambda s: s.properties[key]
        if len(arguments) == 1 and name in _LOOKUPS:
            return _LOOKUPS[name](arguments[0])
        raise self._error(f"execution.{name}() is not supported")


_LITERALS: Mapping[str, Any] = {"true": True, "false": False, "null": None}

_UNARY: Mapping[str, Callable[[Evaluate], Evaluate]] = {
    "-": lambda value: lambda s: bounded(-to_number(value(s))),
    "!": lambda value: lambda s: not to_boolean(value(s)),
    "empty": lambda value: lambda s: is_empty(value(s)),
}

_LOOKUPS: Mapping[str, Callable[[Evaluate], Evaluate]] = {
    "getVariable": lambda name: lambda s: s.find(to_text(name(s)))[1],
    "hasVariable": lambda name: lambda s: s.find(to_text(name(s)))[0],
}


def _constant(value: Any) -> Evaluate:
    return lambda _: value


def _variable(name: str) -> Evaluate:
    def variable(s: "Scope") -> Any:
        found, value = s.find(name)
        if not found:
            raise ValueError(f"there is no variable {name!r}")
        return value

    return variable


def _method(value: Evaluate, name: str, arguments: Sequence[Evaluate]) -> Evaluate:
    def method(s: "Scope") -> Any:
        target = value(s)
        if target is None:
            raise ValueError(f"{name}() is called on null")
        return call_method(target, name, [argument(s) for argument in arguments])

    return method


def _index(value: Evaluate, key: Evaluate) -> Evaluate:
    def index(s: "Scope") -> Any:
        target, at = value(s), key(s)
        if target is None or at is None:
            return None
        if isinstance(target, Mapping):
            return target.get(to_text(at))
        if isinstance(target, list | tuple):
            place = to_number(at)
            whole = int(place)
            return target[whole] if is_number(place) and 0 <= whole < len(target) else None
        raise ValueError(f"{name_type(target)} has no property {to_text(at)[:80]!r}")

    return index
