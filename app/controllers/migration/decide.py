"""
What a Migration does next, judged only from what was seen. Pure.

    ""  ──▶ Pending ──▶ Scheduling ──▶ Running ──▶ Succeeded     the guest runs on the target
     │         │             │            │
     └─────────┴─────────────┴────────────┴──────▶ Failed        the guest is where it was

    Pending      no slot in the cluster or out of the source      → Scheduling when there is one
    Scheduling   no node fits, or those that fit are full         → Running when one fits and has a slot
    Running      target pod, migration pod and run are there      → the end, when the run has finished and none follows
                 Retrying: it failed, its target is given back    → as Scheduling, when its time has come; still Running

Several phases may be passed in one step, each with its time; none is ever passed back. Succeeded and Failed are final.
How long each wait may last stands in deadlines.py.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from app.controllers.migration.causes import Cause, cause_of, cause_of_run, may_try_again
from app.controllers.migration.deadlines import Patience, retry_after
from app.controllers.migration.exit_codes import MEANINGS, ExitCode, Meaning, Where, known
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
from app.kinds.migration_options import MigrationConfiguration
from app.kinds.virtualmachine import Phase as VMPhase

LOOK_AGAIN_S = 5.0
HELD = "Held"
"""The Event that says so."""
_ORDER = (Phase.PENDING, Phase.SCHEDULING, Phase.RUNNING)


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
    targets_full: Container[str] = frozenset()

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
    attempt: int = 1
    claimed: bool = True
    """A worker has, or had, it. One that nobody claimed has done nothing, and can be taken back."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What its spec says of its own end."""

    cancel: bool = False
    deadline: timedelta | None = None
    """From its first Running."""
    further_attempts: int = 0


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
    patience: Patience = field(default_factory=Patience)
    terms: Terms = field(default_factory=Terms)
    held_told: datetime | None = None
    """When an Event last said that it is held, as far as this process knows."""
    wished: MigrationConfiguration | None = None
    """The options of what runs, as they would be now."""


@dataclass(frozen=True, slots=True)
class StartRun:
    """Reserve the target and order the process: target pod, migration pod and run, together."""

    target: str


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Let the process abort, if it is not too late."""

    run: UUID


@dataclass(frozen=True, slots=True)
class Retune:
    """Let the process go on with what was changed on the way."""

    run: UUID
    configuration: MigrationConfiguration


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Finish a run that no worker has claimed. A worker that is quicker wins, and then nothing of the step happens."""

    run: UUID
    code: ExitCode
    result: Mapping[str, Any]


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


Effect = StartRun | CancelRun | Retune | Withdraw | Conclude | Tell


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
    if seen.deleted or seen.terms.cancel:
        return failed(seen, Reason.CANCELLED, f"{_wish(seen)} before it began: nothing was moved")
    if seen.vm is not None and seen.vm.leaving and seen.status.phase is not Phase.NEW:
        return failed(seen, Reason.CANCELLED, f"{_wish(seen)}: nothing was moved")
    return _attempt(seen)


def _attempt(seen: Seen) -> Decision:
    vm = seen.vm
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
    """The run is the truth; a wish to stop is passed on to it once."""
    run = seen.run
    if run is None:
        return failed(seen, Reason.LOST, "BUG: it was Running without a run")
    if is_retrying(seen.status):
        return _retry(seen, run)
    if run.exit_code is not None:
        return _finished(seen, run, run.exit_code)
    why = _wish(seen) or (_overdue_words(seen) if _is_overdue(seen) else None)
    if why is not None and not run.claimed:
        return _withdrawn(seen, run, ExitCode.CANCELLED, MEANINGS[ExitCode.CANCELLED].meaning)
    if why is not None and not run.cancelled:
        return _stopping(seen, run, why)
    if not run.claimed and _left_s(seen, _attempt_began(seen), seen.patience.claim) <= 0:
        waited = int(seen.patience.claim.total_seconds())
        return _withdrawn(seen, run, ExitCode.NOT_STARTED, f"no worker took the move on in {waited} s")
    return _retuned(seen, run, Decision(seen.status, _held_again(seen), _next_look(seen, run)))


