"""All nodes at once, indexed so that a rule asks each distinct offer once and not each node.

A set of nodes is the bits of one integer, in the order of their names: intersecting thousands of nodes is one operation.
Everything here is a value. What an index finds out is kept, since it cannot change.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from types import MappingProxyType
from typing import TypeVar, cast

from app.controllers.placement.need import Need
from app.controllers.placement.nodes import NodeView

Nodes = int
"""A set of nodes: bit n is the n-th of the index."""
FacetT = TypeVar("FacetT", bound=Hashable)

_FINE = 4
"""Levels in an octave, as a power of two: sixteen, so that two amounts of one level differ by less than a sixteenth."""


class Index:
    """Nodes in the order of their names, and which of them offer the same."""

    def __init__(self, nodes: Iterable[NodeView]) -> None:
        self.nodes: tuple[NodeView, ...] = tuple(sorted(nodes, key=attrgetter("name")))
        self.everyone: Nodes = (1 << len(self.nodes)) - 1
        self._names = [node.name for node in self.nodes]
        self._facets: dict[Callable[[NodeView], Hashable], Mapping[Hashable, Nodes]] = {}
        self._held: dict[Callable[[NodeView], Iterable[str]], Mapping[str, Nodes]] = {}
        self._labels: dict[str, Mapping[str, Nodes]] = {}

    def position(self, name: str) -> int | None:
        """Which bit that node is."""
        at = bisect_left(self._names, name)
        return at if at < len(self._names) and self._names[at] == name else None

    def one(self, name: str) -> Nodes:
        """That node alone; empty where there is none of that name."""
        at = self.position(name)
        return 0 if at is None else 1 << at

    def groups(self, facet: Callable[[NodeView], FacetT]) -> Mapping[FacetT, Nodes]:
        """The nodes by what they offer. `facet` must be the same function each time."""
        found = self._facets.get(facet)
        if found is None:
            found = self._facets[facet] = _grouped((facet(node), at) for at, node in enumerate(self.nodes))
        return cast(Mapping[FacetT, Nodes], found)

    def holders(self, facet: Callable[[NodeView], Iterable[str]]) -> Mapping[str, Nodes]:
        """The nodes by each of the things that they offer."""
        found = self._held.get(facet)
        if found is None:
            found = self._held[facet] = _grouped(
                (item, at) for at, node in enumerate(self.nodes) for item in facet(node)
            )
        return found

    def labelled(self, key: str) -> Mapping[str, Nodes]:
        """The nodes that carry that label, by its value."""
        found = self._labels.get(key)
        if found is None:
            values = ((node.labels[key], at) for at, node in enumerate(self.nodes) if key in node.labels)
            found = self._labels[key] = _grouped(values)
        return found


def _grouped(pairs: Iterable[tuple[FacetT, int]]) -> Mapping[FacetT, Nodes]:
    """The second of each pair must not fall."""
    found: dict[FacetT, list[int]] = {}
    for value, at in pairs:
        found.setdefault(value, []).append(at)
    return MappingProxyType({value: _set(ats) for value, ats in found.items()})


def _set(ats: Sequence[int]) -> Nodes:
    bits = bytearray(ats[-1] // 8 + 1)
    for at in ats:
        bits[at >> 3] |= 1 << (at & 7)
    return int.from_bytes(bits, "little")


def members(nodes: Nodes) -> Iterator[int]:
    """The bits, lowest first."""
    while nodes:
        lowest = nodes & -nodes
        yield lowest.bit_length() - 1
        nodes ^= lowest


@dataclass(frozen=True, slots=True)
class Levels:
    """An amount of each node, kept so that neither "less than" nor "the most first" has to look at every node."""

    amounts: tuple[int, ...]
    groups: Mapping[int, Nodes]

    @classmethod
    def of(cls, amounts: Sequence[int]) -> Levels:
        return cls(tuple(amounts), _grouped((level(amount), at) for at, amount in enumerate(amounts)))

    def changed(self, at: int, amount: int) -> Levels:
        """With another amount of one node."""
        if self.amounts[at] == amount:
            return self
        amounts = list(self.amounts)
        amounts[at] = amount
        groups, bit = dict(self.groups), 1 << at
        before, after = level(self.amounts[at]), level(amount)
        if before != after:
            left = groups[before] ^ bit
            if left:
                groups[before] = left
            else:
                del groups[before]
            groups[after] = groups.get(after, 0) | bit
        return Levels(tuple(amounts), groups)

    def below(self, amount: int) -> Nodes:
        """Exactly the nodes that have less."""
        wanted, found = level(amount), 0
        for at, nodes in self.groups.items():
            if at < wanted:
                found |= nodes
        for node in members(self.groups.get(wanted, 0)):
            if self.amounts[node] < amount:
                found |= 1 << node
        return found

    def most_first(self, among: Nodes) -> Iterator[Nodes]:
        """Those nodes, in groups of about as much."""
        for at in sorted(self.groups, reverse=True):
            if found := self.groups[at] & among:
                yield found

    def least_first(self, among: Nodes) -> Iterator[Nodes]:
        for at in sorted(self.groups):
            if found := self.groups[at] & among:
                yield found


def level(amount: int) -> int:
    """Grows with the amount, in steps of less than a sixteenth; small amounts have levels of their own."""
    if amount <= 0:
        return 0
    bits = amount.bit_length()
    if bits <= _FINE + 1:
        return amount
    return (bits << _FINE) + (amount >> (bits - 1 - _FINE))


@dataclass(frozen=True, slots=True)
class Load:
    """What is taken of a node. Memory in bytes, CPU in thousandths."""

    memory: int = 0
    cpu_milli: int = 0
    hugepages: tuple[tuple[int, int], ...] = ()
    """(Size of a page, bytes in such pages)."""
    arriving: int = 0
    """Guests on their way to it."""

    def plus(self, need: Need) -> Load:
        """With a guest that is on its way."""
        return Load(
            self.memory + need.memory,
            self.cpu_milli + need.cpu_milli,
            added(self.hugepages, need.hugepages),
            self.arriving + 1,
        )


NOTHING = Load()


def added(some: Iterable[tuple[int, int]], more: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Both together, by the size of a page."""
    total = dict(some)
    for size, amount in more:
        total[size] = total.get(size, 0) + amount
    return tuple(sorted(total.items()))


