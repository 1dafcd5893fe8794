"""
The operator's word about a hold, `kubevirt.io/resolve=source|target|lost`: believed where no host says otherwise. Pure.

any      is refused while a third host has the guest, or libvirt works on it.
source   is refused while the source is declared to be off, or says that it has no whole paused copy; and while the target has a
         copy, or the remains of one that ran. Else RESUME_SOURCE of one paused for the switch-over, and ON_SOURCE of any other.
target   is refused while the target is declared to be off, or has no copy, or one that never ran or is not whole; and while the
         source runs the guest, or has memory that the target lacks. Else ON_TARGET, or ENDED_ON_TARGET where only remains are
         there; a paused copy on the source is destroyed first, and one that waits on the target to be started is resumed.
lost     is refused while a host runs the guest or has a whole paused copy. Else LOST; halves in post-copy are destroyed first.

A host that does not answer is no evidence: for what it does when it comes back the operator answers.
"""

from __future__ import annotations

from typing import assert_never

from app.controllers.migration.evidence import (
    OFF,
    POST_COPY,
    RUNS,
    Action,
    Facts,
    Row,
    Verdict,
    ended_before_it_ran,
    is_busy,
    is_marked,
    never_ran,
    waits,
    was_brought,
)
from app.hypervisor.base import Domain, Reason, State
from app.kinds.migration import Word

IS_LOST = "the operator says that the guest is lost"

Answer = Row | str
"""What comes of it; or the evidence against it."""


def by_word(word: Word, source: Domain | None, target: Domain | None, facts: Facts) -> Answer:
    """Asked only where the table holds."""
    if facts.elsewhere:
        return "a third host has the guest"
    for name, host in (("source", source), ("target", target)):
        if host is not None and is_busy(host):
            return f"libvirt on the {name} works on the guest ({host.job})"
    match word:
        case Word.SOURCE:
            return _against_source(source, target, facts) or _on_source(source)
        case Word.TARGET:
            return _against_target(source, target, facts) or _on_target(source, target, facts)
        case Word.LOST:
            return _against_lost(source, target, facts) or _lost(source, target)
        case unhandled:
            assert_never(unhandled)


def _against_source(source: Domain | None, target: Domain | None, facts: Facts) -> str:
    if source is None and facts.source_off:
        return "the source is declared to be off: what was there is lost"
    if source is not None and (source.state is not State.PAUSED or source.reason in POST_COPY):
        return f"the source says {_said(source)}"
    if target is None or target.state is State.ABSENT:
        return ""
    never_ran_there = target.state is State.SHUTOFF and target.reason is Reason.FAILED
    never_ran_there = never_ran_there or ended_before_it_ran(target, facts)
    if target.state not in OFF and target.state is not State.CRASHED:
        return f"the target says {_said(target)}"
    if was_brought(target, facts) and not never_ran_there:
        return f"the target says {_said(target)}: the guest had moved, and ended there"
    return ""


def _on_source(source: Domain | None) -> Row:
    said = "the operator says that the guest is on the source"
    if source is not None and source.reason is Reason.MIGRATION:
        return (Verdict.RESUME_SOURCE, Action.RESUME_SOURCE, said)
    return (Verdict.ON_SOURCE, Action.NONE, said)


def _against_target(source: Domain | None, target: Domain | None, facts: Facts) -> str:
    if target is None and facts.target_off:
        return "the target is declared to be off: what was there is lost"
    if target is not None and _has_nothing_whole(target, facts):
        return f"the target says {_said(target)}"
    if source is None or source.state in OFF:
        return ""
    if source.state is not State.PAUSED or source.reason in POST_COPY:
        return f"the source says {_said(source)}"
    return ""


def _has_nothing_whole(target: Domain, facts: Facts) -> bool:
    if target.state in OFF or target.state is State.CRASHED:
        return not was_brought(target, facts)
    return target.reason in POST_COPY or never_ran(target)


def _on_target(source: Domain | None, target: Domain | None, facts: Facts) -> Row:
    said = "the operator says that the guest is on the target"
    ended = target is not None and (target.state in OFF or target.state is State.CRASHED)
    verdict = Verdict.ENDED_ON_TARGET if ended else Verdict.ON_TARGET
    if source is not None and source.state is State.PAUSED:
        return (verdict, Action.DESTROY_SOURCE, said)
    return (verdict, Action.RESUME_TARGET if target is not None and waits(target, facts) else Action.NONE, said)


def _against_lost(source: Domain | None, target: Domain | None, facts: Facts) -> str:
    for name, host in (("source", source), ("target", target)):
        if host is not None and host.state in RUNS:
            return f"the {name} says {_said(host)}"
        if host is not None and host.state is State.PAUSED and host.reason not in POST_COPY:
            return f"the {name} says {_said(host)}: end that copy by hand if it is not the guest"
    if target is not None and target.state is State.PAUSED and not is_marked(target, facts):
        return f"the target says {_said(target)}, and that copy is not this Migration's to end"
    return ""


def _lost(source: Domain | None, target: Domain | None) -> Row:
    if target is not None and target.state is State.PAUSED:
        return (Verdict.LOST, Action.DESTROY_TARGET, IS_LOST)
    if source is not None and source.state is State.PAUSED:
        return (Verdict.LOST, Action.DESTROY_SOURCE, IS_LOST)
    return (Verdict.LOST, Action.NONE, IS_LOST)


def was_given_up(word: Word | None, source: Domain | None, target: Domain | None) -> bool:
    """What a process that died after it had ended the source's half by the word `lost` leaves to the next one: the word, and
    remains that the table takes for those of a guest that had moved, or that ended on its source."""
    ended = source is not None and (source.state, source.reason) == (State.SHUTOFF, Reason.DESTROYED)
    if target is None or target.reason is Reason.SHUTDOWN:
        return False
    return word is Word.LOST and ended and (target.state in OFF or target.state is State.CRASHED)


def _said(host: Domain) -> str:
    return "that it does not know the guest" if host.state is State.ABSENT else f"{host.state}/{host.reason}"