def _retuned(seen: Seen, run: RunSeen, otherwise: Decision) -> Decision:
    """What may be changed on the way is passed on when it was."""
    state = _state(seen)
    if seen.wished is None or seen.wished == state.migration_configuration:
        return otherwise
    state = state.model_copy(update={"migration_configuration": seen.wished})
    status = seen.status.model_copy(update={"migration_state": state})
    told = Tell("Retuned", "the options were changed on the way")
    return Decision(status, (*otherwise.effects, Retune(run.id, seen.wished), told), otherwise.again)


def is_retrying(status: MigrationStatus) -> bool:
    """Its last attempt has failed, and another follows."""
    condition = _condition(status, ConditionType.RETRYING)
    return condition is not None and condition.status == "True"


def is_resting(status: MigrationStatus, now: datetime) -> bool:
    """The time of its next attempt has not come yet."""
    state = status.migration_state
    since = _stood_since(_condition(status, ConditionType.RETRYING))
    attempts = (state and state.attempt) or 1
    return is_retrying(status) and since is not None and now < since + retry_after(attempts)


def failed(seen: Seen, reason: Reason, message: str) -> Decision:
    """Final: nothing was begun, or the guest stayed."""
    cause = cause_of(reason)
    told = Tell(reason.value, cause.told(message), reason is not Reason.CANCELLED)
    return Decision(_with_failure(seen, reason, message, cause), (told,))


def _wish(seen: Seen) -> str | None:
    """That somebody wants it stopped, in words."""
    if seen.deleted:
        return "the Migration was deleted"
    if seen.terms.cancel:
        return "spec.cancel was set"
    if seen.vm is None or seen.vm.leaving:
        return "the VirtualMachine is being deleted"
    return None


def _is_overdue(seen: Seen) -> bool:
    deadline = seen.terms.deadline
    return deadline is not None and _left_s(seen, _since(seen.status, Phase.RUNNING), deadline) <= 0


def _overdue_words(seen: Seen) -> str:
    assert seen.terms.deadline is not None, "BUG: overdue without a deadline"
    return f"it was Running for longer than activeDeadlineSeconds ({int(seen.terms.deadline.total_seconds())} s)"


def _stopping(seen: Seen, run: RunSeen, why: str) -> Decision:
    state = _state(seen).model_copy(update={"abort_requested": True, "abort_status": AbortStatus.ABORTING})
    status = seen.status.model_copy(update={"migration_state": state})
    return Decision(status, (CancelRun(run.id), Tell("Cancelling", f"{why}: the copy is being stopped")))


def _withdrawn(seen: Seen, run: RunSeen, code: ExitCode, message: str) -> Decision:
    """No host knows of that run: it ends here, and so may the Migration."""
    result = {"message": message, "endedAt": _stamp(seen.now)}
    ended = _finished(seen, replace(run, exit_code=int(code), result=result), int(code))
    return Decision(ended.status, (Withdraw(run.id, code, result), *ended.effects), ended.again)


def _attempt_began(seen: Seen) -> datetime | None:
    """When the run of this attempt was ordered."""
    retrying = _condition(seen.status, ConditionType.RETRYING)
    return _since(seen.status, Phase.RUNNING) if retrying is None else _stood_since(retrying)


def _held_again(seen: Seen) -> tuple[Effect, ...]:
    """A hold has no end but its host's word: so that nobody forgets it, it is said again and again."""
    held = _condition(seen.status, ConditionType.HELD)
    if held is None or held.status != "True":
        return ()
    if seen.held_told is not None and seen.now - seen.held_told < seen.patience.held_told:
        return ()
    return (Tell(HELD, f"{held.message}: nothing is done until that host answers", True),)


def _next_look(seen: Seen, run: RunSeen) -> Outcome:
    """When the first of its deadlines may have passed."""
    ends = []
    if seen.terms.deadline is not None and not run.cancelled:
        ends.append(_left_s(seen, _since(seen.status, Phase.RUNNING), seen.terms.deadline))
    if not run.claimed:
        ends.append(_left_s(seen, _attempt_began(seen), seen.patience.claim))
    if _condition(seen.status, ConditionType.HELD) is not None:
        ends.append(seen.patience.held_told.total_seconds())
    return Again(max(0.0, min(ends))) if ends else SETTLED


