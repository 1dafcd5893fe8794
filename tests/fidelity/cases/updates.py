# ruff: noqa: E501 - a case stays a row
"""Replacing: versions, identities, what an update may not change, status apart from spec, races that are lost."""

from __future__ import annotations

from typing import Any

from app.machinery.objects import Document
from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    EVENTS,
    GROUP,
    MADE,
    MIGS,
    NODE,
    NODES,
    POLICIES,
    POLICY,
    ROLES,
    VM,
    VMS,
    account,
    delete,
    get,
    mig,
    node,
    patch,
    policy,
    post,
    put,
    role,
    vm,
)  # fmt: skip

RV = "$(0.metadata.resourceVersion)"
UID = "$(0.metadata.uid)"


def _vm(spec: Document | None = None, **metadata: Any) -> Document:
    made = vm(**(spec or {}))
    return {**made, "metadata": {**made["metadata"], "resourceVersion": RV, **metadata}}


def _account(**metadata: Any) -> Document:
    return account(**{"resourceVersion": RV, **metadata})


METADATA: dict[str, Document] = {
    "nothing": {}, "no version": {"resourceVersion": None}, "version zero": {"resourceVersion": "0"}, "version empty": {"resourceVersion": ""}, "version 1": {"resourceVersion": "1"}, "version text": {"resourceVersion": "x"}, "version number": {"resourceVersion": 5}, "version future": {"resourceVersion": "999999999"}, "same uid": {"uid": UID}, "other uid": {"uid": "x"},
    "other uid and version": {"uid": "x", "resourceVersion": "1"}, "other name": {"name": "b"}, "no name": {"name": None}, "empty name": {"name": ""}, "other namespace": {"namespace": "other"}, "empty namespace": {"namespace": ""}, "same namespace": {"namespace": "$ns"}, "creationTimestamp": {"creationTimestamp": "2020-01-01T00:00:00Z"}, "creationTimestamp null": {"creationTimestamp": None},
    "creationTimestamp wrong": {"creationTimestamp": "x"}, "deletionTimestamp": {"deletionTimestamp": "2020-01-01T00:00:00Z"}, "grace": {"deletionGracePeriodSeconds": 3}, "generation": {"generation": 9}, "selfLink": {"selfLink": "/x"}, "generateName": {"generateName": "x-"}, "labels": {"labels": {"a": "b"}}, "bad labels": {"labels": {"é": "x"}}, "annotations": {"annotations": {"a": "b"}},
    "managedFields empty": {"managedFields": []}, "managedFields clear": {"managedFields": [{}]}, "managedFields wrong": {"managedFields": [{"manager": "x", "operation": "Foo"}]}, "unknown": {"nosuch": 1}, "finalizers gone": {"finalizers": []}, "finalizers more": {"finalizers": ["kubevirt.io/virtualmachine", "x.io/y"]}, "owner": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}]}, "owner wrong": {"ownerReferences": [{}]},
}  # fmt: skip
OPTIONS = (
    "dryRun=All",
    "dryRun=Foo",
    "fieldManager=me",
    "fieldManager=" + "x" * 129,
    "fieldValidation=Strict",
    "fieldValidation=Foo",
    "fieldValidation=Ignore",
    "force=true",
    "resourceVersion=1",
)

