# ruff: noqa: E501 - a case stays a row
"""Server-side apply: ownership, conflicts, what is refused."""

from __future__ import annotations

from typing import Any

from app.machinery.objects import Document
from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    APPLY,
    DOMAIN,
    EVENTS,
    JSON_PATCH,
    MADE,
    MERGE,
    NODE,
    POLICY,
    STRATEGIC,
    VM,
    VM_FINALIZER,
    VMS,
    account,
    delete,
    get,
    node,
    patch,
    policy,
    post,
    vm,
)  # fmt: skip

IDENTITY = {"apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachine"}


def _vm(spec: Document | None = None, **metadata: Any) -> Document:
    return {
        **IDENTITY,
        "metadata": {"name": "a", "finalizers": [VM_FINALIZER], **metadata},
        "spec": {"domain": DOMAIN, **(spec or {})},
    }


def _apply(body: Any, manager: str = "one", path: str = VM, more: str = "", **asked: Any) -> Ask:
    return patch(f"{path}?fieldManager={manager}{more}", body, APPLY, **asked)


def _labels(**labels: str | None) -> Document:
    return {**IDENTITY, "metadata": {"name": "a", "labels": labels}}


BODIES: tuple[Any, ...] = (
    {}, [], "x", 5, None, IDENTITY, {**IDENTITY, "metadata": {}}, {**IDENTITY, "metadata": {"name": "b"}}, {**IDENTITY, "metadata": {"name": "a", "namespace": "other"}}, {"kind": "VirtualMachine", "metadata": {"name": "a"}}, {"apiVersion": "kubevirt.io/v1alpha1", "metadata": {"name": "a"}}, {**IDENTITY, "kind": "Foo"}, {**IDENTITY, "kind": "Migration"}, {**IDENTITY, "apiVersion": "v1"}, {**IDENTITY, "apiVersion": "kubevirt.io/v1"},
    {**IDENTITY, "metadata": {"name": "a", "managedFields": []}}, {**IDENTITY, "metadata": {"name": "a", "managedFields": None}}, {**IDENTITY, "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}}, {**IDENTITY, "metadata": {"name": "a", "uid": "x"}}, {**IDENTITY, "metadata": {"name": "a", "resourceVersion": "1"}}, {**IDENTITY, "metadata": {"name": "a", "resourceVersion": "$(0.metadata.resourceVersion)"}}, {**IDENTITY, "metadata": {"name": "a", "creationTimestamp": None}},
    {**IDENTITY, "metadata": {"name": "a", "creationTimestamp": "2020-01-01T00:00:00Z"}}, {**IDENTITY, "metadata": {"name": "a", "nosuch": 1}}, {**IDENTITY, "metadata": {"name": "a", "labels": {"a": 5}}}, {**IDENTITY, "metadata": {"name": "a", "labels": "x"}}, {**IDENTITY, "metadata": "x"}, {**IDENTITY, "spec": {"nosuch": 1}}, {**IDENTITY, "nosuch": 1}, {**IDENTITY, "spec": "x"}, {**IDENTITY, "spec": None}, {**IDENTITY, "spec": {"nodeSelector": {"a": "b"}}}, {**IDENTITY, "spec": {"nodeSelector": {"a": 5}}},
    {**IDENTITY, "spec": {"nodeSelector": None}}, {**IDENTITY, "spec": {"nodeSelector": {"a": None}}}, {**IDENTITY, "status": {"phase": "Running"}}, {**IDENTITY, "spec": {"domain": {"type": 5}}}, {**IDENTITY, "metadata": {"name": "a", "finalizers": [VM_FINALIZER, VM_FINALIZER]}}, {**IDENTITY, "metadata": {"name": "a", "finalizers": ["x.io/y"]}}, {**IDENTITY, "metadata": {"name": "a", "ownerReferences": [{"uid": "u", "kind": "Pod", "name": "x", "apiVersion": "v1"}, {"uid": "u", "kind": "Pod", "name": "x", "apiVersion": "v1"}]}},
    {**IDENTITY, "metadata": {"name": "a", "ownerReferences": [{"kind": "Pod", "name": "x", "apiVersion": "v1"}]}}, {**IDENTITY, "metadata": {"name": "a", "generateName": "x-"}}, {**IDENTITY, "metadata": {"generateName": "x-"}}, {**IDENTITY, "metadata": {"name": "a", "deletionTimestamp": "2020-01-01T00:00:00Z"}}, {**IDENTITY, "metadata": {"name": "a", "selfLink": "x"}}, {**IDENTITY, "metadata": {"name": "a", "generation": 9}},
)  # fmt: skip
OPTIONS = (
    "",
    "fieldManager=",
    "fieldManager=" + "x" * 129,
    "fieldManager=a%0Ab",
    "fieldManager=me&force=true",
    "fieldManager=me&force=abc",
    "fieldManager=me&force=",
    "fieldManager=me&force=false",
    "fieldManager=me&dryRun=All",
    "fieldManager=me&dryRun=Foo",
    "fieldManager=me&fieldValidation=Strict",
    "fieldManager=me&fieldValidation=Ignore",
    "fieldManager=me&fieldValidation=Foo",
    "force=true",
    "fieldManager=me&force=true&dryRun=All",
)
RAW = (
    "",
    "a",
    "- a",
    "a: [",
    "apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata: {name: a, labels: {a: b}}\n",
    "apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: a\n  name: a\n",
    "apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata: {name: a}\n---\nkind: x\n",
    '{"kind":"VirtualMachine","apiVersion":"kubevirt.io/v1alpha1","metadata":{"name":"a","labels":{"a":"1","a":"2"}}}',
    "kind: VirtualMachine\napiVersion: kubevirt.io/v1alpha1\nmetadata: {name: a}\nspec: {nosuch: 1}\n",
)

NODE_ID: Document = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$id"}}
ACCOUNT: Document = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}

