"""
How to steer a copy so that it ends: samples and a policy in, what to say to the host out. Pure.

    copying ──▶ no longer shrinking, and not far too long ──▶ the downtime is raised, pass by pass
       │
       ├──▶ hardly shrinking under a cap ──▶ the cap is lifted for a moment
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
FIRST_RAISE, STEP = 0.3, 1.15
"""A pass ends when what it has left fits in the allowed downtime: of a hot guest that leaves less to send, and less time to
write meanwhile, than before. So it may come to fit in a part of what it would take now, which is allowed first, and each pass
that does not shrink is allowed a little more: a step costs tenths of a second, and too large a one stops the guest for longer."""
SHRINKS = 0.98
"""Of what the pass before left: one that leaves more does not shrink."""
CALMER = 0.5
"""Of the same: the guest's ways have changed, and it is asked to be stopped for no longer than at first."""
SLOWLY, SLOW_PASSES = 0.8, 1
"""Of the same: where post-copy is allowed so many passes that leave more are waited for."""
POST_COPY_SHARE = 0.5
"""Of the allowed downtime: where a stop would take longer than that, post-copy spares the guest the most of it."""
SHORTEST_MS = 10
NEAR = 4
"""Times the allowed downtime. A rest that is longer by no more than this may yet come to fit."""
NEAR_UNKNOWN = 6
"""The same while nobody knows what the link carries, which is more than is assumed."""
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
STOP_AT = 0.7
"""Of what a pass began with: a guest that is to be stopped is stopped when so much is left. Stopped where the pass began it waits
for all of W bytes. After t seconds, with L sent and D written a second, W - Lt are left and Dt written anew, of which Lt/W had
been sent: never more than W in all, and least after W / 2D seconds. How fast a guest beyond the link's rate writes nobody can
measure, since a pass finds all of its working set written; so a part of the pass that is good for D of L to 3 L."""
STOPPED_MS = 60_000
"""The least that a stopped guest is waited for; or four times what was reckoned."""

_BY_SIZE, _BY_PROGRESS = " (completionTimeoutPerGiB)", " (progressTimeout)"
"""Which option says so."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the migration may do and how long it may take. It may change on the way."""

    memory: int
    """Bytes of the guest."""
    max_downtime_ms: int = 300
    disks: int = 0
    """Bytes of its disks that travel too."""
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
        """Nova's and KubeVirt's rule: copied disks count like memory."""
        return 1000 * self.completion_s_per_gib * max(SMALLEST_GIB, (self.memory + self.disks) / GIB)

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
    flat: int = 0
    """In a row: passes that did not shrink."""
    calmer: bool = False
    """The last pass left far less than the one before it."""
    slow: int = 0
    """In a row: passes that shrank slowly or not at all."""
    stop_below: int | None = None
    """The guest is to be stopped in this pass, once no more remains than that."""
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
    state = _armed(_judged(state, sample), policy, sample)
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
    share = 0.0 if not state.last else seen.remaining / state.last
    state = replace(
        state,
        flat=0 if share < SHRINKS else state.flat + 1,
        slow=0 if share < SLOWLY else state.slow + 1,
        calmer=not first and share < CALMER,
    )
    if first or state.best is None or seen.remaining < state.best * (1 - MARGIN):
        return replace(state, best=seen.remaining, best_at_ms=seen.elapsed_ms, passes=0, last=seen.remaining)
    return replace(state, passes=state.passes + 1, last=seen.remaining)


def _stuck(state: State, policy: Policy, seen: Progress) -> Step | None:
    since_ms = seen.elapsed_ms - (state.moved.at_ms if state.moved else 0)
    if since_ms < 1000 * policy.progress_s:
        return None
    return Step(replace(state, end=End.STUCK), (), f"nothing was sent for {since_ms // 1000} s{_BY_PROGRESS}")


