"""
Who has the guest? What both hosts say of it, in; one verdict and at most one action, out. Pure and total.

Read as a table, the first row that fits decides. "runs" is RUNNING or SHUTTING_DOWN; "off" is ABSENT or SHUTOFF; "ours" is a copy
on the target that carries this migration's mark (it is on the guest before the call, and travels with it) and, where it is
SHUTOFF or CRASHED, was not there before the call; "never ran" is PAUSED/MIGRATION or PAUSED/STARTING_UP. A copy that "waits"
is PAUSED/USER without a job, ours, and marked as one that arrives stopped: it is resumed only when the source's copy is gone, and
the mark goes then; so as long as the source has an active copy that one is the guest. "job" is any job but NONE of an active
domain, also the one that a host too busy to say is taken to have. A target "has it" that runs ours without a job, or that does
not answer and was seen to run it. ✂ marks rows where the guest's past is lost, so that nobody may act but an operator. "Surely
nowhere else": PERSIST_DEST was set, and no other host knows the guest.

| source                        | target                                  | verdict, action                                      |
|-------------------------------|-----------------------------------------|------------------------------------------------------|
| off                           | runs, any reason                        | ON_TARGET                                            |
| unreachable                   | runs, not in post-copy                  | ON_TARGET                                            |
| PAUSED, failed in post-copy    | runs or PAUSED in post-copy, or failed | BROKEN, recover                                      |
| any, with a job on either side | any; one of them failed in post-copy   | HOLD                                                 |
| any, with a job on either side | any; one of them in post-copy          | POST_COPY, wait                                      |
| PAUSED/MIGRATION, with a job on either side | has it, and its answer is overdue | STALE_SOURCE, destroy source          |
| PAUSED/MIGRATION, with a job on either side | any                       | SWITCHOVER, wait                                     |
| runs, has had no job for long | PAUSED, never ran, still waits to be sent | ON_SOURCE: libvirt may keep that for ever          |
| any, with a job on either side | any                                    | IN_PROGRESS, wait                                    |
| unreachable                   | runs in post-copy                       | POST_COPY, wait; failed in it: HOLD                  |
| unreachable, and said before that the guest had left | waits            | ON_TARGET, resume target                             |
| unreachable                   | any other                               | HOLD                                                 |
| runs                          | unreachable, off                        | ON_SOURCE: evidence enough                           |
| runs                          | runs                                    | SPLIT: alarm, touch nothing                          |
| runs                          | PAUSED or CRASHED, not ours             | ON_SOURCE: not this migration's to touch             |
| runs                          | PAUSED, ours, never ran or waits        | ORPHAN_INCOMING, destroy target                      |
| runs                          | PAUSED or CRASHED, ours, has run        | SPLIT                                                |
| PAUSED in post-copy           | runs or PAUSED in post-copy             | POST_COPY, wait; the target failed in it: HOLD       |
| PAUSED in post-copy           | any other                               | HOLD                                                 |
| PAUSED                        | unreachable                             | HOLD                                                 |
| PAUSED                        | runs, ours, not in post-copy            | ON_TARGET, destroy source                            |
| PAUSED                        | runs, any other                         | HOLD ✂                                               |
| PAUSED                        | PAUSED, ours, never ran, not persistent; or waits | ORPHAN_INCOMING, destroy target            |
| PAUSED                        | PAUSED, any other                       | HOLD ✂                                               |
| PAUSED/MIGRATION              | SHUTOFF, ours, had waited: ended by somebody | as if ABSENT                                    |
| PAUSED by somebody            | SHUTOFF, ours, had waited: ended by somebody | as if ABSENT                                    |
| PAUSED/MIGRATION              | SHUTOFF/FAILED, ours                    | HOLD ✂: it may never have run there                  |
| PAUSED/MIGRATION              | SHUTOFF or CRASHED, ours                | ENDED_ON_TARGET, destroy source; never resume        |
| PAUSED/MIGRATION              | SHUTOFF or CRASHED, neither ours nor SHUTOFF from before | HOLD ✂                              |
| PAUSED/MIGRATION              | ABSENT, or SHUTOFF from before          | RESUME_SOURCE if surely nowhere else; else HOLD      |
| PAUSED by somebody            | SHUTOFF or CRASHED, ours                | HOLD ✂                                               |
| PAUSED by somebody            | ABSENT; SHUTOFF or CRASHED, any other   | ON_SOURCE, paused as it is                           |
| CRASHED                       | runs; PAUSED or CRASHED, any but ours that never ran or waits | SPLIT                          |
| CRASHED                       | PAUSED, ours, never ran or waits        | ORPHAN_INCOMING, destroy target                      |
| CRASHED                       | unreachable, off                        | ON_SOURCE, crashed as it is                          |
| SHUTOFF by itself (SHUTDOWN, CRASHED, FAILED) | PAUSED, ours, never ran | ORPHAN_INCOMING, destroy target                      |
| SHUTOFF by itself, but not SHUTDOWN, and the guest was to arrive stopped | unreachable | HOLD: it may wait there       |
| SHUTOFF by itself             | unreachable, off                        | ENDED_ON_SOURCE                                      |
| SHUTOFF/SHUTDOWN              | waits                                   | ORPHAN_INCOMING, destroy target                      |
| SHUTOFF/MIGRATED; off, and said before that the guest had left | waits  | ON_TARGET, resume target                             |
| off, any other                | waits                                   | HOLD ✂: the source may have run on and ended         |
| off                           | unreachable                             | HOLD                                                 |
| off                           | PAUSED, never ran or in post-copy       | HOLD ✂                                               |
| off                           | PAUSED, any other                       | ON_TARGET, paused                                    |
| off                           | SHUTOFF or CRASHED, ours                | ENDED_ON_TARGET                                      |
| off                           | CRASHED, not ours                       | HOLD ✂                                               |
| SHUTOFF/DESTROYED             | ABSENT; SHUTOFF, not ours               | ENDED_ON_SOURCE                                      |
| off                           | ABSENT; SHUTOFF, not ours               | LOST                                                 |

A host that does not answer and was declared to be off has rows of its own, in `fenced`. Where the verdict is HOLD, SPLIT or
BROKEN the operator's word decides, in `word`, unless a host says otherwise.

A wait is never for ever: its caller gives it a deadline and then holds. After every action both hosts are asked again.
"""

