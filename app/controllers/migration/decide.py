"""
What a Migration does next, judged only from what was seen. Pure.

    ""  ──▶ Pending ──▶ Scheduling ──▶ Running ──▶ Succeeded     the guest runs on the target
     │         │             │            │
     └─────────┴─────────────┴────────────┴──────▶ Failed        the guest is where it was

    Pending      no slot in the cluster or out of the source      → Scheduling when there is one
    Scheduling   no node fits, or those that fit are full         → Running when one fits and has a slot
    Running      target pod, migration pod and run are there      → the end, when the run has finished

Several phases may be passed in one step, each with its time; none is ever passed back. Succeeded and Failed are final.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from app.controllers.migration.exit_codes import MEANINGS, Where, known
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.placement.pipeline import NAMED, Placement
from app.kinds.migration import (
    FINAL,
    AbortStatus,
    ConditionType,
    MigrationCondition,
    MigrationState,
    MigrationStatus,
    Mode,
    Phase,
    PhaseTransition,
    Reason,
)
from app.kinds.virtualmachine import Phase as VMPhase

LOOK_AGAIN_S = 5.0
_ORDER = (Phase.PENDING, Phase.SCHEDULING, Phase.RUNNING)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a Migration waits."""

    queue: timedelta = timedelta(hours=1)
    """For a slot, in Pending."""
    unschedulable: timedelta = timedelta(minutes=5)
    """For a node that fits, in Scheduling."""


@dataclass(frozen=True, slots=True)
class VMSeen:
    """The VirtualMachine that is to be moved."""

    uid: str
    phase: VMPhase
    node: str
    leaving: bool = False
    """Its deletion has begun."""
    bound: str | None = None
    """What keeps its guest where it is, if anything is known to."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where the guest may go now, when everybody who waits for longer has been served."""

    placement: Placement
    cluster_full: bool = False
    source_full: bool = False
    targets_full: frozenset[str] = frozenset()

    @property
    def target(self) -> str | None:
        """The best of the nodes that fit and have a slot."""
        return next((node for node in self.placement.fitting if node not in self.targets_full), None)


@dataclass(frozen=True, slots=True)
class RunSeen:
    """The latest attempt."""

    id: UUID
    source: str
    target: str
    cancelled: bool = False
    exit_code: int | None = None
    """None while it is not finished."""
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a decision rests on."""

    now: datetime
    vm_name: str
    status: MigrationStatus
    deleted: bool = False
    vm: VMSeen | None = None
    rival: str | None = None
    """Another unfinished Migration of the VirtualMachine, which came first."""
    contradiction: str | None = None
    """Both selectors name one key with different values."""
    room: Room | None = None
    """Judged only for a VirtualMachine that can be moved."""
    run: RunSeen | None = None
    patience: Patience = Patience()


@dataclass(frozen=True, slots=True)
class StartRun:
    """Reserve the target and order the process: target pod, migration pod and run, together."""

    target: str


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Let the process abort, if it is not too late."""

    run: UUID


@dataclass(frozen=True, slots=True)
class Conclude:
    """Let the VirtualMachine and the pods say where the guest is now."""

    where: Where
    source: str
    target: str
    message: str
    target_free: bool = True
    """The target's host said that it holds no copy: the reservation there may go if the guest is elsewhere."""


@dataclass(frozen=True, slots=True)
class Tell:
    """An Event on the Migration and one on the VirtualMachine."""

    reason: str
    message: str
    warning: bool = False


Effect = StartRun | CancelRun | Conclude | Tell


@dataclass(frozen=True, slots=True)
class Decision:
    """The status as it is to be, and what is committed with it."""

    status: MigrationStatus
    effects: tuple[Effect, ...] = ()
    again: Outcome = SETTLED


def decide(seen: Seen) -> Decision:
    """One step, as far as it can go now."""
    match seen.status.phase:
        case Phase.NEW | Phase.PENDING | Phase.SCHEDULING:
            return start(seen)
        case Phase.RUNNING:
            return follow(seen)
        case Phase.SUCCEEDED | Phase.FAILED:
            return Decision(seen.status)
        case unhandled:
            assert_never(unhandled)


def start(seen: Seen) -> Decision:
    """Fail at once, wait, or begin."""
    vm = seen.vm
    if seen.deleted:
        return failed(seen, Reason.CANCELLED, "deleted before it began: nothing was moved")
    if vm is None or seen.status.instance not in (None, vm.uid):
        return failed(seen, Reason.VM_NOT_FOUND, f'there is no VirtualMachine "{seen.vm_name}" in this namespace')
    seen = _about(seen, vm)
    if seen.rival is not None:
        return failed(
            seen, Reason.MIGRATION_IN_PROGRESS, f'Migration "{seen.rival}" of the same VirtualMachine is unfinished'
        )
    if vm.leaving or vm.phase is not VMPhase.RUNNING or not vm.node:
        how = "being deleted" if vm.leaving else (vm.phase or "not started yet")
        return failed(
            seen, Reason.VM_NOT_RUNNING, f'VirtualMachine "{seen.vm_name}" is {how}; only a running one can be moved'
        )
    if vm.bound is not None:
        return failed(seen, Reason.VM_NOT_MIGRATABLE, f'VirtualMachine "{seen.vm_name}" cannot be moved: {vm.bound}')
    if seen.contradiction is not None:
        return failed(seen, Reason.NODE_SELECTOR_CONFLICT, seen.contradiction)
    assert seen.room is not None, "BUG: a VirtualMachine that can be moved was not placed"
    return _place(seen, vm, seen.room)


