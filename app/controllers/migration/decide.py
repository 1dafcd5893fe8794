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

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from app.controllers.migration.causes import Cause, cause_of, cause_of_run, may_try_again
from app.controllers.migration.deadlines import retry_after
from app.controllers.migration.effects import (
    CancelRun,
    Conclude,
    Decision,
    Effect,
    Retune,
    StartRun,
    Tell,
    Withdraw,
)
from app.controllers.migration.exit_codes import MEANINGS, ExitCode, Meaning, Where, known
from app.controllers.migration.seen import Room, RunSeen, Seen, VMSeen
from app.controllers.migration.transitions import (
    ORDER,
    condition_of,
    entered_at,
    is_retrying,
    moved,
    observed,
    stamped,
    state_of,
    stood_since,
    succeeded,
    with_failure,
    without,
)
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.placement.pipeline import NAMED, Placement
from app.kinds.migration import AbortStatus, ConditionType, MigrationState, Mode, Phase, Reason
from app.kinds.migration_options import CHANGEABLE, MigrationConfiguration
from app.kinds.virtualmachine import Phase as VMPhase

LOOK_AGAIN_S = 5.0
HELD = "Held"
"""The Event that says so."""
_WAY_OUT = (
    "nothing is done until that host answers, is declared to be off (taint node.kubernetes.io/out-of-service:NoExecute), or"
    " kubectl annotate says where the guest is (kubevirt.io/resolve=source, target or lost)"
)
_TRIED_AGAIN = "it is tried again until that has ended: see what is wrong with the guest's process or job on that host"
_WAY_OUT_OF_POST_COPY = (
    "where one of the two is off for good, say so (taint node.kubernetes.io/out-of-service:NoExecute)"
)


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
    state = state_of(seen.status)
    if seen.wished is None or seen.wished == state.migration_configuration:
        return otherwise
    told = Tell("Retuned", f"from now on {_changes(state.migration_configuration, seen.wished)}")
    state = state.model_copy(update={"migration_configuration": seen.wished})
    status = seen.status.model_copy(update={"migration_state": state})
    return Decision(status, (*otherwise.effects, Retune(run.id, seen.wished), told), otherwise.again)


def _changes(before: MigrationConfiguration | None, after: MigrationConfiguration) -> str:
    """Only some options can be changed on the way."""
    had, has = ({} if one is None else one.dump() for one in (before, after))
    told = ((name, had.get(name), has.get(name)) for name in CHANGEABLE)
    return ", ".join(f"{name} is {new or 'unset'} instead of {old or 'unset'}" for name, old, new in told if old != new)


def failed(seen: Seen, reason: Reason, message: str) -> Decision:
    """Final: nothing was begun, or the guest stayed."""
    cause = cause_of(reason)
    told = Tell(reason.value, cause.told(message), reason is not Reason.CANCELLED)
    return Decision(with_failure(seen, reason, message, cause), (told,))


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
    return deadline is not None and _left_s(seen, entered_at(seen.status, Phase.RUNNING), deadline) <= 0


def _overdue_words(seen: Seen) -> str:
    assert seen.terms.deadline is not None, "BUG: overdue without a deadline"
    return f"it was Running for longer than activeDeadlineSeconds ({int(seen.terms.deadline.total_seconds())} s)"


def _stopping(seen: Seen, run: RunSeen, why: str) -> Decision:
    state = state_of(seen.status).model_copy(update={"abort_requested": True, "abort_status": AbortStatus.ABORTING})
    status = seen.status.model_copy(update={"migration_state": state})
    return Decision(status, (CancelRun(run.id), Tell("Cancelling", f"{why}: the copy is being stopped")))


def _withdrawn(seen: Seen, run: RunSeen, code: ExitCode, message: str) -> Decision:
    """No host knows of that run: it ends here, and so may the Migration."""
    result = {"message": message, "endedAt": stamped(seen.now)}
    ended = _finished(seen, replace(run, exit_code=int(code), result=result), int(code))
    return Decision(ended.status, (Withdraw(run.id, code, result), *ended.effects), ended.again)


