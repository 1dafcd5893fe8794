"""
What is told of migrations, under KubeVirt's names where it has one.

The leader tells of all of them, from what it watches anyway: how many there are in each phase, what waits and since when,
what is held, how each of the last ones ended. What a worker tells of those that it moves is in `worker_metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from app.kinds.migration import FINAL, ConditionType, Phase
from app.machinery.objects import Document
from app.meter import Counts, Labels, Level, Levels, Times, as_it_is, one
from app.store.base import Key, Stored

PHASE_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600)
"""KubeVirt's."""
DOWNTIME_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300)

TOLD_ENDS = 500
"""Of so many finished Migrations, the newest, it is told singly how they ended: a series each for every one that is kept
would be more than a monitoring system should be sent."""


@dataclass(frozen=True, slots=True)
class Last:
    """A Migration as it was told last."""

    revision: int
    phase: Phase
    vm: str
    created: float
    held: bool
    source: str
    target: str
    start: float | None
    end: float | None

    @property
    def node(self) -> str:
        """Where the guest is."""
        return self.target if self.phase is Phase.SUCCEEDED else self.source


def last(migration: Stored) -> Last:
    document = migration.document
    status = document.get("status") or {}
    state = status.get("migrationState") or {}
    return Last(
        revision=migration.revision,
        phase=Phase(status.get("phase") or ""),
        vm=str(((document.get("spec") or {}).get("selector") or {}).get("name") or ""),
        created=_seconds(document["metadata"].get("creationTimestamp")) or 0.0,
        held=is_held(status),
        source=state.get("sourceNode") or "",
        target=state.get("targetNode") or "",
        start=_seconds(state.get("startTimestamp")),
        end=_seconds(state.get("endTimestamp")),
    )


def is_held(status: Mapping[str, Any]) -> bool:
    """A Migration whose guest nobody can place says so in a condition."""
    return any(
        condition.get("type") == ConditionType.HELD and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )


