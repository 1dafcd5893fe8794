"""The scores: each splits nodes into groups, best first; among equals the next one decides, and last the name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from app.controllers.placement import labels
from app.controllers.placement.fleet import Fleet, Nodes, members
from app.controllers.placement.need import Need
from app.controllers.placement.nodes import NodeView, Taint

_DISCOURAGING = "PreferNoSchedule"


@dataclass(frozen=True, slots=True)
class Score:
    """A preference with a name."""

    name: str
    groups: Callable[[Need, Fleet, Nodes], Iterator[Nodes]]


def by_preferred_affinity(need: Need, fleet: Fleet, among: Nodes) -> Iterator[Nodes]:
    """The greatest sum of the weights of the terms that match."""
    weighed = {0: among}
    for choice in need.affinity.get(labels.PREFERRED) or ():
        matching = labels.matching(choice.get("preference") or {}, fleet.index)
        weighed = _split(weighed, matching, int(choice.get("weight", 0)))
    for weight in sorted(weighed, reverse=True):
        yield weighed[weight]


def by_taints(need: Need, fleet: Fleet, among: Nodes) -> Iterator[Nodes]:
    """The fewest PreferNoSchedule taints that are not tolerated."""
    counted: dict[int, Nodes] = {}
    for taints, nodes in fleet.index.groups(_taints).items():
        if found := nodes & among:
            count = sum(taint.effect == _DISCOURAGING and not need.tolerates(taint) for taint in taints)
            counted[count] = counted.get(count, 0) | found
    for count in sorted(counted):
        yield counted[count]


def by_arrivals(_need: Need, fleet: Fleet, among: Nodes) -> Iterator[Nodes]:
    """The fewest guests on their way to it: they share its link."""
    return fleet.arriving.least_first(among)


def by_free_memory(_need: Need, fleet: Fleet, among: Nodes) -> Iterator[Nodes]:
    """The most free memory, in steps of a sixteenth."""
    return fleet.memory.most_first(among)


def by_free_cpu(_need: Need, fleet: Fleet, among: Nodes) -> Iterator[Nodes]:
    """The most free CPU, in steps of a sixteenth."""
    return fleet.cpu_milli.most_first(among)


SCORES = (
    Score("PreferredAffinity", by_preferred_affinity),
    Score("Taints", by_taints),
    Score("Arrivals", by_arrivals),
    Score("FreeMemory", by_free_memory),
    Score("FreeCpu", by_free_cpu),
)


def ranked(need: Need, fleet: Fleet, among: Nodes, scores: Sequence[Score] = SCORES) -> Iterator[int]:
    """Those nodes, best first. Whoever wants the best alone pays for no more."""
    if among & (among - 1) == 0 or not scores:
        yield from members(among)
        return
    for group in scores[0].groups(need, fleet, among):
        yield from ranked(need, fleet, group, scores[1:])


def _split(weighed: dict[int, Nodes], matching: Nodes, weight: int) -> dict[int, Nodes]:
    split: dict[int, Nodes] = {}
    for before, nodes in weighed.items():
        for total, part in ((before + weight, nodes & matching), (before, nodes & ~matching)):
            if part:
                split[total] = split.get(total, 0) | part
    return split


def _taints(node: NodeView) -> tuple[Taint, ...]:
    return node.taints
