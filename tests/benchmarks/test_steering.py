"""The model that rules of steering are tried on, and what counts as better."""

from __future__ import annotations

import random
from math import inf

import pytest

from app.hypervisor.base import Abort, Progress, SetBandwidth, SetDowntime, Steer, StopAndCopy, SwitchToPostCopy
from benchmarks.copying import DEVICES_S, Run, copied
from benchmarks.steering import RULES, Row, better, compared, cost, holds, table
from benchmarks.traces import GIB, MIB, Spell, Trace, traces

LINK = 100 * MIB
QUIET = Trace("quiet", GIB, LINK, (Spell(60, 0, 0),))
HOT = Trace("hot", GIB, LINK, (Spell(60, 10 * LINK, 40 * MIB),))


class Says:
    """That, once, then and no sooner."""

    poll_s = 0.5
    hears_passes = False

    def __init__(self, *steers: Steer, at_s: float = 0, downtime_ms: int = 100) -> None:
        self.first_downtime_ms = downtime_ms
        self._steers, self._at_s = list(steers), at_s

    def take(self, seen: Progress, *, boundary: bool) -> list[Steer]:
        if seen.elapsed_ms < 1000 * self._at_s:
            return []
        said, self._steers = self._steers, []
        return said


def test_a_quiet_guest_takes_as_long_as_its_memory() -> None:
    run = copied(QUIET, Says())

    assert run.moved
    assert run.seconds == pytest.approx(1024 / 100 + DEVICES_S)
    assert run.downtime_s <= 0.1 + DEVICES_S


def test_a_hot_guest_ends_once_the_downtime_is_long_enough() -> None:
    run = copied(HOT, Says(SetDowntime(400), at_s=30))

    assert 30 <= run.seconds < 31
    assert run.downtime_s == pytest.approx(0.4 + DEVICES_S, abs=0.01)


def test_what_is_written_is_never_more_than_the_working_set() -> None:
    run = copied(HOT, Says(StopAndCopy(), at_s=60))

    assert run.downtime_s <= 0.4 + DEVICES_S + 0.001


def test_a_cap_is_what_the_host_reckons_with_but_a_stopped_guest_is_sent_without() -> None:
    capped = Trace("capped", GIB, 4 * LINK, HOT.spells, cap=LINK)

    run = copied(capped, Says(SetDowntime(400), at_s=30))

    assert run.downtime_s == pytest.approx(0.1 + DEVICES_S, abs=0.01)
    assert copied(capped, Says(SetBandwidth(None), SetDowntime(100), at_s=30)).moved


def test_post_copy_stops_the_guest_shortly_and_has_a_tail() -> None:
    run = copied(HOT, Says(SwitchToPostCopy(), at_s=30))

    assert (run.moved, run.downtime_s) == (True, DEVICES_S)
    assert 0 < run.tail_s <= 0.4


def test_what_is_given_up_has_not_moved() -> None:
    assert copied(HOT, Says(Abort(), at_s=30)) == Run(False, 30.0)


def test_spells_go_round() -> None:
    first, second = Spell(10, 1, 1), Spell(5, 2, 2)
    trace = Trace("two", GIB, LINK, (first, second))

    assert [trace.spell(at_s) for at_s in (0, 10, 14, 15, 26)] == [
        (first, 10),
        (second, 15),
        (second, 15),
        (first, 25),
        (second, 30),
    ]


def row(ours: Run, best: Run) -> Row:
    return Row(QUIET, {"drover": ours, "nova": Run(False, 1), "vdsm": best, "kubevirt": best})


def test_moving_beats_giving_up_and_who_gives_up_is_as_good_as_another() -> None:
    moved, lost = Run(True, 100, 0.3), Run(False, 1)

    assert (row(moved, lost).ratio, row(lost, moved).ratio, row(lost, lost).ratio) == (0, inf, 1)


def test_a_second_of_standstill_costs_a_hundred() -> None:
    assert cost(Run(True, 10, 0.1)) == 20
    assert cost(Run(True, 10, 0.1, 2)) == 22


def test_one_loss_of_more_than_a_tenth_is_one_too_many() -> None:
    better_one, as_good, worse = (row(Run(True, s, 0), Run(True, 10, 0)) for s in (9, 10.5, 11.5))

    assert (holds([better_one, better_one, as_good]), better([better_one, as_good])) == (True, 1)
    assert not holds([better_one, as_good])
    assert not holds([better_one, better_one, better_one, worse])


def test_a_seed_repeats_everything() -> None:
    once, again = (compared(traces(random.Random(3), 7)) for _ in range(2))

    assert once == again
    assert [set(one.runs) for one in once] == [set(RULES)] * 7
    assert len(table(once).splitlines()) == 8
