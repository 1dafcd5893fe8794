"""
What an eviction does for the guest of a launcher pod, judged only from what was seen. Pure.

    a Migration of it is unfinished                  → wait, and say how far it is
    its node was uncordoned after one was called off → wait: nothing moves until it is cordoned again
    it cannot move now, or not at all                → wait, and say why
    the last evacuation failed a moment ago          → wait: 20 s, doubled with each failure, up to 10 minutes
    else                                             → a Migration `<vm>-evacuation-<5>`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.controllers.migration.transitions import over_since
from app.kinds import names
from app.kinds.migration import FINAL, ConditionType, MigrationStatus, Phase, Reason
from app.kinds.virtualmachine import ConditionType as VMConditionType
from app.kinds.virtualmachine import Phase as VMPhase
from app.machinery.objects import Document

FIRST_WAIT = timedelta(seconds=20)
LONGEST_WAIT = timedelta(minutes=10)
_WORST = 6
"""Failures after which the wait no longer grows."""


@dataclass(frozen=True, slots=True)
class Past:
    """A Migration that was made to empty a node, of the guest in question, while it was there."""

    name: str
    status: MigrationStatus
    failures: int
    """How many evacuations had failed in a row before it."""
    drained: bool
    """The node was cordoned when it was made, or annotated to be drained: uncordoning calls it off."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A guest in its pod."""

    now: datetime
    node: str
    closed: bool
    """The node takes no guests: cordoned, or annotated to be drained."""
    vm: Document
    unfinished: Document | None
    """A Migration of the guest, whoever made it."""
    past: Past | None
    """The last evacuation of the guest from this node that has ended."""


@dataclass(frozen=True, slots=True)
class Move:
    """Make an evacuation, the first after so many failures in a row."""

    failures: int


@dataclass(frozen=True, slots=True)
class Wait:
    """The guest stays for now; say why, and look again after so long if nothing changes before."""

    message: str
    again_after_s: float | None = None
    stuck: bool = False
    """Nothing moves it as things are."""


def judge(seen: Seen) -> Move | Wait:
    if seen.unfinished is not None:
        return Wait(how_far(seen.unfinished))
    if (why := _why_not(seen.vm)) is not None:
        return Wait(why, stuck=True)
    past = seen.past
    if past is None or past.status.phase is Phase.SUCCEEDED:
        return Move(0)
    if past.drained and not seen.closed:
        return Wait(f"{seen.node} takes guests again, so nothing more leaves it: cordon it to go on", stuck=True)
    if _was_cancelled(past.status):
        return Move(0)
    failures = past.failures + 1
    left = wait_after(failures) - (seen.now - _ended(past, seen.now))
    if left <= timedelta(0):
        return Move(failures)
    left_s = left.total_seconds()
    return Wait(f"Migration {past.name} failed: {_failure(past.status)}; the next in {left_s:.0f} s", left_s)


def wait_after(failures: int) -> timedelta:
    """Before the next evacuation, after so many that failed in a row."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, _WORST))


def how_far(migration: Document) -> str:
    """An unfinished Migration, in a few words."""
    name, status = migration["metadata"]["name"], MigrationStatus.read(migration.get("status") or {})
    made_by = "" if is_evacuation(migration) else " (not of an eviction)"
    state = status.migration_state
    match status.phase:
        case Phase.NEW:
            return f"Migration {name}{made_by} was made"
        case Phase.RUNNING if (retrying := _condition(status, ConditionType.RETRYING)) is not None:
            return f"Migration {name}{made_by} is between two attempts: {retrying}"
        case Phase.RUNNING:
            percent = 0 if status.progress is None else status.progress.percent
            return f"Migration {name}{made_by} is Running to {state and state.target_node}, {percent} %"
        case _:
            why = _waiting(status)
            return f"Migration {name}{made_by} is {status.phase.value}{why and ': '}{why}"


def is_evacuation(migration: Document) -> bool:
    """It was made to empty a node."""
    return names.EVACUATION in (migration["metadata"].get("labels") or {})


def past_of(migration: Document) -> Past:
    """One that has ended."""
    annotations = migration["metadata"].get("annotations") or {}
    counted = annotations.get(names.EVACUATION_FAILURES, "0")
    return Past(
        migration["metadata"]["name"],
        MigrationStatus.read(migration.get("status") or {}),
        int(counted) if counted.isdecimal() else 0,
        is_drained(migration),
    )


def is_drained(migration: Document) -> bool:
    """It was made because its node is to be emptied."""
    return (migration["metadata"].get("annotations") or {}).get(names.DRAIN) == "true"


def last_of(migrations: Iterable[Document], node: str) -> Past | None:
    """The newest evacuation from that node that has ended, of those Migrations of one guest."""
    ended = [
        migration
        for migration in migrations
        if (migration["metadata"].get("labels") or {}).get(names.EVACUATION) == node
        and (migration.get("status") or {}).get("phase") in FINAL
    ]
    newest = max(ended, key=_finished_at, default=None)
    return None if newest is None else past_of(newest)


def unfinished_of(migrations: Sequence[Document]) -> Document | None:
    """The one that the guest waits for; of several the one that came first."""
    left = [migration for migration in migrations if (migration.get("status") or {}).get("phase") not in FINAL]
    return min(left, key=lambda migration: str(migration["metadata"]["creationTimestamp"]), default=None)


def _why_not(vm: Document) -> str | None:
    status = vm.get("status") or {}
    name, phase = vm["metadata"]["name"], status.get("phase", "")
    if vm["metadata"].get("deletionTimestamp"):
        return f"VirtualMachine {name} is being deleted: it goes when its guest has ended"
    for condition in status.get("conditions") or ():
        if condition["type"] == VMConditionType.LIVE_MIGRATABLE and condition["status"] == "False":
            told = condition.get("message")
            return (
                f"VirtualMachine {name} cannot be moved while it runs: {condition.get('reason')}{told and ': '}{told}"
            )
    if phase != VMPhase.RUNNING:
        return f"VirtualMachine {name} is {phase or 'not started yet'}: only a running one can be moved"
    return None


def _was_cancelled(status: MigrationStatus) -> bool:
    return any(c.type is ConditionType.FAILED and c.reason == Reason.CANCELLED for c in status.conditions)


def _failure(status: MigrationStatus) -> str:
    state = status.migration_state
    return (state and state.failure_reason) or "for a reason that is not told"


def _ended(past: Past, now: datetime) -> datetime:
    return over_since(past.status) or now


def _finished_at(migration: Document) -> datetime:
    since = over_since(MigrationStatus.read(migration.get("status") or {}))
    return since or datetime.fromisoformat(migration["metadata"]["creationTimestamp"])


def _condition(status: MigrationStatus, type_: ConditionType) -> str | None:
    """Its message, while it is True."""
    return next((c.message for c in status.conditions if c.type is type_ and c.status == "True"), None)


def _waiting(status: MigrationStatus) -> str:
    return next((c.message for c in status.conditions if c.type is ConditionType.SCHEDULED), "")
