"""Other systems' rules: tables of what they see, when, and what they then say."""

from __future__ import annotations

import pytest

from app.hypervisor.base import Abort, Progress, SetBandwidth, SetDowntime, Steer, StopAndCopy, SwitchToPostCopy
from benchmarks.rivals.kubevirt import KubeVirt
from benchmarks.rivals.nova import Nova, steps
from benchmarks.rivals.ours import Drover
from benchmarks.rivals.rule import Allowed, Rule
from benchmarks.rivals.vdsm import Vdsm

MIB, GIB = 1 << 20, 1 << 30
RATE = 100 * MIB
NOTHING = Allowed(GIB, 500)
DISRUPTION = Allowed(GIB, 500, disruption=True)
POST_COPY = Allowed(GIB, 500, post_copy=True)

Look = tuple[float, int, int]
"""Seconds, the pass, and the MiB that remain."""


def told(rule: Rule, *looks: Look) -> list[tuple[float, Steer]]:
    """What it said, and when; each look at a new pass is a boundary."""
    said, iteration = list[tuple[float, Steer]](), 0
    for at_s, number, remaining in looks:
        seen = Progress(GIB, int(at_s * RATE), remaining * MIB, RATE, 0, number, int(1000 * at_s))
        said += [(at_s, steer) for steer in rule.take(seen, boundary=number > iteration)]
        iteration = number
    return said


def test_nova_waits_longer_the_larger_the_guest() -> None:
    assert steps(8, 500)[:3] == [(0, 50), (600, 95), (1200, 140)]
    assert steps(8, 500)[-1] == (6000, 500)


NOVA: dict[str, tuple[Allowed, tuple[Look, ...], list[tuple[float, Steer]]]] = {
    "it begins with a tenth": (NOTHING, ((0.5, 1, 900),), []),
    "its downtime grows by the clock": (
        NOTHING,
        ((150, 9, 50), (150.5, 9, 50), (300.5, 9, 50)),
        [(150.5, SetDowntime(95)), (300.5, SetDowntime(140))],
    ),
    "a guest of less than 2 GB counts as one": (NOTHING, ((76, 9, 50),), []),
    "it aborts after 800 s for each GB": (NOTHING, ((1600.5, 9, 50), (1601, 9, 50)), [(1600.5, Abort())]),
    "or stops the guest": (DISRUPTION, ((1600.5, 9, 50),), [(1600.5, StopAndCopy())]),
    "or turns to post-copy": (POST_COPY, ((1600.5, 9, 50),), [(1600.5, SwitchToPostCopy())]),
}


@pytest.mark.parametrize("case", NOVA.values(), ids=NOVA.keys())
def test_nova(case: tuple[Allowed, tuple[Look, ...], list[tuple[float, Steer]]]) -> None:
    allowed, looks, expected = case

    rule = Nova(allowed)

    assert rule.first_downtime_ms == 50
    assert told(rule, (0.4, 1, 1000), *looks) == expected


PASSES_OF_TEN_SECONDS = tuple((10.0 * n, n, 500) for n in range(1, 10))
VDSM: dict[str, tuple[Allowed, tuple[Look, ...], list[tuple[float, Steer]]]] = {
    "within one pass it does nothing": (NOTHING, ((10, 1, 900), (20, 1, 500), (30, 1, 100)), []),
    "a pass more than the limit takes a step, the last ones abort": (
        NOTHING,
        PASSES_OF_TEN_SECONDS,
        [
            (30, SetDowntime(150)),
            (40, SetDowntime(200)),
            (50, SetDowntime(300)),
            (60, SetDowntime(400)),
            (80, SetDowntime(500)),
            (90, Abort()),
        ],
    ),
    "one step a look, however many passes there were": (
        NOTHING,
        ((10, 1, 500), (20, 40, 500), (30, 80, 500)),
        [(20, SetDowntime(150)), (30, SetDowntime(200))],
    ),
    "passes are counted from the first that it saw": (NOTHING, ((10, 7, 500), (20, 8, 500)), []),
    "post-copy begins after two steps, and is never aborted": (
        POST_COPY,
        PASSES_OF_TEN_SECONDS,
        [(30, SetDowntime(150)), (40, SetDowntime(200)), (50, SwitchToPostCopy())],
    ),
    "a guest that may be stopped is, for 5 s at most": (
        DISRUPTION,
        (*PASSES_OF_TEN_SECONDS, (100, 10, 500)),
        [
            (30, SetDowntime(150)),
            (40, SetDowntime(200)),
            (50, SetDowntime(300)),
            (60, SetDowntime(400)),
            (80, SetDowntime(500)),
            (90, SetDowntime(5000)),
            (100, Abort()),
        ],
    ),
}