def _attempt_began(seen: Seen) -> datetime | None:
    """When the run of this attempt was ordered."""
    retrying = condition_of(seen.status, ConditionType.RETRYING)
    return entered_at(seen.status, Phase.RUNNING) if retrying is None else stood_since(retrying)


def _held_again(seen: Seen) -> tuple[Effect, ...]:
    """A hold has no end but its host's word: so that nobody forgets it, it is said again and again."""
    held = condition_of(seen.status, ConditionType.HELD)
    if held is None or held.status != "True":
        return ()
    if seen.held_told is not None and seen.now - seen.held_told < seen.patience.held_told:
        return ()
    state = seen.status.migration_state
    halved = state is not None and state.mode is Mode.POST_COPY
    told = f"{held.message}; {_WAY_OUT_OF_POST_COPY}" if halved else f"{held.message}: {_WAY_OUT}"
    if held.reason == Reason.LIBVIRT_BUSY:
        told = f"{held.message}; {_TRIED_AGAIN}"
    return (Tell(HELD, told, True),)


def _next_look(seen: Seen, run: RunSeen) -> Outcome:
    """When the first of its deadlines may have passed."""
    ends = []
    if seen.terms.deadline is not None and not run.cancelled:
        ends.append(_left_s(seen, entered_at(seen.status, Phase.RUNNING), seen.terms.deadline))
    if not run.claimed:
        ends.append(_left_s(seen, _attempt_began(seen), seen.patience.claim))
    if condition_of(seen.status, ConditionType.HELD) is not None:
        ends.append(seen.patience.held_told.total_seconds())
    return Again(max(0.0, min(ends))) if ends else SETTLED


def _retry(seen: Seen, run: RunSeen) -> Decision:
    """The next attempt, when its time has come and there is room. It holds nothing meanwhile."""
    if (wish := _wish(seen)) is not None:
        return failed(seen, Reason.CANCELLED, f"{wish} between two attempts: the guest is on its source")
    if _is_overdue(seen):
        return failed(seen, Reason.DEADLINE_EXCEEDED, f"{_overdue_words(seen)}, {run.attempt} attempts")
    retrying = condition_of(seen.status, ConditionType.RETRYING)
    left_s = _left_s(seen, stood_since(retrying), retry_after(run.attempt))
    if left_s > 0:
        looks = [left_s]
        if seen.terms.deadline is not None:
            looks.append(_left_s(seen, entered_at(seen.status, Phase.RUNNING), seen.terms.deadline))
        return Decision(seen.status, (), Again(min(looks)))
    return _attempt(seen)


def _left_s(seen: Seen, since: datetime | None, patience: timedelta) -> float:
    return ((since or seen.now) + patience - seen.now).total_seconds()


def _place(seen: Seen, vm: VMSeen, room: Room) -> Decision:
    if room.full:
        return _timed_out(seen, room.full) or _waits(seen, Phase.PENDING, Reason.WAITING_FOR_SLOT, room.full)
    if not room.placement.fitting:
        return _unschedulable(seen, room.placement)
    target = room.target
    if target is None:
        full = _all_full(room.targets_full)
        return _timed_out(seen, full) or _waits(seen, Phase.SCHEDULING, Reason.WAITING_FOR_SLOT, full)
    state = MigrationState(
        source_node=vm.node,
        target_node=target,
        start_timestamp=state_of(seen.status).start_timestamp or stamped(seen.now),
        mode=Mode.PRE_COPY,
    )
    status = moved(seen.status, seen.now, Phase.RUNNING).model_copy(update={"migration_state": state, "progress": None})
    message = f"to {target}; {verdicts(room.placement)}"
    status = observed(status, seen.now, ConditionType.SCHEDULED, "True", Reason.NODE_FOUND, message)
    which = ""
    if is_retrying(seen.status) and seen.run is not None:
        which = f", attempt {seen.run.attempt + 1} of {seen.terms.further_attempts + 1}"
        status = observed(status, seen.now, ConditionType.RETRYING, "False", Reason.NODE_FOUND, f"to {target}{which}")
    told = Tell("Scheduled", f"{seen.vm_name} is to move from {vm.node} to {target}{which}")
    return Decision(status, (StartRun(target), told), _first_look(seen))


