# ruff: noqa: E501 - a case stays a row
"""JSON, merge and strategic patches: good ones, odd ones, and those that are refused."""

from __future__ import annotations

from typing import Any

from tests.fidelity.case import Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    APPLY,
    EVENTS,
    JSON_PATCH,
    MADE,
    MERGE,
    NODE,
    NODES,
    POLICIES,
    POLICY,
    STRATEGIC,
    VM,
    account,
    get,
    node,
    patch,
    policy,
    post,
)  # fmt: skip

LABELLED = patch(VM, {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeSelector": {"x": "y"}}})
OPERATIONS: tuple[Any, ...] = (
    [], {}, "x", 5, None, [5], [[]], [{}], [{"op": "add"}], [{"op": "add", "path": "/metadata/labels/c"}], [{"op": "add", "path": "/metadata/labels/c", "value": "3"}], [{"op": "add", "path": "metadata/labels/c", "value": "3"}], [{"op": "add", "path": "", "value": {}}], [{"op": "add", "path": "/nosuch/x", "value": 1}], [{"op": "add", "path": "/spec/nosuch", "value": 1}],
    [{"op": "remove", "path": "/metadata/labels/a"}], [{"op": "remove", "path": "/metadata/labels/nosuch"}], [{"op": "remove", "path": "/nosuch"}], [{"op": "remove", "path": ""}], [{"op": "replace", "path": "/metadata/labels/a", "value": "9"}], [{"op": "replace", "path": "/metadata/labels/nosuch", "value": "9"}], [{"op": "replace", "path": "/nosuch/x", "value": "9"}],
    [{"op": "test", "path": "/metadata/labels/a", "value": "1"}], [{"op": "test", "path": "/metadata/labels/a", "value": "2"}], [{"op": "test", "path": "/metadata/labels/nosuch", "value": None}], [{"op": "test", "path": "/nosuch", "value": 1}], [{"op": "test", "path": "/metadata/labels", "value": {"b": "2", "a": "1"}}], [{"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/c"}],
    [{"op": "move", "from": "/nosuch", "path": "/metadata/labels/c"}], [{"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/labels/c"}], [{"op": "copy", "from": "/nosuch", "path": "/x"}], [{"op": "copy", "path": "/x"}], [{"op": "foo", "path": "/x"}], [{"op": "ADD", "path": "/metadata/labels/c", "value": "3"}], [{"op": "add", "path": "/metadata/finalizers/-", "value": "x.io/y"}],
    [{"op": "add", "path": "/metadata/finalizers/0", "value": "x.io/y"}], [{"op": "add", "path": "/metadata/finalizers/9", "value": "x.io/y"}], [{"op": "add", "path": "/metadata/finalizers/-1", "value": "x.io/y"}], [{"op": "add", "path": "/metadata/finalizers/x", "value": "x.io/y"}], [{"op": "remove", "path": "/metadata/finalizers/0"}], [{"op": "remove", "path": "/metadata/finalizers/5"}],
    [{"op": "remove", "path": "/metadata/finalizers/-"}], [{"op": "replace", "path": "/metadata/finalizers/0", "value": 5}], [{"op": "replace", "path": "/metadata/finalizers", "value": None}], [{"op": "replace", "path": "/metadata/name", "value": "b"}], [{"op": "replace", "path": "/kind", "value": "Foo"}], [{"op": "replace", "path": "/apiVersion", "value": "v1"}], [{"op": "remove", "path": "/kind"}],
    [{"op": "remove", "path": "/metadata"}], [{"op": "remove", "path": "/metadata/name"}], [{"op": "remove", "path": "/spec"}], [{"op": "replace", "path": "/spec", "value": "x"}], [{"op": "add", "path": "/metadata/labels/a~1b", "value": "x"}], [{"op": "add", "path": "/metadata/labels/a~0b", "value": "x"}], [{"op": "add", "path": "/metadata/labels/a~2b", "value": "x"}],
    [{"op": "add", "path": "/metadata/labels/c", "value": "3", "nosuch": 1}], [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}], [{"op": "test", "path": "/metadata/resourceVersion", "value": "$(1.metadata.resourceVersion)"}], [{"op": "add", "path": "/metadata/labels/c", "value": 5}], [{"op": "add", "path": "/metadata/labels/c", "value": None}], [{"op": "add", "path": "/spec/nodeSelector/z", "value": {"a": 1}}],
    [{"op": "add", "path": "/status", "value": {"phase": "Running"}}], [{"op": "test", "path": "/spec/domain/memory/value", "value": 64}], [{"op": "test", "path": "/spec/domain/memory/value", "value": 64.0}], [{"path": "/x", "value": 1}], [{"op": 5, "path": "/x"}], [{"op": "add", "path": 5, "value": 1}], [{"op": "replace", "path": "/metadata/labels/a"}], [{"op": "test", "path": "/metadata/labels/a"}],
    [{"op": "add", "path": "/metadata/labels/c", "value": "3"}, {"op": "test", "path": "/metadata/labels/c", "value": "4"}], [{"op": "test", "path": "/metadata/uid", "value": "x"}], [{"op": "replace", "path": "/metadata/uid", "value": "x"}], [{"op": "remove", "path": "/metadata/uid"}], [{"op": "remove", "path": "/metadata/creationTimestamp"}],
)  # fmt: skip
MERGES: tuple[Any, ...] = (
    {}, [], "x", 5, None, {"metadata": None}, {"metadata": {}}, {"metadata": {"labels": None}}, {"metadata": {"labels": {"a": None}}}, {"metadata": {"labels": {"a": "9", "c": "3"}}}, {"metadata": {"labels": {"a": 5}}}, {"metadata": {"labels": "x"}}, {"metadata": {"labels": ["x"]}}, {"spec": None}, {"spec": {}}, {"spec": "x"}, {"spec": {"nosuch": 1}}, {"spec": {"nodeSelector": None}},
    {"spec": {"nodeSelector": {"x": None, "z": "1"}}}, {"spec": {"nodeSelector": {"x": 5}}}, {"spec": {"domain": {"type": 5}}}, {"spec": {"domain": None}}, {"status": {"phase": "Running"}}, {"kind": "Foo"}, {"kind": None}, {"apiVersion": "v1"}, {"apiVersion": None}, {"nosuch": 1}, {"metadata": {"nosuch": 1}}, {"metadata": {"resourceVersion": "1"}}, {"metadata": {"resourceVersion": "$(1.metadata.resourceVersion)", "labels": {"z": "1"}}},
    {"metadata": {"resourceVersion": "$(0.metadata.resourceVersion)", "labels": {"z": "1"}}}, {"metadata": {"uid": "x"}}, {"metadata": {"uid": "$(0.metadata.uid)"}}, {"metadata": {"name": "b"}}, {"metadata": {"namespace": "b"}}, {"spec": {"terminationGracePeriodSeconds": 5}}, {"spec": {"terminationGracePeriodSeconds": "5"}}, {"spec": {"terminationGracePeriodSeconds": 5.0}}, {"spec": {"terminationGracePeriodSeconds": 5.5}}, {"spec": {"terminationGracePeriodSeconds": -5}},
    {"metadata": {"annotations": {"a": "x" * 262144}}}, {"metadata": {"finalizers": []}}, {"metadata": {"finalizers": None}}, {"$patch": "replace", "metadata": {"labels": {"z": "1"}}}, {"metadata": {"labels": {"$patch": "delete"}}},
)  # fmt: skip
RAW = (
    "",
    " ",
    "{",
    "nonsense",
    "a: b",
    '{"metadata":{"labels":{"a":"1","a":"2"}}}',
    '{"spec":{"nosuch":1,"nosuch":2}}',
    "[{}",
    '{"metadata":{"labels":{"a":"b"}}}x',
    "\x00",
    "{'a':1}",
    "null",
    "[null]",
    "{}{}",
)
OPTIONS = (
    "dryRun=All",
    "dryRun=Foo",
    "fieldManager=me",
    "fieldManager=" + "x" * 129,
    "fieldManager=a%0Ab",
    "fieldValidation=Strict",
    "fieldValidation=Foo",
    "fieldValidation=Ignore",
    "force=true",
    "force=false",
    "force=abc",
    "fieldManager=",
    "dryRun=All&force=true&fieldValidation=Foo",
)
STRATEGICS: tuple[Any, ...] = (
    {}, [], None, "x", {"spec": {"unschedulable": True}}, {"spec": {"unschedulable": "x"}}, {"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}]}}, {"spec": {"taints": [{"$patch": "replace"}, {"key": "c", "effect": "NoSchedule"}]}}, {"spec": {"taints": [{"key": "a", "$patch": "delete"}]}}, {"spec": {"taints": None}}, {"spec": {"taints": []}}, {"spec": {"taints": [{"effect": "NoSchedule"}]}}, {"spec": {"taints": [{"key": "a", "effect": "Foo"}]}},
    {"spec": {"taints": [{"key": "a", "effect": "NoSchedule", "value": "é"}]}}, {"metadata": {"labels": {"a": None, "$patch": "replace"}}}, {"metadata": {"labels": {"x": None}}}, {"metadata": {"labels": {"x": "1", "y": "2"}}}, {"metadata": {"finalizers": ["x.io/b"]}}, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.io/a"]}}, {"metadata": {"$setElementOrder/finalizers": ["x.io/b", "x.io/a"], "finalizers": ["x.io/b"]}}, {"$patch": "delete"}, {"$patch": "replace", "metadata": {"name": "$id"}},
    {"$patch": "foo"}, {"$retainKeys": ["spec"]}, {"spec": {"$retainKeys": ["taints"], "taints": []}}, {"spec": {"nosuch": 1}}, {"nosuch": 1}, {"spec": {"providerID": "y"}}, {"spec": {"podCIDR": "10.0.0.0/24"}}, {"metadata": {"name": "other"}}, {"metadata": {"ownerReferences": [{"uid": "u", "name": "x", "kind": "Pod", "apiVersion": "v1"}]}}, {"metadata": {"resourceVersion": "1"}}, {"metadata": {"uid": "x"}}, {"status": {"addresses": [{"type": "Hostname", "address": "x"}]}},
    {"spec": {"taints": "x"}}, {"spec": {"taints": ["x"]}}, {"metadata": 5}, {"spec": {"taints": [{"$patch": "foo", "key": "a"}]}}, {"spec": {"$patch": "replace", "providerID": "z"}}, {"spec": None}, {"metadata": {"annotations": None}},
)  # fmt: skip
STATUSES: tuple[Any, ...] = (
    {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "x"}]}}, {"status": {"conditions": [{"type": "Ready", "$patch": "delete"}]}}, {"status": {"addresses": [{"type": "InternalIP", "address": "1.2.3.4"}]}}, {"status": {"nodeInfo": {"kubeletVersion": "v1"}}}, {"status": {"capacity": {"cpu": "4", "memory": "8Gi"}, "allocatable": {"cpu": 4, "memory": "x"}}}, {"status": {"capacity": {"cpu": "4000m"}}}, {"status": None}, {"spec": {"unschedulable": True}}, {"metadata": {"labels": {"s": "1"}}},
)  # fmt: skip
HOST = post(
    NODES,
    node(metadata={"labels": {"x": "0"}, "finalizers": ["x.io/a"]}, taints=[{"key": "a", "effect": "NoSchedule"}]),
)

