# ruff: noqa: E501 - a case stays a row
"""Creates: of every wrong kind, in the words that come back."""

from __future__ import annotations

import json
from typing import Any

from app.machinery.objects import Document
from tests.fidelity.case import Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    DOMAIN,
    EVENTS,
    GROUP,
    MADE,
    MIGS,
    NODES,
    POLICIES,
    VM,
    VMS,
    YAML,
    account,
    get,
    mig,
    node,
    policy,
    post,
    vm,
)  # fmt: skip

OPTIONS = (
    "dryRun=All", "dryRun=", "dryRun=all", "dryRun=Foo", "dryRun=All&dryRun=All", "dryRun=All&dryRun=Foo", "dryRun=true", "fieldValidation=Strict", "fieldValidation=Warn", "fieldValidation=Ignore", "fieldValidation=",
    "fieldValidation=strict", "fieldValidation=Foo", "fieldManager=me", "fieldManager=", "fieldManager=a%20b", "fieldManager=a%0Ab", "fieldManager=%C3%A9", "fieldManager=" + "x" * 128, "fieldManager=" + "x" * 129, "force=true", "force=abc", "fieldManager=a&fieldManager=b",
    "dryRun=Foo&fieldValidation=Foo&fieldManager=" + "x" * 129, "propagationPolicy=Foreground", "gracePeriodSeconds=abc", "dryRun=All&fieldValidation=Strict&fieldManager=me",
)  # fmt: skip
NAMES = (
    "a.b",
    "A",
    "a_b",
    "-a",
    "a-",
    ".a",
    "a.",
    "a..b",
    "",
    "x" * 63,
    "1",
    "a/b",
    "a%b",
    ".",
    "..",
    "é",
    " a",
    "a b",
    "a\nb",
    "x" * 254,
    "x" * 64,
)
BASES = ("a-", "a", "A-", "-", "a.", "-a-", "x" * 57 + "-", "x" * 70, "a_", "é", " ", ".", "a--", "a..")
SPECS: dict[str, Any] = {
    "none": None, "text": "x", "list": [], "empty": {}, "number": 5,
}  # fmt: skip
FIELDS: dict[str, Document] = {
    "wrong type of a text": {"domain": {**DOMAIN, "type": 5}},
    "wrong type of a number": {"domain": {**DOMAIN, "memory": {"value": "x", "unit": "MB"}}},
    "number with a fraction": {"domain": {**DOMAIN, "memory": {"value": 1.5, "unit": "MB"}}},
    "number that is whole": {"domain": {**DOMAIN, "memory": {"value": 64.0, "unit": "MB"}}},
    "too large a number": {"domain": {**DOMAIN, "memory": {"value": 10**30, "unit": "MB"}}},
    "negative": {"terminationGracePeriodSeconds": -1},
    "boolean for a number": {"terminationGracePeriodSeconds": True},
    "null for a number": {"terminationGracePeriodSeconds": None},
    "list for a map": {"nodeSelector": ["a"]},
    "number in a map": {"nodeSelector": {"a": 5}},
    "null in a map": {"nodeSelector": {"a": None}},
    "text for a list": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": "x"}}},
    "unknown": {"nosuch": 1},
    "several unknown": {"nosuch": 1, "another": {"a": 1}, "domain": {**DOMAIN, "nosuch": 1, "memory": {"value": 1, "unit": "MB", "nosuch": 2}}},
    "several wrong": {"terminationGracePeriodSeconds": "x", "nodeSelector": 5, "domain": {**DOMAIN, "type": 5, "memory": "x"}},
}  # fmt: skip
MIGRATIONS: dict[str, Document] = {
    "missing required": {"selector": {}},
    "without selector": {"selector": None},
    "pattern": {"selector": {"name": "A_b"}},
    "too long": {"selector": {"name": "x" * 64}},
    "too short": {"selector": {"name": ""}},
    "enum": {"priority": "nosuch"},
    "below the minimum": {"activeDeadlineSeconds": 0},
    "above the maximum": {"backoffLimit": 101},
    "far above the maximum": {"activeDeadlineSeconds": 2**31},
    "enum of another type": {"priority": 5},
    "several": {"selector": {"name": "A"}, "priority": "x", "backoffLimit": -1, "activeDeadlineSeconds": 0, "cancel": "yes"},
    "enum in options": {"options": {"copyStorage": "Sometimes"}},
    "numbers in options": {"options": {"maxDowntimeMs": -1, "parallelConnections": -1, "progressTimeout": "x"}},
    "null options": {"options": None},
    "empty options": {"options": {}},
}  # fmt: skip
TYPED: dict[str, Document] = {
    "secrets text": {"secrets": "x"}, "secrets of texts": {"secrets": ["x"]}, "secrets": {"secrets": [{"name": "x"}]}, "image secrets": {"imagePullSecrets": [{"name": "x"}]}, "image secrets null": {"imagePullSecrets": [None]}, "mount": {"automountServiceAccountToken": True}, "mount text": {"automountServiceAccountToken": "x"},
    "mount number": {"automountServiceAccountToken": 1}, "unknown": {"nosuch": 1}, "unknown deep": {"secrets": [{"nosuch": 1}]}, "unknown metadata": {"metadata": {"name": "a", "nosuch": 1}}, "labels list": {"metadata": {"name": "a", "labels": []}}, "labels number": {"metadata": {"name": "a", "labels": {"a": 5}}},
    "labels null": {"metadata": {"name": "a", "labels": {"a": None}}}, "name number": {"metadata": {"name": 5}}, "name list": {"metadata": {"name": []}}, "metadata text": {"metadata": "x"}, "time": {"metadata": {"name": "a", "creationTimestamp": "x"}}, "generation text": {"metadata": {"name": "a", "generation": "x"}}, "generation fraction": {"metadata": {"name": "a", "generation": 1.5}},
    "finalizers text": {"metadata": {"name": "a", "finalizers": "x"}}, "finalizers number": {"metadata": {"name": "a", "finalizers": [5]}}, "owners text": {"metadata": {"name": "a", "ownerReferences": ["x"]}}, "case": {"Metadata": {"name": "a"}}, "managed": {"metadata": {"name": "a", "managedFields": "x"}}, "grace": {"metadata": {"name": "a", "deletionGracePeriodSeconds": "x"}},
}  # fmt: skip
CUSTOM: dict[str, Document] = {
    "unknown metadata": {"nosuch": 1}, "labels list": {"labels": []}, "labels number": {"labels": {"a": 5}}, "labels null": {"labels": {"a": None}}, "labels text": {"labels": "x"}, "annotations number": {"annotations": {"a": 5}}, "name number": {"name": 5}, "name list": {"name": []}, "name null": {"name": None}, "time": {"creationTimestamp": "x"}, "time null": {"creationTimestamp": None}, "generation text": {"generation": "x"}, "generation": {"generation": 7}, "generation fraction": {"generation": 1.5},
    "finalizers text": {"finalizers": "x"}, "finalizers number": {"finalizers": [5]}, "finalizers null": {"finalizers": [None]}, "owners text": {"ownerReferences": ["x"]}, "owners": {"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u", "controller": "yes"}]}, "managed text": {"managedFields": "x"}, "managed wrong": {"managedFields": [{"manager": 5}]}, "managed": {"managedFields": [{"manager": "x", "operation": "Update", "apiVersion": "kubevirt.io/v1alpha1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}]},
    "uid": {"uid": "x"}, "uid number": {"uid": 5}, "version": {"resourceVersion": "5"}, "version zero": {"resourceVersion": "0"}, "version empty": {"resourceVersion": ""}, "version text": {"resourceVersion": "x"}, "version number": {"resourceVersion": 5}, "deletion": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "deletion wrong": {"deletionTimestamp": "x"}, "grace": {"deletionGracePeriodSeconds": 5}, "grace text": {"deletionGracePeriodSeconds": "x"}, "selfLink": {"selfLink": "/x"}, "namespace": {"namespace": "other"}, "namespace same": {"namespace": "$ns"}, "namespace empty": {"namespace": ""}, "namespace number": {"namespace": 5},
    "generateName number": {"generateName": 5}, "labels empty": {"labels": {}}, "annotations empty": {"annotations": {}}, "owners empty": {"ownerReferences": []}, "finalizers empty": {"finalizers": []}, "managed empty": {"managedFields": []}, "several wrong": {"labels": 5, "annotations": "x", "finalizers": {}},
    "clusterName": {"clusterName": "x"}, "initializers": {"initializers": {}},
}  # fmt: skip
KINDS = (
    {"kind": "Foo"}, {"kind": "virtualmachine"}, {"kind": "Migration"}, {"kind": "VirtualMachineList"}, {"kind": ""}, {"kind": None}, {"kind": 5}, {"apiVersion": "v1"}, {"apiVersion": "kubevirt.io/v1"}, {"apiVersion": "kubevirt.io"}, {"apiVersion": ""}, {"apiVersion": "other/v1alpha1"},
    {"apiVersion": "KUBEVIRT.IO/v1alpha1"}, {"apiVersion": "kubevirt.io/v1alpha1 "}, {"apiVersion": "kubevirt.io/v1alpha1", "kind": "Status"}, {"apiVersion": "v1", "kind": "Pod"}, {"apiVersion": "a/b/c"}, {"apiVersion": None},
)  # fmt: skip


def _named(**metadata: Any) -> Document:
    made = vm()
    return {**made, "metadata": {**made["metadata"], **metadata}}


TWICE = json.dumps(vm()).replace('"nodeSelector"', '"x"').replace('"type": "qemu"', '"type": "kvm", "type": "qemu"')
YAML_TWICE = "apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: a\n  name: a\nspec:\n  domain: {memory: {value: 64, unit: MB}, type: qemu, os: {type: {os: hvm}}, devices: {}}\n  nosuch: 1\n  nosuch: 2\n"

CASES = [
    *(Case(f"create: {text[:60]}", [post(f"{VMS}?{text}", vm(nosuch=1)), get(VM)]) for text in OPTIONS),
    *(Case(f"create typed: {text[:60]}", [post(f"{ACCOUNTS}?{text}", account(nosuch=1)), get(f"{ACCOUNTS}/a")]) for text in OPTIONS),
    *(Case(f"create: name {name[:20]!r}", [post(POLICIES, policy(name if len(name) != 63 else "$id")), post(ACCOUNTS, account(name)), post(EVENTS, {"metadata": {"name": name}, "involvedObject": {"namespace": "$ns"}}), post("/api/v1/namespaces", {"metadata": {"name": name}}) if name not in ("1", "x" * 63) else get(VM)]) for name in NAMES if name not in ("a.b", "1")),
    *(Case(f"create: generateName {base[:20]!r}", [post(ACCOUNTS, {"metadata": {"generateName": base}}), post(EVENTS, {"metadata": {"generateName": base}, "involvedObject": {"namespace": "$ns"}})]) for base in BASES),
    *(Case(f"create: generateName {base!r} of a machine", [post(VMS, _named(name=None, generateName=base))]) for base in ("a-", "a", "A-", "-", "a_", "")),
    Case("create: name and generateName", [post(VMS, _named(generateName="b-"))]),
    *(Case(f"create: spec {name}", [post(VMS, {**vm(), "spec": spec})]) for name, spec in SPECS.items()),
    *(Case(f"create: {name} {validation}", [post(f"{VMS}?fieldValidation={validation}", vm(**spec))]) for name, spec in FIELDS.items() for validation in ("Strict", "Warn", "Ignore")),
    *(Case(f"create: migration {name}", [post(MIGS, mig(**spec))]) for name, spec in MIGRATIONS.items()),
    *(Case(f"create: metadata {name}", [post(VMS, _named(**metadata)), get(VM)]) for name, metadata in CUSTOM.items()),
    *(Case(f"create: metadata {name} strictly", [post(f"{VMS}?fieldValidation=Strict", _named(**metadata))]) for name, metadata in CUSTOM.items()),
    *(Case(f"create: typed {name}", [post(ACCOUNTS, {**account(), **body}), get(f"{ACCOUNTS}/a")]) for name, body in TYPED.items()),
    *(Case(f"create: typed {name} strictly", [post(f"{ACCOUNTS}?fieldValidation=Strict", {**account(), **body})]) for name, body in TYPED.items()),
    *(Case(f"create: typed metadata {name}", [post(ACCOUNTS, account(**metadata) if "name" not in metadata else {**account(), "metadata": metadata})]) for name, metadata in CUSTOM.items()),
    *(Case(f"create: as {kind}", [post(VMS, {**vm(), **kind})]) for kind in KINDS),
    *(Case(f"create: typed as {kind}", [post(ACCOUNTS, {**account(), **kind})]) for kind in KINDS),
    *(Case(f"create: kind in another case {validation}", [post(f"{VMS}?fieldValidation={validation}", {**vm(), "Kind": "X", "Spec": {}, "metaData": {}})]) for validation in ("Strict", "Warn")),
    *(Case(f"create: duplicate fields {validation}", [post(f"{VMS}?fieldValidation={validation}", TWICE), post(f"{ACCOUNTS}?fieldValidation={validation}", '{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}},"nosuch":1,"nosuch":2}')]) for validation in ("Strict", "Warn", "Ignore")),
    *(Case(f"create: duplicate yaml {validation}", [post(f"{VMS}?fieldValidation={validation}", YAML_TWICE, type=YAML), post(f"{ACCOUNTS}?fieldValidation={validation}", "metadata:\n  name: a\n  name: b\nnosuch: 1\n", type=YAML)]) for validation in ("Strict", "Warn", "Ignore")),
    Case("create: yaml", [post(VMS, YAML_TWICE.replace("  name: a\n  name: a\n", "  name: a\n"), type=YAML, accept=YAML)]),
    Case("create: exists", [MADE, MADE, post(f"{VMS}?dryRun=All", vm())]),
    Case("create: exists typed", [post(ACCOUNTS, account()), post(ACCOUNTS, account()), post(NODES, node()), post(NODES, node())]),
    Case("create: in no namespace", [post(f"{GROUP}/namespaces/$id-no/virtualmachines", vm()), post("/api/v1/namespaces/$id-no/serviceaccounts", account()), post("/api/v1/namespaces/$id-no/events", {"metadata": {"name": "e"}, "involvedObject": {"namespace": "$id-no"}}), post(f"{GROUP}/namespaces/$id-no/virtualmachines?dryRun=All", vm()), post(f"{GROUP}/namespaces/$id-no/virtualmachines", vm("A"))]),
    Case("create: at an item", [post(VM, vm()), post(VM, vm("b")), post(f"{VMS}/c", vm("c")), post(f"{ACCOUNTS}/a", account()), post(f"{NODES}/$id", node())]),
    Case("create: at all namespaces", [post(f"{GROUP}/virtualmachines", vm()), post("/api/v1/serviceaccounts", account()), post(f"{GROUP}/virtualmachines", _named(namespace="$ns"))]),
    Case("create: at a subresource", [MADE, post(f"{VM}/status", vm()), post(f"{VM}/scale", vm()), post(f"{VM}/nosuch", vm())]),
    Case("create: status", [post(VMS, {**vm(), "status": {"phase": "Running"}}), post(VMS, {**vm("b"), "status": "x"}), post(VMS, {**vm("c"), "status": {"nosuch": 1}}), post(f"{VMS}?fieldValidation=Strict", {**vm("d"), "status": {"nosuch": 1}}), post(VMS, {**vm("e"), "status": None})]),
    Case("create: status of a wrong type", [post(VMS, {**vm("b"), "status": {"phase": 5}}), post(MIGS, {**mig(), "status": {"phase": "Nosuch"}})]),
    Case("create: dry run leaves nothing", [post(f"{VMS}?dryRun=All", vm()), get(VM), post(f"{ACCOUNTS}?dryRun=All", account()), get(f"{ACCOUNTS}/a"), post(f"{ACCOUNTS}?dryRun=All", {"metadata": {"generateName": "x-"}})]),
    Case("create: managers", [post(VMS, vm(name), headers={"User-Agent": agent}) for name, agent in (("a", "kubectl/v1.36 (linux)"), ("b", ""), ("c", "a b/c"), ("d", "/x"), ("e", "x" * 200), ("f", "Mozilla/5.0 (X11)"), ("g", "\xe9/1"))]),
    Case("create: defaults", [post(VMS, vm()), post(MIGS, mig()), post(POLICIES, policy()), post(NODES, node()), post(ACCOUNTS, account())]),
    Case("create: without finalizers", [post(VMS, vm(finalizers=[])), post(MIGS, {**mig(), "metadata": {"name": "m"}})]),
    Case("create: large", [post(POLICIES, policy(metadata={"annotations": {"a": "x" * 262143}})), post(POLICIES, policy(metadata={"annotations": {"a": "x" * 262144}}))]),
    Case("create: many errors", [post(VMS, {**vm("A_"), "metadata": {"name": "A_", "labels": {"é": "é", "a/b/c": "-"}, "annotations": {"é": ""}, "finalizers": ["é"], "ownerReferences": [{}]}, "spec": {"domain": 5, "nodeSelector": "x"}})]),
]  # fmt: skip
