"""Placement as a whole: what is told, what is preferred, what is reserved. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.controllers.birth import Birth
from app.controllers.placement.fleet import Fleet, Load
from app.controllers.placement.need import Contradiction, Need, merge_selectors, overhead
from app.controllers.placement.nodes import NodeView, Taint, is_below, node_view, shared_paths
from app.controllers.placement.pipeline import NAMED, Placement, place
from app.controllers.placement.reservations import loads, reservation
from app.controllers.pods import away_from, guest_need, launcher_pod
from app.kinds import NODE, VIRTUAL_MACHINE
from tests.controllers.placement.builders import GIB, expression, need, node, requires


def placed(wanted: Need, *nodes: NodeView) -> Placement:
    return place(wanted, Fleet.of(nodes))


def test_preference_comes_before_free_memory_and_that_before_the_name() -> None:
    preferred = {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchExpressions": [expression("disktype", "In", "ssd")]}}
        ]
    }
    nodes = [
        node("b"),
        node("a"),
        node("roomy", memory=16 * GIB),
        node("small-ssd", memory=4 * GIB, labels={"disktype": "ssd"}),
    ]

    assert placed(need(affinity=preferred), *nodes).fitting == ("small-ssd", "roomy", "a", "b")


def test_the_message_counts_nodes_by_reason_in_kube_schedulers_form() -> None:
    wanted = need(source="n0", node_selector={"disktype": "ssd"})

    message = placed(wanted, node("n0"), node("n1"), node("n2")).message()

    assert message == (
        "0/3 nodes are available: 1 node is the source, 2 node(s) didn't match the merged node selector disktype=ssd."
    )


def test_the_message_without_any_node_says_so() -> None:
    assert placed(need()).message() == "no nodes available to schedule pods"


def test_every_excluded_node_is_named_in_the_details() -> None:
    placement = placed(need(source="n0"), node("n1", ready=False), node("n0"))

    assert placement.details() == "n0: node is the source; n1: node(s) were not ready"


def test_selectors_are_merged_and_a_contradiction_names_key_and_both_values() -> None:
    assert merge_selectors({"a": "1"}, {"a": "1", "b": "2"}) == {"a": "1", "b": "2"}

    with pytest.raises(Contradiction, match=r"zone=x.*zone=y") as raised:
        merge_selectors({"zone": "x"}, {"zone": "y"})

    assert (raised.value.key, raised.value.vm_value, raised.value.migration_value) == ("zone", "x", "y")


def test_reservations_are_the_requests_of_bound_unfinished_pods() -> None:
    birth = Birth()
    host = birth.document(
        NODE,
        "",
        "n0",
        spec={"taints": [{"key": "k", "effect": "NoSchedule"}], "unschedulable": True},
        status={
            "allocatable": {"memory": "4Gi", "cpu": "20"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    )
    vm = birth.document(VIRTUAL_MACHINE, "default", "testvm", spec={})
    pod = launcher_pod(birth, vm, "n0", guest_need(GIB, 2, vm))
    finished = {**pod, "status": {"phase": "Succeeded"}}
    elsewhere = launcher_pod(birth, vm, "n1", guest_need(GIB, 2, vm))

    view = node_view(host)
    taken = loads(found for found in map(reservation, (pod, finished, elsewhere)) if found is not None)

    assert {"n0", "n1"} == taken.keys()
    assert Load(GIB + overhead(GIB, 2), 2000) == taken["n0"]
    assert (view.cpu_milli, view.memory) == (20000, 4 * GIB)
    assert view.ready and view.unschedulable and view.taints == (Taint("k", "", "NoSchedule"),)
    assert view.labels["kubernetes.io/hostname"] == "n0"


def test_overhead_is_a_process_its_threads_and_page_tables() -> None:
    assert overhead(GIB, 2) == (96 + 2 * 8 + 2) * 2**20


def test_a_node_without_a_status_is_not_ready_and_offers_nothing() -> None:
    view = node_view(Birth().document(NODE, "", "n0", spec={}))

    assert (view.ready, view.memory, view.cpu_milli) == (False, 0, 0)


def test_the_source_is_kept_away_from_in_every_term() -> None:
    away = expression("kubernetes.io/hostname", "NotIn", "n0")

    affinity = away_from(requires(expression("disktype", "In", "ssd")), "n0")

    assert requires(expression("disktype", "In", "ssd"), away) == affinity
    assert requires(away) == away_from({}, "n0")


def test_declared_paths_are_prefixes_of_whole_folders() -> None:
    declared = shared_paths({"kubevirt.io/shared-paths": " /srv/a/ ,/img,//x/../y,"})

    assert declared == ("/img", "/srv/a", "/y")
    assert all(is_below(path, declared) for path in ("/srv/a/1/2.img", "/img", "/y/z"))
    assert not any(is_below(path, declared) for path in ("/srv/ab", "/srv", "/", "relative/img"))


def test_a_message_names_some_and_counts_the_others() -> None:
    nodes = [node(f"n{number:03}", ready=False) for number in range(NAMED + 5)]

    details = placed(need(), *nodes).details()

    assert details.count("n0") == NAMED
    assert details.endswith("; 5 more: node(s) were not ready")


def test_memory_in_huge_pages_is_reserved_apart() -> None:
    vm = Birth().document(VIRTUAL_MACHINE, "default", "testvm", spec={})
    wanted = guest_need(GIB, 1, vm, hugepages=(2 << 20,))

    held = reservation(launcher_pod(Birth(), vm, "n0", wanted))

    assert held is not None
    assert (overhead(GIB, 1), ((2 << 20, GIB),)) == (held.requests.memory, held.requests.hugepages)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(0, 5))
def test_nothing_is_ever_placed_beyond_what_is_allocatable(reserved: list[int], asked: int) -> None:
    nodes = [node(f"n{i}", memory=4 * GIB) for i in range(len(reserved))]
    taken = {f"n{i}": Load(memory=r * GIB) for i, r in enumerate(reserved)}

    placement = place(need(memory=asked * GIB), Fleet.of(nodes, taken))

    assert len(nodes) == placement.total
    assert all(reserved[int(name[1:])] + asked <= 4 for name in placement.fitting)
    assert {name for name, r in enumerate(reserved) if r + asked <= 4} == {int(name[1:]) for name in placement.fitting}


@given(st.lists(st.integers(0, 6 * GIB), min_size=1, max_size=6), st.lists(st.integers(0, 3 * GIB), max_size=20))
def test_one_decision_after_the_other_never_overbooks(free: list[int], asked: list[int]) -> None:
    fleet = Fleet.of([node(f"n{i}", memory=amount, cpu_milli=4000) for i, amount in enumerate(free)])
    promised = [0] * len(free)

    for amount in asked:
        wanted = need(memory=amount)
        target = next(iter(place(wanted, fleet).fitting), None)
        if target is not None:
            promised[int(target[1:])] += amount
            fleet = fleet.reserving(target, wanted)

    assert all(taken <= amount for taken, amount in zip(promised, free, strict=True))
    assert [amount - taken for taken, amount in zip(promised, free, strict=True)] == list(fleet.memory.amounts)
    assert all(amount >= 0 for amount in fleet.cpu_milli.amounts)
