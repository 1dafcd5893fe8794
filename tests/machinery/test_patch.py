"""Patches: a document and a patch in, another document out, and the given one unchanged."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.machinery.errors import ApiError
from app.machinery.objects import Document
from app.machinery.patch import json_patch, merge_patch, strategic_merge_patch
from app.machinery.schema import schema_of
from tests.machinery.examples import HOST

REJECTED = "the server rejected our request due to an error in our request"


def refusal(act: Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as refused:
        act()
    return refused.value


# JSON patch

SPEC: Document = {"spec": {"nodeName": "m", "list": [1, 2], "a/b": {"~": 0}}}

OPERATIONS: dict[str, tuple[list[Document], Document]] = {
    "replace": ([{"op": "replace", "path": "/spec/nodeName", "value": "j"}], {"nodeName": "j"}),
    "replace what is missing": ([{"op": "replace", "path": "/spec/new", "value": 1}], {"new": 1}),
    "add over": ([{"op": "add", "path": "/spec/nodeName", "value": None}], {"nodeName": None}),
    "insert": ([{"op": "add", "path": "/spec/list/1", "value": 9}], {"list": [1, 9, 2]}),
    "append": ([{"op": "add", "path": "/spec/list/-", "value": 9}], {"list": [1, 2, 9]}),
    "append by index": ([{"op": "add", "path": "/spec/list/2", "value": 9}], {"list": [1, 2, 9]}),
    "remove an item": ([{"op": "remove", "path": "/spec/list/0"}], {"list": [2]}),
    "escaped names": ([{"op": "replace", "path": "/spec/a~1b/~0", "value": 1}], {"a/b": {"~": 1}}),
    "copy": ([{"op": "copy", "from": "/spec/list", "path": "/spec/twin"}], {"twin": [1, 2]}),
    "copies share nothing": (
        [
            {"op": "copy", "from": "/spec/list", "path": "/spec/twin"},
            {"op": "add", "path": "/spec/twin/-", "value": 3},
        ],
        {"twin": [1, 2, 3]},
    ),
    "a test that holds": ([{"op": "test", "path": "/spec/nodeName", "value": "m"}], {}),
    "a test that nothing is there": ([{"op": "test", "path": "/spec/new", "value": None}], {}),
    "nothing": ([], {}),
}


@pytest.mark.parametrize("case", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_operations_apply(case: tuple[list[Document], Document]) -> None:
    operations, expected = case
    before = copy.deepcopy(SPEC)

    patched = json_patch(SPEC, operations)

    assert {"spec": {**SPEC["spec"], **expected}} == patched
    assert before == SPEC


def test_removing_and_moving_take_away() -> None:
    assert json_patch({"spec": {"a": 1, "list": []}}, [{"op": "remove", "path": "/spec/a"}]) == {"spec": {"list": []}}
    assert json_patch({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}]) == {"b": 1}


INAPPLICABLE: dict[str, Document] = {
    "a test that fails": {"op": "test", "path": "/spec/nodeName", "value": "WRONG"},
    "true is not one": {"op": "test", "path": "/spec/list/0", "value": True},
    "removing what is missing": {"op": "remove", "path": "/spec/nope"},
    "adding below nothing": {"op": "add", "path": "/x/y/z", "value": "Q"},
    "adding to a list that is missing": {"op": "add", "path": "/spec/disks/-", "value": {}},
    "adding below a text": {"op": "add", "path": "/spec/nodeName/x", "value": 1},
    "an index beyond the end": {"op": "add", "path": "/spec/list/3", "value": 1},
    "a padded index": {"op": "replace", "path": "/spec/list/00", "value": 1},
    "no index": {"op": "remove", "path": "/spec/list/-"},
    "an unknown operation": {"op": "bogus", "path": "/x"},
    "no operation": {"path": "/x"},
    "no path": {"op": "remove"},
    "a path without a slash": {"op": "remove", "path": "spec"},
    "moving into itself": {"op": "move", "from": "/spec", "path": "/spec/x"},
    "the whole made a text": {"op": "replace", "path": "", "value": "x"},
    "removing the whole": {"op": "remove", "path": ""},
}


@pytest.mark.parametrize("operation", INAPPLICABLE.values(), ids=INAPPLICABLE.keys())
def test_what_does_not_apply_is_422_without_a_reason(operation: Document) -> None:
    refused = refusal(lambda: json_patch(SPEC, [operation]))

    assert (refused.code, refused.reason, refused.message, refused.details) == (422, "Invalid", REJECTED, {})


def test_a_patch_that_fails_in_the_middle_changes_nothing() -> None:
    document = copy.deepcopy(SPEC)
    operations = [{"op": "remove", "path": "/spec/list/0"}, {"op": "remove", "path": "/spec/nope"}]

    refusal(lambda: json_patch(document, operations))

    assert document == SPEC


def test_what_is_no_list_of_operations_is_400() -> None:
    refused = refusal(lambda: json_patch(SPEC, {"op": "x"}))

    text = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
    assert (refused.code, refused.message) == (400, text)
    assert refusal(lambda: json_patch(SPEC, ["x"])).code == 400


def test_more_than_ten_thousand_operations_are_413() -> None:
    operations = [{"op": "add", "path": "/spec/nodeName", "value": "x"}] * 10_001

    refused = refusal(lambda: json_patch(SPEC, operations))

    text = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    assert (refused.code, refused.message) == (413, text)


# Merge patch: the examples of RFC 7386, where the target is an object

RFC_7386: list[tuple[Document, Document, Document]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "expected"), RFC_7386)
def test_merge_patches_follow_the_rfc(target: Document, patch: Document, expected: Document) -> None:
    before = copy.deepcopy(target)

    assert merge_patch(target, patch) == expected
    assert target == before


@pytest.mark.parametrize(("patch", "said"), [([], "array"), ("str", "string"), (1, "number"), (True, "bool")], ids=str)
def test_a_merge_patch_that_is_no_object_is_400(patch: Any, said: str) -> None:
    refused = refusal(lambda: merge_patch({}, patch))

    text = f"error decoding patch: json: cannot unmarshal {said} into Go value of type map[string]interface {{}}"
    assert (refused.code, refused.message) == (400, text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
quietly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other tests share the cores


@quietly
@given(OBJECTS, OBJECTS)
def test_merging_twice_is_merging_once(document: Document, patch: Document) -> None:
    once = merge_patch(document, patch)

    assert merge_patch(once, patch) == once


@quietly
@given(OBJECTS)
def test_merging_nothing_changes_nothing(document: Document) -> None:
    assert merge_patch(document, {}) == document


# Strategic merge

SCHEMA = schema_of(HOST)


def host(**fields: Any) -> Document:
    return {"metadata": {"name": "h"}, **fields}


STRATEGIC: dict[str, tuple[Document, Document, Document]] = {
    "cordon": (host(spec={}), {"spec": {"unschedulable": True}}, host(spec={"unschedulable": True})),
    "uncordon": (host(spec={"unschedulable": True}), {"spec": {"unschedulable": None}}, host(spec={})),
    "conditions merge by type": (
        host(status={"conditions": [{"type": "Ready", "status": "True"}, {"type": "X", "status": "True"}]}),
        {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "New", "status": "True"}]}},
        host(
            status={
                "conditions": [
                    {"type": "Ready", "status": "False"},
                    {"type": "New", "status": "True"},
                    {"type": "X", "status": "True"},
                ]
            }
        ),
    ),
    "a condition is deleted": (
        host(status={"conditions": [{"type": "Ready", "status": "True"}, {"type": "X", "status": "True"}]}),
        {"status": {"conditions": [{"$patch": "delete", "type": "X"}]}},
        host(status={"conditions": [{"type": "Ready", "status": "True"}]}),
    ),
    "a list is replaced on request": (
        host(status={"conditions": [{"type": "Ready", "status": "True"}]}),
        {"status": {"conditions": [{"type": "X", "status": "True"}, {"$patch": "replace"}]}},
        host(status={"conditions": [{"type": "X", "status": "True"}]}),
    ),
    "the order is the patch's, with strangers before whom they stood before": (
        host(
            status={
                "conditions": [{"type": "A", "status": "1"}, {"type": "Z", "status": "1"}, {"type": "B", "status": "1"}]
            }
        ),
        {
            "status": {
                "$setElementOrder/conditions": [{"type": "B"}, {"type": "C"}, {"type": "A"}],
                "conditions": [{"type": "C", "status": "2"}],
            }
        },
        host(
            status={
                "conditions": [
                    {"type": "Z", "status": "1"},
                    {"type": "B", "status": "1"},
                    {"type": "C", "status": "2"},
                    {"type": "A", "status": "1"},
                ]
            }
        ),
    ),
    "taints are replaced as a whole": (
        host(spec={"taints": [{"key": "a", "effect": "NoSchedule"}]}),
        {"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}]}},
        host(spec={"taints": [{"key": "b", "effect": "NoSchedule"}]}),
    ),
    "finalizers are united": (
        {"metadata": {"name": "h", "finalizers": ["a/b"]}},
        {"metadata": {"finalizers": ["c/d", "a/b"]}},
        {"metadata": {"name": "h", "finalizers": ["c/d", "a/b"]}},
    ),
    "a finalizer is taken out": (
        {"metadata": {"name": "h", "finalizers": ["a/b", "c/d"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"]}},
        {"metadata": {"name": "h", "finalizers": ["c/d"]}},
    ),
    "labels merge": (
        {"metadata": {"name": "h", "labels": {"a": "1", "b": "2"}}},
        {"metadata": {"labels": {"b": None, "c": "3"}}},
        {"metadata": {"name": "h", "labels": {"a": "1", "c": "3"}}},
    ),
    "labels are replaced on request": (
        {"metadata": {"name": "h", "labels": {"a": "1"}}},
        {"metadata": {"labels": {"$patch": "replace", "c": "3"}}},
        {"metadata": {"name": "h", "labels": {"c": "3"}}},
    ),
    "an object is emptied on request": (
        host(spec={"unschedulable": True}),
        {"spec": {"$patch": "delete"}},
        host(spec={}),
    ),
    "only the keys of a union stay": (
        host(spec={"unschedulable": True, "old": 1}),
        {"spec": {"$retainKeys": ["unschedulable", "new"], "new": 2}},
        host(spec={"unschedulable": True, "new": 2}),
    ),
    "a new list has no directives": (
        host(),
        {"status": {"conditions": [{"$patch": "merge", "type": "X", "status": "True"}]}},
        host(status={"conditions": [{"type": "X", "status": "True"}]}),
    ),
    "owners merge by uid": (
        {"metadata": {"name": "h", "ownerReferences": [{"uid": "1", "name": "a"}]}},
        {"metadata": {"ownerReferences": [{"uid": "1", "controller": True}, {"uid": "2", "name": "b"}]}},
        {
            "metadata": {
                "name": "h",
                "ownerReferences": [{"uid": "1", "name": "a", "controller": True}, {"uid": "2", "name": "b"}],
            }
        },
    ),
}


@pytest.mark.parametrize("case", STRATEGIC.values(), ids=STRATEGIC.keys())
def test_a_strategic_merge(case: tuple[Document, Document, Document]) -> None:
    document, patch, expected = case
    before = copy.deepcopy(document)

    assert strategic_merge_patch(document, patch, SCHEMA) == expected
    assert document == before


REFUSED_STRATEGIC: dict[str, tuple[Any, int]] = {
    "no object": ([], 400),
    "an unknown directive": ({"spec": {"$patch": "explode"}}, 422),
    "an item without its key": ({"status": {"conditions": [{"status": "True"}]}}, 500),
    "no list of primitives": ({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}, 400),
    "no list of keys": ({"spec": {"$retainKeys": "a"}}, 400),
    "no order": ({"status": {"$setElementOrder/conditions": 1, "conditions": []}}, 400),
}


@pytest.mark.parametrize("case", REFUSED_STRATEGIC.values(), ids=REFUSED_STRATEGIC.keys())
def test_a_malformed_strategic_merge_is_refused(case: tuple[Any, int]) -> None:
    patch, code = case

    assert refusal(lambda: strategic_merge_patch(host(spec={}), patch, SCHEMA)).code == code
