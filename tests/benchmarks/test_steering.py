"""The model that rules of steering are tried on, and what counts as better."""

from __future__ import annotations

import random
from math import inf

import pytest

from app.controllers.migration.converge import STOP_AT
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


@pytest.mark.parametrize(("faster", "at_most"), [(1.05, 0.85), (1.5, 0.9), (2, 0.95), (3, 1), (5, 1)])
def test_a_guest_that_is_stopped_early_in_a_pass_waits_for_no_more_than_where_it_began(
    faster: float, at_most: float
) -> None:
    """As converge.STOP_AT says. The first pass takes 10.24 s, each later one the 5.12 s of the working set."""
    guest = Trace("too fast", GIB, LINK, (Spell(60, faster * LINK, 512 * MIB),))

    run = copied(guest, Says(StopAndCopy(), at_s=10.24 + 5.12 * (5 - STOP_AT)))

    assert run.downtime_s <= at_most * 5.12 + DEVICES_S + 0.001


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


def test_of_guests_that_stay_as_they_are_one_loss_in_fifty_is_the_most() -> None:
    better_one, as_good, worse = (row(Run(True, s, 0), Run(True, 100, 0)) for s in (90, 105, 115))

    assert (holds([better_one, better_one, as_good]), better([better_one, as_good])) == (True, 1)
    assert not holds([better_one, as_good])
    assert holds([better_one] * 49 + [worse])
    assert not holds([better_one] * 48 + [worse])


def test_two_seconds_are_nothing_to_tell_rules_apart_by() -> None:
    one = row(Run(True, 3.5, 0), Run(True, 2, 0))

    assert (one.ratio, one.is_worse_than("vdsm")) == (1.75, False)


def test_no_rule_stays_near_the_best_of_three_of_guests_that_change() -> None:
    """
    Two guests write alike, and fast, until whoever has to choose has chosen: the first goes on so, the second becomes calm
    just after. A rule sees them alike, so it stops both at one moment, and whichever that is, one of the two was the other.
    """
    link, hot = 1000 * MIB, 280 * MIB

    def of(calm_at_s: float | None) -> Trace:
        busy = Spell(5000 if calm_at_s is None else calm_at_s, 5.0 * link, hot)
        return Trace("bursty", GIB, link, (busy, Spell(5000, 0.01 * link, hot)))

    def best(trace: Trace) -> float:
        return min(cost(copied(trace, RULES[name](trace.rules))) for name in ("nova", "vdsm", "kubevirt"))

    goes_on = of(None)
    for stop_s in (1.1, 1.5, 2, 3, 4, 5, 6, 8, 12, 20, 40, 80, 160):
        becomes_calm = of(stop_s + 0.2)
        mine = [cost(copied(trace, Says(StopAndCopy(), at_s=stop_s))) for trace in (goes_on, becomes_calm)]
        assert max(mine[0] / best(goes_on), mine[1] / best(becomes_calm)) > 1.1, stop_s


def test_a_seed_repeats_everything() -> None:
    once, again = (compared(traces(random.Random(3), 7)) for _ in range(2))

    assert once == again
    assert [set(one.runs) for one in once] == [set(RULES)] * 7
    assert len(table(once).splitlines()) == 8