def _first_look(seen: Seen) -> Outcome:
    """At whether a worker took it on, or its time is over."""
    patience = seen.patience.claim if seen.terms.deadline is None else min(seen.patience.claim, seen.terms.deadline)
    return Again(patience.total_seconds())


def _all_full(targets: Mapping[str, str]) -> str:
    """Nodes together that are full for the same reason; of many the first."""
    by_reason: dict[str, list[str]] = {}
    for name, why in sorted(targets.items()):
        by_reason.setdefault(why, []).append(name)
    return "; ".join(
        f"{', '.join(names[:NAMED])}{f' and {len(names) - NAMED} more' if len(names) > NAMED else ''}: {why}"
        for why, names in by_reason.items()
    )


def _timed_out(seen: Seen, full: str) -> Decision | None:
    """The wait for a slot is over, without one."""
    match seen.status.phase:
        case Phase.SCHEDULING:
            since = entered_at(seen.status, Phase.SCHEDULING)
        case Phase.RUNNING:
            retrying = condition_of(seen.status, ConditionType.RETRYING)
            since = stood_since(retrying)
        case _:
            since = entered_at(seen.status, Phase.PENDING)
    if _left_s(seen, since, seen.patience.queue) > 0:
        return None
    waited = int(seen.patience.queue.total_seconds())
    return failed(seen, Reason.QUEUE_TIMEOUT, f"no slot became free in {waited} s (DROVER_QUEUE_TIMEOUT_S): {full}")


def _unschedulable(seen: Seen, placement: Placement) -> Decision:
    now, message = seen.now, verdicts(placement)
    known_ = condition_of(seen.status, ConditionType.SCHEDULED)
    since = now
    if known_ is not None and known_.reason == Reason.UNSCHEDULABLE:
        since = stood_since(known_) or now
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
    before = condition_of(seen.status, ConditionType.SCHEDULED)
    if seen.status.phase in ORDER:
        phase = max(phase, seen.status.phase, key=ORDER.index)
    status = observed(moved(seen.status, seen.now, phase), seen.now, ConditionType.SCHEDULED, "False", reason, message)
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
        state = seen.status.migration_state
        cause = cause_of_run(code, run.result, encrypted=bool(state and state.encrypted))
        stopped = _wish(seen) is not None or _is_overdue(seen)
        if run.attempt <= seen.terms.further_attempts and may_try_again(code, cause) and not stopped:
            return _tries_again(seen, run, meaning, cause, conclude)
        return _given_up(seen, run, code, cause, conclude)
    status = succeeded(seen, run, said)
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
    status = with_failure(seen, reason, message, cause, run.result.get("endedAt"))
    told = Tell(reason.value, cause.told(said), reason is not Reason.CANCELLED)
    return Decision(status, (conclude, told))


def _tries_again(seen: Seen, run: RunSeen, meaning: Meaning, cause: Cause, conclude: Conclude) -> Decision:
    """Still Running: what it held is given back, and the next attempt waits like any other for its turn."""
    which = f"attempt {run.attempt} of {seen.terms.further_attempts + 1} to {run.target}"
    wait_s = retry_after(run.attempt).total_seconds()
    message = f"{which} failed: {conclude.message}; the next in {wait_s:g} s"
    status = without(seen.status, ConditionType.HELD, ConditionType.RESOLVED)
    status = observed(status, seen.now, ConditionType.RETRYING, "True", meaning.reason, message)
    blamed = replace(cause, help=f"the next in {wait_s:g} s").told(conclude.message)
    told = Tell("Retrying", f"{which} failed: {blamed}", True)
    return Decision(status, (conclude, told), Again(wait_s))


def _about(seen: Seen, vm: VMSeen) -> Seen:
    return replace(seen, status=seen.status.model_copy(update={"instance": vm.uid}))
