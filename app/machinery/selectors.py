"""Selectors: text in, predicate out. Labels by set-based requirements, fields by equality; nodes by match expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from app.machinery.errors import ApiError, bad_request, invalid
from app.machinery.kind import Kind
from app.machinery.names import label_value, qualified_name
from app.machinery.objects import Document
from app.machinery.schema import schema_of


class Operator(StrEnum):
    """How a key is compared, in the words of node affinity."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return matches_expression(labels, self.key, self.operator, self.values)


def matches_expression(labels: Mapping[str, str], key: str, operator: str, values: Iterable[str] = ()) -> bool:
    """One match expression; NotIn also matches where the key is missing. An unknown operator matches nothing."""
    has = key in labels
    match operator:
        case Operator.IN:
            return has and labels[key] in values
        case Operator.NOT_IN:
            return not has or labels[key] not in values
        case Operator.EXISTS:
            return has
        case Operator.DOES_NOT_EXIST:
            return not has
        case Operator.GT | Operator.LT:
            actual, limit = _integer(labels.get(key)), _integer(next(iter(values), None))
            if actual is None or limit is None:
                return False
            return actual > limit if operator == Operator.GT else actual < limit
        case _:
            return False


def match_expressions(labels: Mapping[str, str], expressions: Iterable[Mapping[str, Any]]) -> bool:
    """Do all expressions of a selector term hold? Each is a document: key, operator, values."""
    return all(
        matches_expression(labels, expression["key"], expression["operator"], expression.get("values") or ())
        for expression in expressions
    )


def matches_node_terms(
    labels: Mapping[str, str], fields: Mapping[str, str], terms: Sequence[Mapping[str, Any]]
) -> bool:
    """A node selector: does any term hold? A term without any expression matches nothing; no terms, no node."""
    return any(_term_matches(labels, fields, term) for term in terms)


def _term_matches(labels: Mapping[str, str], fields: Mapping[str, str], term: Mapping[str, Any]) -> bool:
    by_label, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not by_label and not by_field:
        return False
    return match_expressions(labels, by_label) and match_expressions(fields, by_field)


def matches_label_selector(labels: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    """A metav1.LabelSelector document; an empty one matches everything."""
    exactly = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in exactly.items()) and match_expressions(
        labels, selector.get("matchExpressions") or ()
    )


def _integer(text: str | None) -> int | None:
    """Go's ParseInt of an optional text."""
    return int(text) if text is not None and re.fullmatch(r"[+-]?[0-9]+", text) else None


# Labels


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Every requirement holds; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


_TOKEN = re.compile(r"==|!=|[=!(),<>]|[^=!(),<>\s]+")
_SYMBOLS = frozenset(("=", "==", "!=", "!", "(", ")", ",", "<", ">"))
_OPERATORS = {
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    "=": Operator.IN,
    "==": Operator.IN,
    "!=": Operator.NOT_IN,
    ">": Operator.GT,
    "<": Operator.LT,
}


def parse_labels(text: str) -> LabelSelector:
    """Raises ApiError 400 in the words of Kubernetes' own parser."""
    return LabelSelector(tuple(_LabelParser(text).requirements()))


