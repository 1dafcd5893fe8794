"""Every wait of a Migration has an end: the rows of the list in deadlines.py that a decision keeps, one test each.

What worker and process keep (silence, lease, keepalive) is held by test_on_hosts.py and test_takeover.py, the pod that a
target left by test_reconcile.py, and the time after the end by ../test_history.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.controllers.migration.deadlines import Patience, retry_after
from app.controllers.migration.decide import decide
from app.controllers.migration.effects import CancelRun, Conclude, Tell, Withdraw
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.seen import Room, Seen, Terms
from app.controllers.outcome import Again
from app.kinds.migration import ConditionType, MigrationCondition, MigrationState, Mode, Phase, Reason
from tests.controllers.migration.test_decide import FITS, FULL, NONE_FITS, NOW, STARTED, acts, finished, reason, seen

PATIENCE = Patience()
SECOND = timedelta(seconds=1)
TARGETS_FULL = Room(FITS, targets_full={"node1": FULL, "node2": FULL})


def after(first: Seen, passed: timedelta) -> Seen:
    """What is seen so long after that was decided upon."""
    return replace(first, status=decide(first).status, now=first.now + passed)


@pytest.mark.parametrize(
    ("room", "limit", "why"),
    [
        (Room(FITS, FULL), PATIENCE.queue, Reason.QUEUE_TIMEOUT),
        (Room(NONE_FITS), PATIENCE.unschedulable, Reason.UNSCHEDULABLE),
        (TARGETS_FULL, PATIENCE.queue, Reason.QUEUE_TIMEOUT),
    ],
    ids=[
        "Pending: a slot",
        "Scheduling: a node",
        "Scheduling: a slot",
    ],
)
def test_who_waits_for_room_waits_so_long(room: Room, limit: timedelta, why: Reason) -> None:
    waiting = seen(room=room)

    assert decide(after(waiting, limit - SECOND)).status.phase in (Phase.PENDING, Phase.SCHEDULING)
    over = decide(after(waiting, limit))
    assert (over.status.phase, reason(over)) == (Phase.FAILED, why)


def test_reasons_that_take_turns_end_too() -> None:
    """Each time that none fits its patience begins anew; the wait for a slot does not."""
    now, status, room = NOW, seen().status, Room(NONE_FITS)
    while status.phase is not Phase.FAILED:
        assert now - NOW <= PATIENCE.queue + PATIENCE.unschedulable
        status = decide(seen(status=status, now=now, room=room)).status
        room = TARGETS_FULL if room.placement is NONE_FITS else Room(NONE_FITS)
        now += timedelta(minutes=4)


def test_a_worker_is_waited_for_so_long() -> None:
    begun = decide(seen())
    waiting = seen(status=begun.status, run=replace(STARTED, claimed=False))

    early = decide(replace(waiting, now=NOW + PATIENCE.claim - SECOND))
    late = decide(replace(waiting, now=NOW + PATIENCE.claim))

    assert begun.again == Again(PATIENCE.claim.total_seconds())
    assert (early.status.phase, early.again) == (Phase.RUNNING, Again(1.0))
    assert (reason(late), acts(late)) == (Reason.NO_WORKER, [Withdraw, Conclude])


def overdue(**more: object) -> Seen:
    """One whose minute is over while it runs."""
    begun = decide(seen(terms=Terms(deadline=timedelta(minutes=1))))
    observed = seen(status=begun.status, run=STARTED, terms=Terms(deadline=timedelta(minutes=1)))
    return replace(observed, **{"now": NOW + timedelta(minutes=1)} | more)  # type: ignore[arg-type]  # fields by name


def test_the_active_deadline_counts_from_the_first_running() -> None:
    early = decide(overdue(now=NOW + timedelta(seconds=59)))
    late = decide(overdue())

    assert (acts(early), early.again) == ([], Again(1.0))
    assert acts(late) == [CancelRun]
    assert late.status.phase is Phase.RUNNING


def test_one_that_its_deadline_stopped_says_so() -> None:
    stopped = decide(overdue(run=replace(STARTED, cancelled=True, exit_code=int(ExitCode.CANCELLED))))

    state = stopped.status.migration_state
    assert (stopped.status.phase, reason(stopped)) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert state is not None and state.abort_requested
    assert "activeDeadlineSeconds (60 s)" in (state.failure_reason or "")


def test_one_that_its_deadline_met_too_late_has_moved() -> None:
    moved = decide(overdue(run=replace(STARTED, cancelled=True, exit_code=0)))

    assert moved.status.phase is Phase.SUCCEEDED
    assert "TooLateToCancel" in [effect.reason for effect in moved.effects if isinstance(effect, Tell)]


@pytest.mark.parametrize(("attempts", "wait_s"), [(1, 10), (2, 20), (3, 40), (6, 320), (7, 360), (99, 360)])
def test_the_next_attempt_waits_as_a_jobs_does(attempts: int, wait_s: float) -> None:
    assert retry_after(attempts).total_seconds() == wait_s


@pytest.mark.parametrize(
    ("room", "limit", "why"),
    [
        (Room(FITS, FULL), PATIENCE.queue, Reason.QUEUE_TIMEOUT),
        (TARGETS_FULL, PATIENCE.queue, Reason.QUEUE_TIMEOUT),
        (Room(NONE_FITS), PATIENCE.unschedulable, Reason.UNSCHEDULABLE),
    ],
)
def test_a_further_attempt_waits_for_room_so_long(room: Room, limit: timedelta, why: Reason) -> None:
    failing = replace(finished(ExitCode.FAILED), terms=Terms(further_attempts=1))
    waiting = replace(after(failing, retry_after(1)), room=room)

    assert decide(after(waiting, limit - retry_after(1) - SECOND)).status.phase is Phase.RUNNING
    over = decide(after(waiting, limit))
    assert (over.status.phase, reason(over)) == (Phase.FAILED, why)


def test_one_that_is_held_by_libvirt_asks_for_no_word() -> None:
    held = MigrationCondition(type=ConditionType.HELD, status="True", reason="LibvirtBusy", message="its process hangs")
    begun = seen(Phase.RUNNING, run=STARTED)
    holding = replace(begun, status=begun.status.model_copy(update={"conditions": [held]}))

    (told,) = [effect for effect in decide(holding).effects if isinstance(effect, Tell)]

    assert told.message.startswith("its process hangs; it is tried again")
    assert "resolve" not in told.message


def test_one_that_is_held_says_so_every_five_minutes() -> None:
    held = MigrationCondition(type=ConditionType.HELD, status="True", reason="HostUnreachable", message="node0 is away")
    begun = seen(Phase.RUNNING, run=STARTED)
    holding = replace(begun, status=begun.status.model_copy(update={"conditions": [held]}))

    first = decide(holding)
    soon = decide(replace(holding, held_told=NOW - timedelta(minutes=4)))
    later = decide(replace(holding, held_told=NOW - timedelta(minutes=5)))

    assert [effect.reason for effect in first.effects if isinstance(effect, Tell)] == ["Held"]
    assert [len(step.effects) for step in (soon, later)] == [0, 1]
    assert first.again == Again(300.0)


@pytest.mark.parametrize(("mode", "resolves"), [(Mode.PRE_COPY, True), (Mode.POST_COPY, False)])
def test_a_broken_post_copy_asks_nobody_where_the_guest_is(mode: Mode, resolves: bool) -> None:
    held = MigrationCondition(type=ConditionType.HELD, status="True", reason="HostUnreachable", message="it broke")
    begun = seen(Phase.RUNNING, run=STARTED)
    changed = {"conditions": [held], "migration_state": MigrationState(mode=mode)}

    told = decide(replace(begun, status=begun.status.model_copy(update=changed))).effects

    assert [resolves] == ["resolve=source" in effect.message for effect in told if isinstance(effect, Tell)]
    assert ["out-of-service" in effect.message for effect in told if isinstance(effect, Tell)] == [True]