from __future__ import annotations

from typing import assert_never

from app.controllers.migration.evidence import (
    ENDED_BY_ITSELF,
    HELD,
    OFF,
    ORPHAN,
    POST_COPY,
    RUNS,
    Action,
    Facts,
    Row,
    Ruling,
    Verdict,
    arrives_stopped,
    ended_before_it_ran,
    has_job,
    hold,
    is_marked,
    never_ran,
    reason_of,
    split,
    waits,
    was_brought,
)
from app.controllers.migration.fenced import fenced
from app.controllers.migration.word import by_word
from app.hypervisor.base import Domain, Job, Reason, State

_BROKEN = (
    "post-copy broke: a part of the guest's memory is on the source alone, which is never resumed; Drover recovers it as soon as"
    " both hosts answer and reach one another: see what keeps them apart"
)
_HALVED = (
    "post-copy broke, and the target has no half of the guest any more: what was there is lost, the source is never resumed"
    " (kubevirt.io/resolve=lost ends it)"
)


_MAY_RUN = "the guest waits on the target to be started, and the source, which may run it, does not answer"


def location(source: Domain | None, target: Domain | None, facts: Facts) -> Ruling:
    """None is a host that does not answer."""
    declared = fenced(source, target, facts)
    row, refused, told = declared or _rule(source, target, facts), "", declared is not None
    if row[0] in HELD and facts.word is not None:
        match by_word(facts.word, source, target, facts):
            case str(evidence):
                refused = evidence
            case decided:
                row, told = decided, True
    verdict, action, why = row
    free = target is not None and target.state in OFF
    return Ruling(verdict, action, why, target_free=free, refused=refused, told=told)


_WAIT_JOB: Row = (Verdict.IN_PROGRESS, Action.WAIT, "libvirt still works on the guest")
_WAIT_SWITCHOVER: Row = (Verdict.SWITCHOVER, Action.WAIT, "the source is paused and the target takes over")
_WAIT_POST_COPY: Row = (Verdict.POST_COPY, Action.WAIT, "the guest runs on the target and still fetches memory")
_ON_TARGET: Row = (Verdict.ON_TARGET, Action.NONE, "the guest runs on the target")
_STARTED: Row = (Verdict.ON_TARGET, Action.RESUME_TARGET, "the guest has arrived, and its copy on the source is gone")
_ON_SOURCE: Row = (Verdict.ON_SOURCE, Action.NONE, "the guest runs on the source and nothing moves it")
_ENDED_ON_SOURCE: Row = (Verdict.ENDED_ON_SOURCE, Action.NONE, "the guest ended on the source")
_LOST: Row = (Verdict.LOST, Action.NONE, "neither host has the guest")