def _retry(seen: Seen, run: RunSeen) -> Decision:
    """The next attempt, when its time has come and there is room. It holds nothing meanwhile."""
    if (wish := _wish(seen)) is not None:
        return failed(seen, Reason.CANCELLED, f"{wish} between two attempts: the guest is on its source")
    if _is_overdue(seen):
        return failed(seen, Reason.DEADLINE_EXCEEDED, f"{_overdue_words(seen)}, {run.attempt} attempts")
    retrying = _condition(seen.status, ConditionType.RETRYING)
    left_s = _left_s(seen, _stood_since(retrying), retry_after(run.attempt))
    if left_s > 0:
        looks = [left_s]
        if seen.terms.deadline is not None:
            looks.append(_left_s(seen, _since(seen.status, Phase.RUNNING), seen.terms.deadline))
        return Decision(seen.status, (), Again(min(looks)))
    return _attempt(seen)


def _left_s(seen: Seen, since: datetime | None, patience: timedelta) -> float:
    return ((since or seen.now) + patience - seen.now).total_seconds()


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
        message = f"as many guests arrive as may at {full}"
        return _timed_out(seen, full) or _waits(seen, Phase.SCHEDULING, Reason.WAITING_FOR_SLOT, message)
    state = MigrationState(
        source_node=vm.node,
        target_node=target,
        start_timestamp=_state(seen).start_timestamp or _stamp(seen.now),
        mode=Mode.PRE_COPY,
    )
    status = _moved(seen, Phase.RUNNING).model_copy(update={"migration_state": state, "progress": None})
    message = f"to {target}; {verdicts(room.placement)}"
    status = _observed(status, seen.now, ConditionType.SCHEDULED, "True", Reason.NODE_FOUND, message)
    which = ""
    if is_retrying(seen.status) and seen.run is not None:
        which = f", attempt {seen.run.attempt + 1} of {seen.terms.further_attempts + 1}"
        status = _observed(status, seen.now, ConditionType.RETRYING, "False", Reason.NODE_FOUND, f"to {target}{which}")
    told = Tell("Scheduled", f"{seen.vm_name} is to move from {vm.node} to {target}{which}")
    return Decision(status, (StartRun(target), told), _first_look(seen))


def _first_look(seen: Seen) -> Outcome:
    """At whether a worker took it on, or its time is over."""
    patience = seen.patience.claim if seen.terms.deadline is None else min(seen.patience.claim, seen.terms.deadline)
    return Again(patience.total_seconds())


def _queue(seen: Seen, where: str) -> Decision:
    """No slot: a phase that was reached is kept."""
    message = f"as many migrations run in {where} as may"
    return _timed_out(seen, where) or _waits(seen, Phase.PENDING, Reason.WAITING_FOR_SLOT, message)


def _timed_out(seen: Seen, where: str) -> Decision | None:
    """The wait for a slot is over, without one."""
    match seen.status.phase:
        case Phase.SCHEDULING:
            since = _since(seen.status, Phase.SCHEDULING)
        case Phase.RUNNING:
            retrying = _condition(seen.status, ConditionType.RETRYING)
            since = _stood_since(retrying)
        case _:
            since = _since(seen.status, Phase.PENDING)
    if _left_s(seen, since, seen.patience.queue) > 0:
        return None
    waited = int(seen.patience.queue.total_seconds())
    return failed(seen, Reason.QUEUE_TIMEOUT, f"no slot in {where} became free in {waited} s")


def _unschedulable(seen: Seen, placement: Placement) -> Decision:
    now, message = seen.now, verdicts(placement)
    known_ = _condition(seen.status, ConditionType.SCHEDULED)
    since = now
    if known_ is not None and known_.reason == Reason.UNSCHEDULABLE:
        since = _stood_since(known_) or now
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
    """Told when the reason is a new one, so that a long wait is not a flood of Events. A phase that was reached is kept."""
    before = _condition(seen.status, ConditionType.SCHEDULED)
    if seen.status.phase in _ORDER:
        phase = max(phase, seen.status.phase, key=_ORDER.index)
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
        cause = cause_of_run(code, run.result)
        stopped = _wish(seen) is not None or _is_overdue(seen)
        if run.attempt <= seen.terms.further_attempts and may_try_again(code, cause) and not stopped:
            return _tries_again(seen, run, meaning, cause, conclude)
        return _given_up(seen, run, code, cause, conclude)
    status = _succeeded(seen, run, said)
    told: tuple[Effect, ...] = (Tell("Succeeded", said),)
    if run.cancelled:
        why = _wish(seen) or (_overdue_words(seen) if _is_overdue(seen) else "it was to be stopped")
        late = f"{why}, but the switch-over had begun: the move was ended, not undone"
        told = (Tell("TooLateToCancel", late, True), *told)
    return Decision(status, (conclude, *told))


