"""
How to steer a copy so that it ends: samples and a policy in, what to say to the host out. Pure.

    copying ──▶ short enough, or nearly, and no longer shrinking ──▶ the downtime is raised; a cap is lifted for it
       │
       ├──▶ no better for too long, or too long in all ──▶ post-copy, if allowed ──▶ nothing more is said, ever
       │                                              ├──▶ stopped, if allowed ──▶ given up where even that takes too long
       │                                              └──▶ given up: not converging
       └──▶ not one byte for too long ──▶ given up: stuck

Within a pass what remains only says how far the pass is. What the guest writes is seen where a pass begins, so only those
samples are compared, and with the best of them rather than the last. Time is the host's own since the copy began: a process
that takes over judges as the one before it would have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from app.hypervisor.base import (
    CopyPhase,
    Progress,
    SetBandwidth,
    SetDowntime,
    Steer,
    StopAndCopy,
    SwitchToPostCopy,
    Throttling,
)

GIB = 1 << 30
SMALLEST_GIB = 2
"""A smaller guest gets as long as one of this size."""
FIRST_DOWNTIME_SHARE = 30
"""Of the allowed downtime: while passes shrink another one costs no longer than it would have stopped the guest."""
STEP = 1.5
"""By how much the downtime grows with each pass that helped nothing, whatever the samples promise."""
SHORTEST_MS = 10
HEADROOM = 1.3
"""Over what it would take: the next pass is seldom exactly as long."""
FIRST_RAISE_MS = 300
"""Not at once to more than QEMU's own default. A pass ends when what it has left fits in the allowed downtime: of a hot guest
that leaves less to send, and less time to write meanwhile, than before."""
NEAR = 4
"""Times the allowed downtime. For the same reason a rest that is longer by no more than this may yet come to fit."""
MARGIN = 0.04
"""By so much a value must be better to count as better, and may be worse to count as good."""
WEIGHT = 0.4
"""Of a new measurement of the rate."""
MEASURED_MS = 150
"""Two samples nearer to one another say little of the rate."""
ASSUMED_LINK = 125_000_000
"""Bytes per second: what a link carries at least, until a lifted cap has shown it."""
LIFTED_MS, BETWEEN_LIFTS_MS = 1500, 10_000
PASSES = 3
"""Without a better one: then the guest writes as fast as it is sent."""
PATIENCE_MS = 40_000
"""Before a guest is stopped, in the hope of a calmer moment; or a quarter of the progress timeout."""
FIRST_THROTTLE, MORE_THROTTLE, FULL_THROTTLE = 60, 15, 99
"""QEMU's own 20 % and 10 % take minutes to reach what holds a busy guest."""
STOPPED_MS = 60_000
"""The least that a stopped guest is waited for; or four times what was reckoned."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the migration may do and how long it may take. It may change on the way."""

    memory: int
    """Bytes of the guest."""
    max_downtime_ms: int = 300
    bandwidth: int | None = None
    """Bytes per second; None is no cap."""
    completion_s_per_gib: int = 150
    progress_s: int = 150
    auto_converge: bool = False
    post_copy: bool = False
    disruption: bool = False
    """The guest may be stopped for longer than max_downtime_ms."""

    @property
    def completion_ms(self) -> float:
        return 1000 * self.completion_s_per_gib * max(SMALLEST_GIB, self.memory / GIB)

    @property
    def end_ms(self) -> float:
        """Nothing goes on for longer, but post-copy, which cannot be ended."""
        return 2 * self.completion_ms

    @property
    def first_downtime_ms(self) -> int:
        return min(self.max_downtime_ms, max(SHORTEST_MS, self.max_downtime_ms // FIRST_DOWNTIME_SHARE))

    @property
    def throttling(self) -> Throttling | None:
        return Throttling(FIRST_THROTTLE, MORE_THROTTLE) if self.auto_converge else None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the host said, and whether a pass had just begun."""

    progress: Progress
    boundary: bool = False


class End(StrEnum):
    """What cannot be taken back."""

    POST_COPY = "post-copy"
    STOPPED = "stopped"
    NOT_CONVERGING = "not-converging"
    """Given up: the guest writes faster than its memory can be sent, and nothing more is allowed."""
    STUCK = "stuck"
    """Given up: nothing is sent at all."""


GIVEN_UP = frozenset({End.NOT_CONVERGING, End.STUCK})


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample that rates are measured from."""

    at_ms: int
    processed: int


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered between samples."""

    downtime_ms: int | None = None
    """Said last; None is not known."""
    cap: int | None = None
    """Said last; None is no cap."""
    cap_known: bool = False
    rate: float = 0.0
    """Bytes per second, smoothed; under a cap it is the cap's."""
    link: float = 0.0
    """The same, measured without a cap only."""
    measured: Seen | None = None
    moved: Seen | None = None
    """When the last byte was sent."""
    best: int | None = None
    """The least that remained where a pass began."""
    best_at_ms: int = 0
    last: int | None = None
    """What remained where the pass before began."""
    passes: int = 0
    """Since the best."""
    lifted_until_ms: float | None = None
    next_lift_ms: float = 0.0
    end: End | None = None
    stopped_until_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What is remembered now, what is to be said to the host, in order, and why, for people."""

    state: State
    steers: tuple[Steer, ...] = ()
    why: str = ""


def begun(policy: Policy) -> State:
    """Of a copy that was begun with the policy's cap and first downtime."""
    return State(downtime_ms=policy.first_downtime_ms, cap=policy.bandwidth, cap_known=True)


def taken_over() -> State:
    """Of a copy that somebody else began: what it was told is said again."""
    return State()


def refused(state: State) -> State:
    """The host does not do what was said last."""
    return replace(state, end=None)


def steered(state: State, policy: Policy, sample: Sample) -> Step:
    """After that sample. An end in the state that gives up says nothing to the host: whoever steers aborts."""
    if state.end in GIVEN_UP or state.end is End.POST_COPY or sample.progress.phase is CopyPhase.POST_COPY:
        return Step(state)
    state = _measured(state, policy, sample.progress)
    if state.end is End.STOPPED:
        return _waited(state, sample.progress)
    if sample.progress.phase is CopyPhase.SWITCHING:
        return Step(state)
    state = _judged(state, sample)
    return (
        _stuck(state, policy, sample.progress)
        or _overdue(state, policy, sample)
        or _stalled(state, policy, sample)
        or _kept(state, policy, sample)
    )


def _measured(state: State, policy: Policy, seen: Progress) -> State:
    now = Seen(seen.elapsed_ms, seen.processed)
    if state.moved is None or now.processed > state.moved.processed:
        state = replace(state, moved=now)
    if state.measured is None or now.processed < state.measured.processed:
        return replace(state, measured=now)
    passed_ms = now.at_ms - state.measured.at_ms
    if passed_ms < MEASURED_MS:
        return state
    rate = 1000 * (now.processed - state.measured.processed) / passed_ms
    state = replace(state, measured=now, rate=_smoothed(state.rate, rate))
    if policy.bandwidth is None or state.lifted_until_ms is not None:
        state = replace(state, link=_smoothed(state.link, rate))
    return state


def _smoothed(before: float, now: float) -> float:
    return now if before == 0 else WEIGHT * now + (1 - WEIGHT) * before


def _judged(state: State, sample: Sample) -> State:
    """In the first pass all of the memory is new: there every byte sent is progress."""
    seen = sample.progress
    if seen.iteration <= 1:
        nearer = state.best is None or seen.remaining < state.best
        return replace(state, best=seen.remaining, best_at_ms=seen.elapsed_ms) if nearer else state
    if not sample.boundary:
        return state
    first = state.last is None
    if first or state.best is None or seen.remaining < state.best * (1 - MARGIN):
        return replace(state, best=seen.remaining, best_at_ms=seen.elapsed_ms, passes=0, last=seen.remaining)
    return replace(state, passes=state.passes + 1, last=seen.remaining)


def _stuck(state: State, policy: Policy, seen: Progress) -> Step | None:
    since_ms = seen.elapsed_ms - (state.moved.at_ms if state.moved else 0)
    if since_ms < 1000 * policy.progress_s:
        return None
    return Step(replace(state, end=End.STUCK), (), f"nothing was sent for {since_ms // 1000} s")


def _overdue(state: State, policy: Policy, sample: Sample) -> Step | None:
    seen = sample.progress
    if seen.elapsed_ms >= policy.completion_ms:
        return _escalated(state, policy, seen, f"it took longer than {policy.completion_ms / 1000:.0f} s")
    without_ms = seen.elapsed_ms - state.best_at_ms
    if without_ms >= 1000 * policy.progress_s and state.passes >= 1:
        return _escalated(state, policy, seen, f"no pass left less than one {without_ms / 1000:.0f} s ago")
    return None


def _stalled(state: State, policy: Policy, sample: Sample) -> Step | None:
    """Sooner than any timeout where what is allowed is bound to be used: at the calmest moment that has been seen."""
    seen = sample.progress
    if not sample.boundary or state.passes < PASSES or state.best is None:
        return None
    calm = seen.remaining <= state.best * (1 + MARGIN)
    may_be_held = policy.auto_converge and seen.throttle < FULL_THROTTLE
    if _stop_ms(state, policy, state.best) <= policy.max_downtime_ms or may_be_held:
        return None
    if policy.post_copy:
        return _escalated(state, policy, seen, f"{state.passes} passes left no less than the one before them")
    patience_ms = min(PATIENCE_MS, 1000 * policy.progress_s / 4)
    if policy.disruption and calm and seen.elapsed_ms - state.best_at_ms >= patience_ms:
        return _escalated(state, policy, seen, "the guest writes as fast as its memory is sent")
    return None


def _escalated(state: State, policy: Policy, seen: Progress, why: str) -> Step:
    """Can it end at all? Where the link is gone, a guest that depends on it would be worse off."""
    stop_ms = _stop_ms(state, policy, seen.remaining)
    can_end = state.rate > 0 and seen.elapsed_ms + stop_ms <= policy.end_ms
    if can_end and policy.post_copy:
        return Step(replace(state, end=End.POST_COPY), (SwitchToPostCopy(),), why)
    if can_end and policy.disruption:
        until_ms = seen.elapsed_ms + max(STOPPED_MS, 4 * stop_ms)
        stopped = replace(state, end=End.STOPPED, stopped_until_ms=until_ms)
        return Step(stopped, (StopAndCopy(),), why)
    if (policy.post_copy or policy.disruption) and seen.elapsed_ms < policy.end_ms:
        return _kept(state, policy, Sample(seen))
    return Step(replace(state, end=End.NOT_CONVERGING), (), why)


def _waited(state: State, seen: Progress) -> Step:
    if seen.elapsed_ms < state.stopped_until_ms:
        return Step(state)
    return Step(replace(state, end=End.NOT_CONVERGING), (), "it did not end although the guest was stopped")


def _kept(state: State, policy: Policy, sample: Sample) -> Step:
    """Cap and downtime as they are to be now."""
    seen, why = sample.progress, ""
    downtime_ms = min(state.downtime_ms or policy.first_downtime_ms, policy.max_downtime_ms)
    lifted_until_ms, next_lift_ms = state.lifted_until_ms, state.next_lift_ms
    if lifted_until_ms is not None and seen.elapsed_ms >= lifted_until_ms:
        lifted_until_ms, next_lift_ms = None, seen.elapsed_ms + BETWEEN_LIFTS_MS
    if sample.boundary and seen.iteration > 1 and (enough_ms := _enough_ms(state, policy, seen)) is not None:
        downtime_ms = max(downtime_ms, enough_ms)
        why = "passes no longer shrink"
        may_do = _stop_ms(state, policy, seen.remaining) <= policy.max_downtime_ms
        if policy.bandwidth is not None and may_do and lifted_until_ms is None and seen.elapsed_ms >= next_lift_ms:
            lifted_until_ms = seen.elapsed_ms + LIFTED_MS
    cap = None if lifted_until_ms is not None else policy.bandwidth
    steers: list[Steer] = []
    if state.downtime_ms != downtime_ms:
        steers.append(SetDowntime(downtime_ms))
    if not state.cap_known or state.cap != cap:
        steers.append(SetBandwidth(cap))
    kept = replace(
        state,
        downtime_ms=downtime_ms,
        cap=cap,
        cap_known=True,
        lifted_until_ms=lifted_until_ms,
        next_lift_ms=next_lift_ms,
    )
    return Step(kept, tuple(steers), why if steers else "")


def _enough_ms(state: State, policy: Policy, seen: Progress) -> int | None:
    """The downtime to allow now; None while the next pass may need far less, or would still need far more."""
    stop_ms = _stop_ms(state, policy, seen.remaining)
    helpless = state.passes >= PASSES
    if state.passes == 0 or stop_ms > policy.max_downtime_ms * (NEAR if helpless else 1):
        return None
    step_ms = (state.downtime_ms or 0) * STEP if helpless else 0
    raised_ms = max(min(stop_ms * HEADROOM, FIRST_RAISE_MS), step_ms)
    return min(policy.max_downtime_ms, max(SHORTEST_MS, round(raised_ms)))


def _stop_ms(state: State, policy: Policy, remaining: int) -> float:
    """How long sending that takes once no cap holds."""
    known = state.link or (max(ASSUMED_LINK, policy.bandwidth) if policy.bandwidth is not None else state.rate)
    return 1000 * remaining / known if known > 0 else float("inf")
