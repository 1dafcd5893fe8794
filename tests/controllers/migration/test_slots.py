"""Slots: in the cluster, out of and into a node, and by a libvirtd's workers. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.controllers.migration.slots import Board, Limits, Slots
from app.controllers.placement.fleet import Fleet
from tests.controllers.placement.builders import GIB, need, node

CASES = {
    "nobody moves": (Limits(), [], (False, False, False)),
    "the cluster's last": (Limits(cluster=2), [("x", "y"), ("y", "x")], (True, False, False)),
    "out of the source": (Limits(outbound=2), [("a", "x"), ("a", "y")], (False, True, False)),
    "into the target": (Limits(inbound=2), [("x", "b"), ("y", "b")], (False, False, True)),
    "the other way round nothing is full": (Limits(outbound=1, inbound=1), [("b", "a")], (False, False, False)),
    "the source's libvirtd": (Limits(outbound=9, inbound=9, cluster=9), [("a", "x")] * 2, (False, True, False)),
    "the target's, by guests that leave it": (
        Limits(outbound=9, inbound=9, cluster=9), [("b", "x"), ("x", "b")], (False, False, True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_full(case: tuple[Limits, list[tuple[str, str]], tuple[bool, bool, bool]]) -> None:
    limits, moves, expected = case
    slots = Slots(limits)
    for source, target in moves:
        slots = slots.taking(source, target)
    # Six workers, of which four are spared.
    board = Board(Fleet.of([node("a", workers=6), node("b", workers=6)]), slots)

    room = board.room(need(source="a"), "a")

    assert expected[:2] == (slots.cluster_full, slots.source_full("a", workers=6))
    assert (room.cluster_full, room.source_full) == expected[:2]
    assert board.is_full("b") is expected[2]
    assert (room.target == "b") is (not any(expected))


def test_a_held_one_counts_for_its_nodes_only() -> None:
    slots = Slots(Limits(cluster=1, outbound=1)).taking("a", "b", in_cluster=False)

    assert (slots.cluster_full, slots.source_full("a")) == (False, True)


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