@pytest.mark.parametrize("case", VDSM.values(), ids=VDSM.keys())
def test_vdsm(case: tuple[Allowed, tuple[Look, ...], list[tuple[float, Steer]]]) -> None:
    allowed, looks, expected = case

    rule = Vdsm(allowed)

    assert (rule.poll_s, rule.first_downtime_ms) == (10, 100)
    assert told(rule, *looks) == expected


def passes(*remaining: int, of_s: float = 10) -> tuple[Look, ...]:
    """From the second pass on."""
    return tuple((of_s * number, number + 1, mib) for number, mib in enumerate(remaining, 1))


KUBEVIRT: dict[str, tuple[Allowed, tuple[Look, ...], list[tuple[float, Steer]]]] = {
    "for 40 s nothing is a stall": (DISRUPTION, passes(500, 500, 500, 500, 500), []),
    "then it is": (DISRUPTION, passes(500, 500, 500, 500, 500, 500), [(60, StopAndCopy())]),
    "or post-copy": (POST_COPY, passes(500, 500, 500, 500, 500, 500), [(60, SwitchToPostCopy())]),
    "what shrinks by more than 4 % is none": (DISRUPTION, passes(500, 470, 440, 410, 380, 350, 320), []),
    "it waits for a moment as calm as the best": (
        DISRUPTION,
        passes(300, 500, 500, 500, 500, 500, 310),
        [(70, StopAndCopy())],
    ),
    "but after 40 s for the next best": (
        DISRUPTION,
        passes(300, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500),
        [(110, StopAndCopy())],
    ),
    "where nothing is allowed the downtime is raised for a rest up to half as long again": (
        NOTHING,
        passes(70, 70, 70, 70, 70, 70),
        [(60, SetDowntime(500))],
    ),
    "and it aborts 60 s later": (
        NOTHING,
        (*passes(70, 70, 70, 70, 70, 70), (119, 8, 70), (121, 8, 60)),
        [(60, SetDowntime(500)), (121, Abort())],
    ),
    "or at once where more remains": (NOTHING, passes(80, 80, 80, 80, 80, 80), [(60, Abort())]),
    "it takes no longer than 150 s for each GiB": (
        DISRUPTION,
        ((149, 1, 900), (151, 1, 890)),
        [(151, StopAndCopy())],
    ),
}


@pytest.mark.parametrize("case", KUBEVIRT.values(), ids=KUBEVIRT.keys())
def test_kubevirt(case: tuple[Allowed, tuple[Look, ...], list[tuple[float, Steer]]]) -> None:
    allowed, looks, expected = case

    rule = KubeVirt(allowed)

    assert rule.first_downtime_ms == 300
    assert told(rule, (0.4, 1, 1000), *looks) == expected


def test_ours_is_the_policy_that_migrations_use() -> None:
    capped = Allowed(GIB, 500, bandwidth=RATE)

    said = told(Drover(capped), (0, 1, 1000), *passes(60, 20, 20, of_s=2))

    assert said == [(6, SetBandwidth(None))]
