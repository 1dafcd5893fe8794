"""Sets of field paths: what can be said of every set, and the forms that clients send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.machinery.fieldset import (
    FieldSet,
    NotFields,
    difference,
    intersection,
    item_by_keys,
    item_by_value,
    of_paths,
    parsed,
    paths,
    shown,
    union,
    without,
)

STEPS = st.sampled_from(
    ["f:a", "f:b", "f:a.b", item_by_keys({"name": "d1"}), item_by_keys({"a": 1, "b": None}), item_by_value("x"), "i:0"]
)
PATHS = st.lists(STEPS, min_size=1, max_size=4).map(tuple)
SETS = st.sets(PATHS, max_size=12)


def below(path: tuple[str, ...], others: set[tuple[str, ...]]) -> bool:
    return any(path[: len(other)] == other for other in others)


@given(SETS)
def test_a_set_is_its_paths(listed: set[tuple[str, ...]]) -> None:
    fields = of_paths(listed)

    assert set(paths(fields)) == listed
    assert len(list(paths(fields))) == len(listed)
    assert parsed(fields) == fields


@given(SETS, SETS)
def test_sets_are_combined_as_sets_are(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> None:
    first, second = of_paths(one), of_paths(other)

    assert union(first, second) == of_paths(one | other)
    assert intersection(first, second) == of_paths(one & other)
    assert difference(first, second) == of_paths(one - other)
    assert without(first, second) == of_paths(path for path in one if not below(path, other))


@given(SETS, SETS)
def test_combining_changes_neither_set(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> None:
    first, second = of_paths(one), of_paths(other)

    for combine in (union, intersection, difference, without):
        combine(first, second)

    assert (first, second) == (of_paths(one), of_paths(other))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({}, {}),
        ({"f:a": {".": {}}}, {"f:a": {}}),
        ({"f:a": {".": {}, "f:b": {}}}, {"f:a": {".": {}, "f:b": {}}}),
        ({'k:{"b": 2, "a": 1}': {}}, {'k:{"a":1,"b":2}': {}}),
        ({'v: "x"': {}}, {'v:"x"': {}}),
        ({"i:3": {}}, {"i:3": {}}),
        ({"z:new": {}, "f:a": {}}, {"f:a": {}}),
    ],
)
def test_what_clients_send_is_made_canonical(sent: Any, kept: FieldSet) -> None:
    assert parsed(sent) == kept


@pytest.mark.parametrize("sent", [[], "x", 1, {"a": {}}, {"": {}}, {"f:a": 1}, {"k:[]": {}}, {"k:{": {}}, {"i:x": {}}])
def test_what_is_no_set_is_refused(sent: Any) -> None:
    with pytest.raises(NotFields):
        parsed(sent)


def test_paths_are_shown_as_kubernetes_shows_them() -> None:
    keyed = item_by_keys({"name": "d1", "port": 80})

    assert shown(("f:spec", "f:disks", keyed, "f:size")) == '.spec.disks[name="d1",port=80].size'
    assert shown(("f:metadata", "f:finalizers", item_by_value("a/b"))) == '.metadata.finalizers[="a/b"]'
    assert shown(("f:spec", "i:2")) == ".spec[2]"


def test_paths_come_in_kubernetes_order() -> None:
    fields = of_paths([("f:b",), ("f:a", "f:x"), ("f:a",), ("f:c", item_by_value("v")), ("f:c", "f:z")])

    assert list(paths(fields)) == [("f:a",), ("f:b",), ("f:a", "f:x"), ("f:c", "f:z"), ("f:c", 'v:"v"')]
