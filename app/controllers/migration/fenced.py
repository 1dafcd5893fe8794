"""
Rows of the table in `location` for a host that does not answer and that the operator has declared to be off and fenced. Pure.

What ran there has ended; what it had written to shared disks before is written. So a source that was paused for the switch-over
is resumed only by the operator's word: the guest may have run on the target since, and the source's memory be its past.

| source                        | target                                  | verdict, action                                      |
|-------------------------------|-----------------------------------------|------------------------------------------------------|
| fenced                        | fenced                                  | LOST                                                 |
| fenced                        | PAUSED, ours, failed in post-copy       | LOST, destroy target: it is half of a guest          |
| fenced                        | PAUSED, ours, never ran, not persistent, no job | ORPHAN_INCOMING, destroy target              |
| fenced                        | PAUSED by somebody, no job; it does not wait | ON_TARGET, paused                               |
| fenced                        | SHUTOFF or CRASHED, ours                | ENDED_ON_TARGET                                      |
| fenced                        | ABSENT; SHUTOFF, not ours               | LOST                                                 |
| PAUSED, failed in post-copy; or in it, no job | fenced                  | ENDED_ON_TARGET, destroy source: half of a guest     |
| PAUSED/MIGRATION, no job      | fenced; the guest was seen to run there | ENDED_ON_TARGET, destroy source; never resume        |
| PAUSED/MIGRATION, no job      | fenced; another host has the guest      | HOLD                                                 |
| PAUSED/MIGRATION, no job      | fenced; the operator says "source"      | RESUME_SOURCE                                        |
| PAUSED/MIGRATION, no job      | fenced                                  | ON_SOURCE, left paused                               |
| PAUSED by somebody, no job    | fenced                                  | ON_SOURCE, paused as it is                           |
| off, but not by itself        | fenced                                  | ENDED_ON_TARGET                                      |
| any other                     | any other                               | as of a host that does not answer                    |
"""

from __future__ import annotations

from app.controllers.migration.evidence import (
    ENDED_BY_ITSELF,
    NEVER_RAN,
    OFF,
    ORPHAN,
    POST_COPY,
    Action,
    Facts,
    Row,
    Verdict,
    hold,
    is_busy,
    is_marked,
    never_ran,
    waits,
    was_brought,
)
from app.hypervisor.base import Domain, Reason, State
from app.kinds.migration import Word

_DIED_THERE = "the guest had moved, and was lost with the target, which was declared to be off"
_LEFT_PAUSED = (
    "the target was declared to be off, and nobody knows whether the guest had begun to run there: its copy on the source is left"
    " paused. Resume it by hand if it has not; else end it, for what it remembers is the past of its disks"
)


def fenced(source: Domain | None, target: Domain | None, facts: Facts) -> Row | None:
    """None where the ordinary row stands."""
    if source is None and facts.source_off:
        return _source_fenced(target, facts)
    if source is not None and target is None and facts.target_off:
        return _target_fenced(source, facts)
    return None


def _source_fenced(target: Domain | None, facts: Facts) -> Row | None:
    lost = "the guest was lost with the source, which was declared to be off"
    if target is None:
        return (Verdict.LOST, Action.NONE, "both hosts were declared to be off") if facts.target_off else None
    if was_brought(target, facts):
        return (Verdict.ENDED_ON_TARGET, Action.NONE, "the guest moved and ended on the target")
    if target.state in OFF:
        return (Verdict.LOST, Action.NONE, lost)
    if target.state is State.PAUSED and not is_busy(target):
        return _paused_alone(target, facts, lost)
    return None


def _paused_alone(target: Domain, facts: Facts, lost: str) -> Row | None:
    if target.reason is Reason.POSTCOPY_FAILED and is_marked(target, facts):
        return (Verdict.LOST, Action.DESTROY_TARGET, f"{lost}: half of its memory is gone")
    if never_ran(target) and is_marked(target, facts) and not target.persistent:
        return ORPHAN
    if target.reason in POST_COPY or target.reason in NEVER_RAN or waits(target, facts):
        return None
    return (Verdict.ON_TARGET, Action.NONE, "the guest is on the target, paused")


def _target_fenced(source: Domain, facts: Facts) -> Row | None:
    if source.state in OFF:
        by_itself = source.state is State.SHUTOFF and source.reason in ENDED_BY_ITSELF
        return None if by_itself else (Verdict.ENDED_ON_TARGET, Action.NONE, _DIED_THERE)
    if source.state is not State.PAUSED or is_busy(source):
        return None
    if source.reason in POST_COPY:
        return (Verdict.ENDED_ON_TARGET, Action.DESTROY_SOURCE, _DIED_THERE)
    if source.reason is not Reason.MIGRATION:
        return (Verdict.ON_SOURCE, Action.NONE, "the guest is paused on the source, as somebody left it")
    if facts.arrived:
        return (Verdict.ENDED_ON_TARGET, Action.DESTROY_SOURCE, _DIED_THERE)
    if facts.elsewhere:
        return hold("the target was declared to be off, and a third host has the guest")
    if facts.word is Word.SOURCE:
        said = "the operator says that the guest never ran on the target, which was declared to be off"
        return (Verdict.RESUME_SOURCE, Action.RESUME_SOURCE, said)
    return (Verdict.ON_SOURCE, Action.NONE, _LEFT_PAUSED)
