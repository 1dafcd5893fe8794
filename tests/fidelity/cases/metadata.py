# ruff: noqa: E501 - a case stays a row
"""Names, labels, annotations, finalizers and owners: what is refused, in creates and in updates, of both sorts of kinds."""

from __future__ import annotations

from typing import Any

from app.machinery.objects import Document
from tests.fidelity.case import Case
from tests.fidelity.cases.words import ACCOUNTS, MADE, NODE, NODES, STRATEGIC, VM, VMS, account, node, patch, post, vm

KEYS = (
    "a",
    "A",
    "a.b",
    "a_b",
    "a-b",
    "-a",
    "a-",
    "",
    "a/b",
    "a/",
    "/a",
    "a/b/c",
    "A/b",
    "a_b/c",
    "x" * 63,
    "x" * 64,
    "x" * 253 + "/a",
    "x" * 254 + "/a",
    "a b",
    "é",
    "a.b/c",
    "a..b/c",
    "-a/b",
    ".",
    "1",
    "kubernetes.io/x",
    "a/-",
    "a\nb",
)
VALUES = ("", "a", "A", "a.b", "-a", "a-", "x" * 63, "x" * 64, "a b", "é", "a/b", "_", "1", "a\n")
OWNERS: tuple[list[Document], ...] = (
    [{}], [{"apiVersion": "v1"}], [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}], [{"apiVersion": "a/b/c", "kind": "Pod", "name": "x", "uid": "u"}], [{"apiVersion": "v1", "kind": "Event", "name": "x", "uid": "u"}], [{"apiVersion": "", "kind": "", "name": "", "uid": ""}],
    [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": True}, {"apiVersion": "v1", "kind": "Pod", "name": "y", "uid": "v", "controller": True}], [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}, {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}],
    [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}, {"apiVersion": "v1", "kind": "Pod", "name": "y", "uid": "u"}], [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "nosuch": 1}], [{"apiVersion": "events.k8s.io/v1", "kind": "Event", "name": "x", "uid": "u"}],
    [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "blockOwnerDeletion": True, "controller": False}],
    [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": True}, {"apiVersion": "v1", "kind": "Pod", "name": "y", "uid": "v", "controller": True}, {"apiVersion": "v1", "kind": "Pod", "name": "z", "uid": "w", "controller": True}],
)  # fmt: skip
FINALIZERS: tuple[list[Any], ...] = (
    ["a"],
    ["a/b"],
    ["a.b"],
    ["A"],
    ["-"],
    [""],
    ["a/b/c"],
    ["x" * 64],
    ["orphan"],
    ["foregroundDeletion"],
    ["orphan", "foregroundDeletion"],
    ["kubernetes"],
    ["a", "a"],
    ["a/b", "a/b"],
    ["é"],
    ["a b"],
    ["x.y/z", "b", "c.d"],
    ["kubernetes.io/pv-protection"],
)


def _both(name: str, metadata: Document) -> list[Case]:
    """A machine and an account that are made with it, and then changed to have it."""
    made = vm()
    kept = {"finalizers": made["metadata"]["finalizers"], **metadata}
    return [
        Case(f"metadata: create with {name}", [post(VMS, {**made, "metadata": {"name": "a", **kept}}), post(ACCOUNTS, account(**metadata))]),
        Case(f"metadata: change to {name}", [MADE, patch(VM, {"metadata": metadata}), post(ACCOUNTS, account()), patch(f"{ACCOUNTS}/a", {"metadata": metadata})]),
    ]  # fmt: skip


CASES = [
    *(case for key in KEYS for case in _both(f"label key {key[:70]!r}", {"labels": {key: "x"}})),
    *(case for key in KEYS for case in _both(f"annotation key {key[:70]!r}", {"annotations": {key: "x"}})),
    *(case for value in VALUES for case in _both(f"label value {value!r}", {"labels": {"a": value}})),
    *(case for owners in OWNERS for case in _both(f"owners {owners}", {"ownerReferences": owners})),
    *(case for finalizers in FINALIZERS for case in _both(f"finalizers {finalizers}", {"finalizers": finalizers})),
    Case("metadata: node", [post(NODES, node(metadata={"labels": {"é": "x"}})), post(NODES, node()), patch(NODE, {"metadata": {"labels": {"a": "é"}}}, STRATEGIC), patch(NODE, {"metadata": {"finalizers": ["a"]}}, STRATEGIC)]),
    *(Case(f"metadata: immutable {field}", [MADE, patch(VM, {"metadata": {field: value}}), post(ACCOUNTS, account()), patch(f"{ACCOUNTS}/a", {"metadata": {field: value}})]) for field, value in (("uid", "x"), ("uid", None), ("uid", ""), ("name", "b"), ("name", None), ("namespace", "other"), ("namespace", None), ("creationTimestamp", "2026-01-01T00:00:00Z"), ("creationTimestamp", None), ("deletionTimestamp", "2026-01-01T00:00:00Z"), ("deletionGracePeriodSeconds", 5), ("generation", 7), ("generation", None), ("selfLink", "/x"), ("generateName", "x-"), ("resourceVersion", "1"), ("resourceVersion", "0"), ("resourceVersion", None), ("resourceVersion", "x"), ("resourceVersion", ""), ("managedFields", None), ("managedFields", []), ("managedFields", [{}]), ("managedFields", [{"manager": "x"}]), ("managedFields", "x"), ("nosuch", 1), ("labels", None), ("labels", {}), ("labels", "x"), ("annotations", 5), ("finalizers", "x"), ("ownerReferences", {}))),
]  # fmt: skip
