"""Slots: in the cluster, out of and into a node, and by a libvirtd's workers. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.controllers.migration.slots import Board, Limits, Slots
from app.controllers.placement.fleet import Fleet
from app.settings import Settings
from tests.controllers.placement.builders import GIB, need, node

CASES = {
    "nobody moves": (Limits(), [], "", ""),
    "the cluster's last": (
        Limits(cluster=2), [("x", "y"), ("y", "x")],
        "as many migrations run in the cluster as may at once: 2 (DROVER_MIGRATIONS_PER_CLUSTER)", "",
    ),
    "out of the source": (
        Limits(outbound=2), [("a", "x"), ("a", "y")],
        "as many migrations run from a as may at once: 2 (DROVER_MIGRATIONS_OUTBOUND_PER_NODE)", "",
    ),
    "into the target": (
        Limits(inbound=2), [("x", "b"), ("y", "b")],
        "", "as many guests arrive as may at once: 2 (DROVER_MIGRATIONS_INBOUND_PER_NODE)",
    ),
    "the other way round nothing is full": (Limits(outbound=1, inbound=1), [("b", "a")], "", ""),
    "the source's libvirtd": (
        Limits(outbound=9, inbound=9, cluster=9), [("a", "x")] * 2,
        "as many migrations keep the libvirtd of a busy as may at once: 2 of its 6 workers"
        " (annotation kubevirt.io/libvirtd-workers of the Node)", "",
    ),
    "the target's, by guests that leave it": (
        Limits(outbound=9, inbound=9, cluster=9), [("b", "x"), ("x", "b")],
        "", "as many migrations keep the libvirtd of b busy as may at once: 2 of its 6 workers"
        " (annotation kubevirt.io/libvirtd-workers of the Node)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_full_and_which_limit_says_so(case: tuple[Limits, list[tuple[str, str]], str, str]) -> None:
    limits, moves, leaving, arriving = case
    slots = Slots(limits)
    for source, target in moves:
        slots = slots.taking(source, target)
    # Six workers, of which four are spared.
    board = Board(Fleet.of([node("a", workers=6), node("b", workers=6)]), slots)

    room = board.room(need(source="a"), "a")

    assert (room.full, board.full_at("b")) == (leaving, arriving)
    assert (room.target == "b") is (not leaving and not arriving)
    assert room.targets_full == ({"b": arriving} if arriving else {})


def test_a_limit_is_told_with_the_name_of_its_setting() -> None:
    limits = Limits()

    for said in (limits.in_cluster(), limits.leaving("a"), limits.arriving()):
        name = said[said.index("DROVER_") : -1].removeprefix("DROVER_").lower()
        assert f": {Settings.model_fields[name].default} (" in said


def test_a_held_one_counts_for_its_nodes_only() -> None:
    slots = Slots(Limits(cluster=1, outbound=1)).taking("a", "b", in_cluster=False)

    assert not slots.cluster_full
    assert (slots.source_full("a") != "", slots.source_full("c") != "") == (True, False)


NAMES = [f"n{number}" for number in range(4)]
MOVES = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 3 * GIB)), max_size=40)


@given(MOVES, st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(5, 9))
def test_no_sequence_of_decisions_exceeds_a_limit(
    moves: list[tuple[str, int]], cluster: int, outbound: int, inbound: int, workers: int
) -> None:
    limits = Limits(cluster, outbound, inbound)
    board = Board(Fleet.of([node(name, workers=workers) for name in NAMES]), Slots(limits))
    begun: list[tuple[str, str]] = []

    for source, memory in moves:
        wanted = need(source=source, memory=memory)
        target = board.room(wanted, source).target
        if target is not None:
            begun.append((source, target))
            board = board.taking(wanted, source, target)

    assert len(begun) <= cluster
    for name in NAMES:
        out, into = sum(one[0] == name for one in begun), sum(one[1] == name for one in begun)
        assert out <= outbound and into <= inbound and out + into <= workers - 4
    assert all(amount >= 0 for amount in board.fleet.memory.amounts)