def follow(seen: Seen) -> Decision:
    """The run is the truth; a wish to cancel is passed on to it once."""
    run = seen.run
    if run is None:
        return failed(seen, Reason.LOST, "BUG: it was Running without a run")
    if run.exit_code is not None:
        return _finished(seen, run, run.exit_code)
    gone = seen.vm is None or seen.vm.leaving
    if (seen.deleted or gone) and not run.cancelled:
        why = "the Migration was deleted" if seen.deleted else "the VirtualMachine is being deleted"
        state = _state(seen).model_copy(update={"abort_requested": True, "abort_status": AbortStatus.ABORTING})
        status = seen.status.model_copy(update={"migration_state": state})
        return Decision(status, (CancelRun(run.id), Tell("Cancelling", f"{why}: the copy is being stopped")))
    return Decision(seen.status)


def failed(seen: Seen, reason: Reason, message: str) -> Decision:
    """Final: nothing was begun, or the guest stayed."""
    return Decision(
        _with_failure(seen, reason, message),
        (Tell(reason.value, message, reason is not Reason.CANCELLED),),
    )


def _place(seen: Seen, vm: VMSeen, room: Room) -> Decision:
    if room.cluster_full or room.source_full:
        return _queue(seen, "the cluster" if room.cluster_full else f"node {vm.node}")
    if not room.placement.fitting:
        return _unschedulable(seen, room.placement)
    target = room.target
    if target is None:
        names = sorted(room.placement.fitting)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        full = f"{', '.join(names[:NAMED])}{more}"
        return _waits(seen, Phase.SCHEDULING, Reason.WAITING_FOR_SLOT, f"as many guests arrive as may at {full}")
    state = MigrationState(
        source_node=vm.node,
        target_node=target,
        start_timestamp=_stamp(seen.now),
        mode=Mode.PRE_COPY,
    )
    status = _moved(seen, Phase.RUNNING).model_copy(update={"migration_state": state})
    message = f"to {target}; {verdicts(room.placement)}"
    status = _observed(status, seen.now, ConditionType.SCHEDULED, "True", Reason.NODE_FOUND, message)
    told = Tell("Scheduled", f"{seen.vm_name} is to move from {vm.node} to {target}")
    return Decision(status, (StartRun(target), told))


def _queue(seen: Seen, where: str) -> Decision:
    """No slot: a phase that was reached is kept."""
    since = _since(seen.status, Phase.PENDING) or seen.now
    if seen.status.phase is not Phase.SCHEDULING and seen.now - since >= seen.patience.queue:
        waited = int(seen.patience.queue.total_seconds())
        return failed(seen, Reason.QUEUE_TIMEOUT, f"no slot in {where} became free in {waited} s")
    phase = Phase.SCHEDULING if seen.status.phase is Phase.SCHEDULING else Phase.PENDING
    return _waits(seen, phase, Reason.WAITING_FOR_SLOT, f"as many migrations run in {where} as may")


def _unschedulable(seen: Seen, placement: Placement) -> Decision:
    now, message = seen.now, verdicts(placement)
    known_ = _condition(seen.status, ConditionType.SCHEDULED)
    since = now
    if known_ is not None and known_.reason == Reason.UNSCHEDULABLE and known_.last_transition_time:
        since = datetime.fromisoformat(known_.last_transition_time)
    left_s = (since + seen.patience.unschedulable - now).total_seconds()
    if left_s <= 0:
        return failed(seen, Reason.UNSCHEDULABLE, message)
    waiting = _waits(seen, Phase.SCHEDULING, Reason.UNSCHEDULABLE, message)
    return Decision(waiting.status, waiting.effects, Again(min(left_s, LOOK_AGAIN_S)))


def verdicts(placement: Placement) -> str:
    """In kube-scheduler's form, then each node that is out and why."""
    details = placement.details()
    return f"{placement.message()} ({details})" if details else placement.message()


def _waits(seen: Seen, phase: Phase, reason: Reason, message: str) -> Decision:
    """Told when the reason is a new one, so that a long wait is not a flood of Events."""
    before = _condition(seen.status, ConditionType.SCHEDULED)
    status = _observed(_moved(seen, phase), seen.now, ConditionType.SCHEDULED, "False", reason, message)
    if before is not None and before.reason == reason:
        return Decision(status, (), Again(LOOK_AGAIN_S))
    warning = reason is Reason.UNSCHEDULABLE
    told = Tell("FailedScheduling" if warning else "WaitingForSlot", message, warning)
    return Decision(status, (told,), Again(LOOK_AGAIN_S))