def _overdue(state: State, policy: Policy, sample: Sample) -> Step | None:
    seen = sample.progress
    if seen.elapsed_ms >= policy.completion_ms:
        return _escalated(state, policy, seen, f"it took longer than {policy.completion_ms / 1000:.0f} s{_BY_SIZE}")
    without_ms = seen.elapsed_ms - state.best_at_ms
    if without_ms >= 1000 * policy.progress_s and state.passes >= 1:
        return _escalated(
            state, policy, seen, f"no pass left less than one {without_ms / 1000:.0f} s ago{_BY_PROGRESS}"
        )
    return None


def _armed(state: State, policy: Policy, sample: Sample) -> State:
    """Where a pass begins that the guest is to be stopped in. One that was to be and was over before anybody looked was short:
    then here and now is as good."""
    if not sample.boundary:
        return state
    if not policy.disruption or policy.post_copy or not _has_stalled(state, policy, sample):
        return replace(state, stop_below=None)
    remaining = sample.progress.remaining
    return replace(state, stop_below=round(STOP_AT * remaining) if state.stop_below is None else remaining)


def _stalled(state: State, policy: Policy, sample: Sample) -> Step | None:
    """Sooner than any timeout where what is allowed is bound to be used: at the calmest moment that has been seen."""
    seen = sample.progress
    if state.stop_below is not None and seen.remaining <= state.stop_below:
        return _escalated(state, policy, seen, "the guest writes as fast as its memory is sent")
    if policy.post_copy and sample.boundary and _has_stalled(state, policy, sample):
        return _escalated(state, policy, seen, "passes hardly shrink")
    return None


def _has_stalled(state: State, policy: Policy, sample: Sample) -> bool:
    """Judged where a pass begins."""
    seen = sample.progress
    sooner = policy.post_copy and state.slow >= SLOW_PASSES
    if state.best is None or not (sooner or state.passes >= PASSES):
        return False
    may_be_held = policy.auto_converge and seen.throttle < FULL_THROTTLE
    enough_ms = policy.max_downtime_ms * (POST_COPY_SHARE if policy.post_copy else 1)
    if _stop_ms(state, policy, state.best) <= enough_ms or may_be_held:
        return False
    calm = seen.remaining <= state.best * (1 + MARGIN)
    waited_ms = seen.elapsed_ms - state.best_at_ms
    return policy.post_copy or (calm and waited_ms >= min(PATIENCE_MS, 1000 * policy.progress_s / 4))


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
    if sample.boundary and seen.iteration > 1:
        if state.calmer:
            downtime_ms = policy.first_downtime_ms
        if lifted_until_ms is None and seen.elapsed_ms >= next_lift_ms and _lift_helps(state, policy, seen):
            lifted_until_ms, why = seen.elapsed_ms + LIFTED_MS, "passes hardly shrink under the cap"
            downtime_ms = downtime_ms if next_lift_ms else policy.first_downtime_ms
        elif (raised_ms := _raised_ms(state, policy, seen, downtime_ms)) is not None:
            downtime_ms, why = raised_ms, "passes no longer shrink"
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


def _lift_helps(state: State, policy: Policy, seen: Progress) -> bool:
    """Where passes hardly shrink, and the rest may yet come to fit: else it would only be sent past the cap."""
    if policy.bandwidth is None or state.slow == 0:
        return False
    near = NEAR if state.link else NEAR_UNKNOWN
    return _stop_ms(state, policy, seen.remaining) <= near * policy.max_downtime_ms


def _raised_ms(state: State, policy: Policy, seen: Progress, now_ms: int) -> int | None:
    """The downtime to allow now; None while the next pass may need less, or would still need far more."""
    stop_ms = _stop_ms(state, policy, seen.remaining)
    if state.flat == 0 or stop_ms > policy.max_downtime_ms * NEAR:
        return None
    raised_ms = max(now_ms * STEP, FIRST_RAISE * stop_ms, SHORTEST_MS)
    return max(now_ms, min(policy.max_downtime_ms, round(raised_ms)))


def _stop_ms(state: State, policy: Policy, remaining: int) -> float:
    """How long sending that takes once no cap holds."""
    known = state.link or (max(ASSUMED_LINK, policy.bandwidth) if policy.bandwidth is not None else state.rate)
    return 1000 * remaining / known if known > 0 else float("inf")
