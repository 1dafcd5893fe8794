"""Counts, times and levels, cheap enough for the path of every request; put into Prometheus' form only when they are read.

Everything here is counted by one event loop: no lock, no label object, one dictionary entry for each set of labels. What
threads measure is counted by the loop that waits for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

KeyT = TypeVar("KeyT", bound=Hashable)
Labels = tuple[str, ...]
Spell = Callable[[KeyT], Labels]
"""What a key is in labels: asked only when the metrics are read."""


class Declared(NamedTuple):
    """What a metric promises: its name as it is told, its help and its labels."""

    name: str
    help: str
    labels: Labels


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""For what ordinarily takes milliseconds."""


class Counts(Collector, Generic[KeyT]):
    """A counter; its name ends in _total."""

    def __init__(
        self, registry: CollectorRegistry, name: str, help_: str, labels: Sequence[str], spell: Spell[KeyT]
    ) -> None:
        self.declared = Declared(name, help_, tuple(labels))
        self._spell = spell
        self._values: dict[KeyT, float] = {}
        self._told_from_the_start = not labels
        """Of one without labels the first increase is seen too."""
        registry.register(self)

    def add(self, key: KeyT, amount: float = 1) -> None:
        values = self._values
        values[key] = values.get(key, 0.0) + amount

    def describe(self) -> Iterable[CounterMetricFamily]:
        name, help_, labels = self.declared
        return [CounterMetricFamily(name, help_, labels=labels)]

    def collect(self) -> Iterator[CounterMetricFamily]:
        name, help_, labels = self.declared
        family = CounterMetricFamily(name, help_, labels=labels)
        if self._told_from_the_start and not self._values:
            family.add_metric((), 0)
        for key, value in self._values.items():
            family.add_metric(self._spell(key), value)
        yield family


class _Spread:
    """How often a value fell below each bound."""

    __slots__ = ("counts", "sum")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.sum = 0.0


class Times(Collector, Generic[KeyT]):
    """A histogram."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        help_: str,
        labels: Sequence[str],
        spell: Spell[KeyT],
        bounds: Sequence[float] = SECONDS,
    ) -> None:
        self.declared = Declared(name, help_, tuple(labels))
        self._spell = spell
        self._bounds = tuple(bounds)
        self._spreads: dict[KeyT, _Spread] = {}
        registry.register(self)

    def observe(self, key: KeyT, value: float) -> None:
        spread = self._spreads.get(key)
        if spread is None:
            spread = self._spreads[key] = _Spread(len(self._bounds))
        spread.counts[bisect_left(self._bounds, value)] += 1
        spread.sum += value

    def describe(self) -> Iterable[HistogramMetricFamily]:
        name, help_, labels = self.declared
        return [HistogramMetricFamily(name, help_, labels=labels)]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        name, help_, labels = self.declared
        family = HistogramMetricFamily(name, help_, labels=labels)
        for key, spread in self._spreads.items():
            family.add_metric(self._spell(key), self._buckets(spread), spread.sum)
        yield family

    def _buckets(self, spread: _Spread) -> list[tuple[str, float]]:
        buckets, below = [], 0
        for bound, count in zip((*map(_bound, self._bounds), "+Inf"), spread.counts, strict=True):
            below += count
            buckets.append((bound, float(below)))
        return buckets


def _bound(value: float) -> str:
    return repr(float(value))


Level = tuple[Labels, float]


class Levels(Collector):
    """A gauge that is asked when the metrics are read. `kind` counter: for what is counted elsewhere already."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        help_: str,
        labels: Sequence[str],
        ask: Callable[[], Iterable[Level]],
        *,
        counted: bool = False,
    ) -> None:
        self.declared = Declared(name, help_, tuple(labels))
        self._family = CounterMetricFamily if counted else GaugeMetricFamily
        self._ask = ask
        registry.register(self)

    def describe(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        name, help_, labels = self.declared
        return [self._family(name, help_, labels=labels)]

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        name, help_, labels = self.declared
        family = self._family(name, help_, labels=labels)
        for values, level in self._ask():
            family.add_metric(values, level)
        yield family


def one(ask: Callable[[], float]) -> Callable[[], Iterable[Level]]:
    """For a gauge without labels."""
    return lambda: [((), ask())]


def as_it_is(key: Labels) -> Labels:
    """For keys that are labels already."""
    return key