def _rule(source: Domain | None, target: Domain | None, facts: Facts) -> Row:
    if _is_broken(source, target):
        return (Verdict.BROKEN, Action.RECOVER, _BROKEN)
    if (source is None or source.state in OFF) and target is not None and target.state in RUNS:
        return _runs_on_target_only(source, target)
    if has_job(source) or has_job(target):
        return _working(source, target, facts)
    if source is None:
        if target is not None and waits(target, facts):
            return _STARTED if facts.left else hold(_MAY_RUN)
        return hold("the source does not answer, and the target does not run the guest")
    match source.state:
        case State.RUNNING | State.SHUTTING_DOWN:
            return _source_runs(target, facts)
        case State.PAUSED:
            return _source_paused(source, target, facts)
        case State.CRASHED:
            return _source_crashed(target, facts)
        case State.ABSENT | State.SHUTOFF if target is not None and waits(target, facts):
            return _waits_alone(source, facts)
        case State.ABSENT | State.SHUTOFF:
            return _source_off(source, target, facts)
        case _:
            assert_never(source.state)


def _is_broken(source: Domain | None, target: Domain | None) -> bool:
    """The source says so first: the target's QEMU may wait for pages for long."""
    return (
        source is not None
        and (source.state, source.reason) == (State.PAUSED, Reason.POSTCOPY_FAILED)
        and target is not None
        and (target.state in RUNS or target.state is State.PAUSED)
        and target.reason in POST_COPY
    )


def _runs_on_target_only(source: Domain | None, target: Domain) -> Row:
    if source is None and target.reason in POST_COPY:
        return hold(_BROKEN) if target.reason is Reason.POSTCOPY_FAILED else _WAIT_POST_COPY
    return _ON_TARGET


_STALE_SOURCE: Row = (
    Verdict.STALE_SOURCE,
    Action.DESTROY_SOURCE,
    "the guest runs on the target, the source does not hear it and would resume its stopped copy",
)


def _working(source: Domain | None, target: Domain | None, facts: Facts) -> Row:
    if Reason.POSTCOPY_FAILED in (reason_of(source), reason_of(target)):
        return hold(_HALVED if target is not None and target.state in OFF else _BROKEN)
    if Reason.POSTCOPY in (reason_of(source), reason_of(target)):
        return _WAIT_POST_COPY
    if source is not None and source.state is State.PAUSED and source.reason is Reason.MIGRATION:
        return _STALE_SOURCE if facts.overdue and _has_left(target, facts) else _WAIT_SWITCHOVER
    return _ON_SOURCE if facts.idle and _waits_in_vain(source, target) else _WAIT_JOB


def _waits_in_vain(source: Domain | None, target: Domain | None) -> bool:
    """libvirt that was killed while it started a guest for a migration keeps it so, with a job that is nobody's."""
    runs = source is not None and source.state in RUNS and not has_job(source)
    return runs and target is not None and never_ran(target) and target.job is Job.MIGRATION_IN


def _has_left(target: Domain | None, facts: Facts) -> bool:
    """The target has the whole guest, and it has run there: what the source has is old."""
    if target is None:
        return facts.arrived
    return target.state in RUNS and not has_job(target) and is_marked(target, facts)


def _source_runs(target: Domain | None, facts: Facts) -> Row:
    if target is None or target.state in OFF:
        return _ON_SOURCE
    if target.state in RUNS:
        return split("the guest runs on both hosts")
    if not is_marked(target, facts):
        return _ON_SOURCE
    if never_ran(target) or waits(target, facts):
        return ORPHAN
    return split("the guest runs on the source, and a copy on the target has run")


def _source_paused(source: Domain, target: Domain | None, facts: Facts) -> Row:
    if source.reason in POST_COPY:
        return _source_in_post_copy(source, target)
    if target is None:
        return hold("the source is paused, and the target, which may have the guest, does not answer")
    if target.state in RUNS:
        return _runs_on_target(target, facts)
    if target.state is State.PAUSED:
        return _both_paused(target, facts)
    if was_brought(target, facts) and not ended_before_it_ran(target, facts):
        return _ended_on_target(source, target)
    if source.reason is Reason.MIGRATION:
        return _paused_by_the_move(target, facts)
    return (Verdict.ON_SOURCE, Action.NONE, "the guest is paused on the source, as somebody left it")


