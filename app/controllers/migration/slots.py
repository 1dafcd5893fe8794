"""Which migrations may run beside one another: in the cluster, out of and into a node, and by its libvirtd's workers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from app.controllers.migration.seen import Room
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import Need
from app.controllers.placement.pipeline import Placement, place
from app.kinds import names
from app.kinds.node import DEFAULT_WORKERS, SPARE_WORKERS


@dataclass(frozen=True, slots=True)
class Limits:
    """How many migrations may run at once. A node's libvirtd may allow fewer: each holds one of its workers."""

    cluster: int = 5
    outbound: int = 2
    inbound: int = 2

    def in_cluster(self) -> str:
        """What one is told that waits for it; so are the others."""
        return f"as many migrations run in the cluster as may at once: {self.cluster} (DROVER_MIGRATIONS_PER_CLUSTER)"

    def leaving(self, node: str) -> str:
        return (
            f"as many migrations run from {node} as may at once: {self.outbound} (DROVER_MIGRATIONS_OUTBOUND_PER_NODE)"
        )

    def arriving(self) -> str:
        return f"as many guests arrive as may at once: {self.inbound} (DROVER_MIGRATIONS_INBOUND_PER_NODE)"

    @staticmethod
    def at_libvirtd(node: str, workers: int) -> str:
        return (
            f"as many migrations keep the libvirtd of {node} busy as may at once: {workers - SPARE_WORKERS} of its"
            f" {workers} workers (annotation {names.LIBVIRTD_WORKERS} of the Node)"
        )


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

    def source_full(self, node: str, workers: int = DEFAULT_WORKERS) -> str:
        """Why nobody more may leave that node; empty where somebody may."""
        if self.cluster_full:
            return self.limits.in_cluster()
        if self.outbound.get(node, 0) >= self.limits.outbound:
            return self.limits.leaving(node)
        return self.limits.at_libvirtd(node, workers) if self._is_busy(node, workers) else ""

    def target_full(self, node: str, workers: int = DEFAULT_WORKERS) -> str:
        """Why nobody more may come to that node; empty where somebody may."""
        if self.inbound.get(node, 0) >= self.limits.inbound:
            return self.limits.arriving()
        return self.limits.at_libvirtd(node, workers) if self._is_busy(node, workers) else ""

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
        if full := self.full_from(source):
            return Room(Placement((), {}), full)
        placement, targets = placing(self.fleet), {}
        for node in placement.fitting:
            if not (why := self.full_at(node)):
                break
            targets[node] = why
        return Room(placement, targets_full=targets)

    def taking(self, need: Need, source: str, target: str) -> Board:
        """After that guest has begun to move."""
        return Board(self.fleet.reserving(target, need), self.slots.taking(source, target))

    def full_from(self, source: str) -> str:
        """Why nobody more may leave that node now; empty where somebody may."""
        return self.slots.source_full(source, self._workers(source))

    def full_at(self, target: str) -> str:
        """Why nobody more may come to that node now; empty where somebody may."""
        return self.slots.target_full(target, self._workers(target))

    def _workers(self, node: str) -> int:
        view = self.fleet.view(node)
        return DEFAULT_WORKERS if view is None else view.workers