ACCOUNT_BODIES: tuple[Document, ...] = (
    {}, {"secrets": [{"name": "x"}, {"name": "y"}]}, {"secrets": [{"name": "x"}, {"name": "x"}]}, {"secrets": [{}]}, {"imagePullSecrets": [{"name": "x"}]}, {"automountServiceAccountToken": True}, {"automountServiceAccountToken": "x"}, {"nosuch": 1}, {"secrets": "x"}, {"kind": "Pod"}, {"kind": "Foo"}, {"apiVersion": "v2"}, {"metadata": {"name": "b"}}, {"metadata": {"name": "a", "labels": {"a": None}}},
)  # fmt: skip

CASES = [
    *(Case(f"apply: new {str(body)[:120]}", [get("/version"), _apply(body), get(VM)]) for body in BODIES),
    *(Case(f"apply: existing {str(body)[:120]}", [MADE, _apply(body), get(VM)]) for body in BODIES),
    *(Case(f"apply: status {str(body)[:120]}", [MADE, _apply(body, path=f"{VM}/status"), get(VM)]) for body in BODIES),
    *(Case(f"apply: {text[:40]}", [MADE, patch(f"{VM}?{text}", {**_labels(a="b"), "spec": {"nosuch": 1}}, APPLY), patch(f"{VM}?{text}", _labels(a="b"), APPLY), get(VM)]) for text in OPTIONS),
    *(Case(f"apply: raw {raw[:60]!r}", [MADE, _apply(raw), _apply(raw, more="&fieldValidation=Strict")]) for raw in RAW),
    Case("apply: create, same, change, remove", [_apply(_vm(labels={"a": "1", "b": "2"})), _apply(_vm(labels={"a": "1", "b": "2"})), _apply(_vm(labels={"a": "3"})), _apply(_vm()), get(VM)]),
    Case("apply: two managers", [_apply(_vm(labels={"a": "1"})), _apply(_labels(b="2"), "two"), _apply(_labels(a="1"), "three"), _apply(_labels(a="9"), "two"), _apply(_labels(a="9"), "two", more="&force=true"), _apply(_labels(a="1"), "one"), get(VM)]),
    Case("apply: shared and given up", [_apply(_vm(labels={"a": "1"})), _apply(_labels(a="1"), "two"), _apply(_vm(), "one"), get(VM), _apply({**IDENTITY, "metadata": {"name": "a"}}, "two"), get(VM)]),
    Case("apply: after updates", [MADE, patch(VM, {"metadata": {"labels": {"a": "1"}}}, headers={"User-Agent": "upd/1"}), _apply(_labels(a="2")), _apply(_labels(a="1")), _apply(_labels(a="2"), more="&force=true"), patch(VM, {"metadata": {"labels": {"a": "3"}}}, headers={"User-Agent": "upd/1"}), _apply(_labels(a="2")), get(VM)]),
    Case("apply: many conflicts", [_apply(_vm({"nodeSelector": {"a": "b"}}, labels={"a": "1", "b": "1"}, annotations={"x": "1"})), _apply({**IDENTITY, "metadata": {"name": "a", "labels": {"b": "1", "c": "1"}}}, "two"), patch(VM, {"metadata": {"labels": {"d": "1"}}}, headers={"User-Agent": "upd/1"}), _apply({**IDENTITY, "metadata": {"name": "a", "labels": {"a": "2", "b": "2", "c": "2", "d": "2"}, "annotations": {"x": "2"}}, "spec": {"nodeSelector": {"a": "c"}}}, "three")]),
    Case("apply: atomic map", [_apply(_vm({"nodeSelector": {"a": "1"}})), _apply({**IDENTITY, "metadata": {"name": "a"}, "spec": {"nodeSelector": {"b": "1"}}}, "two"), _apply({**IDENTITY, "metadata": {"name": "a"}, "spec": {"nodeSelector": {"b": "1"}}}, "two", more="&force=true"), get(VM)]),
    Case("apply: status and spec", [_apply(_vm()), _apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"phase": "Running"}}, "two", path=f"{VM}/status"), _apply({**IDENTITY, "metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"nodeSelector": {"a": "b"}}, "status": {"phase": "Failed"}}, "three", path=f"{VM}/status"), _apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "two", path=f"{VM}/status", more="&force=true"), get(VM)]),
    Case("apply: conditions by type", [_apply(_vm()), _apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Paused", "status": "False"}]}}, "two", path=f"{VM}/status"), _apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"conditions": [{"type": "Synchronized", "status": "True"}, {"type": "Ready", "status": "True"}]}}, "three", path=f"{VM}/status"), _apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "three", path=f"{VM}/status"), _apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"conditions": [{"type": "Paused", "status": "False"}]}}, "two", path=f"{VM}/status"), _apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Ready", "status": "False"}]}}, "four", path=f"{VM}/status"), _apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"conditions": [{"status": "False"}]}}, "four", path=f"{VM}/status"), get(VM)]),
    Case("apply: finalizers as a set", [_apply(_vm()), _apply({**IDENTITY, "metadata": {"name": "a", "finalizers": ["x.io/y"]}}, "two"), _apply({**IDENTITY, "metadata": {"name": "a", "finalizers": ["x.io/z", "x.io/y"]}}, "three"), _apply({**IDENTITY, "metadata": {"name": "a"}}, "two"), _apply({**IDENTITY, "metadata": {"name": "a"}}, "three"), get(VM)]),
    Case("apply: while terminating", [MADE, delete(VM), _apply(_labels(a="b")), _apply({**IDENTITY, "metadata": {"name": "a", "finalizers": ["x.io/y"]}}), _apply(_vm(), "fidelity", more="&force=true"), get(VM)]),
    Case("apply: takes the last finalizer away", [_apply(policy(metadata={"finalizers": ["x.io/a"]}), path=POLICY), delete(POLICY), _apply(policy(), path=POLICY), get(POLICY)]),
    Case("apply: absent status", [_apply({**IDENTITY, "metadata": {"name": "a"}, "status": {"phase": "Running"}}, path=f"{VM}/status")]),
    Case("apply: wrong namespace", [patch("/apis/kubevirt.io/v1alpha1/namespaces/$id-no/virtualmachines/a?fieldManager=x", _vm(), APPLY), _apply(_vm(namespace="$ns")), _apply(_vm(namespace=""))]),
    Case("apply: kubectl's way from client-side", [post(f"{VMS}?fieldManager=kubectl-client-side-apply", {**vm(), "metadata": {"name": "a", "finalizers": [VM_FINALIZER], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}\n"}, "labels": {"a": "1"}}}), _apply(_vm(labels={"a": "1"}), "kubectl"), patch(VM, [{"op": "replace", "path": "/metadata/managedFields", "value": []}], JSON_PATCH), patch(VM, [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}], JSON_PATCH), _apply(_vm(labels={"a": "2"}), "kubectl"), get(VM)]),
    Case("apply: then update by the same", [_apply(_vm(labels={"a": "1"})), patch(f"{VM}?fieldManager=one", {"metadata": {"labels": {"a": "2", "b": "1"}}}), _apply(_vm(labels={"a": "3"})), get(VM)]),
    Case("apply: policy", [_apply({"apiVersion": "kubevirt.io/v1alpha1", "kind": "MigrationPolicy", "spec": {"selectors": {"namespaceSelector": {"a": "b"}}}}, path=POLICY), _apply({"apiVersion": "kubevirt.io/v1alpha1", "kind": "MigrationPolicy", "spec": {"selectors": {"namespaceSelector": {"c": "d"}}, "maxDowntimeMs": 5}}, "two", path=POLICY), _apply({"apiVersion": "kubevirt.io/v1alpha1", "kind": "MigrationPolicy"}, "one", path=POLICY), get(POLICY)]),
    Case("apply: node", [_apply({**NODE_ID, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}, path=NODE), _apply({**NODE_ID, "spec": {"taints": [{"key": "b", "effect": "NoSchedule"}]}}, "two", path=NODE), _apply({**NODE_ID, "spec": {"unschedulable": True}}, "two", path=NODE), _apply({**NODE_ID, "status": {"addresses": [{"type": "Hostname", "address": "x"}]}}, "three", path=f"{NODE}/status"), _apply({**NODE_ID, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "four", path=f"{NODE}/status"), _apply(NODE_ID, "two", path=NODE), get(NODE)]),
    Case("apply: node wrongly", [_apply({**NODE_ID, "spec": {"nosuch": 1}}, path=NODE), _apply({**NODE_ID, "spec": {"unschedulable": "x"}}, path=NODE), _apply({**NODE_ID, "spec": {"taints": [{"effect": "NoSchedule"}]}}, path=NODE), _apply({**NODE_ID, "spec": {"taints": [{"key": "a", "effect": "Foo"}]}}, path=NODE), _apply({"metadata": {"name": "$id"}}, path=NODE), _apply({**NODE_ID, "kind": "Pod"}, path=NODE), _apply({**NODE_ID, "spec": {"taints": {}}}, path=NODE)]),
    *(Case(f"apply: account {str(body)[:100]}", [_apply({**ACCOUNT, **body}, path=f"{ACCOUNTS}/a"), _apply({**ACCOUNT, "secrets": [{"name": "z"}]}, "two", path=f"{ACCOUNTS}/a"), _apply(ACCOUNT, path=f"{ACCOUNTS}/a")]) for body in ACCOUNT_BODIES),
    Case("apply: event", [_apply({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"namespace": "$ns"}, "reason": "x"}, path=f"{EVENTS}/e"), _apply({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "y"}, "two", path=f"{EVENTS}/e")]),
    Case("apply: namespace", [_apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "$id-x", "labels": {"a": "b"}}}, path="/api/v1/namespaces/$id-x")]),
    Case("apply: others' types", [MADE, patch(f"{VM}?fieldManager=x", _labels(a="b"), "application/apply-patch+json"), patch(f"{VM}?fieldManager=x", _labels(a="b"), "application/apply-patch"), patch(f"{VM}?fieldManager=x", _labels(a="b"), "application/apply-patch+yaml; charset=utf-8"), patch(f"{VM}?fieldManager=x", _labels(a="b"), "application/apply-patch+cbor")]),
]  # fmt: skip
_ = (MERGE, STRATEGIC, account, node)