def _given_up(seen: Seen, run: RunSeen, code: ExitCode, cause: Cause, conclude: Conclude) -> Decision:
    """That was the last attempt. Whether it was cancelled is judged by the wish: libvirt has many words for it."""
    reason, said = MEANINGS[code].reason, conclude.message
    if reason is Reason.CANCELLED and _wish(seen) is None and _is_overdue(seen):
        reason, cause = Reason.DEADLINE_EXCEEDED, cause_of(Reason.DEADLINE_EXCEEDED)
        said = f"{_overdue_words(seen)} and was stopped: the guest stays on its source"
    elif reason is Reason.CANCELLED and (wish := _wish(seen)) is not None:
        said = f"{wish}: the guest stays on its source"
    if run.attempt > 1:
        said = f"attempt {run.attempt} of {seen.terms.further_attempts + 1}: {said}"
    message = f"{said}; {cause.help}" if cause.help else said
    status = _with_failure(seen, reason, message, cause, run.result.get("endedAt"))
    told = Tell(reason.value, cause.told(said), reason is not Reason.CANCELLED)
    return Decision(status, (conclude, told))


def _tries_again(seen: Seen, run: RunSeen, meaning: Meaning, cause: Cause, conclude: Conclude) -> Decision:
    """Still Running: what it held is given back, and the next attempt waits like any other for its turn."""
    which = f"attempt {run.attempt} of {seen.terms.further_attempts + 1} to {run.target}"
    wait_s = retry_after(run.attempt).total_seconds()
    message = f"{which} failed: {conclude.message}; the next in {wait_s:g} s"
    status = _without(seen.status, ConditionType.HELD)
    status = _observed(status, seen.now, ConditionType.RETRYING, "True", meaning.reason, message)
    told = Tell("Retrying", f"{which} failed: {cause.told(conclude.message)}", True)
    return Decision(status, (conclude, told), Again(wait_s))


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
    status = _without(status, ConditionType.HELD, ConditionType.RETRYING)
    return _observed(status, seen.now, ConditionType.SUCCEEDED, "True", Reason.MOVED, message)


def _with_failure(
    seen: Seen, reason: Reason, message: str, cause: Cause, ended_at: str | None = None
) -> MigrationStatus:
    state = _state(seen)
    changes: dict[str, Any] = {
        "completed": True,
        "failed": True,
        "failure_reason": f"{reason}: {message}",
        "failure_class": cause.blame,
        "failure_help": cause.help or None,
        "libvirt_code": cause.libvirt_code,
        "libvirt_text": cause.libvirt_text,
        "end_timestamp": ended_at or _stamp(seen.now),
    }
    if reason in (Reason.CANCELLED, Reason.DEADLINE_EXCEEDED):
        changes |= {"abort_requested": True, "abort_status": AbortStatus.SUCCEEDED}
    status = _moved(seen, Phase.FAILED).model_copy(update={"migration_state": state.model_copy(update=changes)})
    status = _without(status, ConditionType.HELD, ConditionType.RETRYING)
    return _observed(status, seen.now, ConditionType.FAILED, "True", reason, message)


def _about(seen: Seen, vm: VMSeen) -> Seen:
    return replace(seen, status=seen.status.model_copy(update={"instance": vm.uid}))


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


def _stood_since(condition: MigrationCondition | None) -> datetime | None:
    """Since when its status and reason have been so."""
    stamp = condition and condition.last_transition_time
    return datetime.fromisoformat(stamp) if stamp else None


def _without(status: MigrationStatus, *types: ConditionType) -> MigrationStatus:
    return status.model_copy(update={"conditions": [c for c in status.conditions if c.type not in types]})


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
