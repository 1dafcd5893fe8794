# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 2.5, server-side apply: of custom resources and of core kinds. Sequences are in test_managed_fields and test_recorded_applies."""

from __future__ import annotations

from typing import Any

from tests.api.builders import DOMAIN, KV, MACHINES, NODES
from tests.api.laws.row import APPLY, MERGE, TABLE, Row, bad, no_vm, refused, vm_is

TM = f"{MACHINES}/vm0"
NEW = f"{MACHINES}/new"
N0 = f"{NODES}/node0"
CREATE_TYPED = "failed to create typed patch object (/new; kubevirt.io/v1alpha1, Kind=VirtualMachine): "


def vm(name: str = "new", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"domain": DOMAIN, **spec},
    }


def more(document: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], **metadata}}


def apply(document: Any, path: str = NEW, manager: str = "m1", **rest: Any) -> Row:
    return Row(f"PATCH {path}?fieldManager={manager}", body=document, type=APPLY, **rest)


def untyped(why: str) -> dict[str, Any]:
    return {**refused(500, "", CREATE_TYPED + why), "has": {"reason": KeyError}}


def conflict(says: str, *causes: tuple[str, str]) -> dict[str, Any]:
    listed = [{"reason": "FieldManagerConflict", "message": message, "field": field} for message, field in causes]
    return {**refused(409, "Conflict", f"Apply failed with {says}"), "has": {"details": {"causes": listed}}}


HOST = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node0"}}
MINE = apply(vm(nodeSelector={"a": "b"}, terminationGracePeriodSeconds=5))

NAMELESS = bad("the name of the object (new based on URL) was undeterminable: name must be provided")