def _finished(seen: Seen, run: RunSeen, status_code: int) -> Decision:
    code = known(status_code)
    assert code is not None, f"BUG: a run finished with {status_code}, which says nothing"
    meaning = MEANINGS[code]
    said = str(run.result.get("message") or meaning.meaning)
    conclude = Conclude(
        meaning.where, run.source, run.target, said, target_free=run.result.get("targetFree") is not False
    )
    if meaning.where is not Where.TARGET:
        message = f"{said}; {meaning.help}" if meaning.help else said
        status = _with_failure(seen, meaning.reason, message)
        told_of = Tell(meaning.reason.value, said, meaning.reason is not Reason.CANCELLED)
        return Decision(status, (conclude, told_of))
    status = _succeeded(seen, run, said)
    told: tuple[Effect, ...] = (Tell("Succeeded", said),)
    if run.cancelled:
        told = (Tell("TooLateToCancel", "the switch-over had begun: the move was ended, not undone", True), *told)
    return Decision(status, (conclude, *told))


def _succeeded(seen: Seen, run: RunSeen, message: str) -> MigrationStatus:
    result = run.result
    state = _state(seen).model_copy(
        update={
            "completed": True,
            "end_timestamp": result.get("endedAt") or _stamp(seen.now),
            "downtime_ms": result.get("downtimeMs"),
            "target_node_domain_ready_timestamp": _state(seen).target_node_domain_ready_timestamp
            or result.get("arrivedAt"),
            "abort_status": AbortStatus.FAILED if run.cancelled else None,
        }
    )
    status = _moved(seen, Phase.SUCCEEDED).model_copy(update={"migration_state": state})
    if status.progress is not None:
        finished = {"percent": 100, "data_remaining_bytes": 0, "eta_seconds": 0}
        status = status.model_copy(update={"progress": status.progress.model_copy(update=finished)})
    status = _without(status, ConditionType.HELD)
    return _observed(status, seen.now, ConditionType.SUCCEEDED, "True", Reason.MOVED, message)


def _with_failure(seen: Seen, reason: Reason, message: str) -> MigrationStatus:
    state = _state(seen)
    run = seen.run
    changes: dict[str, Any] = {
        "completed": True,
        "failed": True,
        "failure_reason": f"{reason}: {message}",
        "end_timestamp": (run.result.get("endedAt") if run else None) or _stamp(seen.now),
    }
    if reason is Reason.CANCELLED:
        changes |= {"abort_requested": True, "abort_status": AbortStatus.SUCCEEDED}
    status = _moved(seen, Phase.FAILED).model_copy(update={"migration_state": state.model_copy(update=changes)})
    status = _without(status, ConditionType.HELD)
    return _observed(status, seen.now, ConditionType.FAILED, "True", reason, message)


def _about(seen: Seen, vm: VMSeen) -> Seen:
    status = seen.status.model_copy(update={"instance": vm.uid})
    return Seen(
        seen.now,
        seen.vm_name,
        status,
        seen.deleted,
        vm,
        seen.rival,
        seen.contradiction,
        seen.room,
        seen.run,
        seen.patience,
    )


def _moved(seen: Seen, phase: Phase) -> MigrationStatus:
    """The status in that phase; the phases in between are recorded as passed now."""
    status = seen.status
    if status.phase is phase:
        return status
    passed = [p for p in _ORDER if p not in _reached(status) and phase not in FINAL and p != phase]
    upto = _ORDER.index(phase) if phase in _ORDER else 0
    entered = [p for p in passed if _ORDER.index(p) < upto] + [phase]
    stamp = _stamp(seen.now)
    times = [*status.phase_transition_timestamps, *(_transition(p, stamp) for p in entered)]
    return status.model_copy(update={"phase": phase, "phase_transition_timestamps": times})


def _reached(status: MigrationStatus) -> set[Phase]:
    return {transition.phase for transition in status.phase_transition_timestamps}


def _transition(phase: Phase, stamp: str) -> PhaseTransition:
    return PhaseTransition(phase=phase, phase_transition_timestamp=stamp)


def _since(status: MigrationStatus, phase: Phase) -> datetime | None:
    times = (t.phase_transition_timestamp for t in status.phase_transition_timestamps if t.phase is phase)
    first = next(times, None)
    return datetime.fromisoformat(first) if first else None


def _state(seen: Seen) -> MigrationState:
    return seen.status.migration_state or MigrationState()


def _condition(status: MigrationStatus, type_: ConditionType) -> MigrationCondition | None:
    return next((c for c in status.conditions if c.type is type_), None)


def _without(status: MigrationStatus, type_: ConditionType) -> MigrationStatus:
    return status.model_copy(update={"conditions": [c for c in status.conditions if c.type is not type_]})


def _observed(
    status: MigrationStatus, now: datetime, type_: ConditionType, value: str, reason: Reason, message: str
) -> MigrationStatus:
    """With that condition. Its time moves with status and reason: how long a reason has stood is what patience counts."""
    before = _condition(status, type_)
    same = before is not None and (before.status, before.reason) == (value, reason)
    new = MigrationCondition(
        type=type_,
        status=value,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time if same and before else _stamp(now),
    )
    return status.model_copy(update={"conditions": [*(c for c in status.conditions if c.type is not type_), new]})


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
