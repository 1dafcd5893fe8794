"""The table that decides who has the guest: its rows, and the laws that no pair of hosts may break."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest

from app.controllers.migration.evidence import OFF, RUNS, Action, Facts, Ruling, Verdict
from app.controllers.migration.location import location
from app.hypervisor.base import Domain, Job, Mark, Reason, State

GUEST = UUID("6a1a24a1-4061-4607-8bf4-a3963d0c5895")
UID = "0b9f6c5e-6f55-4f0b-9c6c-1d2b8b6c4f11"
CAREFUL = Facts(UID)
SURE = Facts(UID, persist_dest=True, nowhere_else=True)
ABSENT = Domain(GUEST, State.ABSENT)
UNREACHABLE = None
Seen = Domain | None


def running(reason: Reason = Reason.BOOTED, job: Job = Job.NONE, *, ours: bool = True) -> Domain:
    return seen(State.RUNNING, reason, job, ours=ours)


def paused(reason: Reason = Reason.MIGRATION, job: Job = Job.NONE, *, ours: bool = True) -> Domain:
    return replace(seen(State.PAUSED, reason, job, ours=ours), persistent=False)


def shutoff(reason: Reason = Reason.OTHER, *, ours: bool = True) -> Domain:
    return seen(State.SHUTOFF, reason, ours=ours)


def crashed(*, ours: bool = True) -> Domain:
    return seen(State.CRASHED, Reason.CRASHED, ours=ours)


def seen(state: State, reason: Reason, job: Job = Job.NONE, *, ours: bool = True) -> Domain:
    return Domain(GUEST, state, reason, persistent=True, job=job, mark=Mark(migration=UID) if ours else None)


def waiting(state: State = State.PAUSED, reason: Reason = Reason.USER) -> Domain:
    """It arrived stopped; or what is left of it."""
    return replace(seen(state, reason), mark=STOPPED)


STOPPED = Mark(migration=UID, stopped=True)
OUT, IN = Job.MIGRATION_OUT, Job.MIGRATION_IN
ARRIVED = running(Reason.MIGRATED)
LEFT = shutoff(Reason.MIGRATED)
OVERDUE = Facts(UID, arrived=True, overdue=True)
STALE = (Verdict.STALE_SOURCE, Action.DESTROY_SOURCE)
WAITS = (Verdict.SWITCHOVER, Action.WAIT)
STARTED = (Verdict.ON_TARGET, Action.RESUME_TARGET)
ORPHANED = (Verdict.ORPHAN_INCOMING, Action.DESTROY_TARGET)
RESUMED = (Verdict.RESUME_SOURCE, Action.RESUME_SOURCE)
SAID = Facts(UID, left=True)
IDLE = Facts(UID, idle=True)
ARRIVED_ONCE = Facts(UID, arrived=True)

ROWS: list[tuple[str, Seen, Seen, Facts, Verdict, Action]] = [
    ("bytes move", running(job=OUT), paused(job=IN), CAREFUL, Verdict.IN_PROGRESS, Action.WAIT),
    ("the target is being prepared", running(job=OUT), ABSENT, CAREFUL, Verdict.IN_PROGRESS, Action.WAIT),
    ("bytes move into a host that is silent", running(job=OUT), None, CAREFUL, Verdict.IN_PROGRESS, Action.WAIT),
    (
        "the source's daemon restarted, the target tidies up",
        running(),
        paused(job=IN),
        CAREFUL,
        Verdict.IN_PROGRESS,
        Action.WAIT,
    ),
    (
        "the target waits in vain",
        running(),
        paused(Reason.STARTING_UP, IN),
        IDLE,
        Verdict.ON_SOURCE,
        Action.NONE,
    ),
    ("the target is too busy to say", running(), paused(job=Job.OTHER), IDLE, Verdict.IN_PROGRESS, Action.WAIT),
    ("the target may have run", running(), running(Reason.MIGRATED, IN), IDLE, Verdict.IN_PROGRESS, Action.WAIT),
    ("the source is too busy to say", running(job=Job.OTHER), ABSENT, CAREFUL, Verdict.IN_PROGRESS, Action.WAIT),
    ("the switch-over", paused(job=OUT), paused(job=IN), CAREFUL, Verdict.SWITCHOVER, Action.WAIT),
    (
        "the switch-over, both alive",
        paused(job=OUT),
        running(Reason.MIGRATED, IN),
        CAREFUL,
        Verdict.SWITCHOVER,
        Action.WAIT,
    ),
    ("the switch-over into a silent host", paused(job=OUT), None, SURE, Verdict.SWITCHOVER, Action.WAIT),
    ("arrived, the source never hears it", paused(job=OUT), ARRIVED, OVERDUE, *STALE),
    ("arrived and then silent, the source never hears it", paused(job=OUT), None, OVERDUE, *STALE),
    ("arrived, it may hear it yet", paused(job=OUT), ARRIVED, replace(OVERDUE, overdue=False), *WAITS),
    ("overdue, and the target is not done", paused(job=OUT), running(Reason.MIGRATED, IN), OVERDUE, *WAITS),
    ("overdue, and a stranger runs", paused(job=OUT), running(ours=False), OVERDUE, *WAITS),
    ("overdue, the target has stopped", paused(job=OUT), paused(Reason.USER), OVERDUE, *WAITS),
    ("silent, and nobody saw it arrive", paused(job=OUT), None, replace(OVERDUE, arrived=False), *WAITS),
    ("overdue, and the source runs", running(job=OUT), ARRIVED, OVERDUE, Verdict.IN_PROGRESS, Action.WAIT),
    ("never started", running(), ABSENT, CAREFUL, Verdict.ON_SOURCE, Action.NONE),
    ("cancelled", running(Reason.MIGRATION_CANCELED), ABSENT, CAREFUL, Verdict.ON_SOURCE, Action.NONE),
    ("the target is silent, the source runs", running(), None, CAREFUL, Verdict.ON_SOURCE, Action.NONE),
    (
        "the source runs beside an old definition",
        running(),
        shutoff(ours=False),
        CAREFUL,
        Verdict.ON_SOURCE,
        Action.NONE,
    ),
    (
        "the source runs beside a stranger's copy",
        running(),
        paused(ours=False),
        CAREFUL,
        Verdict.ON_SOURCE,
        Action.NONE,
    ),
    ("an orphan", running(), paused(), CAREFUL, Verdict.ORPHAN_INCOMING, Action.DESTROY_TARGET),
    (
        "an orphan that was starting",
        running(),
        paused(Reason.STARTING_UP),
        CAREFUL,
        Verdict.ORPHAN_INCOMING,
        Action.DESTROY_TARGET,
    ),
    ("both run", running(), ARRIVED, SURE, Verdict.SPLIT, Action.NONE),
    ("both have run", running(), paused(Reason.USER), SURE, Verdict.SPLIT, Action.NONE),
    ("both run, a job is under way", running(job=OUT), ARRIVED, CAREFUL, Verdict.IN_PROGRESS, Action.WAIT),
    ("moved", LEFT, ARRIVED, CAREFUL, Verdict.ON_TARGET, Action.NONE),
    ("moved, and the source forgot why", shutoff(), ARRIVED, CAREFUL, Verdict.ON_TARGET, Action.NONE),
    ("moved, and the source has forgotten it", ABSENT, ARRIVED, CAREFUL, Verdict.ON_TARGET, Action.NONE),
    ("moved, then suspended and resumed", LEFT, running(Reason.USER), CAREFUL, Verdict.ON_TARGET, Action.NONE),
    ("moved away from a silent host", None, ARRIVED, CAREFUL, Verdict.ON_TARGET, Action.NONE),
    ("moved, paused", LEFT, paused(Reason.USER), CAREFUL, Verdict.ON_TARGET, Action.NONE),
    ("moved, but its copy never ran", LEFT, paused(), SURE, Verdict.HOLD, Action.NONE),
    (
        "moved, the source's daemon died at the end",
        paused(),
        ARRIVED,
        CAREFUL,
        Verdict.ON_TARGET,
        Action.DESTROY_SOURCE,
    ),
    ("paused by the move, a stranger runs", paused(), running(ours=False), SURE, Verdict.HOLD, Action.NONE),
    ("broke at the switch-over", paused(), ABSENT, SURE, Verdict.RESUME_SOURCE, Action.RESUME_SOURCE),
    (
        "broke, old definition",
        paused(),
        shutoff(),
        replace(SURE, target_before=True),
        Verdict.RESUME_SOURCE,
        Action.RESUME_SOURCE,
    ),
    ("broke, without PERSIST_DEST", paused(), ABSENT, replace(SURE, persist_dest=False), Verdict.HOLD, Action.NONE),
    ("broke, others not asked", paused(), ABSENT, replace(SURE, nowhere_else=False), Verdict.HOLD, Action.NONE),
    ("broke, the target is silent", paused(), None, SURE, Verdict.HOLD, Action.NONE),
    ("broke, the target never ran it", paused(), paused(), SURE, Verdict.ORPHAN_INCOMING, Action.DESTROY_TARGET),
    (
        "broke, the target's copy would stay",
        paused(),
        replace(paused(), persistent=True),
        SURE,
        Verdict.HOLD,
        Action.NONE,
    ),
    ("broke, the target may have run it", paused(), paused(Reason.USER), SURE, Verdict.HOLD, Action.NONE),
    ("moved and ended", paused(), shutoff(Reason.SHUTDOWN), SURE, Verdict.ENDED_ON_TARGET, Action.DESTROY_SOURCE),
    ("moved and ended, reason forgotten", paused(), shutoff(), SURE, Verdict.ENDED_ON_TARGET, Action.DESTROY_SOURCE),
    ("moved and crashed", paused(), crashed(), SURE, Verdict.ENDED_ON_TARGET, Action.DESTROY_SOURCE),
    ("arrived but did not start", paused(), shutoff(Reason.FAILED), SURE, Verdict.HOLD, Action.NONE),
    ("broke, a strange definition", paused(), shutoff(ours=False), SURE, Verdict.HOLD, Action.NONE),
    ("moved and ended, tidied", LEFT, shutoff(Reason.SHUTDOWN), CAREFUL, Verdict.ENDED_ON_TARGET, Action.NONE),
    (
        "moved and ended, tidied by us",
        shutoff(Reason.DESTROYED),
        shutoff(),
        CAREFUL,
        Verdict.ENDED_ON_TARGET,
        Action.NONE,
    ),
    ("moved, tidied by us, target silent", shutoff(Reason.DESTROYED), None, CAREFUL, Verdict.HOLD, Action.NONE),
    ("paused by the user, never moved", paused(Reason.USER), ABSENT, CAREFUL, Verdict.ON_SOURCE, Action.NONE),
    ("paused by the user, target silent", paused(Reason.USER), None, CAREFUL, Verdict.HOLD, Action.NONE),
    (
        "paused by the user, orphan",
        paused(Reason.USER),
        paused(),
        CAREFUL,
        Verdict.ORPHAN_INCOMING,
        Action.DESTROY_TARGET,
    ),
    ("powered off on the way", shutoff(Reason.SHUTDOWN), ABSENT, CAREFUL, Verdict.ENDED_ON_SOURCE, Action.NONE),
    (
        "powered off, orphan",
        shutoff(Reason.SHUTDOWN),
        paused(),
        CAREFUL,
        Verdict.ORPHAN_INCOMING,
        Action.DESTROY_TARGET,
    ),
    ("powered off, target silent", shutoff(Reason.SHUTDOWN), None, CAREFUL, Verdict.ENDED_ON_SOURCE, Action.NONE),
    ("destroyed on the way", shutoff(Reason.DESTROYED), ABSENT, CAREFUL, Verdict.ENDED_ON_SOURCE, Action.NONE),
    ("crashed on the way", crashed(), ABSENT, CAREFUL, Verdict.ON_SOURCE, Action.NONE),
    ("left, and nobody has it", LEFT, ABSENT, SURE, Verdict.LOST, Action.NONE),
    ("nobody knows it", ABSENT, ABSENT, SURE, Verdict.LOST, Action.NONE),
    ("left, target silent", LEFT, None, SURE, Verdict.HOLD, Action.NONE),
    ("both silent", None, None, SURE, Verdict.HOLD, Action.NONE),
    ("source silent, target empty", None, ABSENT, SURE, Verdict.HOLD, Action.NONE),
    ("source silent, incoming", None, paused(job=IN), SURE, Verdict.IN_PROGRESS, Action.WAIT),
    ("source silent, left paused", None, paused(), SURE, Verdict.HOLD, Action.NONE),
    ("post-copy", paused(Reason.POSTCOPY, OUT), running(Reason.POSTCOPY, IN), SURE, Verdict.POST_COPY, Action.WAIT),
    ("post-copy, unattended", paused(Reason.POSTCOPY), running(Reason.POSTCOPY), SURE, Verdict.POST_COPY, Action.WAIT),
    (
        "post-copy broke",
        paused(Reason.POSTCOPY_FAILED, OUT),
        paused(Reason.POSTCOPY_FAILED, IN),
        SURE,
        Verdict.BROKEN,
        Action.RECOVER,
    ),
    (
        "post-copy broke, unseen there",
        paused(Reason.POSTCOPY_FAILED, OUT),
        running(Reason.POSTCOPY, IN),
        SURE,
        Verdict.BROKEN,
        Action.RECOVER,
    ),
    ("post-copy broke, target away", paused(Reason.POSTCOPY_FAILED, OUT), None, SURE, Verdict.HOLD, Action.NONE),
    ("it waits, the source has gone", LEFT, waiting(), CAREFUL, *STARTED),
    ("it waits, the source has forgotten why, having said so", shutoff(), waiting(), SAID, *STARTED),
    ("it waits, the source has forgotten it, having said so", ABSENT, waiting(), SAID, *STARTED),
    ("it waits, the source has gone and is silent", None, waiting(), SAID, *STARTED),
    ("it waits, the source is silent", None, waiting(), SURE, Verdict.HOLD, Action.NONE),
    ("it waits, the source forgot why it ended", shutoff(), waiting(), SURE, Verdict.HOLD, Action.NONE),
    ("it waits, the source forgot it", ABSENT, waiting(), SURE, Verdict.HOLD, Action.NONE),
    ("it waits, the source was killed", shutoff(Reason.CRASHED), waiting(), SURE, Verdict.HOLD, Action.NONE),
    ("it waits, the source was destroyed", shutoff(Reason.DESTROYED), waiting(), SURE, Verdict.HOLD, Action.NONE),
    ("it waits, the source ran on and powered off", shutoff(Reason.SHUTDOWN), waiting(), SURE, *ORPHANED),
    ("it waits, the source runs on", running(Reason.MIGRATION_CANCELED), waiting(), CAREFUL, *ORPHANED),
    ("it waits, the source ran on and crashed", crashed(), waiting(), CAREFUL, *ORPHANED),
    ("it waits, the source's daemon died", paused(), waiting(), CAREFUL, *ORPHANED),
    ("it waits, the source was paused by the user", paused(Reason.USER), waiting(), CAREFUL, *ORPHANED),
    ("it waits, the source does not know yet", paused(job=OUT), waiting(), OVERDUE, *WAITS),
    ("it has been started and paused there", LEFT, waiting(), ARRIVED_ONCE, Verdict.ON_TARGET, Action.NONE),
    ("it has been started, the source runs", running(), waiting(), ARRIVED_ONCE, Verdict.SPLIT, Action.NONE),
    ("a stranger's copy waits", LEFT, replace(waiting(), mark=None), CAREFUL, Verdict.ON_TARGET, Action.NONE),
    ("it waited, and was ended", paused(), waiting(State.SHUTOFF, Reason.DESTROYED), SURE, *RESUMED),
    ("it waited, and was lost", paused(), waiting(State.SHUTOFF, Reason.OTHER), SURE, *RESUMED),
    (
        "it waited, and was ended, the source paused by the user",
        paused(Reason.USER),
        waiting(State.SHUTOFF, Reason.DESTROYED),
        SURE,
        Verdict.ON_SOURCE,
        Action.NONE,
    ),
    (
        "it waited, was started and powered off",
        LEFT,
        waiting(State.SHUTOFF, Reason.SHUTDOWN),
        SURE,
        Verdict.ENDED_ON_TARGET,
        Action.NONE,
    ),
    (
        "it may wait there, the source was killed",
        replace(shutoff(Reason.CRASHED), mark=STOPPED),
        None,
        SURE,
        Verdict.HOLD,
        Action.NONE,
    ),
    ("post-copy, target gone", paused(Reason.POSTCOPY), ABSENT, SURE, Verdict.HOLD, Action.NONE),
]


@pytest.mark.parametrize(
    ("source", "target", "facts", "verdict", "action"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_each_row_has_its_verdict(source: Seen, target: Seen, facts: Facts, verdict: Verdict, action: Action) -> None:
    ruling = location(source, target, facts)

    assert (verdict, action) == (ruling.verdict, ruling.action), ruling.why


ALL_FACTS = [
    Facts(UID, persist_dest=persist, nowhere_else=nowhere, target_before=before)
    for persist, nowhere, before in (
        (False, False, False),
        (True, True, False),
        (True, True, True),
        (False, True, True),
    )
] + [OVERDUE, replace(SURE, arrived=True, overdue=True), SAID, replace(SURE, left=True), IDLE, replace(SURE, idle=True)]


@pytest.mark.parametrize("facts", ALL_FACTS, ids=str)
def test_no_pair_of_hosts_breaks_a_law(facts: Facts) -> None:
    broken = [
        f"{law.__name__}: {source} | {target} -> {ruling}"
        for source, target in product(tuple(_sources()), tuple(_targets()))
        for ruling in [location(source, target, facts)]
        for law in LAWS
        if not law(ruling, source, target, facts)
    ]

    assert broken[:5] == []


def test_one_host_alone_never_ends_or_resumes_anything() -> None:
    for host in _targets():
        assert location(None, host, SURE).action in (Action.NONE, Action.WAIT)
        assert location(host, None, SURE).action in (Action.NONE, Action.WAIT)


def test_what_an_action_leaves_behind_is_judged_the_same_way() -> None:
    """After each action both hosts are asked again: the guest must not change sides by our own doing."""
    for source, target, facts in product(
        tuple(_sources()), tuple(_targets()), (SURE, replace(SURE, arrived=True, overdue=True))
    ):
        ruling = location(source, target, facts)
        after = _after(ruling.action, source, target)
        if after is not None:
            later = location(*after, facts)
            assert later.verdict in _FOLLOWS[ruling.verdict], f"{source} | {target} -> {ruling} -> {later}"


_FOLLOWS = {
    Verdict.ON_TARGET: {Verdict.ON_TARGET},
    Verdict.ENDED_ON_TARGET: {Verdict.ENDED_ON_TARGET},
    Verdict.STALE_SOURCE: {Verdict.ON_TARGET, Verdict.HOLD},
    Verdict.RESUME_SOURCE: {Verdict.ON_SOURCE},
    Verdict.ORPHAN_INCOMING: {Verdict.ON_SOURCE, Verdict.ENDED_ON_SOURCE, Verdict.RESUME_SOURCE},
}


def _after(action: Action, source: Seen, target: Seen) -> tuple[Seen, Seen] | None:
    match action:
        case Action.DESTROY_TARGET:
            return source, _destroyed(target)
        case Action.DESTROY_SOURCE:
            return _destroyed(source), target
        case Action.RESUME_SOURCE:
            return running(Reason.USER), target
        case Action.RESUME_TARGET:
            assert target is not None
            return source, replace(target, state=State.RUNNING)
        case Action.NONE | Action.WAIT | Action.RECOVER:
            return None


def _destroyed(domain: Seen) -> Domain:
    assert domain is not None
    return replace(domain, state=State.SHUTOFF, reason=Reason.DESTROYED) if domain.persistent else ABSENT


def _sources() -> Iterator[Seen]:
    yield None
    for state, reason, job in product(State, Reason, Job):
        yield Domain(GUEST, state, reason, persistent=True, job=job, mark=Mark(migration=UID))


def _targets() -> Iterator[Seen]:
    yield None
    marks = (None, Mark(migration=UID), STOPPED)
    for state, reason, job, mark, persistent in product(State, Reason, Job, marks, (False, True)):
        if persistent or state is not State.SHUTOFF:
            yield Domain(GUEST, state, reason, persistent=persistent, job=job, mark=mark)


def the_source_is_resumed_only_when_the_target_surely_has_nothing(
    ruling: Ruling, source: Seen, target: Seen, facts: Facts
) -> bool:
    if ruling.action is not Action.RESUME_SOURCE:
        return True
    if source is None or target is None or source.state is not State.PAUSED or source.reason is not Reason.MIGRATION:
        return False
    never_ran = facts.target_before or target.mark == STOPPED
    nothing = target.state is State.ABSENT or (target.state is State.SHUTOFF and never_ran)
    return nothing and source.job is Job.NONE and facts.persist_dest and facts.nowhere_else


def a_running_domain_is_never_destroyed(ruling: Ruling, source: Seen, target: Seen, _: Facts) -> bool:
    victim = {Action.DESTROY_SOURCE: source, Action.DESTROY_TARGET: target}.get(ruling.action)
    return victim is None or victim.state in (State.PAUSED, State.CRASHED)


def nothing_is_done_to_a_domain_that_libvirt_works_on(ruling: Ruling, source: Seen, target: Seen, _: Facts) -> bool:
    """But to a stopped copy that libvirt would start again, for it waits for an answer that was lost."""
    if ruling.action in (Action.NONE, Action.WAIT, Action.RECOVER):
        return True
    if ruling.verdict is Verdict.STALE_SOURCE:
        return target is None or target.job is Job.NONE
    if ruling.action is Action.RESUME_TARGET:
        return target is not None and target.job is Job.NONE
    return all(host is not None and (host.state in OFF or host.job is Job.NONE) for host in (source, target))


def only_a_post_copy_that_broke_on_the_source_is_recovered(
    ruling: Ruling, source: Seen, target: Seen, _: Facts
) -> bool:
    broken = source is not None and (source.state, source.reason) == (State.PAUSED, Reason.POSTCOPY_FAILED)
    fetching = target is not None and target.reason in (Reason.POSTCOPY, Reason.POSTCOPY_FAILED)
    return (ruling.action is Action.RECOVER) == (broken and fetching and target is not None and _may_run(target))


def _may_run(target: Domain) -> bool:
    return target.state in (State.RUNNING, State.SHUTTING_DOWN, State.PAUSED)


def only_our_own_copy_is_destroyed(ruling: Ruling, _: Seen, target: Seen, __: Facts) -> bool:
    return ruling.action is not Action.DESTROY_TARGET or (target is not None and target.mark is not None)


def a_copy_that_may_have_run_is_never_destroyed_for_one_that_did(
    ruling: Ruling, _: Seen, target: Seen, facts: Facts
) -> bool:
    if ruling.action is not Action.DESTROY_TARGET:
        return True
    if target is not None and (target.reason, target.mark) == (Reason.USER, STOPPED):
        return not facts.arrived
    return target is not None and target.reason in (Reason.MIGRATION, Reason.STARTING_UP)


def a_guest_that_arrived_stopped_is_started_only_when_the_source_said_that_it_had_left(
    ruling: Ruling, source: Seen, target: Seen, facts: Facts
) -> bool:
    if ruling.action is not Action.RESUME_TARGET:
        return True
    if target is None or (target.state, target.reason, target.mark) != (State.PAUSED, Reason.USER, STOPPED):
        return False
    gone = source is None or source.state in OFF
    return gone and (facts.left or (source is not None and source.reason is Reason.MIGRATED)) and not facts.arrived


def the_sources_copy_goes_only_when_the_guest_was_brought_to_the_target(
    ruling: Ruling, _: Seen, target: Seen, facts: Facts
) -> bool:
    if ruling.action is not Action.DESTROY_SOURCE:
        return True
    if target is None:
        return facts.arrived and facts.overdue
    return target is not None and target.mark is not None and target.state in RUNS | {State.SHUTOFF, State.CRASHED}


def a_verdict_names_a_host_that_has_the_guest(ruling: Ruling, source: Seen, target: Seen, _: Facts) -> bool:
    place = {Verdict.ON_SOURCE: source, Verdict.ON_TARGET: target}.get(ruling.verdict, ABSENT)
    return place is ABSENT or (place is not None and place.state not in OFF)


def the_guest_is_on_the_target_only_while_the_source_does_not_run_it(
    ruling: Ruling, source: Seen, _: Seen, __: Facts
) -> bool:
    return ruling.verdict is not Verdict.ON_TARGET or source is None or source.state not in RUNS


def lost_is_said_only_when_both_hosts_have_answered(ruling: Ruling, source: Seen, target: Seen, _: Facts) -> bool:
    return ruling.verdict is not Verdict.LOST or (source is not None and target is not None)


def a_target_is_free_only_when_it_answered_and_holds_no_active_copy(
    ruling: Ruling, _: Seen, target: Seen, __: Facts
) -> bool:
    return ruling.target_free == (target is not None and target.state in OFF)


LAWS = (
    the_source_is_resumed_only_when_the_target_surely_has_nothing,
    a_running_domain_is_never_destroyed,
    nothing_is_done_to_a_domain_that_libvirt_works_on,
    only_a_post_copy_that_broke_on_the_source_is_recovered,
    only_our_own_copy_is_destroyed,
    a_copy_that_may_have_run_is_never_destroyed_for_one_that_did,
    a_guest_that_arrived_stopped_is_started_only_when_the_source_said_that_it_had_left,
    the_sources_copy_goes_only_when_the_guest_was_brought_to_the_target,
    a_verdict_names_a_host_that_has_the_guest,
    the_guest_is_on_the_target_only_while_the_source_does_not_run_it,
    lost_is_said_only_when_both_hosts_have_answered,
    a_target_is_free_only_when_it_answered_and_holds_no_active_copy,
)


def test_a_guest_that_lost_half_of_itself_in_post_copy_is_not_said_to_be_recoverable() -> None:
    source = paused(Reason.POSTCOPY_FAILED, OUT)

    gone, there = (location(source, target, SURE) for target in (ABSENT, paused(Reason.POSTCOPY, IN)))

    assert (gone.verdict, gone.action) == (Verdict.HOLD, Action.NONE)
    assert "resolve=lost" in gone.why
    assert (there.verdict, there.action) == (Verdict.BROKEN, Action.RECOVER)
