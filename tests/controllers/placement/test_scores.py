"""The scores: each alone, then the order among them. Pure."""

from __future__ import annotations

import pytest

from app.controllers.placement.fleet import Fleet, Load
from app.controllers.placement.need import Need, Toleration
from app.controllers.placement.nodes import NodeView, Taint
from app.controllers.placement.pipeline import place
from app.controllers.placement.scores import SCORES
from tests.controllers.placement.builders import GIB, expression, need, node


def prefers(*terms: tuple[int, str]) -> Need:
    """Weights, and labels that must exist."""
    return need(
        affinity={
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": weight, "preference": {"matchExpressions": [expression(key, "Exists")]}}
                for weight, key in terms
            ]
        }
    )


AVOIDED = (Taint("k", "v", "PreferNoSchedule"),)

CASES: dict[str, tuple[Need, list[NodeView], dict[str, Load], list[str]]] = {
    "preferred affinity, by the sum of weights": (
        prefers((10, "ssd"), (20, "gpu"), (5, "near")),
        [node("a", labels={"ssd": ""}), node("b", labels={"gpu": ""}), node("c", labels={"ssd": "", "near": ""}), node("d")],
        {}, ["b", "c", "a", "d"],
    ),
    "fewer discouraging taints": (
        need(), [node("a", taints=AVOIDED * 2), node("b", taints=AVOIDED), node("c")], {}, ["c", "b", "a"],
    ),
    "tolerated ones do not discourage": (
        need(tolerations=(Toleration("k", "Exists"),)), [node("a", taints=AVOIDED), node("b")], {}, ["a", "b"],
    ),
    "fewer arriving guests": (
        need(), [node("a", memory=99 * GIB), node("b"), node("c")], {"a": Load(arriving=2), "b": Load(arriving=1)},
        ["c", "b", "a"],
    ),
    "more free memory": (
        need(), [node("a"), node("b"), node("c", memory=64 * GIB)], {"c": Load(memory=50 * GIB), "a": Load(memory=GIB)},
        ["c", "b", "a"],
    ),
    "more free CPU": (need(), [node("a"), node("b", cpu_milli=20000)], {}, ["b", "a"]),
    "and last the name": (need(), [node("c"), node("a"), node("b")], {}, ["a", "b", "c"]),
    "affinity before taints, those before arrivals": (
        prefers((1, "ssd")),
        [node("a", labels={"ssd": ""}, taints=AVOIDED), node("b", taints=AVOIDED), node("c")],
        {"c": Load(arriving=9)}, ["a", "c", "b"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_best_comes_first(case: tuple[Need, list[NodeView], dict[str, Load], list[str]]) -> None:
    wanted, nodes, loads, expected = case

    assert list(place(wanted, Fleet.of(nodes, loads)).fitting) == expected


def test_scores_have_names_of_their_own() -> None:
    assert len({score.name for score in SCORES}) == len(SCORES)