def _source_in_post_copy(source: Domain, target: Domain | None) -> Row:
    if reason_of(target) not in POST_COPY:
        return hold("post-copy had begun, and the target does not say that it goes on")
    return hold(_BROKEN) if Reason.POSTCOPY_FAILED in (source.reason, reason_of(target)) else _WAIT_POST_COPY


def _runs_on_target(target: Domain, facts: Facts) -> Row:
    if target.reason in POST_COPY or not is_marked(target, facts):
        return hold("the source is paused, and the target runs a copy that this migration did not bring there whole")
    return (
        Verdict.ON_TARGET,
        Action.DESTROY_SOURCE,
        "the guest runs on the target; a paused copy is left on the source",
    )


def _both_paused(target: Domain, facts: Facts) -> Row:
    if waits(target, facts):
        return ORPHAN
    # A persistent one would stay as SHUTOFF when destroyed, and be taken for a guest that had moved and ended.
    if is_marked(target, facts) and never_ran(target) and not target.persistent:
        return ORPHAN
    return hold("both hosts have a paused copy, and the target's may be the newer one")


def _ended_on_target(source: Domain, target: Domain) -> Row:
    if source.reason is not Reason.MIGRATION or target.reason is Reason.FAILED:
        return hold("the copy on the target has ended, and may never have run")
    return (Verdict.ENDED_ON_TARGET, Action.DESTROY_SOURCE, "the guest moved and ended on the target")


def _paused_by_the_move(target: Domain, facts: Facts) -> Row:
    is_old = target.state is State.SHUTOFF and facts.target_before
    if target.state is not State.ABSENT and not is_old and not ended_before_it_ran(target, facts):
        return hold("the target has an ended copy that this migration did not bring there")
    if not facts.persist_dest:
        return hold("a guest that arrived and ended would have left no trace on the target")
    if not facts.nowhere_else:
        return hold("not every other host has said that it does not know the guest")
    return (
        Verdict.RESUME_SOURCE,
        Action.RESUME_SOURCE,
        "the move broke at the switch-over, and the target has nothing",
    )


def _source_crashed(target: Domain | None, facts: Facts) -> Row:
    if target is None or target.state in OFF:
        return (Verdict.ON_SOURCE, Action.NONE, "the guest crashed on the source, where its remains are")
    if (never_ran(target) and is_marked(target, facts)) or waits(target, facts):
        return ORPHAN
    return split("the guest crashed on the source, and the target has a copy too")


def _waits_alone(source: Domain, facts: Facts) -> Row:
    if facts.left or (source.state is State.SHUTOFF and source.reason is Reason.MIGRATED):
        return _STARTED
    if source.state is State.SHUTOFF and source.reason is Reason.SHUTDOWN:
        return ORPHAN
    return hold(
        "the guest waits on the target to be started, and nobody knows whether it had run on and ended on the source, which has"
        " forgotten how its copy ended (kubevirt.io/resolve=target starts it)"
    )


def _source_off(source: Domain, target: Domain | None, facts: Facts) -> Row:
    if source.state is State.SHUTOFF and source.reason in ENDED_BY_ITSELF:
        if (target is None and not _may_wait_there(source, facts)) or (target is not None and target.state in OFF):
            return _ENDED_ON_SOURCE
        if target is not None and target.state is State.PAUSED and never_ran(target) and is_marked(target, facts):
            return ORPHAN
    if target is None:
        waiting = ", where it may wait to be started," if arrives_stopped(source, facts) else ""
        return hold(f"the guest left the source, and the target{waiting} does not answer")
    if target.state is State.PAUSED:
        return _paused_on_target_only(target)
    if was_brought(target, facts):
        return (Verdict.ENDED_ON_TARGET, Action.NONE, "the guest moved and ended on the target")
    if target.state is State.CRASHED:
        return hold("the target has the remains of a guest that this migration did not bring there")
    # Only here: where the target has something, it was this migration that destroyed the source's leftover.
    return _ENDED_ON_SOURCE if source.reason is Reason.DESTROYED else _LOST


def _may_wait_there(source: Domain, facts: Facts) -> bool:
    """libvirtd that was killed while it ended its copy finds it gone afterwards, and says that it crashed."""
    return arrives_stopped(source, facts) and source.reason is not Reason.SHUTDOWN


def _paused_on_target_only(target: Domain) -> Row:
    if never_ran(target) or target.reason in POST_COPY:
        return hold("the source has ended, and the target's copy never ran or is incomplete")
    return (Verdict.ON_TARGET, Action.NONE, "the guest is on the target, paused")
