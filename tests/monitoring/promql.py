"""
A small part of PromQL, enough to ask the alerts and the dashboard of made series: selectors with matchers, rate and increase,
sum, max, min and count with `by`, histogram_quantile, absent, arithmetic, comparisons and `and`.

As Prometheus has it, but for extrapolation: rate and increase take the difference of the range's ends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Labels = tuple[tuple[str, str], ...]
Vector = dict[Labels, float]
Value = Vector | float

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<text>\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<range>\[[0-9a-z_$]+\])|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/(){},=<>]))"
)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {"sum": sum, "max": max, "min": min, "count": len}


@dataclass(frozen=True)
class Asked:
    """A selector, as it names a metric and labels."""

    name: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Series:
    """One series: a value for each minute, the last one is now."""

    name: str
    labels: Labels
    values: tuple[float, ...]

    @classmethod
    def of(cls, name: str, values: Sequence[float], **labels: str) -> Series:
        return cls(name, tuple(sorted(labels.items())), tuple(values))


class Query:
    """An expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0
        self.asked: list[Asked] = []
        """What it names, known after it was evaluated once."""
        self.grouped: set[str] = set()
        """Labels that it groups by."""

    def evaluate(self, series: Sequence[Series]) -> Value:
        self._at, self._series = 0, series
        value = self._and()
        assert self._at == len(self._tokens), f"{self._text}: {self._tokens[self._at :]} is left over"
        return value

    def fires(self, series: Sequence[Series]) -> bool:
        """Would an alert with this expression be pending? A vector with anything in it is true, as Prometheus has it."""
        value = self.evaluate(series)
        assert isinstance(value, dict), f"{self._text}: an alert's expression is a vector"
        return bool(value)

    # and, comparisons, sums, products: from the loosest to the tightest.

    def _and(self) -> Value:
        left = self._comparison()
        while self._takes("and"):
            right = self._comparison()
            assert isinstance(left, dict) and isinstance(right, dict)
            left = {labels: value for labels, value in left.items() if labels in right}
        return left

    def _comparison(self) -> Value:
        left = self._sum()
        for sign, holds in _COMPARISONS.items():
            if self._takes(sign):
                right = self._sum()
                assert isinstance(right, float), "comparisons are with numbers here"
                if isinstance(left, float):
                    return float(holds(left, right))
                return {labels: value for labels, value in left.items() if holds(value, right)}
        return left

    def _sum(self) -> Value:
        left = self._product()
        while (sign := self._one_of("+", "-")) is not None:
            left = _together(left, self._product(), (lambda a, b: a + b) if sign == "+" else (lambda a, b: a - b))
        return left

    def _product(self) -> Value:
        left = self._atom()
        while (sign := self._one_of("*", "/")) is not None:
            left = _together(left, self._atom(), (lambda a, b: a * b) if sign == "*" else _divided)
        return left

    def _atom(self) -> Value:
        if self._takes("("):
            value = self._and()
            self._must(")")
            return value
        kind, text = self._next()
        if kind == "number":
            return float(text)
        assert kind == "word", f"{self._text}: {text} is unexpected"
        if text in _AGGREGATIONS:
            return self._aggregation(_AGGREGATIONS[text])
        if self._takes("("):
            return self._function(text)
        return self._selector(text, None)

    def _function(self, name: str) -> Value:
        if name in ("rate", "increase"):
            _, metric = self._next()
            value = self._selector(metric, name)
        elif name == "histogram_quantile":
            _, quantile = self._next()
            self._must(",")
            buckets = self._and()
            assert isinstance(buckets, dict)
            value = _quantiles(float(quantile), buckets)
        elif name == "absent":
            inner = self._and()
            value = {} if inner else {(): 1.0}
        else:
            raise AssertionError(f"{self._text}: {name} is not known here")
        self._must(")")
        return value

    def _aggregation(self, together: Callable[[Sequence[float]], float]) -> Vector:
        by: tuple[str, ...] = self._names() if self._takes("by") else ()
        self._must("(")
        inner = self._and()
        self._must(")")
        if self._takes("by"):
            by = self._names()
        self.grouped |= set(by)
        assert isinstance(inner, dict)
        groups: dict[Labels, list[float]] = {}
        for labels, value in inner.items():
            groups.setdefault(tuple(pair for pair in labels if pair[0] in by), []).append(value)
        return {labels: float(together(values)) for labels, values in groups.items()}

    def _selector(self, name: str, over: str | None) -> Vector:
        matchers = self._matchers() if self._takes("{") else []
        self.asked.append(Asked(name, frozenset(label for label, _, _ in matchers)))
        if over is None:
            return {one.labels: one.values[-1] for one in self._matching(name, matchers)}
        kind, text = self._next()
        assert kind == "range", f"{self._text}: {name} needs a range"
        seconds = 300.0 if "$" in text else float(text[1:-2]) * _UNITS_S[text[-2]]
        steps = int(seconds // 60)
        grown = {one.labels: _grown(one.values[-steps - 1 :]) for one in self._matching(name, matchers)}
        return {labels: value / (seconds if over == "rate" else 1) for labels, value in grown.items()}

    def _matching(self, name: str, matchers: Sequence[tuple[str, str, str]]) -> Iterator[Series]:
        for one in self._series:
            labels = dict(one.labels)
            if one.name == name and all(_matches(labels.get(label, ""), sign, text) for label, sign, text in matchers):
                yield one

    def _matchers(self) -> list[tuple[str, str, str]]:
        found = []
        while not self._takes("}"):
            _, label = self._next()
            _, sign = self._next()
            _, text = self._next()
            found.append((label, sign, text[1:-1]))
            self._takes(",")
        return found

    def _names(self) -> tuple[str, ...]:
        self._must("(")
        found = []
        while not self._takes(")"):
            found.append(self._next()[1])
            self._takes(",")
        return tuple(found)

    def _next(self) -> tuple[str, str]:
        assert self._at < len(self._tokens), f"{self._text} ends too early"
        self._at += 1
        return self._tokens[self._at - 1]

    def _takes(self, text: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][1] == text:
            self._at += 1
            return True
        return False

    def _one_of(self, *texts: str) -> str | None:
        return next((text for text in texts if self._takes(text)), None)

    def _must(self, text: str) -> None:
        assert self._takes(text), f"{self._text}: {text} is missing before {self._tokens[self._at : self._at + 3]}"


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        assert found is not None and found.lastgroup is not None, f"{text}: cannot read {text[at : at + 20]!r}"
        yield found.lastgroup, found.group(found.lastgroup)
        at = found.end()


def _matches(value: str, sign: str, text: str) -> bool:
    match sign:
        case "=":
            return value == text
        case "!=":
            return value != text
        case "=~":
            return re.fullmatch(text, value) is not None
        case "!~":
            return re.fullmatch(text, value) is None
        case _:
            raise AssertionError(f"{sign} matches nothing")


def _grown(values: Sequence[float]) -> float:
    """What a counter grew by; one that fell began anew."""
    return sum(after - before if after >= before else after for before, after in pairwise(values))


def _together(left: Value, right: Value, work: Callable[[float, float], float]) -> Value:
    if isinstance(left, float) and isinstance(right, float):
        return work(left, right)
    if isinstance(left, dict) and isinstance(right, float):
        return {labels: work(value, right) for labels, value in left.items()}
    if isinstance(left, float) and isinstance(right, dict):
        return {labels: work(left, value) for labels, value in right.items()}
    assert isinstance(left, dict) and isinstance(right, dict)
    return {labels: work(left[labels], right[labels]) for labels in left.keys() & right.keys()}


def _divided(one: float, other: float) -> float:
    return one / other if other else math.nan


def _quantiles(quantile: float, buckets: Mapping[Labels, float]) -> Vector:
    """By linear interpolation within the bucket, as Prometheus does."""
    groups: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        groups.setdefault(rest, []).append((float(dict(labels)["le"]), count))
    return {labels: _quantile(quantile, sorted(found)) for labels, found in groups.items()}


def _quantile(quantile: float, buckets: Sequence[tuple[float, float]]) -> float:
    rank = quantile * buckets[-1][1]
    if not rank:
        return math.nan
    below, counted = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            return below if math.isinf(bound) else below + (bound - below) * (rank - counted) / (count - counted)
        below, counted = bound, count
    return below