CASES = [
    *(Case(f"update: {name}", [MADE, put(VM, _vm(**metadata)), get(VM)]) for name, metadata in METADATA.items()),
    *(Case(f"update: typed {name}", [post(ACCOUNTS, account()), put(f"{ACCOUNTS}/a", _account(**metadata)), get(f"{ACCOUNTS}/a")]) for name, metadata in METADATA.items()),
    *(Case(f"update: status {name}", [MADE, put(f"{VM}/status", {**_vm(**metadata), "status": {"phase": "Running"}}), get(VM)]) for name, metadata in METADATA.items()),
    *(Case(f"update: {text[:40]}", [MADE, put(f"{VM}?{text}", _vm({"nosuch": 1}, labels={"a": "b"})), get(VM)]) for text in OPTIONS),
    *(Case(f"update: typed {text[:40]}", [post(ACCOUNTS, account()), put(f"{ACCOUNTS}/a?{text}", {**_account(labels={"a": "b"}), "nosuch": 1}), get(f"{ACCOUNTS}/a")]) for text in OPTIONS),
    Case("update: generation", [MADE, put(VM, _vm({"nodeSelector": {"a": "b"}})), put(VM, {**_vm({"nodeSelector": {"a": "b"}}, labels={"x": "y"}), "metadata": {"name": "a", "resourceVersion": "$(1.metadata.resourceVersion)", "labels": {"x": "y"}}})]),
    Case("update: nothing changes", [MADE, put(VM, {"$whole": "$(0)"}), put(VM, {"$whole": "$(0)"}), put(VM, {"$whole": "$(0)"}, headers={"User-Agent": "other/1"})]),
    Case("update: status is kept", [MADE, put(f"{VM}/status", {**_vm(), "status": {"phase": "Running"}}), put(VM, {**vm(), "metadata": {**vm()["metadata"], "resourceVersion": "$(1.metadata.resourceVersion)"}, "status": {"phase": "Failed"}}), put(f"{VM}/status", {**vm(), "metadata": {"name": "a", "resourceVersion": "$(2.metadata.resourceVersion)", "labels": {"x": "y"}}, "spec": {"nodeSelector": {"x": "y"}}, "status": {"nodeName": "n"}}), get(f"{VM}/status")]),
    Case("update: status of nothing", [MADE, put(f"{VM}/status", {**_vm(), "status": None}), put(f"{VM}/status", _vm()), put(f"{VM}/status", {**_vm(), "status": "x"}), put(f"{VM}/status", {**_vm(), "status": {"phase": 5}}), put(f"{VM}/status", {**_vm(), "status": {"nosuch": 1}}), put(f"{VM}/status?fieldValidation=Strict", {**_vm(), "status": {"nosuch": 1}})]),
    Case("update: status without spec", [MADE, put(f"{VM}/status", {"apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachine", "metadata": {"name": "a", "resourceVersion": RV}, "status": {"phase": "Running"}})]),
    Case("update: absent", [put(VM, vm()), put(f"{VM}/status", vm()), put(VM, _vm()), put(f"{ACCOUNTS}/a", account()), put(f"{EVENTS}/e", {"metadata": {"name": "e"}, "involvedObject": {"namespace": "$ns"}}), put(NODE, node()), put(f"{ACCOUNTS}/a", account(uid="x")), put(VM, {**vm(), "metadata": {"name": "a", "uid": "x", "resourceVersion": "5"}}), put(f"{ROLES}/a", role()), put(POLICY, policy()), put(f"{GROUP}/namespaces/$id-no/virtualmachines/a", vm())]),
    Case("update: wrong shape", [MADE, put(VM, {**_vm(), "spec": None}), put(VM, {**_vm(), "spec": "x"}), put(VM, {**_vm(), "spec": {"domain": 5}}), put(VM, {**_vm(), "kind": "Foo"}), put(VM, {**_vm(), "apiVersion": "v1"}), put(VM, {"metadata": {"name": "a"}}), put(VM, {"kind": "VirtualMachine", "apiVersion": "kubevirt.io/v1alpha1"})]),
    Case("update: collection", [MADE, put(VMS, _vm()), put(ACCOUNTS, account()), Ask(f"PUT {GROUP}/virtualmachines", vm())]),
    Case("update: migration", [post(MIGS, mig()), put(f"{MIGS}/m", {**mig(cancel=True), "metadata": {"name": "m", "resourceVersion": RV, "finalizers": ["kubevirt.io/migration"]}}), put(f"{MIGS}/m", {**mig(priority="x"), "metadata": {"name": "m", "resourceVersion": RV}})]),
    Case("update: policy", [post(POLICIES, policy()), put(POLICY, policy()), put(POLICY, policy(metadata={"resourceVersion": RV}, maxDowntimeMs=100)), put(f"{POLICY}/status", policy(metadata={"resourceVersion": RV}))]),
    Case("update: node", [post(NODES, node()), put(NODE, node(unschedulable=True)), put(f"{NODE}/status", {**node(), "status": {"addresses": [{"type": "Hostname", "address": "x"}]}}), put(NODE, {**node(), "status": {"phase": "x"}}), get(NODE)]),
    Case("update: while terminating", [MADE, delete(VM), put(VM, {**_vm({"nodeSelector": {"a": "b"}}), "metadata": {"name": "a", "resourceVersion": "$(1.metadata.resourceVersion)", "finalizers": ["kubevirt.io/virtualmachine"]}}), put(VM, {**vm(), "metadata": {"name": "a", "resourceVersion": "$(2.metadata.resourceVersion)", "finalizers": ["kubevirt.io/virtualmachine", "x.io/y"]}}), put(VM, {**vm(), "metadata": {"name": "a", "resourceVersion": "$(2.metadata.resourceVersion)", "finalizers": []}}), get(VM)]),
    Case("update: no longer terminating", [MADE, delete(VM), patch(VM, {"metadata": {"deletionTimestamp": None}}), patch(VM, {"metadata": {"deletionGracePeriodSeconds": None}}), patch(VM, {"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}}), patch(VM, {"metadata": {"deletionGracePeriodSeconds": 100}}), get(VM)]),
]  # fmt: skip