class MigrationMetrics:
    """Of one process; what belongs to all Migrations is told only while it leads."""

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        registry = registry or CollectorRegistry()
        self._now = now
        self._leads = False
        self._unfinished: dict[Key, Last] = {}
        self._ended: dict[Key, Last] = {}
        self._entered: Times[Labels] = Times(
            registry,
            "kubevirt_vmi_migration_phase_transition_time_from_creation_seconds",
            "Histogram of VM migration phase transitions duration from creation time in seconds.",
            ("phase",),
            as_it_is,
            PHASE_SECONDS,
        )
        self._phases: Times[Labels] = Times(
            registry,
            "drover_migration_phase_duration_seconds",
            "How long Migrations stayed in a phase that they have left.",
            ("phase",),
            as_it_is,
            PHASE_SECONDS,
        )
        self._finished: Counts[Labels] = Counts(
            registry,
            "drover_migrations_finished_total",
            "Migrations that ended, by phase, reason and whose fault a failure was.",
            ("phase", "reason", "failure_class"),
            as_it_is,
        )
        self._downtimes: Times[Labels] = Times(
            registry,
            "drover_migration_downtime_seconds",
            "How long guests were stopped for the switch-over, as libvirt measured it.",
            (),
            as_it_is,
            DOWNTIME_SECONDS,
        )
        self._levels(registry)

    # What the leader hears.

    def leads(self, leads: bool) -> None:
        """A term begins or ends: what is known of all Migrations is known of one term."""
        self._leads = leads
        self._unfinished.clear()
        self._ended.clear()

    def note(self, migration: Stored) -> None:
        """A version of a Migration; an older one than was noted before says nothing."""
        before = self._unfinished.get(migration.key) or self._ended.get(migration.key)
        if before is not None and before.revision >= migration.revision:
            return
        self.forget(migration.key)
        now = last(migration)
        if now.phase in FINAL:
            self._ended[migration.key] = now
            if len(self._ended) > 2 * TOLD_ENDS:
                self._ended = dict(self._newest_ends())
        else:
            self._unfinished[migration.key] = now

    def forget(self, key: Key) -> None:
        """It is deleted."""
        self._unfinished.pop(key, None)
        self._ended.pop(key, None)

    def moved_on(self, migration: Document, before: Phase, status: Document) -> None:
        """A commit took a Migration from one phase to another; those that it passed through are in the status too."""
        created = _seconds(migration["metadata"]["creationTimestamp"]) or 0.0
        entered = [
            (Phase(transition["phase"]), _seconds(transition["phaseTransitionTimestamp"]) or created)
            for transition in status.get("phaseTransitionTimestamps") or ()
        ]
        known = next((place for place, (phase, _) in enumerate(entered) if phase is before), -1)
        since = entered[known][1] if known >= 0 else created
        left = before
        for phase, at in entered[known + 1 :]:
            self._entered.observe((phase.value,), max(0.0, at - created))
            self._phases.observe((left.value or "Unset",), max(0.0, at - since))
            left, since = phase, at
        if Phase(status.get("phase") or "") in FINAL:
            self._end(status)

    def _end(self, status: Document) -> None:
        state = status.get("migrationState") or {}
        phase = status["phase"]
        reason = next(
            (c.get("reason", "") for c in status.get("conditions") or () if c.get("type") == phase),
            "",
        )
        self._finished.add((phase, reason, state.get("failureClass") or ""))
        if state.get("downtimeMs") is not None:
            self._downtimes.observe((), state["downtimeMs"] / 1000)

    # What is told when the metrics are read.

    def _levels(self, registry: CollectorRegistry) -> None:
        for word, phase in (
            ("unset", Phase.NEW),
            ("pending", Phase.PENDING),
            ("scheduling", Phase.SCHEDULING),
            ("running", Phase.RUNNING),
        ):
            Levels(
                registry,
                f"kubevirt_vmi_migrations_in_{word}_phase",
                f"Number of current {word} migrations.",
                (),
                self._while_leading(partial(self._count, phase)),
            )
        for outcome, phase in (("succeeded", Phase.SUCCEEDED), ("failed", Phase.FAILED)):
            Levels(
                registry,
                f"kubevirt_vmi_migration_{outcome}",
                f"Indicates if the VMI migration {outcome}.",
                ("vmi", "vmim", "namespace"),
                partial(self._ends_in, phase),
            )
        Levels(
            registry,
            "kubevirt_vmi_migration_start_time_seconds",
            "The time at which the migration started.",
            ("node", "namespace", "name", "migration_name"),
            self._starts,
        )
        Levels(
            registry,
            "kubevirt_vmi_migration_end_time_seconds",
            "The time at which the migration ended.",
            ("node", "namespace", "name", "migration_name", "status"),
            self._ends,
        )
        Levels(
            registry,
            "drover_migrations_held",
            "Migrations that wait because nobody can know where their guests are until a host answers.",
            (),
            self._while_leading(lambda: sum(one.held for one in self._unfinished.values())),
        )
        Levels(
            registry,
            "drover_migrations_waiting",
            "Migrations that have not begun: those that nobody looked at yet, and those in Pending and in Scheduling.",
            (),
            self._while_leading(lambda: len(self._waiting())),
        )
        Levels(
            registry,
            "drover_migration_oldest_waiting_seconds",
            "How long the oldest of those has waited since it was created; 0 when there is none.",
            (),
            self._while_leading(self._oldest_s),
        )

    def _while_leading(self, ask: Callable[[], float]) -> Callable[[], Iterable[Level]]:
        told = one(ask)
        return lambda: told() if self._leads else ()

    def _count(self, phase: Phase) -> int:
        return sum(one.phase is phase for one in self._unfinished.values())

    def _waiting(self) -> list[Last]:
        return [one for one in self._unfinished.values() if one.phase is not Phase.RUNNING]

    def _oldest_s(self) -> float:
        now = self._now().timestamp()
        return max((max(0.0, now - one.created) for one in self._waiting()), default=0.0)

    def _newest_ends(self) -> list[tuple[Key, Last]]:
        ended = sorted(self._ended.items(), key=lambda item: item[1].end or 0.0, reverse=True)
        return ended[:TOLD_ENDS]

    def _ends_in(self, phase: Phase) -> Iterator[Level]:
        for key, ended in self._newest_ends():
            if ended.phase is phase:
                yield (ended.vm, key.name, key.namespace), 1.0

    def _starts(self) -> Iterator[Level]:
        for key, seen in (*self._unfinished.items(), *self._newest_ends()):
            if seen.start is not None:
                yield (seen.node, key.namespace, seen.vm, key.name), math.floor(seen.start)

    def _ends(self) -> Iterator[Level]:
        for key, seen in self._newest_ends():
            if seen.end is not None:
                outcome = "succeeded" if seen.phase is Phase.SUCCEEDED else "failed"
                yield (seen.node, key.namespace, seen.vm, key.name, outcome), math.floor(seen.end)


def _seconds(stamp: str | None) -> float | None:
    """RFC 3339 as seconds since 1970."""
    return None if not stamp else datetime.fromisoformat(stamp).timestamp()
