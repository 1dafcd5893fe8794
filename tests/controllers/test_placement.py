"""Placement: one row a rule. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.controllers.birth import Birth
from app.controllers.placement import (
    Contradiction,
    Need,
    NodeView,
    Placement,
    Taint,
    merge_selectors,
    nodes_view,
    overhead,
    place,
)
from app.controllers.pods import away_from, guest_need, launcher_pod
from app.kinds import NODE, VIRTUAL_MACHINE
from app.machinery.objects import Document

GIB = 2**30


def node(name: str, **fields: Any) -> NodeView:
    return NodeView(**{"name": name, "memory": 8 * GIB, "cpu_milli": 8000, **fields})


def need(**fields: Any) -> Need:
    return Need(**{"memory": GIB, "cpu_milli": 1000, **fields})


def requires(*expressions: Document, fields: list[Document] | None = None) -> Document:
    term: Document = {"matchExpressions": list(expressions)}
    if fields:
        term["matchFields"] = fields
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}


def expression(key: str, operator: str, *values: str) -> Document:
    return {"key": key, "operator": operator, "values": list(values)}


DISK = {"disktype": "ssd", "rank": "5"}
AFFINITY = "node(s) didn't match the required node affinity"

EXCLUDED = {
    "the source": (need(source="a"), node("a"), "node is the source"),
    "what the caller excludes": (need(excluded={"a": "node(s) are full"}), node("a"), "node(s) are full"),
    "not ready": (need(), node("a", ready=False), "node(s) were not ready"),
    "cordoned": (need(), node("a", unschedulable=True), "node(s) were unschedulable"),
    "NoSchedule": (need(), node("a", taints=(Taint("k", "v", "NoSchedule"),)), "node(s) had untolerated taint {k: v}"),
    "NoExecute": (need(), node("a", taints=(Taint("k", "", "NoExecute"),)), "node(s) had untolerated taint {k: }"),
    "its selector": (
        need(node_selector={"disktype": "ssd"}),
        node("a"),
        "node(s) didn't match the node selector disktype=ssd",
    ),
    "the merged selector": (
        need(node_selector={"disktype": "ssd"}, source="b"),
        node("a", labels={"disktype": "hdd"}),
        "node(s) didn't match the merged node selector disktype=ssd",
    ),
    "CPU": (need(cpu_milli=2000), node("a", cpu_milli=4000, cpu_milli_reserved=2001), "Insufficient cpu"),
    "memory": (need(memory=2 * GIB), node("a", memory=4 * GIB, memory_reserved=2 * GIB + 1), "Insufficient memory"),
    "affinity In": (need(affinity=requires(expression("disktype", "In", "nvme"))), node("a", labels=DISK), AFFINITY),
    "affinity NotIn": (
        need(affinity=requires(expression("disktype", "NotIn", "ssd"))),
        node("a", labels=DISK),
        AFFINITY,
    ),
    "affinity Exists": (need(affinity=requires(expression("gpu", "Exists"))), node("a", labels=DISK), AFFINITY),
    "affinity DoesNotExist": (
        need(affinity=requires(expression("rank", "DoesNotExist"))),
        node("a", labels=DISK),
        AFFINITY,
    ),
    "affinity Gt": (need(affinity=requires(expression("rank", "Gt", "5"))), node("a", labels=DISK), AFFINITY),
    "affinity Lt": (need(affinity=requires(expression("rank", "Lt", "5"))), node("a", labels=DISK), AFFINITY),
    "affinity Gt of no number": (
        need(affinity=requires(expression("disktype", "Gt", "5"))),
        node("a", labels=DISK),
        AFFINITY,
    ),
    "affinity by name": (
        need(affinity=requires(fields=[expression("metadata.name", "In", "b")])),
        node("a"),
        AFFINITY,
    ),
    "a term without requirements": (need(affinity=requires()), node("a"), AFFINITY),
}


@pytest.mark.parametrize("case", EXCLUDED.values(), ids=EXCLUDED.keys())
def test_a_node_is_excluded_by(case: tuple[Need, NodeView, str]) -> None:
    wanted, only, reason = case

    placement = place(wanted, [only])

    assert ((), {"a": reason}) == (placement.fitting, dict(placement.excluded))


FITTING = {
    "nothing asked": (need(), node("a")),
    "PreferNoSchedule only prefers": (need(), node("a", taints=(Taint("k", "v", "PreferNoSchedule"),))),
    "exactly what is free": (need(memory=8 * GIB, cpu_milli=8000), node("a")),
    "its selector": (need(node_selector={"disktype": "ssd"}), node("a", labels=DISK)),
    "affinity In": (need(affinity=requires(expression("disktype", "In", "nvme", "ssd"))), node("a", labels=DISK)),
    "affinity NotIn of an absent label": (need(affinity=requires(expression("gpu", "NotIn", "x"))), node("a")),
    "affinity Gt": (need(affinity=requires(expression("rank", "Gt", "4"))), node("a", labels=DISK)),
    "affinity Lt": (need(affinity=requires(expression("rank", "Lt", "6"))), node("a", labels=DISK)),
    "affinity Exists": (need(affinity=requires(expression("rank", "Exists"))), node("a", labels=DISK)),
    "affinity DoesNotExist": (need(affinity=requires(expression("gpu", "DoesNotExist"))), node("a", labels=DISK)),
    "affinity by name": (need(affinity=requires(fields=[expression("metadata.name", "In", "a")])), node("a")),
    "the second of two terms": (
        need(
            affinity={
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [expression("gpu", "Exists")]},
                        {"matchExpressions": [expression("rank", "Exists")]},
                    ]
                }
            }
        ),
        node("a", labels=DISK),
    ),
}


@pytest.mark.parametrize("case", FITTING.values(), ids=FITTING.keys())
def test_a_node_fits_with(case: tuple[Need, NodeView]) -> None:
    wanted, only = case

    assert place(wanted, [only]).fitting == ("a",)


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

    assert place(need(affinity=preferred), nodes).fitting == ("small-ssd", "roomy", "a", "b")


def test_the_message_counts_nodes_by_reason_in_kube_schedulers_form() -> None:
    wanted = need(source="n0", node_selector={"disktype": "ssd"})

    message = place(wanted, [node("n0"), node("n1"), node("n2")]).message()

    assert message == (
        "0/3 nodes are available: 1 node is the source, 2 node(s) didn't match the merged node selector disktype=ssd."
    )


def test_the_message_without_any_node_says_so() -> None:
    assert place(need(), []).message() == "no nodes available to schedule pods"


def test_every_excluded_node_is_named_in_the_details() -> None:
    placement = place(need(source="n0"), [node("n1", ready=False), node("n0")])

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

    [view] = nodes_view([host], [pod, finished, elsewhere])

    assert GIB + overhead(GIB, 2) == view.memory_reserved
    assert (view.cpu_milli_reserved, view.cpu_milli, view.memory) == (2000, 20000, 4 * GIB)
    assert view.ready and view.unschedulable and view.taints == (Taint("k", "", "NoSchedule"),)
    assert view.labels["kubernetes.io/hostname"] == "n0"


def test_overhead_is_a_process_its_threads_and_page_tables() -> None:
    assert overhead(GIB, 2) == (96 + 2 * 8 + 2) * 2**20


def test_a_node_without_a_status_is_not_ready_and_offers_nothing() -> None:
    [view] = nodes_view([Birth().document(NODE, "", "n0", spec={})], [])

    assert (view.ready, view.memory, view.cpu_milli) == (False, 0, 0)


def test_the_source_is_kept_away_from_in_every_term() -> None:
    away = expression("kubernetes.io/hostname", "NotIn", "n0")

    affinity = away_from(requires(expression("disktype", "In", "ssd")), "n0")

    assert requires(expression("disktype", "In", "ssd"), away) == affinity
    assert requires(away) == away_from({}, "n0")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(0, 5))
def test_nothing_is_ever_placed_beyond_what_is_allocatable(reserved: list[int], asked: int) -> None:
    nodes = [node(f"n{i}", memory=4 * GIB, memory_reserved=r * GIB) for i, r in enumerate(reserved)]

    placement: Placement = place(need(memory=asked * GIB), nodes)

    assert len(nodes) == placement.total
    assert all(reserved[int(name[1:])] + asked <= 4 for name in placement.fitting)
