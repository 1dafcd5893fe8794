"""What a worker tells of the migrations that it moves: its runs, and how far each copy is, under KubeVirt's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry

from app.controllers.migration.messages import Sampled
from app.meter import Counts, Labels, Level, Levels, as_it_is


class Moving(Protocol):
    """A run that this process holds, as far as it is told of."""

    @property
    def labels(self) -> Labels:
        """node, namespace and name of the guest."""

    @property
    def sampled(self) -> Sampled | None:
        """The last that its process said of the copy."""


_SAMPLES: tuple[tuple[str, str, bool, Callable[[Sampled], float]], ...] = (
    (
        "kubevirt_vmi_migration_data_bytes_total",
        "The total Guest OS data to be migrated to the new VM.",
        True,
        lambda sampled: sampled.total,
    ),
    (
        "kubevirt_vmi_migration_data_processed_bytes",
        "The total Guest OS data processed and migrated to the new VM.",
        False,
        lambda sampled: sampled.processed,
    ),
    (
        "kubevirt_vmi_migration_data_remaining_bytes",
        "The remaining guest OS data to be migrated to the new VM.",
        False,
        lambda sampled: sampled.remaining,
    ),
    (
        "kubevirt_vmi_migration_dirty_memory_rate_bytes",
        "The rate of memory being dirty in the Guest OS.",
        False,
        lambda sampled: sampled.dirty_rate,
    ),
    (
        "kubevirt_vmi_migration_memory_transfer_rate_bytes",
        "The rate at which the memory is being transferred.",
        False,
        lambda sampled: sampled.memory_rate,
    ),
)


class WorkerMetrics:
    """Of one process's runs."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        self.claimed: Counts[Labels] = Counts(
            self._registry,
            "drover_runs_claimed_total",
            "Attempts of migrations that this worker took on, by whether another one had held them before.",
            ("taken_over",),
            as_it_is,
        )
        self.ended: Counts[Labels] = Counts(
            self._registry,
            "drover_runs_ended_total",
            "Attempts that this worker saw to their end, by the outcome that its process exited with, and those that it lost.",
            ("outcome",),
            as_it_is,
        )
        self.unknown: Counts[Labels] = Counts(
            self._registry,
            "drover_migration_processes_lost_total",
            "Processes of migrations that ended without saying where the guest is.",
            (),
            as_it_is,
        )

    def follow(self, moving: Callable[[], Iterable[Moving]], capacity: int) -> None:
        """Tells of the runs that are held."""
        for name, help_, counted, ask in _SAMPLES:
            Levels(
                self._registry,
                name,
                help_,
                ("node", "namespace", "name"),
                partial(_sampled, moving, ask),
                counted=counted,
            )
        Levels(
            self._registry,
            "drover_worker_runs",
            "Attempts of migrations that this worker holds.",
            (),
            lambda: [((), sum(1 for _ in moving()))],
        )
        Levels(
            self._registry,
            "drover_worker_capacity",
            "How many attempts it holds at most.",
            (),
            lambda: [((), capacity)],
        )


def _sampled(moving: Callable[[], Iterable[Moving]], ask: Callable[[Sampled], float]) -> Iterator[Level]:
    for run in moving():
        if run.sampled is not None:
            yield run.labels, ask(run.sampled)
