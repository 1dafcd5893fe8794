"""Filter, then score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import overload

from app.controllers.placement.filters import FILTERS, Filter, Out
from app.controllers.placement.fleet import Fleet, Nodes, members
from app.controllers.placement.need import Need
from app.controllers.placement.scores import SCORES, Score, ranked

NAMED = 100
"""How many nodes are named for each reason; the others are counted. A message has an end."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Nodes that fit, best first, and of each other node why not."""

    fitting: Sequence[str]
    excluded: Mapping[str, str]
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many nodes each reason excludes, where that is known without looking at each."""

    @property
    def reasons(self) -> Mapping[str, int]:
        return self.counts or Counter(self.excluded.values())

    @property
    def total(self) -> int:
        return len(self.fitting) + len(self.excluded)

    def message(self) -> str:
        """In kube-scheduler's form: `0/3 nodes are available: 1 node is the source, 2 Insufficient memory.`"""
        if not self.total:
            return "no nodes available to schedule pods"
        counted = sorted(f"{count} {reason}" for reason, count in self.reasons.items())
        available = f"{len(self.fitting)}/{self.total} nodes are available"
        return f"{available}: {', '.join(counted)}." if counted else f"{available}."

    def details(self) -> str:
        """Every excluded node by name, and why; of those that one reason excludes the first NAMED, and how many more."""
        lines, more = [], []
        for reason, count in sorted(self.reasons.items()):
            lines += [(name, reason) for name in self._first(reason)]
            if count > NAMED:
                more.append(f"{count - NAMED} more: {reason}")
        return "; ".join([*(f"{name}: {reason}" for name, reason in sorted(lines)), *more])

    def _first(self, reason: str) -> Iterable[str]:
        """The first of those that it excludes."""
        if isinstance(self.excluded, _Excluded):
            return self.excluded.of(reason, NAMED)
        return sorted(name for name, why in self.excluded.items() if why == reason)[:NAMED]


def place(need: Need, fleet: Fleet, filters: Sequence[Filter] = FILTERS, scores: Sequence[Score] = SCORES) -> Placement:
    """Which nodes pass every filter, ordered by the scores."""
    left, out = fleet.index.everyone, []
    for rule in filters:
        for reason, nodes in rule.out(need, fleet):
            if hit := nodes & left:
                out.append((reason, hit))
                left ^= hit
    counts: dict[str, int] = {}
    for reason, nodes in out:
        counts[reason] = counts.get(reason, 0) + nodes.bit_count()
    return Placement(_Ranking(need, fleet, left, scores), _Excluded(fleet, tuple(out)), counts)


class _Ranking(Sequence[str]):
    """Found out as far as somebody asks."""

    def __init__(self, need: Need, fleet: Fleet, fitting: Nodes, scores: Sequence[Score]) -> None:
        self._need = need
        self._fleet = fleet
        self._fitting = fitting
        self._scores = scores

    def __iter__(self) -> Iterator[str]:
        nodes = self._fleet.index.nodes
        return (nodes[at].name for at in ranked(self._need, self._fleet, self._fitting, self._scores))

    def __len__(self) -> int:
        return self._fitting.bit_count()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._fleet.index.one(name) & self._fitting)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, int) and 0 <= at < len(self):
            return next(islice(self, at, None))
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # a sequence that equals tuples of its names

    def __repr__(self) -> str:
        return repr(tuple(self))


class _Excluded(Mapping[str, str]):
    """Looked up where somebody asks."""

    def __init__(self, fleet: Fleet, out: tuple[Out, ...]) -> None:
        self._fleet = fleet
        self._out = out

    def __getitem__(self, name: str) -> str:
        node = self._fleet.index.one(name)
        for reason, nodes in self._out:
            if nodes & node:
                return reason
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (self._fleet.index.nodes[at].name for at in members(self._all))

    def __len__(self) -> int:
        return self._all.bit_count()

    def of(self, reason: str, at_most: int) -> list[str]:
        """The first by name of those that it excludes."""
        found = 0
        for why, nodes in self._out:
            found |= nodes if why == reason else 0
        return [self._fleet.index.nodes[at].name for at in islice(members(found), at_most)]

    @property
    def _all(self) -> Nodes:
        found = 0
        for _, nodes in self._out:
            found |= nodes
        return found
