"""What controllers and workers count: their loops under KubeVirt's names of work queues, their leases, their runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Protocol

from prometheus_client import CollectorRegistry

from app.hypervisor.base import Certificate
from app.meter import Counts, Labels, Level, Levels, Times, as_it_is

WAITS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Sized(Protocol):
    """A queue, as far as its depth matters."""

    def __len__(self) -> int: ...


class LoopMetrics:
    """Of every loop of one process. Loops of one name are told together."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._queues: dict[int, tuple[str, Sized]] = {}
        self._working: dict[int, tuple[str, float]] = {}
        self._items = count()
        self.adds: Counts[Labels] = Counts(
            registry, "kubevirt_workqueue_adds_total", "Total number of adds handled by workqueue", ("name",), as_it_is
        )
        self.retries: Counts[Labels] = Counts(
            registry,
            "kubevirt_workqueue_retries_total",
            "Total number of retries handled by workqueue",
            ("name",),
            as_it_is,
        )
        self.waits: Times[Labels] = Times(
            registry,
            "kubevirt_workqueue_queue_duration_seconds",
            "How long an item stays in workqueue before being requested.",
            ("name",),
            as_it_is,
            WAITS,
        )
        self._works: Times[Labels] = Times(
            registry,
            "kubevirt_workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes.",
            ("name",),
            as_it_is,
            WAITS,
        )
        Levels(registry, "kubevirt_workqueue_depth", "Current depth of workqueue", ("name",), self._depths)
        Levels(
            registry,
            "kubevirt_workqueue_unfinished_work_seconds",
            "How many seconds of work has done that is in progress and hasn't been observed by work_duration.",
            ("name",),
            lambda: self._unfinished(sum),
        )
        Levels(
            registry,
            "kubevirt_workqueue_longest_running_processor_seconds",
            "How many seconds has the longest running processor for workqueue been running.",
            ("name",),
            lambda: self._unfinished(max),
        )

    @contextmanager
    def queue(self, name: str, queue: Sized) -> Iterator[None]:
        """While a loop runs, its queue is told."""
        self._queues[id(queue)] = name, queue
        try:
            yield
        finally:
            del self._queues[id(queue)]

    @contextmanager
    def work(self, name: str) -> Iterator[None]:
        """Around one item's."""
        began = time.perf_counter()
        item = next(self._items)
        self._working[item] = name, began
        try:
            yield
        finally:
            del self._working[item]
            self._works.observe((name,), time.perf_counter() - began)

    def _depths(self) -> Iterator[Level]:
        depths: dict[str, int] = {}
        for name, queue in self._queues.values():
            depths[name] = depths.get(name, 0) + len(queue)
        for name, depth in depths.items():
            yield (name,), depth

    def _unfinished(self, together: Callable[[list[float]], float]) -> Iterator[Level]:
        ages: dict[str, list[float]] = {name: [] for name, _ in self._queues.values()}
        for name, began in self._working.values():
            ages.setdefault(name, []).append(time.perf_counter() - began)
        for name, of_name in ages.items():
            yield (name,), together(of_name or [0.0])


class LeaseMetrics:
    """Of one process's leases."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        self.lost: Counts[Labels] = Counts(
            self._registry,
            "drover_leases_lost_total",
            "Leases that this process held and somebody else took, or that lapsed, by what they are for.",
            ("kind",),
            as_it_is,
        )
        self.unrenewed: Counts[Labels] = Counts(
            self._registry,
            "drover_lease_renewal_failures_total",
            "Renewals of leases that the database did not answer.",
            (),
            as_it_is,
        )

    def follow(self, held: Callable[[], frozenset[str]], leads: str) -> None:
        """Tells what is held, and whether this process leads."""
        Levels(
            self._registry,
            "drover_leases_held",
            "Leases that this process holds, by what they are for.",
            ("kind",),
            lambda: _by_kind(held()),
        )
        Levels(
            self._registry,
            "kubevirt_virt_controller_leading_status",
            "Indication for an operating virt-controller.",
            (),
            lambda: [((), float(leads in held()))],
        )


def kind_of(lease: str) -> str:
    """`node` of `node/h1`: names are not told, kinds are few."""
    return lease.partition("/")[0]


def _by_kind(held: frozenset[str]) -> Iterator[Level]:
    kinds = [kind_of(name) for name in held]
    for kind in sorted(set(kinds)):
        yield (kind,), kinds.count(kind)


class HostMetrics:
    """Of the hosts that this process serves."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._certificates: dict[str, Sequence[Certificate]] = {}
        Levels(
            registry,
            "drover_host_certificate_left_seconds",
            "How long a certificate on the way to a host still counts, by node and whose it is: client or server.",
            ("node", "certificate"),
            self._left,
        )

    def certificates(self, node: str, seen: Sequence[Certificate]) -> None:
        """What was seen last."""
        self._certificates[node] = seen

    def forget(self, node: str) -> None:
        """It is served here no more."""
        self._certificates.pop(node, None)

    def _left(self) -> Iterator[Level]:
        for node, seen in self._certificates.items():
            for certificate in seen:
                yield (node, certificate.holder.value), certificate.not_after.timestamp() - time.time()
