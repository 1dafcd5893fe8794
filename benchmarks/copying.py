"""
A copy as QEMU makes it, by arithmetic and in virtual time: one guest, one link, one way of steering.

A pass sends what was dirty when it began, at the link's rate or the cap's. Once so little of it remains that the allowed
downtime would do, the guest's writing is counted anew: is that still so, the guest is stopped; else the next pass begins. What
is dirtied meanwhile is at most the working set. QEMU reckons with the cap; a stopped guest is sent without one.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.hypervisor.base import (
    Abort,
    CopyPhase,
    Progress,
    SetBandwidth,
    SetDowntime,
    Steer,
    StopAndCopy,
    SwitchToPostCopy,
)
from benchmarks.rivals.rule import Rule
from benchmarks.traces import Spell, Trace

SHORTEST_PASS_S = 0.05
"""To count what is dirty takes as long."""
DEVICES_S = 0.02
"""What every switch-over takes beside memory."""
LONGEST_S = 40_000.0
"""No rule goes on for longer: it would be a mistake here."""


@dataclass(frozen=True, slots=True)
class Run:
    """How one rule did. A post-copy's tail is part of `seconds`: the guest runs, and waits for pages."""

    moved: bool
    seconds: float
    downtime_s: float = 0.0
    tail_s: float = 0.0


@dataclass(slots=True)
class _Copy:
    remaining: float
    downtime_s: float
    cap: int | None
    at_s: float = 0.0
    sent: float = 0.0
    dirtied: float = 0.0
    iteration: int = 1
    pass_s: float = 0.0

    universe: float = 0.0
    """What is dirty is somewhere in this: all of the memory in the first pass, then the working set."""

    def rate(self, link: int) -> float:
        return min(link, self.cap) if self.cap else link

    @property
    def dirty(self) -> float:
        """What is still to be sent, and what has been sent and written since; a page that is both counts once."""
        return self.remaining + self.dirtied * max(0.0, 1 - self.remaining / self.universe) if self.universe else 0.0


def copied(trace: Trace, rule: Rule) -> Run:
    """From the first byte to the guest's running there, or to the copy's being given up."""
    copy = _Copy(trace.memory, rule.first_downtime_ms / 1000, trace.cap, universe=trace.memory)
    looks_s = rule.poll_s
    boundary = True
    while copy.at_s < LONGEST_S:
        looks = copy.at_s >= looks_s
        if looks or (boundary and rule.hears_passes):
            looks_s = looks_s + rule.poll_s if looks else looks_s
            for steer in rule.take(_progress(copy, trace), boundary=boundary):
                if (run := _heeded(copy, trace, steer)) is not None:
                    return run
        if _is_short_enough(copy, trace):
            return _stopped(copy, trace)
        boundary = _went_on(copy, trace, looks_s)
    raise AssertionError(f"BUG: {type(rule).__name__} never ended a copy")


def _heeded(copy: _Copy, trace: Trace, steer: Steer) -> Run | None:
    match steer:
        case SetDowntime(ms):
            copy.downtime_s = ms / 1000
        case SetBandwidth(cap):
            copy.cap = cap
        case SwitchToPostCopy():
            tail_s = copy.dirty / copy.rate(trace.link)
            return Run(True, copy.at_s + DEVICES_S + tail_s, DEVICES_S, tail_s)
        case StopAndCopy():
            return _stopped(copy, trace)
        case Abort():
            return Run(False, copy.at_s)
    return None


def _stopped(copy: _Copy, trace: Trace) -> Run:
    downtime_s = copy.dirty / trace.link + DEVICES_S
    return Run(True, copy.at_s + downtime_s, downtime_s)


def _is_short_enough(copy: _Copy, trace: Trace) -> bool:
    return copy.dirty <= copy.rate(trace.link) * copy.downtime_s


def _went_on(copy: _Copy, trace: Trace, looks_s: float) -> bool:
    """Until a pass ends, the rule looks or the guest's writing changes. Has a pass begun?"""
    rate = copy.rate(trace.link)
    spell, ends_s = trace.spell(copy.at_s)
    enough = max(0.0, copy.remaining - rate * copy.downtime_s)
    to_end_s = max(enough / rate, SHORTEST_PASS_S - copy.pass_s, 0.0)
    spent_s = min(to_end_s, looks_s - copy.at_s, ends_s - copy.at_s)
    _send(copy, spell, rate, spent_s)
    if spent_s < to_end_s:
        return False
    copy.remaining = copy.dirty
    copy.dirtied, copy.pass_s, copy.universe = 0.0, 0.0, max(copy.remaining, spell.working_set)
    if not _is_short_enough(copy, trace):
        copy.iteration += 1
    return True


def _send(copy: _Copy, spell: Spell, rate: float, seconds: float) -> None:
    amount = min(copy.remaining, rate * seconds)
    copy.at_s += seconds
    copy.pass_s += seconds
    copy.sent += amount
    copy.remaining -= amount
    copy.universe = max(copy.universe, spell.working_set)
    copy.dirtied = max(copy.dirtied, min(spell.working_set, copy.dirtied + spell.dirty_rate * seconds))


def _progress(copy: _Copy, trace: Trace) -> Progress:
    rate = int(copy.rate(trace.link))
    return Progress(
        total=trace.memory,
        processed=int(copy.sent),
        remaining=int(copy.remaining),
        memory_rate=rate,
        dirty_rate=0,
        iteration=copy.iteration,
        elapsed_ms=int(1000 * copy.at_s),
        phase=CopyPhase.LIVE,
    )