CASES = [
    *(Case(f"json patch: {str(operations)[:120]}", [MADE, LABELLED, patch(VM, operations, JSON_PATCH), get(VM)]) for operations in OPERATIONS),
    *(Case(f"json patch: typed {str(operations)[:120]}", [post(ACCOUNTS, account(labels={"a": "1", "b": "2"}, finalizers=["x.io/a"])), get(f"{ACCOUNTS}/a"), patch(f"{ACCOUNTS}/a", operations, JSON_PATCH)]) for operations in OPERATIONS),
    *(Case(f"merge patch: {str(merge)[:120]}", [MADE, LABELLED, patch(VM, merge), get(VM)]) for merge in MERGES),
    *(Case(f"merge patch: typed {str(merge)[:120]}", [post(ACCOUNTS, account(labels={"a": "1", "b": "2"})), get(f"{ACCOUNTS}/a"), patch(f"{ACCOUNTS}/a", merge)]) for merge in MERGES),
    *(Case(f"status patch: {str(merge)[:120]}", [MADE, LABELLED, patch(f"{VM}/status", merge), get(VM)]) for merge in MERGES),
    *(Case(f"raw patch: {type_} {raw!r}", [MADE, patch(VM, raw, type_)]) for type_ in (MERGE, JSON_PATCH, STRATEGIC, APPLY) for raw in RAW),
    *(Case(f"raw patch: typed {type_} {raw!r}", [post(ACCOUNTS, account()), patch(f"{ACCOUNTS}/a", raw, type_)]) for type_ in (MERGE, JSON_PATCH, STRATEGIC, APPLY) for raw in RAW),
    *(Case(f"patch: {text[:40]}", [MADE, patch(f"{VM}?{text}", {"metadata": {"labels": {"a": "b"}}, "spec": {"nosuch": 1}}), patch(f"{VM}?{text}", [{"op": "add", "path": "/spec/nosuch", "value": 1}, {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}], JSON_PATCH), get(VM)]) for text in OPTIONS),
    *(Case(f"patch: typed {text[:40]}", [post(ACCOUNTS, account()), patch(f"{ACCOUNTS}/a?{text}", {"metadata": {"labels": {"a": "b"}}, "nosuch": 1}), patch(f"{ACCOUNTS}/a?{text}", {"metadata": {"labels": {"a": "c"}}, "nosuch": 1}, STRATEGIC), patch(f"{ACCOUNTS}/a?{text}", [{"op": "add", "path": "/nosuch", "value": 1}, {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}], JSON_PATCH)]) for text in OPTIONS),
    *(Case(f"strategic: {str(body)[:120]}", [HOST, patch(NODE, body, STRATEGIC), get(NODE)]) for body in STRATEGICS),
    *(Case(f"strategic: status {str(body)[:120]}", [HOST, patch(f"{NODE}/status", STATUSES[0], STRATEGIC), patch(f"{NODE}/status", body, STRATEGIC), get(NODE)]) for body in STATUSES),
    *(Case(f"strategic: merged {str(body)[:120]}", [HOST, patch(NODE, body, MERGE)]) for body in STRATEGICS),
    Case("patch: absent", [patch(VM, {}), patch(VM, [], JSON_PATCH), patch(f"{VM}/status", {}), patch(VM, {}, STRATEGIC), patch(NODE, {}, STRATEGIC), patch(POLICY, {}), patch(f"{EVENTS}/x", {}, STRATEGIC)]),
    Case("patch: collection", [patch("/apis/kubevirt.io/v1alpha1/namespaces/$ns/virtualmachines", {}), patch(ACCOUNTS, {}, STRATEGIC)]),
    Case("patch: too many operations", [MADE, patch(VM, [{"op": "test", "path": "/kind", "value": "VirtualMachine"}] * 10001, JSON_PATCH)]),
    Case("patch: policy", [post(POLICIES, policy()), patch(POLICY, {"spec": {"maxDowntimeMs": 5}}), patch(POLICY, {"spec": {"maxDowntimeMs": "x"}}), patch(POLICY, {"spec": {"selectors": None}}), patch(POLICY, {"status": {"x": 1}}), patch(f"{POLICY}/status", {"status": {"x": 1}})]),
    Case("patch: managers", [MADE, patch(VM, {"metadata": {"labels": {"a": "1"}}}, headers={"User-Agent": "one/1"}), patch(VM, {"metadata": {"labels": {"a": "2"}}}, headers={"User-Agent": "two/1"}), patch(VM, {"metadata": {"labels": {"a": "2"}}}, headers={"User-Agent": "three/1"}), patch(VM, {"metadata": {"labels": {"a": None}}}, headers={"User-Agent": "one/1"}), patch(f"{VM}/status", {"status": {"phase": "Running"}}, headers={"User-Agent": "one/1"}), patch(VM, {"spec": {"nodeSelector": {"a": "b"}}}, headers={"User-Agent": "two/1"})]),
    Case("patch: cleared managers", [MADE, patch(VM, {"metadata": {"managedFields": [{}]}}), patch(VM, {"metadata": {"labels": {"a": "1"}}}, headers={"User-Agent": "two/1"})]),
]  # fmt: skip
