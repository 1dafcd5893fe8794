"""The index answers what looking at each node would. Pure."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.controllers.placement.fleet import Fleet, Index, Levels, level, members
from tests.controllers.placement.builders import GIB, need, node

AMOUNTS = st.lists(st.integers(-5, 10**13), min_size=1, max_size=40)


@given(st.integers(-5, 2**50), st.integers(0, 2**40))
def test_a_level_never_falls_while_the_amount_grows(amount: int, more: int) -> None:
    assert level(amount) <= level(amount + more)


@given(st.integers(1, 2**50))
def test_amounts_of_one_level_differ_by_less_than_a_sixteenth(amount: int) -> None:
    assert level(amount + amount // 16 + 1) > level(amount)


@given(AMOUNTS, st.integers(-5, 10**13))
def test_below_is_exact(amounts: list[int], asked: int) -> None:
    assert [at for at, amount in enumerate(amounts) if amount < asked] == list(members(Levels.of(amounts).below(asked)))


@given(AMOUNTS, st.lists(st.tuples(st.integers(0, 39), st.integers(-5, 10**13)), max_size=30))
def test_changes_one_by_one_are_as_good_as_a_new_index(amounts: list[int], changes: list[tuple[int, int]]) -> None:
    levels = Levels.of(amounts)
    for at, amount in changes:
        if at < len(amounts):
            amounts[at] = amount
            levels = levels.changed(at, amount)

    assert (dict(Levels.of(amounts).groups), tuple(amounts)) == (dict(levels.groups), levels.amounts)


@given(AMOUNTS)
def test_the_most_comes_first(amounts: list[int]) -> None:
    groups = list(Levels.of(amounts).most_first((1 << len(amounts)) - 1))

    order = [[amounts[at] for at in members(group)] for group in groups]
    assert sum(len(group) for group in order) == len(amounts)
    assert all(min(one) > max(next_one) for one, next_one in pairwise(order))


def test_nodes_are_found_by_name() -> None:
    index = Index([node("b"), node("a")])

    assert (index.position("a"), index.position("b"), index.position("ab")) == (0, 1, None)
    assert (index.one("a"), index.one("c")) == (1, 0)


def test_reserving_answers_another_fleet_and_leaves_this_one() -> None:
    fleet = Fleet.of([node("a", hugepages=((2 << 20, 4 * GIB),)), node("b")])

    after = fleet.reserving("a", need(memory=GIB, cpu_milli=500, hugepages=((2 << 20, GIB),)))

    assert (
        fleet.memory.amounts, fleet.arriving.amounts, fleet.hugepages[0][2 << 20]
    ) == ((8 * GIB, 8 * GIB), (0, 0), 4 * GIB)  # fmt: skip
    assert (
        after.memory.amounts, after.cpu_milli.amounts, after.arriving.amounts, after.hugepages[0][2 << 20]
    ) == ((7 * GIB, 8 * GIB), (7500, 8000), (1, 0), 3 * GIB)  # fmt: skip
    assert fleet.reserving("gone", need()) is fleet