@dataclass(frozen=True, slots=True)
class Fleet:
    """The nodes and what is free on them. `reserving` answers another fleet and shares all that did not change."""

    index: Index
    memory: Levels
    """Free bytes."""
    cpu_milli: Levels
    """Free."""
    arriving: Levels
    """Guests on their way to each."""
    hugepages: Mapping[int, Mapping[int, int]]
    """Free bytes by node and size of a page, for nodes that have any."""

    @classmethod
    def of(cls, nodes: Iterable[NodeView], loads: Mapping[str, Load] = MappingProxyType({})) -> Fleet:
        return cls.loaded(Index(nodes), loads)

    @classmethod
    def loaded(cls, index: Index, loads: Mapping[str, Load]) -> Fleet:
        """The index's nodes with what is taken of them, by name."""
        taken = [(node, loads.get(node.name, NOTHING)) for node in index.nodes]
        return cls(
            index,
            Levels.of([node.memory - load.memory for node, load in taken]),
            Levels.of([node.cpu_milli - load.cpu_milli for node, load in taken]),
            Levels.of([load.arriving for _, load in taken]),
            {at: _free_hugepages(node, load) for at, (node, load) in enumerate(taken) if node.hugepages},
        )

    def view(self, name: str) -> NodeView | None:
        """What is known of that node."""
        at = self.index.position(name)
        return None if at is None else self.index.nodes[at]

    def reserving(self, name: str, need: Need) -> Fleet:
        """After the guest has been promised that node. A node that is not there is left out."""
        at = self.index.position(name)
        if at is None:
            return self
        hugepages = self.hugepages
        if need.hugepages and at in hugepages:
            left = added(hugepages[at].items(), ((size, -amount) for size, amount in need.hugepages))
            hugepages = {**hugepages, at: dict(left)}
        return replace(
            self,
            memory=self.memory.changed(at, self.memory.amounts[at] - need.memory),
            cpu_milli=self.cpu_milli.changed(at, self.cpu_milli.amounts[at] - need.cpu_milli),
            arriving=self.arriving.changed(at, self.arriving.amounts[at] + 1),
            hugepages=hugepages,
        )

    def bearing(self, name: str, load: Load) -> Fleet:
        """With exactly that taken of a node. One that is not there is left out."""
        at = self.index.position(name)
        if at is None:
            return self
        node, hugepages = self.index.nodes[at], self.hugepages
        if node.hugepages and (free := _free_hugepages(node, load)) != hugepages[at]:
            hugepages = {**hugepages, at: free}
        return replace(
            self,
            memory=self.memory.changed(at, node.memory - load.memory),
            cpu_milli=self.cpu_milli.changed(at, node.cpu_milli - load.cpu_milli),
            arriving=self.arriving.changed(at, load.arriving),
            hugepages=hugepages,
        )

    def short_of_hugepages(self, size: int, amount: int) -> Nodes:
        """The nodes that have less free in pages of that size."""
        enough = 0
        for at, free in self.hugepages.items():
            if free.get(size, 0) >= amount:
                enough |= 1 << at
        return self.index.everyone ^ enough


def _free_hugepages(node: NodeView, load: Load) -> Mapping[int, int]:
    return dict(added(node.hugepages, ((size, -amount) for size, amount in load.hugepages)))
