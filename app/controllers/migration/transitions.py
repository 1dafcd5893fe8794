"""How the status of a Migration changes: its phases, its conditions, their times, and both of its ends. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.controllers.migration.causes import Cause
from app.controllers.migration.deadlines import retry_after
from app.controllers.migration.seen import RunSeen, Seen
from app.kinds.migration import (
    FINAL,
    AbortStatus,
    ConditionType,
    MigrationCondition,
    MigrationState,
    MigrationStatus,
    Phase,
    PhaseTransition,
    Reason,
)

ORDER = (Phase.PENDING, Phase.SCHEDULING, Phase.RUNNING)


def is_retrying(status: MigrationStatus) -> bool:
    """Its last attempt has failed, and another follows."""
    condition = condition_of(status, ConditionType.RETRYING)
    return condition is not None and condition.status == "True"


def is_resting(status: MigrationStatus, now: datetime) -> bool:
    """The time of its next attempt has not come yet."""
    state = status.migration_state
    since = stood_since(condition_of(status, ConditionType.RETRYING))
    attempts = (state and state.attempt) or 1
    return is_retrying(status) and since is not None and now < since + retry_after(attempts)


def succeeded(seen: Seen, run: RunSeen, message: str) -> MigrationStatus:
    """Final: the guest is on the target."""
    result = run.result
    state = state_of(seen.status).model_copy(
        update={
            "completed": True,
            "end_timestamp": result.get("endedAt") or stamped(seen.now),
            "downtime_ms": result.get("downtimeMs"),
            "target_node_domain_ready_timestamp": state_of(seen.status).target_node_domain_ready_timestamp
            or result.get("arrivedAt"),
            "abort_status": AbortStatus.FAILED if run.cancelled else None,
        }
    )
    status = moved(seen.status, seen.now, Phase.SUCCEEDED).model_copy(update={"migration_state": state})
    if status.progress is not None:
        finished = {"percent": 100, "data_remaining_bytes": 0, "eta_seconds": 0}
        status = status.model_copy(update={"progress": status.progress.model_copy(update=finished)})
    status = without(status, ConditionType.HELD, ConditionType.RESOLVED, ConditionType.RETRYING)
    return observed(status, seen.now, ConditionType.SUCCEEDED, "True", Reason.MOVED, message)


def with_failure(
    seen: Seen, reason: Reason, message: str, cause: Cause, ended_at: str | None = None
) -> MigrationStatus:
    """Final: the guest is where it was."""
    state = state_of(seen.status)
    changes: dict[str, Any] = {
        "completed": True,
        "failed": True,
        "failure_reason": f"{reason}: {message}",
        "failure_class": cause.blame,
        "failure_help": cause.help or None,
        "libvirt_code": cause.libvirt_code,
        "libvirt_text": cause.libvirt_text,
        "end_timestamp": ended_at or stamped(seen.now),
    }
    if reason in (Reason.CANCELLED, Reason.DEADLINE_EXCEEDED):
        changes |= {"abort_requested": True, "abort_status": AbortStatus.SUCCEEDED}
    progress = seen.status.progress and seen.status.progress.model_copy(update={"eta_seconds": None})
    status = moved(seen.status, seen.now, Phase.FAILED).model_copy(
        update={"migration_state": state.model_copy(update=changes), "progress": progress}
    )
    status = without(status, ConditionType.HELD, ConditionType.RESOLVED, ConditionType.RETRYING)
    return observed(status, seen.now, ConditionType.FAILED, "True", reason, message)


def moved(status: MigrationStatus, now: datetime, phase: Phase) -> MigrationStatus:
    """The status in that phase; the phases in between are recorded as passed now."""
    if status.phase is phase:
        return status
    passed = [p for p in ORDER if p not in _reached(status) and phase not in FINAL and p != phase]
    upto = ORDER.index(phase) if phase in ORDER else 0
    entered = [p for p in passed if ORDER.index(p) < upto] + [phase]
    at = stamped(now)
    times = [
        *status.phase_transition_timestamps,
        *(PhaseTransition(phase=p, phase_transition_timestamp=at) for p in entered),
    ]
    return status.model_copy(update={"phase": phase, "phase_transition_timestamps": times})


def _reached(status: MigrationStatus) -> set[Phase]:
    return {transition.phase for transition in status.phase_transition_timestamps}


def entered_at(status: MigrationStatus, phase: Phase) -> datetime | None:
    """When it first was in that phase."""
    times = (t.phase_transition_timestamp for t in status.phase_transition_timestamps if t.phase is phase)
    first = next(times, None)
    return datetime.fromisoformat(first) if first else None


def over_since(status: MigrationStatus) -> datetime | None:
    """When that was decided, by the clock of who decides. `endTimestamp` is a worker's, which may go otherwise."""
    stamp = status.migration_state and status.migration_state.end_timestamp
    if status.phase not in FINAL or not stamp:
        return None
    return entered_at(status, status.phase) or datetime.fromisoformat(stamp)


def state_of(status: MigrationStatus) -> MigrationState:
    return status.migration_state or MigrationState()


def condition_of(status: MigrationStatus, type_: ConditionType) -> MigrationCondition | None:
    return next((c for c in status.conditions if c.type is type_), None)


def stood_since(condition: MigrationCondition | None) -> datetime | None:
    """Since when its status and reason have been so."""
    stamp = condition and condition.last_transition_time
    return datetime.fromisoformat(stamp) if stamp else None


def without(status: MigrationStatus, *types: ConditionType) -> MigrationStatus:
    return status.model_copy(update={"conditions": [c for c in status.conditions if c.type not in types]})


def observed(
    status: MigrationStatus, now: datetime, type_: ConditionType, value: str, reason: Reason, message: str
) -> MigrationStatus:
    """With that condition. Its time moves with status and reason: how long a reason has stood is what patience counts."""
    before = condition_of(status, type_)
    same = before is not None and (before.status, before.reason) == (value, reason)
    new = MigrationCondition(
        type=type_,
        status=value,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time if same and before else stamped(now),
    )
    return status.model_copy(update={"conditions": [*(c for c in status.conditions if c.type is not type_), new]})


def stamped(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
