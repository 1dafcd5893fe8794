"""Which migrations may run beside one another: in the cluster, out of and into a node, and by its libvirtd's workers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from app.controllers.migration.seen import Room
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import Need
from app.controllers.placement.pipeline import Placement, place
from app.kinds.node import DEFAULT_WORKERS, SPARE_WORKERS


@dataclass(frozen=True, slots=True)
class Limits:
    """How many migrations may run at once. A node's libvirtd may allow fewer: each holds one of its workers."""

    cluster: int = 5
    outbound: int = 2
    inbound: int = 2


@dataclass(frozen=True, slots=True)
class Slots:
    """Those that are taken."""

    limits: Limits
    cluster: int = 0
    outbound: Mapping[str, int] = field(default_factory=dict)
    inbound: Mapping[str, int] = field(default_factory=dict)

    def taking(self, source: str, target: str, *, in_cluster: bool = True) -> Slots:
        """With one more; a held one counts for its two nodes only."""
        return replace(
            self,
            cluster=self.cluster + in_cluster,
            outbound={**self.outbound, source: self.outbound.get(source, 0) + 1},
            inbound={**self.inbound, target: self.inbound.get(target, 0) + 1},
        )

    @property
    def cluster_full(self) -> bool:
        return self.cluster >= self.limits.cluster

    def source_full(self, node: str, workers: int = DEFAULT_WORKERS) -> bool:
        """Nobody more may leave that node."""
        return self.outbound.get(node, 0) >= self.limits.outbound or self._is_busy(node, workers)

    def target_full(self, node: str, workers: int = DEFAULT_WORKERS) -> bool:
        """Nobody more may come to that node."""
        return self.inbound.get(node, 0) >= self.limits.inbound or self._is_busy(node, workers)

    def _is_busy(self, node: str, workers: int) -> bool:
        """With all of a libvirtd's workers held nobody could ask it how a migration is, nor stop one."""
        return self.outbound.get(node, 0) + self.inbound.get(node, 0) >= workers - SPARE_WORKERS


@dataclass(frozen=True, slots=True)
class Board:
    """The fleet and the slots at one moment: what a Migration's turn is played on."""

    fleet: Fleet
    slots: Slots

    def room(self, need: Need, source: str) -> Room:
        """Where a guest may go from there, now."""
        return self.room_by(source, partial(place, need))

    def room_by(self, source: str, placing: Callable[[Fleet], Placement]) -> Room:
        """As `room`, for whoever chooses in another way."""
        if self.is_full_from(source):
            cluster_full, source_full = self.slots.cluster_full, self._source_full(source)
            return Room(Placement((), {}), cluster_full=cluster_full, source_full=source_full)
        return Room(placing(self.fleet), targets_full=_FullTargets(self))

    def taking(self, need: Need, source: str, target: str) -> Board:
        """After that guest has begun to move."""
        return Board(self.fleet.reserving(target, need), self.slots.taking(source, target))

    def is_full_from(self, source: str) -> bool:
        """Nobody more may leave that node now."""
        return self.slots.cluster_full or self._source_full(source)

    def _source_full(self, source: str) -> bool:
        return self.slots.source_full(source, self._workers(source))

    def is_full(self, target: str) -> bool:
        return self.slots.target_full(target, self._workers(target))

    def _workers(self, node: str) -> int:
        view = self.fleet.view(node)
        return DEFAULT_WORKERS if view is None else view.workers


@dataclass(frozen=True, slots=True)
class _FullTargets(Container[str]):
    """Nodes to which nobody more may come; asked of those alone that fit best."""

    board: Board

    def __contains__(self, node: object) -> bool:
        return isinstance(node, str) and self.board.is_full(node)
