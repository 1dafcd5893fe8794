"""How a copy is steered: a table of situations, and random copies that must all come to an end within their deadlines."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.controllers.migration.converge import (
    GIVEN_UP,
    LIFTED_MS,
    End,
    Policy,
    Sample,
    State,
    Step,
    begun,
    refused,
    steered,
    taken_over,
)
from app.hypervisor.base import CopyPhase, Progress, SetBandwidth, SetDowntime, Steer, StopAndCopy, SwitchToPostCopy

MIB = 1 << 20
GIB = 1 << 30
LINK = 100 * MIB
POLICY = Policy(memory=GIB, max_downtime_ms=300, completion_s_per_gib=150, progress_s=150)


def seen(at_s: float, remaining_mib: float, iteration: int, rate: float = LINK, throttle: int = 0) -> Progress:
    """After so many seconds at that rate."""
    return Progress(
        GIB, int(at_s * rate), int(remaining_mib * MIB), int(rate), 0, iteration, int(1000 * at_s), throttle=throttle
    )


def run(policy: Policy, *passes: float, rate: float = LINK, throttle: int = 0) -> tuple[State, list[Steer]]:
    """A copy whose passes began with so many MiB remaining, and took as long as those take; the first sends all."""
    state, said, at_s = begun(policy), list[Steer](), 0.0
    for number, remaining in enumerate((1024, *passes), 1):
        for sample in (
            Sample(seen(at_s, remaining, number, rate, throttle), boundary=True),
            Sample(seen(at_s + remaining * MIB / rate / 2, remaining / 2, number, rate, throttle)),
        ):
            step = steered(state, policy, sample)
            state = step.state
            said.extend(step.steers)
        at_s += remaining * MIB / rate
    return state, said


WRITES_TOO_FAST = (500,) * 8

CASES: dict[str, tuple[Policy, tuple[float, ...], list[Steer], End | None]] = {
    "a copy that shrinks is left alone": (POLICY, (400, 100, 25, 6), [], None),
    "a rest that no longer shrinks, and is short, gets a part of the downtime that it would need": (
        POLICY,
        (100, 20, 20),
        [SetDowntime(60)],
        None,
    ),
    "and a little more with each pass that does not shrink either": (
        POLICY,
        (100, 28, 28, 28, 28),
        [SetDowntime(84), SetDowntime(97), SetDowntime(112)],
        None,
    ),
    "but not while it shrinks, for it comes to fit": (POLICY, (100, 28, 28, 27, 26, 25), [SetDowntime(84)], None),
    "never more than is allowed": (
        replace(POLICY, max_downtime_ms=90),
        (28, 28, 28, 28),
        [SetDowntime(84), SetDowntime(90)],
        None,
    ),
    "a guest that becomes calmer is asked for no more than at first": (
        POLICY,
        (100, 28, 28, 10),
        [SetDowntime(84), SetDowntime(10)],
        None,
    ),
    "after three passes that helped nothing a rest that is nearly short enough gets all that is allowed, too": (
        POLICY,
        (100, 100, 100, 100),
        [SetDowntime(300)],
        None,
    ),
    "a rest that would take too long gets nothing": (POLICY, (500, 500), [], None),
    "post-copy begins as soon as passes hardly shrink": (
        replace(POLICY, post_copy=True),
        WRITES_TOO_FAST,
        [SwitchToPostCopy()],
        End.POST_COPY,
    ),
    "with both allowed it is post-copy": (
        replace(POLICY, post_copy=True, disruption=True),
        WRITES_TOO_FAST,
        [SwitchToPostCopy()],
        End.POST_COPY,
    ),
    "a guest is stopped only after some patience": (replace(POLICY, disruption=True), WRITES_TOO_FAST, [], None),
    "and then at a calm moment": (
        replace(POLICY, disruption=True),
        (*WRITES_TOO_FAST, 700, 700, 700, 490),
        [StopAndCopy()],
        End.STOPPED,
    ),
    "nothing allowed: given up when no pass was better for too long": (
        POLICY,
        (500,) * 40,
        [],
        End.NOT_CONVERGING,
    ),
    "one that gets better is not given up": (POLICY, tuple(500 * 0.95**n for n in range(40)), [], None),
    "a first pass may take as long as it takes": (replace(POLICY, progress_s=5), (), [], None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_copy_is_steered(case: tuple[Policy, tuple[float, ...], list[Steer], End | None]) -> None:
    policy, passes, expected, end = case

    state, said = run(policy, *passes)

    assert (said, state.end) == (expected, end)


def test_while_a_guest_can_be_held_back_more_it_is_not_stopped() -> None:
    policy = replace(POLICY, auto_converge=True, post_copy=True)

    held, _ = run(policy, *WRITES_TOO_FAST, throttle=75)
    spent, _ = run(policy, *WRITES_TOO_FAST, throttle=99)

    assert (held.end, spent.end) == (None, End.POST_COPY)


CAPPED = replace(POLICY, bandwidth=10 * MIB)


def lifted() -> State:
    """Two passes left 30 MiB each, which no cap lets through in 300 ms, and the link perhaps does."""
    state, _ = run(CAPPED, 30, rate=10 * MIB)
    return steered(state, CAPPED, Sample(seen(106, 30, 3, 10 * MIB), boundary=True)).state


def test_a_cap_is_lifted_where_passes_hardly_shrink_and_put_back() -> None:
    state = lifted()
    assert (state.cap, state.downtime_ms) == (None, 10)

    during = steered(state, CAPPED, Sample(seen(107, 30, 3, 10 * MIB)))
    after = steered(during.state, CAPPED, Sample(seen(107.6, 30, 3, 10 * MIB)))

    assert (during.steers, after.steers) == ((), (SetBandwidth(10 * MIB),))
    again = steered(after.state, CAPPED, Sample(seen(110, 30, 4, 10 * MIB), boundary=True))
    assert SetBandwidth(None) not in again.steers


def test_a_cap_holds_while_the_copy_shrinks_under_it() -> None:
    state, said = run(CAPPED, 200, 100, 50, 25, 12, rate=10 * MIB)

    assert (state.cap, said) == (10 * MIB, [])


def test_a_lifted_cap_shows_what_the_link_carries() -> None:
    state = lifted()
    assert state.measured is not None
    at = state.measured
    later = Progress(GIB, at.processed + 20 * MIB, 10 * MIB, 0, 0, 3, at.at_ms + 1000)

    step = steered(state, CAPPED, Sample(later))

    assert step.state.link == pytest.approx(20 * MIB)
    back = steered(
        step.state, CAPPED, Sample(replace(later, elapsed_ms=later.elapsed_ms + 20_000), boundary=False)
    ).state
    small_enough_for_an_unknown_link = replace(later, remaining=30 * MIB, elapsed_ms=later.elapsed_ms + 30_000)
    assert steered(back, CAPPED, Sample(small_enough_for_an_unknown_link, boundary=True)).steers == ()


def test_what_is_changed_on_the_way_is_said_at_once() -> None:
    state, _ = run(POLICY, 500)
    changed = replace(POLICY, bandwidth=7 * MIB, max_downtime_ms=5)

    step = steered(state, changed, Sample(seen(16, 200, 2)))

    assert step.steers == (SetDowntime(5), SetBandwidth(7 * MIB))
    assert steered(step.state, changed, Sample(seen(17, 200, 2))).steers == ()


def test_who_takes_over_says_everything_again() -> None:
    policy = replace(POLICY, bandwidth=7 * MIB)

    step = steered(taken_over(), policy, Sample(seen(16, 200, 2)))

    assert step.steers == (SetDowntime(10), SetBandwidth(7 * MIB))


def test_not_one_byte_is_another_end_than_too_many() -> None:
    state = steered(begun(POLICY), POLICY, Sample(seen(10, 500, 2))).state
    later = replace(seen(10, 500, 2), elapsed_ms=161_000)

    step = steered(state, POLICY, Sample(later))

    assert (step.state.end, step.steers) == (End.STUCK, ())


def test_on_a_link_that_is_gone_nobody_is_stopped_or_sent_away() -> None:
    """What depends on the link would only be worse off."""
    policy = replace(POLICY, disruption=True, post_copy=True, progress_s=1000)
    slow, state = LINK / 10_000, begun(policy)
    for number in range(1, 30):
        step = steered(state, policy, Sample(seen(10 * number, 500, number + 1, slow), boundary=True))
        state = step.state
        assert (step.steers, state.end) == ((), None)

    end = steered(state, policy, Sample(seen(policy.end_ms / 1000, 500, 31, slow)))

    assert end.state.end is End.NOT_CONVERGING


@pytest.mark.parametrize(("disks", "allowed_s"), [(0, 300), (GIB, 300), (9 * GIB, 1500)])
def test_copied_disks_have_their_time_like_memory(disks: int, allowed_s: int) -> None:
    policy = replace(POLICY, disks=disks, progress_s=10_000)

    in_time = steered(begun(policy), policy, Sample(seen(allowed_s - 1, 500, 1)))
    late = steered(in_time.state, policy, Sample(seen(allowed_s, 500, 1)))

    assert (in_time.state.end, late.state.end) == (None, End.NOT_CONVERGING)


def test_after_the_hosts_no_another_way_is_taken() -> None:
    policy = replace(POLICY, post_copy=True, disruption=True)
    state, _ = run(policy, *WRITES_TOO_FAST)
    without = replace(policy, post_copy=False)

    step = steered(refused(state), without, Sample(seen(301, 500, 12), boundary=True))

    assert step.steers == (StopAndCopy(),)


def test_a_guest_is_stopped_in_the_midst_of_a_pass_or_where_the_next_begins() -> None:
    policy = replace(POLICY, disruption=True)
    state, said = run(policy, *WRITES_TOO_FAST, 700, 700, 700)
    began = steered(state, policy, Sample(seen(60, 490, 13), boundary=True))
    early = steered(began.state, policy, Sample(seen(61, 400, 13)))

    midst = steered(early.state, policy, Sample(seen(62, 340, 13)))
    short = steered(early.state, policy, Sample(seen(62, 490, 14), boundary=True))

    assert (said, began.steers, early.steers) == ([], (), ())
    assert (midst.steers, short.steers) == ((StopAndCopy(),), (StopAndCopy(),))


def test_a_guest_that_writes_more_where_the_next_pass_begins_is_not_stopped_there() -> None:
    policy = replace(POLICY, disruption=True)
    state, _ = run(policy, *WRITES_TOO_FAST, 700, 700, 700)
    began = steered(state, policy, Sample(seen(60, 490, 13), boundary=True))

    busier = steered(began.state, policy, Sample(seen(61, 700, 14), boundary=True))

    assert (busier.steers, busier.state.stop_below) == ((), None)


def test_a_stopped_guest_is_not_waited_for_for_ever() -> None:
    policy = replace(POLICY, disruption=True)
    state, _ = run(policy, *WRITES_TOO_FAST, 700, 700, 700, 490)
    late = replace(seen(120, 490, 13), phase=CopyPhase.SWITCHING)

    assert steered(state, policy, Sample(late)).state.end is End.STOPPED
    assert steered(state, policy, Sample(replace(late, elapsed_ms=140_000))).state.end is End.NOT_CONVERGING


@dataclass(frozen=True, slots=True)
class Weather:
    """A second of a copy: what the link carries, and what share of its working set the guest writes."""

    link: float
    writes: float
    boundary: bool


WEATHER = st.builds(
    Weather,
    st.floats(0, 400 * MIB) | st.just(0.0),
    st.floats(0, 600 * MIB),
    st.booleans(),
)
POLICIES = st.builds(
    Policy,
    memory=st.integers(64 * MIB, 8 * GIB),
    max_downtime_ms=st.integers(1, 5000),
    bandwidth=st.none() | st.integers(MIB, 200 * MIB),
    completion_s_per_gib=st.integers(1, 60),
    progress_s=st.integers(1, 60),
    auto_converge=st.booleans(),
    post_copy=st.booleans(),
    disruption=st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(POLICIES, st.lists(WEATHER, min_size=1, max_size=60), st.booleans())
def test_whatever_happens_it_ends_and_keeps_the_rules(policy: Policy, weather: list[Weather], anew: bool) -> None:
    """Weather goes round until its end; nobody obeys: whatever is said, the copy goes on."""
    state, said = (taken_over() if anew else begun(policy)), list[Steer]()
    iteration, remaining, processed, at_ms = 1, float(policy.memory), 0.0, 0
    allowed_ms = policy.end_ms + 1000 * max(policy.progress_s, 60) * 8
    while state.end not in GIVEN_UP and state.end is not End.POST_COPY:
        now = weather[(at_ms // 1000) % len(weather)]
        at_ms += 1000
        assert at_ms <= allowed_ms, "it never ends"
        sent = min(remaining, min(now.link, policy.bandwidth or now.link))
        remaining, processed = remaining - sent, processed + sent
        turned = remaining <= 0 or (iteration > 1 and now.boundary)
        if turned:
            iteration, remaining = iteration + 1, max(remaining, min(float(policy.memory), now.writes))
        step = steered(
            state,
            policy,
            Sample(Progress(policy.memory, int(processed), int(remaining), 0, 0, iteration, at_ms), turned),
        )
        _keeps_the_rules(state, step, policy)
        said.extend(step.steers)
        state = step.state

    assert SwitchToPostCopy() not in said or policy.post_copy
    assert StopAndCopy() not in said or policy.disruption
    if SwitchToPostCopy() in said:
        assert said[-1] == SwitchToPostCopy()
        later = Sample(Progress(policy.memory, 0, 1, 0, 0, 9, at_ms + 10_000_000, phase=CopyPhase.POST_COPY), True)
        assert steered(state, policy, later) == Step(state)


def _keeps_the_rules(before: State, step: Step, policy: Policy) -> None:
    for steer in step.steers:
        match steer:
            case SetDowntime(ms):
                assert 0 < ms <= policy.max_downtime_ms
            case SetBandwidth(None):
                assert policy.bandwidth is not None or not before.cap_known
            case SetBandwidth(rate):
                assert rate == policy.bandwidth
            case _:
                assert before.end is None


@settings(max_examples=100, deadline=None)
@given(POLICIES, st.lists(WEATHER, min_size=1, max_size=60))
def test_in_post_copy_nothing_is_ever_said(policy: Policy, weather: list[Weather]) -> None:
    state = taken_over()
    for second, now in enumerate(weather):
        sample = Progress(
            policy.memory, 0, int(now.writes), 0, 0, second, second * 10_000_000, phase=CopyPhase.POST_COPY
        )
        assert steered(state, policy, Sample(sample, now.boundary)) == Step(state)


def test_a_lift_is_short() -> None:
    assert LIFTED_MS < 2000