ROWS = [
    apply(vm(), code=201, has={"metadata.managedFields.0.manager": "m1", "metadata.managedFields.0.operation": "Apply", "metadata.managedFields.0.fieldsType": "FieldsV1", "metadata.generation": 1}),
    apply(vm(), after=[apply(vm())], has={"metadata.generation": 1}),
    apply(more(vm(), name=""), **NAMELESS),
    apply({key: value for key, value in vm().items() if key != "metadata"}, **NAMELESS),
    apply({"apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachine"}, path=TM, has={"metadata.name": "vm0"}),
    Row(f"PATCH {NEW}?fieldManager=m1&dryRun=All", 201, body=vm(), type=APPLY, has={"metadata.resourceVersion": KeyError}),
    Row(f"GET {NEW}", after=[Row(f"PATCH {NEW}?fieldManager=m1&dryRun=All", 201, body=vm(), type=APPLY)], **no_vm("new")),
    apply(vm(), code=201, accept=TABLE, has={"kind": "Table", "rows.0.cells.0": "new"}),
    apply("apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata: {name: new}\nspec: {domain: {memory: {value: 64, unit: MB}, type: qemu, os: {type: {os: hvm}}, devices: {}}}\n", code=201, has={"spec.domain.type": "qemu"}),
    # What it is
    apply({"metadata": {"name": "new"}}, **bad("invalid object type: /, Kind=")),
    apply({**vm(), "kind": "Foo"}, **bad("invalid object type: kubevirt.io/v1alpha1, Kind=Foo")),
    apply({**vm(), "apiVersion": "v1"}, **bad("invalid object type: /v1, Kind=VirtualMachine")),
    apply(more(vm(), managedFields=[]), **bad("metadata.managedFields must be nil")),
    apply(more(vm(), managedFields=[{"manager": "x"}]), **bad("metadata.managedFields must be nil")),
    apply("{bad: [", **bad("error decoding YAML: error converting YAML to JSON: yaml: line 1: did not find expected node content")),
    apply("[]", **bad("error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}")),
    apply("", **bad("invalid object type: /, Kind=")),
    apply(more(vm(), name="other"), **bad("the name of the object (other) does not match the name on the URL (new)")),
    apply(more(vm(), namespace="other"), **bad("the namespace of the provided object does not match the namespace sent on the request")),
    apply(more(vm(), uid="1"), **refused(409, "Conflict", 'Operation cannot be fulfilled on virtualmachines.kubevirt.io "new": uid mismatch: the provided object specified uid 1, and no existing object was found')),
    apply(more(vm(), resourceVersion="1"), code=201),
    apply(more(vm("vm0"), resourceVersion="1"), path=TM, **refused(409, "Conflict", 'Operation cannot be fulfilled on virtualmachines.kubevirt.io "vm0": the object has been modified; please apply your changes to the latest version and try again')),
    apply(vm(), path=f"{KV}/namespaces/nons/virtualmachines/new", **refused(404, "NotFound", 'namespaces "nons" not found')),
    Row(f"PATCH {NEW}?fieldManager={'m' * 129}", 422, body=vm(), type=APPLY),
    # Types
    apply(vm(unk=1), **untyped(".spec.unk: field not declared in schema")),
    Row(f"PATCH {NEW}?fieldManager=m1&fieldValidation=Strict", body=vm(unk=1), type=APPLY, **untyped(".spec.unk: field not declared in schema")),
    apply(vm(nodeSelector=["a"]), **untyped(".spec.nodeSelector: expected map, got &{[a]}")),
    apply(more(vm(), finalizers=["a/b", "a/b"]), **untyped('.metadata.finalizers: duplicate entries for key [="a/b"]')),
    apply(more(vm(), ownerReferences=[{"uid": "1"}, {"uid": "1"}]), **untyped('.metadata.ownerReferences: duplicate entries for key [uid="1"]')),
    apply('{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachine","spec":{"nodeSelector":{"a":"b"},"nodeSelector":{"a":"c"}}}', path=TM, has={"spec.nodeSelector": {"a": "c"}}, warns=['line 1: key "nodeSelector" already set in map']),
    apply('{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachine","spec":{"nodeSelector":{"a":"b"},"nodeSelector":{"a":"c"}}}', path=TM, manager="m&fieldValidation=Strict", **bad('error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 1: key "nodeSelector" already set in map')),
    # Ownership
    apply(vm(nodeSelector={"a": "c"}), after=[MINE], manager="m2", **conflict('1 conflict: conflict with "m1": .spec.nodeSelector', ('conflict with "m1"', ".spec.nodeSelector"))),
    apply(vm(nodeSelector={"a": "c"}, terminationGracePeriodSeconds=6), after=[MINE], manager="m2",
          **conflict('2 conflicts: conflicts with "m1":\n- .spec.nodeSelector\n- .spec.terminationGracePeriodSeconds', ('conflict with "m1"', ".spec.nodeSelector"), ('conflict with "m1"', ".spec.terminationGracePeriodSeconds"))),
    apply(vm(nodeSelector={"a": "c"}), after=[MINE], manager="m2&force=true", has={"spec.nodeSelector": {"a": "c"}}),
    apply(vm(nodeSelector={"a": "c"}), after=[MINE], manager="m2&force=maybe", has={"spec.nodeSelector": {"a": "c"}}),
    apply(vm(nodeSelector={"a": "b"}), after=[MINE], manager="m2", has={"metadata.managedFields.0.manager": "m2", "metadata.managedFields.0.time": KeyError}),
    apply(vm(nodeSelector={"a": "b"}), after=[MINE], has={"spec.nodeSelector": {"a": "b"}}),
    apply(vm(), after=[MINE], has={"spec.nodeSelector": KeyError}),
    apply(vm(), after=[MINE, apply(vm(nodeSelector={"a": "b"}), manager="m2")], has={"spec.nodeSelector": {"a": "b"}}),
    apply(vm(nodeSelector={"a": "b"}), after=[MINE, Row(f"PATCH {NEW}?fieldManager=upd", body={"spec": {"nodeSelector": {"a": "z"}}}, type=MERGE)],
          **conflict('1 conflict: conflict with "upd" using kubevirt.io/v1alpha1: .spec.nodeSelector', ('conflict with "upd" using kubevirt.io/v1alpha1', ".spec.nodeSelector"))),
    apply(vm("vm0", nodeSelector={"a": "b"}), path=TM, has={"metadata.managedFields.0.operation": "Apply", "metadata.managedFields.1.manager": "tests"}),
    apply(vm("vm0", nodeSelector={"a": "b"}), path=TM, after=[Row(f"PATCH {TM}", body={"metadata": {"managedFields": [{}]}}, type=MERGE)], has={"metadata.managedFields.1.manager": "before-first-apply"}),
    # Status
    apply({**vm("vm0"), "status": {"phase": "Running"}}, path=f"{TM}/status", has={"status.phase": "Running", "metadata.managedFields.0.subresource": "status"}),
    apply({**vm(), "status": {"phase": "Running"}}, path=f"{NEW}/status", **no_vm("new")),
    apply({**vm(), "status": {"phase": "Running"}}, code=201, has={"status": KeyError}),
    # Core kinds
    apply({**HOST, "spec": {"unschedulable": True}}, path=N0, has={"spec.unschedulable": True}),
    apply({**HOST, "spec": {"providerID": "qemu:///other"}}, path=N0, **conflict('1 conflict: conflict with "tests" using v1: .spec.providerID', ('conflict with "tests" using v1', ".spec.providerID"))),
    apply({**HOST, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}, path=f"{N0}/status", has={"status.conditions.0.status": "True"}),
    apply({**HOST, "metadata": {"name": "node0", "labels": {"a": "b"}}}, path=N0, has={"metadata.labels.a": "b"}),
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "room"}}, path="/api/v1/namespaces/room", code=201, has={"status.phase": "Active"}),
    Row(f"PATCH {MACHINES}/vm0?fieldManager=x", body="- a", type=APPLY, **bad("error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}")),
    Row(f"PATCH {MACHINES}/vm0?fieldManager=x", body="apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\n---\nkind: Other\n", type=APPLY, has={"kind": "VirtualMachine"}),
    # Nulls stay where an apply puts them, and a core type's unsaid key is an empty text
    apply(vm(nodeSelector=None), **vm_is("new", 'spec.nodeSelector: Invalid value: "null": spec.nodeSelector in body must be of type object: "null"')),
    apply({**vm("vm0"), "spec": {"nodeSelector": {"a": None}}}, TM, **vm_is("vm0", 'spec.nodeSelector.a: Invalid value: "null": spec.nodeSelector.a in body must be of type string: "null"')),
    apply(more(vm(), ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "x"}]), **vm_is("new", 'metadata.ownerReferences.uid: Invalid value: "": must not be empty')),
    # A quantity may be said as a number
    Row(f"PATCH {N0}/status?fieldManager=m1", body={"apiVersion": "v1", "kind": "Node", "status": {"capacity": {"cpu": 4, "memory": "1024Mi"}}}, type=APPLY, has={"status.capacity": {"cpu": "4", "memory": "1Gi"}}),
    Row(f"PATCH {N0}/status?fieldManager=m1", body={"apiVersion": "v1", "kind": "Node", "status": {"capacity": {"cpu": "x"}}}, type=APPLY, code=400),
]  # fmt: skip
