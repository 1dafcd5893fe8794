"""What a Migration does next: the table is the specification; random sequences keep its laws."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.controllers.migration.deadlines import Patience
from app.controllers.migration.decide import decide
from app.controllers.migration.effects import CancelRun, Conclude, Decision, Effect, Retune, StartRun, Tell, Withdraw
from app.controllers.migration.exit_codes import MEANINGS, ExitCode, Where, known
from app.controllers.migration.seen import Room, RunSeen, Seen, Terms, VMSeen
from app.controllers.migration.transitions import is_retrying
from app.controllers.outcome import SETTLED, Again
from app.controllers.placement.pipeline import Placement
from app.kinds.migration import (
    FINAL,
    AbortStatus,
    ConditionType,
    FailureClass,
    MigrationProgress,
    MigrationState,
    MigrationStatus,
    Phase,
    Reason,
)
from app.kinds.migration_options import MigrationConfiguration
from app.kinds.virtualmachine import Phase as VMPhase

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
RUN = UUID("00000000-0000-4000-8000-000000000001")
VM = VMSeen("vm-uid", VMPhase.RUNNING, "node0")
FITS = Placement(("node1", "node2"), {"node0": "node is the source"})
NONE_FITS = Placement((), {"node0": "node is the source", "node1": "node(s) were not ready"})
FULL = "full: 2 at once (A_SETTING)"
STARTED = RunSeen(RUN, "node0", "node1")


def seen(phase: Phase = Phase.NEW, **more: object) -> Seen:
    """A Migration of a running VirtualMachine with room for it, in that phase."""
    given = Seen(NOW, "testvm", MigrationStatus(phase=phase), vm=VM, room=Room(FITS))
    return replace(given, **more)  # type: ignore[arg-type]  # fields by name


def finished(code: ExitCode, **more: object) -> Seen:
    return seen(Phase.RUNNING, run=replace(STARTED, exit_code=int(code), **more))  # type: ignore[arg-type]


def reason(decision: Decision) -> Reason | None:
    """Of the condition that explains the phase."""
    wanted = {Phase.FAILED: ConditionType.FAILED, Phase.SUCCEEDED: ConditionType.SUCCEEDED}
    type_ = wanted.get(decision.status.phase, ConditionType.SCHEDULED)
    found = next((c for c in decision.status.conditions if c.type is type_), None)
    return Reason(found.reason) if found else None


def acts(decision: Decision) -> list[type[Effect]]:
    return [type(effect) for effect in decision.effects if not isinstance(effect, Tell)]


CASES = {
    "starts when a node fits": (seen(), Phase.RUNNING, Reason.NODE_FOUND, [StartRun]),
    "fails without a VM": (seen(vm=None), Phase.FAILED, Reason.VM_NOT_FOUND, []),
    "fails for a VM that does not run": (
        seen(vm=replace(VM, phase=VMPhase.SCHEDULED)), Phase.FAILED, Reason.VM_NOT_RUNNING, [],
    ),
    "fails for a VM that never had a node": (seen(vm=replace(VM, node="")), Phase.FAILED, Reason.VM_NOT_RUNNING, []),
    "is cancelled while it waits by its spec": (
        seen(Phase.PENDING, terms=Terms(cancel=True)), Phase.FAILED, Reason.CANCELLED, [],
    ),
    "is cancelled when its VM is deleted while it waits": (
        seen(Phase.PENDING, vm=replace(VM, leaving=True)), Phase.FAILED, Reason.CANCELLED, [],
    ),
    "cancels the run of one whose spec says so": (
        seen(Phase.RUNNING, run=STARTED, terms=Terms(cancel=True)), Phase.RUNNING, None, [CancelRun],
    ),
    "takes back a run that no worker claimed": (
        seen(Phase.RUNNING, run=replace(STARTED, claimed=False), terms=Terms(cancel=True)),
        Phase.FAILED, Reason.CANCELLED, [Withdraw, Conclude],
    ),
    "waits for a worker": (seen(Phase.RUNNING, run=replace(STARTED, claimed=False)), Phase.RUNNING, None, []),
    "fails for a VM that is being deleted": (seen(vm=replace(VM, leaving=True)), Phase.FAILED, Reason.VM_NOT_RUNNING, []),
    "fails for a guest that something keeps": (
        seen(vm=replace(VM, bound="the guest holds 1 device(s) of its host (HostDevices)")),
        Phase.FAILED, Reason.VM_NOT_MIGRATABLE, [],
    ),
    "fails beside a rival": (seen(rival="m0"), Phase.FAILED, Reason.MIGRATION_IN_PROGRESS, []),
    "a rival explains a VM that migrates": (
        seen(rival="m0", vm=replace(VM, phase=VMPhase.MIGRATING)), Phase.FAILED, Reason.MIGRATION_IN_PROGRESS, [],
    ),
    "fails for selectors that contradict": (
        seen(contradiction="disk=ssd, disk=hdd"), Phase.FAILED, Reason.NODE_SELECTOR_CONFLICT, [],
    ),
    "waits in Pending for a slot": (seen(room=Room(FITS, FULL)), Phase.PENDING, Reason.WAITING_FOR_SLOT, []),
    "waits in Scheduling while no node fits": (
        seen(room=Room(NONE_FITS)), Phase.SCHEDULING, Reason.UNSCHEDULABLE, [],
    ),
    "waits in Scheduling while all that fit are full": (
        seen(room=Room(FITS, targets_full={"node1": FULL, "node2": FULL})), Phase.SCHEDULING, Reason.WAITING_FOR_SLOT, [],
    ),
    "does not go back to Pending": (
        seen(Phase.SCHEDULING, room=Room(FITS, FULL)), Phase.SCHEDULING, Reason.WAITING_FOR_SLOT, [],
    ),
    "goes on from Pending": (seen(Phase.PENDING), Phase.RUNNING, Reason.NODE_FOUND, [StartRun]),
    "fails when its VM goes while it waits": (seen(Phase.PENDING, vm=None), Phase.FAILED, Reason.VM_NOT_FOUND, []),
    "is cancelled while it waits": (seen(Phase.PENDING, deleted=True), Phase.FAILED, Reason.CANCELLED, []),
    "is cancelled before it was looked at": (seen(deleted=True, vm=None), Phase.FAILED, Reason.CANCELLED, []),
    "leaves a run alone": (seen(Phase.RUNNING, run=STARTED), Phase.RUNNING, None, []),
    "cancels the run of a deleted Migration": (
        seen(Phase.RUNNING, run=STARTED, deleted=True), Phase.RUNNING, None, [CancelRun],
    ),
    "cancels the run of a VM that is being deleted": (
        seen(Phase.RUNNING, run=STARTED, vm=replace(VM, leaving=True)), Phase.RUNNING, None, [CancelRun],
    ),
    "cancels once": (
        seen(Phase.RUNNING, run=replace(STARTED, cancelled=True), deleted=True), Phase.RUNNING, None, [],
    ),
    "succeeds with exit code 0": (finished(ExitCode.MOVED), Phase.SUCCEEDED, Reason.MOVED, [Conclude]),
    "succeeds also when the cancel came too late": (
        finished(ExitCode.MOVED, cancelled=True), Phase.SUCCEEDED, Reason.MOVED, [Conclude],
    ),
    **{
        f"fails with exit code {int(code)}": (finished(code), Phase.FAILED, meaning.reason, [Conclude])
        for code, meaning in MEANINGS.items() if code is not ExitCode.MOVED
    },
    **{
        f"{'tries again' if again else 'gives up'} after exit code {int(code)}": (
            seen(Phase.RUNNING, run=replace(STARTED, exit_code=int(code)), terms=Terms(further_attempts=1)),
            Phase.RUNNING if again else Phase.FAILED, None if again else MEANINGS[code].reason, [Conclude],
        )
        for code, again in {
            ExitCode.FAILED: True, ExitCode.INCOMPATIBLE: True, ExitCode.TARGET_UNREACHABLE: True,
            ExitCode.NAME_TAKEN: True, ExitCode.BUSY: True, ExitCode.SOURCE_UNREACHABLE: True,
            ExitCode.CANCELLED: False, ExitCode.GUEST_STOPPED: False, ExitCode.LOST: False, ExitCode.NOT_STARTED: False,
        }.items()
    },
    "gives up after its last attempt": (
        seen(Phase.RUNNING, run=replace(STARTED, exit_code=64, attempt=2), terms=Terms(further_attempts=1)),
        Phase.FAILED, Reason.MIGRATION_FAILED, [Conclude],
    ),
    "does not try again when it was to be stopped": (
        seen(Phase.RUNNING, run=replace(STARTED, exit_code=64), terms=Terms(cancel=True, further_attempts=1)),
        Phase.FAILED, Reason.MIGRATION_FAILED, [Conclude],
    ),
    "stays Succeeded": (seen(Phase.SUCCEEDED, vm=None, deleted=True), Phase.SUCCEEDED, None, []),
    "stays Failed": (seen(Phase.FAILED, run=STARTED), Phase.FAILED, None, []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_one_step(case: tuple[Seen, Phase, Reason | None, list[type[Effect]]]) -> None:
    observed, phase, why, effects = case

    decision = decide(observed)

    assert phase is decision.status.phase
    assert why is reason(decision)
    assert effects == acts(decision)


def test_phases_that_are_passed_in_one_step_are_recorded() -> None:
    passed = decide(seen()).status.phase_transition_timestamps

    assert [transition.phase for transition in passed] == [Phase.PENDING, Phase.SCHEDULING, Phase.RUNNING]


def test_an_unschedulable_one_fails_when_its_patience_ends() -> None:
    patience = Patience(unschedulable=timedelta(seconds=300))
    first = decide(seen(room=Room(NONE_FITS), patience=patience))
    waiting = seen(room=Room(NONE_FITS), patience=patience, status=first.status)

    early = decide(replace(waiting, now=NOW + timedelta(seconds=299)))
    late = decide(replace(waiting, now=NOW + timedelta(seconds=300)))

    assert (Phase.SCHEDULING, Again(1.0)) == (early.status.phase, early.again)
    assert (late.status.phase, reason(late)) == (Phase.FAILED, Reason.UNSCHEDULABLE)


def test_waiting_for_a_full_target_does_not_count_as_unschedulable() -> None:
    full = Room(FITS, targets_full={"node1": FULL, "node2": FULL})
    first = decide(seen(room=full))

    later = decide(seen(room=full, status=first.status, now=NOW + timedelta(minutes=59)))

    assert (later.status.phase, reason(later)) == (Phase.SCHEDULING, Reason.WAITING_FOR_SLOT)


def test_the_queue_has_an_end() -> None:
    full = Room(FITS, FULL)
    first = decide(seen(room=full))

    later = decide(seen(room=full, status=first.status, now=NOW + timedelta(hours=1)))

    assert (later.status.phase, reason(later)) == (Phase.FAILED, Reason.QUEUE_TIMEOUT)
    assert f"no slot became free in 3600 s (DROVER_QUEUE_TIMEOUT_S): {FULL}" in later.status.conditions[-1].message


def test_who_waits_says_what_is_full_and_by_which_limit() -> None:
    busy = "its libvirtd is busy (AN_ANNOTATION)"

    queued = decide(seen(room=Room(FITS, FULL)))
    arriving = decide(seen(room=Room(FITS, targets_full={"node2": FULL, "node1": FULL, "node3": busy})))

    for decision, words in ((queued, FULL), (arriving, f"node1, node2: {FULL}; node3: {busy}")):
        assert [effect.message for effect in decision.effects if isinstance(effect, Tell)] == [words]
        assert decision.status.conditions[-1].message == words


def test_an_unschedulable_one_names_every_node() -> None:
    told = [effect for effect in decide(seen(room=Room(NONE_FITS))).effects if isinstance(effect, Tell)]

    assert "0/2 nodes are available: 1 node is the source, 1 node(s) were not ready." in told[0].message
    assert "node1: node(s) were not ready" in told[0].message


def test_a_wait_is_told_once() -> None:
    first = decide(seen(room=Room(NONE_FITS)))

    again = decide(seen(room=Room(NONE_FITS), status=first.status, now=NOW + timedelta(seconds=5)))

    assert [Tell] == [type(effect) for effect in first.effects]
    assert again.effects == ()


def test_a_late_cancel_says_that_it_was_too_late() -> None:
    decision = decide(finished(ExitCode.MOVED, cancelled=True))

    assert "TooLateToCancel" in [effect.reason for effect in decision.effects if isinstance(effect, Tell)]
    assert decision.status.migration_state is not None
    assert AbortStatus.FAILED is decision.status.migration_state.abort_status


def test_libvirts_words_are_kept() -> None:
    decision = decide(finished(ExitCode.FAILED, result={"message": "unable to connect to node1"}))

    state = decision.status.migration_state
    assert state is not None
    assert (state.failure_reason or "").startswith("MigrationFailed: unable to connect to node1")


def test_a_failed_one_is_settled() -> None:
    assert decide(seen(vm=None)).again is SETTLED


@pytest.mark.parametrize("status", [1, 2, 63, 79, 137, 143, 255])
def test_other_exit_statuses_say_nothing(status: int) -> None:
    assert known(status) is None


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_a_meaning(code: ExitCode) -> None:
    assert code in MEANINGS
    assert code == 0 or 64 <= code <= 79
    assert (MEANINGS[code].where is Where.TARGET) == (code is ExitCode.MOVED)


def test_one_that_failed_has_no_time_left_to_take() -> None:
    progress = MigrationProgress(percent=14, eta_seconds=54)
    status = MigrationStatus(phase=Phase.RUNNING, progress=progress)

    step = decide(seen(status=status, run=replace(STARTED, exit_code=int(ExitCode.NOT_CONVERGING))))

    assert (step.status.phase, step.status.progress) == (Phase.FAILED, MigrationProgress(percent=14))


def test_what_was_changed_on_the_way_is_told() -> None:
    had = MigrationConfiguration.read({"bandwidthPerMigration": "64Mi", "maxDowntimeMs": 300, "progressTimeout": 9})
    wished = MigrationConfiguration.read({"maxDowntimeMs": 500, "progressTimeout": 9})
    status = MigrationStatus(phase=Phase.RUNNING, migration_state=MigrationState(migration_configuration=had))

    step = decide(seen(status=status, run=STARTED, wished=wished))

    assert step.effects[0] == Retune(RUN, wished)
    assert step.effects[1:] == (
        Tell(
            "Retuned",
            "from now on bandwidthPerMigration is unset instead of 64Mi, maxDowntimeMs is 500 instead of 300",
        ),
    )


FURTHER = Terms(further_attempts=2)


def failed_once(**more: object) -> tuple[Decision, Seen]:
    """The step in which the first of three attempts fails, and what is seen after it."""
    observed = replace(finished(ExitCode.TARGET_UNREACHABLE, result={"message": "no answer"}), terms=FURTHER)
    step = decide(observed)
    return step, replace(observed, status=step.status, **more)  # type: ignore[arg-type]  # fields by name


def test_between_two_attempts_it_is_running_and_says_what_failed() -> None:
    step, _ = failed_once()

    (retrying,) = [c for c in step.status.conditions if c.type is ConditionType.RETRYING]
    assert (retrying.status, retrying.reason) == ("True", Reason.TARGET_UNREACHABLE)
    assert retrying.message == "attempt 1 of 3 to node1 failed: no answer; the next in 10 s"
    (told,) = [effect for effect in step.effects if isinstance(effect, Tell)]
    assert told.message == "attempt 1 of 3 to node1 failed: no answer (Path); the next in 10 s"
    assert step.again == Again(10.0)
    assert [effect.where for effect in step.effects if isinstance(effect, Conclude)] == [Where.SOURCE]


def test_the_next_attempt_waits_its_time_and_begins_then() -> None:
    _, waiting = failed_once()

    early = decide(replace(waiting, now=NOW + timedelta(seconds=9)))
    due = decide(replace(waiting, now=NOW + timedelta(seconds=10)))

    assert (acts(early), early.again) == ([], Again(1.0))
    assert (acts(due), due.status.phase, is_retrying(due.status)) == ([StartRun], Phase.RUNNING, False)
    assert [p.phase for p in due.status.phase_transition_timestamps].count(Phase.RUNNING) <= 1


def test_an_attempt_that_finds_no_room_stays_running() -> None:
    _, waiting = failed_once(now=NOW + timedelta(seconds=10))

    for room in (
        Room(FITS, FULL),
        Room(FITS, targets_full={"node1": FULL, "node2": FULL}),
        Room(NONE_FITS),
    ):
        waits = decide(replace(waiting, room=room))
        assert (waits.status.phase, is_retrying(waits.status), acts(waits)) == (Phase.RUNNING, True, [])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"deleted": True}, Reason.CANCELLED),
        ({"terms": replace(FURTHER, cancel=True)}, Reason.CANCELLED),
        ({"vm": replace(VM, leaving=True)}, Reason.CANCELLED),
        ({"vm": replace(VM, phase=VMPhase.FAILED), "now": NOW + timedelta(minutes=1)}, Reason.VM_NOT_RUNNING),
        ({"terms": replace(FURTHER, deadline=timedelta(0)), "now": NOW + timedelta(hours=1)}, Reason.DEADLINE_EXCEEDED),
    ],
    ids=["deleted", "cancelled", "its VM is deleted", "its VM has ended", "overdue"],
)
def test_one_that_is_stopped_between_two_attempts_fails_at_once(change: dict[str, object], why: Reason) -> None:
    _, waiting = failed_once(**change)

    stopped = decide(waiting)

    assert (stopped.status.phase, reason(stopped), acts(stopped)) == (Phase.FAILED, why, [])
    assert not is_retrying(stopped.status)


def test_a_failure_says_whose_fault_it_is_and_what_would_help() -> None:
    result = {"message": "cannot connect", "libvirtCode": 38, "libvirtText": "Connection reset by peer"}
    step = decide(finished(ExitCode.FAILED, result=result))

    state = step.status.migration_state
    (told,) = [effect.message for effect in step.effects if isinstance(effect, Tell)]
    assert state is not None
    assert (state.failure_class, state.libvirt_code) == (FailureClass.PATH, 38)
    assert state.libvirt_text == "Connection reset by peer"
    assert state.failure_help
    assert told.startswith("cannot connect (Path, libvirt error 38); ")


World = tuple[VMSeen | None, str | None, str | None, Room, bool, ExitCode | None, int, bool, Terms]

ROOMS = st.builds(
    Room,
    st.sampled_from([FITS, NONE_FITS]),
    full=st.sampled_from(["", FULL]),
    targets_full=st.sampled_from([{}, {"node1": FULL}, {"node1": FULL, "node2": FULL}]),
)
WORLDS = st.tuples(
    st.sampled_from([None, VM, VM, replace(VM, phase=VMPhase.MIGRATING), replace(VM, leaving=True)]),
    st.sampled_from([None, None, "m0"]),
    st.sampled_from([None, None, "disk=ssd, disk=hdd"]),
    ROOMS,
    st.booleans(),
    st.sampled_from([None, None, *ExitCode]),
    st.integers(0, 400),
    st.booleans(),
    st.builds(
        Terms,
        cancel=st.booleans(),
        deadline=st.sampled_from([None, None, timedelta(minutes=5)]),
        further_attempts=st.integers(0, 2),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORLDS, max_size=12))
def test_no_sequence_breaks_the_laws(worlds: list[World]) -> None:
    order = list(Phase)
    status, run, now, starts, deleted_before = MigrationStatus(), None, NOW, 0, False

    for vm, rival, contradiction, room, deleted, code, passed_s, claimed, terms in worlds:
        deleted_before = deleted_before or deleted
        now += timedelta(seconds=passed_s)
        if run is not None and code is not None and run.exit_code is None:
            run = replace(run, exit_code=int(code))
        if run is not None:
            run = replace(run, claimed=run.claimed or claimed)
        observed = Seen(now, "testvm", status, deleted_before, vm, rival, contradiction, room, run, terms=terms)
        decision = decide(observed)
        for effect in decision.effects:
            if isinstance(effect, StartRun):
                starts += 1
                assert effect.target == room.target
                assert not room.full
                assert run is None or (run.exit_code is not None and is_retrying(status))
                run = RunSeen(RUN, "node0", effect.target, attempt=starts, claimed=False)
            elif isinstance(effect, Withdraw):
                assert run is not None and not run.claimed and run.exit_code is None
                run = replace(run, exit_code=int(effect.code))
            elif isinstance(effect, CancelRun):
                assert run is not None and not run.cancelled and run.exit_code is None
                run = replace(run, cancelled=True)

        assert order.index(decision.status.phase) >= order.index(status.phase)
        assert status.phase not in FINAL or decision == Decision(status)
        assert starts <= 3
        assert (decision.status.phase is Phase.SUCCEEDED) <= (run is not None and run.exit_code == 0)
        times = [t.phase_transition_timestamp for t in decision.status.phase_transition_timestamps]
        assert times == sorted(times)
        assert (decision.status.phase is Phase.RUNNING) == (starts > 0 and decision.status.phase not in FINAL)
        assert decision.status.phase not in FINAL or run is None or run.exit_code is not None
        holds = run is not None and run.exit_code is None
        assert holds == (decision.status.phase is Phase.RUNNING and not is_retrying(decision.status))
        status = decision.status
