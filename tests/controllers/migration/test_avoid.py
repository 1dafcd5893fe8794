"""Which nodes an attempt keeps away from."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.controllers.migration.avoid import FAILED_BEFORE, MAY_HOLD_A_COPY, Breaker, broken_pairs, choices, place_first
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import Need
from app.controllers.placement.nodes import NodeView
from app.store.base import Run, RunState
from tests.controllers.migration.world import migration_key

NEED = Need(1, 1, source="node0")
NODES = [NodeView(f"node{n}", memory=10, cpu_milli=10) for n in range(3)]


def run(target: str, code: ExitCode = ExitCode.TARGET_UNREACHABLE, source: str = "node0") -> Run:
    """One that ended so."""
    return Run(
        uuid4(), migration_key("m"), uuid4(), uuid4(), source, target, 1, {}, RunState.FINISHED, exit_code=int(code)
    )


def test_three_failures_of_hosts_or_path_keep_everybody_off_the_pair() -> None:
    failed = [run("node1"), run("node1", ExitCode.FAILED), run("node1", ExitCode.INCOMPATIBLE), run("node2")]

    assert broken_pairs(failed, Breaker(3)) == {"node0": {"node1": "node(s) failed 3 moves from node0 within 10 min"}}


@pytest.mark.parametrize(
    "code",
    [
        ExitCode.CANCELLED,
        ExitCode.GUEST_STOPPED,
        ExitCode.BUSY,
        ExitCode.NOT_STARTED,
        ExitCode.SOURCE_UNREACHABLE,
        ExitCode.MOVED,
    ],
)
def test_what_is_not_the_nodes_fault_does_not_count(code: ExitCode) -> None:
    assert broken_pairs([run("node1", code)] * 5, Breaker(3)) == {}


def test_the_other_direction_is_another_pair() -> None:
    failed = [run("node1"), run("node1"), run("node0", source="node1")]

    assert broken_pairs(failed, Breaker(3)) == {}


def test_a_node_that_failed_is_avoided_while_another_fits() -> None:
    placement = place_first(choices(NEED, [run("node1")], (), {}), Fleet.of(NODES))

    assert placement.fitting == ("node2",)
    assert placement.excluded["node1"] == FAILED_BEFORE


def test_when_all_have_failed_the_last_one_is_avoided() -> None:
    assert place_first(choices(NEED, [run("node1"), run("node2")], (), {}), Fleet.of(NODES)).fitting == ("node1",)


def test_a_node_that_failed_is_better_than_none() -> None:
    assert place_first(choices(NEED, [run("node1")], (), {}), Fleet.of(NODES[:2])).fitting == ("node1",)


def test_what_may_hold_a_copy_and_what_fails_everybody_is_never_chosen() -> None:
    needs = choices(NEED, [run("node1")], ["node1"], {"node2": "node(s) are bad"})

    placement = place_first(needs, Fleet.of(NODES))

    assert placement.fitting == ()
    assert placement.excluded == {"node0": "node is the source", "node1": MAY_HOLD_A_COPY, "node2": "node(s) are bad"}
    assert placement.message() == (
        "0/3 nodes are available: 1 node is the source, 1 node(s) are bad, 1 node(s) may still hold a copy of the guest."
    )


def test_where_a_guest_was_at_fault_its_node_is_as_good_as_any() -> None:
    assert choices(NEED, [run("node1", ExitCode.BUSY)], (), {}) == (NEED,)