class _LabelParser:
    """Reads requirements from left to right; `in` and `notin` are operators only where an operator may stand."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._at = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self._next():
            if self._next() != "!" and not self._is_identifier():
                raise bad_request(f"found '{self._next()}', expected: !, identifier, or 'end of string'")
            found.append(self._requirement())
            end = self._take()
            if end and end != ",":
                raise bad_request(f"found '{end}', expected: ',' or 'end of string'")
            if end and self._next() != "!" and not self._is_identifier():
                raise bad_request(f"found '{self._next()}', expected: identifier after ','")
        return found

    def _next(self) -> str:
        """The token that comes; empty at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next()
        self._at += 1
        return token

    def _is_identifier(self) -> bool:
        return bool(self._next()) and self._next() not in _SYMBOLS

    def _requirement(self) -> Requirement:
        absent = self._next() == "!"
        if absent:
            self._take()
        if not self._is_identifier():
            raise _unparsable(f"found '{self._next()}', expected: identifier")
        key = self._take()
        if problems := list(qualified_name(key)):
            raise _unparsable(str(invalid("<nil>", key, "; ".join(problems))))
        if absent:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        if self._next() in ("", ","):
            return Requirement(key, Operator.EXISTS)
        return self._compared(key)

    def _compared(self, key: str) -> Requirement:
        word = self._take()
        operator = _OPERATORS.get(word)
        if operator is None:
            raise _unparsable(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._values() if word in ("in", "notin") else [self._exact_value()]
        _ensure_values(key, operator, values)
        return Requirement(key, operator, frozenset(values))

    def _exact_value(self) -> str:
        if self._next() in ("", ","):
            return ""
        if not self._is_identifier():
            raise _unparsable(f"found '{self._next()}', expected: identifier")
        return self._take()

    def _values(self) -> list[str]:
        opening = self._take()
        if opening != "(":
            raise _unparsable(f"found '{opening}' expected: '('")
        if self._next() == ")":
            self._take()
            return [""]
        if self._next() != "," and not self._is_identifier():
            raise _unparsable(f"found '{self._next()}', expected: ',', ')' or identifier")
        values = [self._listed_value()]
        while self._next() == ",":
            self._take()
            values.append(self._listed_value())
        if self._next() != ")":
            raise _unparsable(f"found '{self._next()}', expected: ',' or ')'")
        self._take()
        return values

    def _listed_value(self) -> str:
        """A value between commas; nothing between them is the empty value."""
        return self._take() if self._is_identifier() else ""


def _ensure_values(key: str, operator: Operator, values: Sequence[str]) -> None:
    for index, value in enumerate(values):
        if operator in (Operator.GT, Operator.LT) and _integer(value) is None:
            must = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise _unparsable(str(invalid(f"values[{index}]", value, must)))
        if problems := list(label_value(value)):
            raise _unparsable(str(invalid(f"values[{index}][{key}]", value, "; ".join(problems))))


def _unparsable(why: str) -> ApiError:
    return bad_request(f"unable to parse requirement: {why}")


# Fields


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One field compared with one text."""

    path: str
    value: str
    equal: bool
    read: Callable[[Document], str]

    def matches(self, document: Document) -> bool:
        return (self.read(document) == self.value) is self.equal


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Every term holds; without any, everything matches."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, document: Document) -> bool:
        return all(term.matches(document) for term in self.terms)

    def exact(self, path: str) -> str | None:
        """The one value that the field must have, when a term says so: metadata.name=x names one object."""
        return next((term.value for term in self.terms if term.path == path and term.equal), None)

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_fields(text: str, kind: Kind[Any, Any]) -> FieldSelector:
    """Raises ApiError 400 for a field that the kind does not offer, and for what cannot be read."""
    terms = []
    for part in _split(text, ","):
        if not part:
            continue
        path, equal, value = _field_term(text, part)
        _ensure_selectable(kind, path)
        terms.append(FieldTerm(path, _unescaped(value), equal, _reader(kind, path)))
    return FieldSelector(tuple(terms))


def _ensure_selectable(kind: Kind[Any, Any], path: str) -> None:
    """Raises ApiError 400. What kube-apiserver has compiled in and selects by nothing of its own, it refuses in its own words."""
    nameless = not kind.namespaced and (not kind.typed or bool(kind.selectable))
    if path in kind.selectable or path == "metadata.name" or (path == "metadata.namespace" and not nameless):
        return
    if kind.typed and not kind.selectable:
        raise bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')
    raise bad_request(f"field label not supported: {path}")


def exact_name(text: str) -> str:
    """The one name that a field selector of any kind insists on; "" where it insists on none, or cannot be read."""
    for part in _split(text, ","):
        try:
            path, equal, value = _field_term(text, part)
            if path == "metadata.name" and equal:
                return _unescaped(value)
        except ApiError:
            return ""
    return ""


def _split(text: str, separator: str) -> list[str]:
    """Split where the separator is not escaped."""
    parts, start, escaped = [], 0, False
    for index, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == separator:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def _field_term(text: str, part: str) -> tuple[str, bool, str]:
    found = re.search(r"!=|==|=", part)
    if found is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
    return part[: found.start()], found.group() != "!=", part[found.end() :]


def _unescaped(value: str) -> str:
    """Raises ApiError 400 for a backslash before anything but itself, a comma or =, and for a bare =."""

    def plain(found: re.Match[str]) -> str:
        escape = found.group()
        if escape == "=":
            raise bad_request(f"invalid field selector: unescaped character in value: {ord(escape)}")
        if escape[1:] not in (",", "=", "\\"):
            raise bad_request(f"invalid field selector: invalid escape sequence: {escape}")
        return escape[1:]

    return re.sub(r"\\.?|=", plain, value, flags=re.DOTALL)


@lru_cache(maxsize=256)
def _reader(kind: Kind[Any, Any], path: str) -> Callable[[Document], str]:
    """Reads a field as text; a core kind's unset boolean is false, anything else unset is empty."""
    steps = path.split(".")
    below = schema_of(kind).at(path) or {}
    unset = "false" if kind.typed and below.get("type") == "boolean" else ""

    def read(document: Document) -> str:
        value: Any = document
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return unset
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict):
            # Only an Event's source is selected as a whole, and its component is meant.
            return str(value.get("component", ""))
        return str(value)

    return read
