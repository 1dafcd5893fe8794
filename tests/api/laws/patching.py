# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 2.5: JSON patches, merge patches and strategic merge patches."""

from __future__ import annotations

import json
from typing import Any

from tests.api.builders import KV, MACHINES, MIGRATIONS, NODES
from tests.api.laws.metadata import KEY, VALUE
from tests.api.laws.row import (
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    TABLE,
    Row,
    absent,
    bad,
    invalid,
    no_vm,
    outdated,
    refused,
    vm_is,
)

TM = f"{MACHINES}/vm0"
N0 = f"{NODES}/node0"
LEAVING = f"{KV}/namespaces/leaving/virtualmachines"
VM = "virtualmachines.kubevirt.io"
EVENTS = "/api/v1/namespaces/default/events"
AN_EVENT = Row(f"POST {EVENTS}", body={"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}})
REJECTED = {**invalid("the server rejected our request due to an error in our request"), "has": {"details": {}}}
MAP = "map[string]interface {}"


def merge(patch: Any, path: str = TM, **more: Any) -> Row:
    return Row(f"PATCH {path}", body=patch, type=MERGE, **more)


def ops(*operations: Any, path: str = TM, **more: Any) -> Row:
    return Row(f"PATCH {path}", body=list(operations), type=JSON_PATCH, **more)


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **more}


def strategic(patch: Any, path: str = N0, **more: Any) -> Row:
    return Row(f"PATCH {path}", body=patch, type=STRATEGIC, **more)


def unrestored(shown: str, why: str) -> dict[str, Any]:
    return invalid(f' "" is invalid: patch: Invalid value: "{shown}": {why}')


def undecoded(why: str) -> dict[str, Any]:
    return bad(f"error decoding patch: {why}")


def taint(key: str, effect: str = "NoSchedule") -> dict[str, str]:
    return {"key": key, "effect": effect}


READY = {"type": "Ready", "status": "True"}
ADDRESSES = {"status": {"addresses": [{"type": "Hostname", "address": "a"}]}}

ROWS = [
    # Merge
    merge({"spec": {"nodeSelector": {"a": "b"}}}, has={"spec.nodeSelector.a": "b", "spec.domain.type": "qemu", "metadata.generation": 2}),
    merge({"metadata": {"labels": {"tier": None, "n": "1"}}}, has={"metadata.labels": {"n": "1"}, "metadata.generation": 1}),
    merge({}, has={"metadata.resourceVersion": "<vm0.rv>"}),
    merge({"metadata": {"labels": {"tier": "a"}}}, has={"metadata.resourceVersion": "<vm0.rv>"}),
    merge({"metadata": {"resourceVersion": "1"}}, **outdated(VM, "vm0")),
    merge({"metadata": {"resourceVersion": "<vm0.rv>", "labels": {"n": "1"}}}, has={"metadata.labels.n": "1"}),
    merge({"metadata": {"uid": "zz"}}, **vm_is("vm0", 'metadata.uid: Invalid value: "zz": field is immutable'), has={"details.causes.1.field": "metadata.uid", "details.causes.2": KeyError}),
    merge({"metadata": {"name": "zz"}}, **bad("the name of the object (zz) does not match the name on the URL (vm0)")),
    merge({"metadata": {"namespace": "zz"}}, **bad("the namespace of the provided object does not match the namespace sent on the request")),
    merge({"metadata": {"finalizers": None, "creationTimestamp": None, "generation": 9}}, has={"metadata.finalizers": KeyError, "metadata.generation": 1}),
    merge({"status": {"phase": "Running"}}, has={"status": KeyError, "metadata.resourceVersion": "<vm0.rv>"}),
    merge("{bad", **undecoded("invalid character 'b' looking for beginning of object key string")),
    merge("[]", **undecoded(f"json: cannot unmarshal array into Go value of type {MAP}")),
    merge('"str"', **undecoded(f"json: cannot unmarshal string into Go value of type {MAP}")),
    merge("5", **undecoded(f"json: cannot unmarshal number into Go value of type {MAP}")),
    merge("null", **bad("Invalid JSON Patch")),
    ops(op("add", "", value={}), **REJECTED),
    ops(op("replace", "", value={}), **REJECTED),
    Row(f"PATCH {TM}", body="null", type=JSON_PATCH, has={"metadata.resourceVersion": "<vm0.rv>"}),
    strategic({"spec": {"taints": [{"key": "a b", "value": "-", "effect": "Sometimes"}]}}, **invalid(f'Node "node0" is invalid: [metadata.taints[0].key: Invalid value: "a b": name part {KEY}, metadata.taints[0].value: Invalid value: "-": {VALUE}, metadata.taints[0].effect: Unsupported value: "Sometimes": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"]')),
    strategic({"spec": {"taints": [{"key": "a"}]}}, **invalid('Node "node0" is invalid: metadata.taints[0].effect: Required value')),
    strategic({"spec": {"taints": [taint("a"), {**taint("a"), "value": "b"}]}}, **invalid('Node "node0" is invalid: metadata.taints[1]: Duplicate value: {"Key":"a","Value":"b","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair')),
    merge("", **undecoded("unexpected end of JSON input")),
    merge({}, path=f"{MACHINES}/absent", **no_vm("absent")),
    merge({}, path=f"{NODES}/absent", **absent("nodes", "absent")),
    merge({"spec": {"unk": 1}}, has={"spec.unk": KeyError, "metadata.resourceVersion": "<vm0.rv>"}, warns=['unknown field "spec.unk"']),
    merge({"spec": {"unk": 1}}, path=f"{TM}?fieldValidation=Strict", **invalid(' "" is invalid: patch: Invalid value: "{…'), has={"details.causes.0.field": "patch", "details.kind": KeyError}),
    merge('{"spec":{"nodeSelector":{"a":"b"},"nodeSelector":{"a":"c"}}}', has={"spec.nodeSelector": {"a": "c"}}, warns=['duplicate field "spec.nodeSelector"']),
    merge('{"spec":{"nodeSelector":{"a":"b"},"nodeSelector":{"a":"c"}}}', path=f"{TM}?fieldValidation=Strict", code=422),
    merge({"spec": {"unk": 1}}, path=f"{TM}?fieldValidation=Ignore"),
    merge({"spec": {"nodeSelector": {"a": {"b": 1}}}}, code=422, reason="Invalid", warns=['unknown field "spec.nodeSelector.a.b"']),
    merge('{"spec":{"nodeSelector":1e999}}', **undecoded("json: cannot unmarshal number 1e999 into Go value of type float64")),
    merge({"spec": {"nodeSelector": {"a": "b"}}}, path=f"{TM}?dryRun=All", has={"metadata.generation": 2, "metadata.resourceVersion": "<vm0.rv>"}),
    merge({"kind": "Foo"}, **invalid('Foo.kubevirt.io "vm0" is invalid: kind: Invalid value: "Foo": must be VirtualMachine'), has={"details.kind": "Foo"}),
    merge({"apiVersion": "kubevirt.io/v2"}, **vm_is("vm0", 'apiVersion: Invalid value: "kubevirt.io/v2": must be kubevirt.io/v1alpha1')),
    merge({"kind": None}, code=422, says=' "" is invalid: patch: Invalid value: "{…'),
    merge({"metadata": {"labels": {"a": 5}}}, code=422, says=' "" is invalid: patch: Invalid value: "{…'),
    merge({"metadata": {"labels": {"a b": "c"}}}, code=422, reason="Invalid"),
    merge({"metadata": None}, **bad("the name of the object (vm0 based on URL) was undeterminable: name must be provided")),
    merge({"spec": {"selector": {"name": "other"}}}, path=f"{MIGRATIONS}/keep", code=422, says='Migration.kubevirt.io "keep" is invalid: spec.selector: Invalid value: {"name":"other"}: field is immutable…'),
    merge({"metadata": {"labels": {"n": "1"}}}, accept=TABLE, has={"kind": "Table", "rows.0.object.metadata.labels.n": "1"}),
    # Status
    merge({"status": {"phase": "Running"}, "spec": {"nodeSelector": {"a": "b"}}, "metadata": {"labels": {"n": "1"}}}, path=f"{TM}/status", has={"status.phase": "Running", "spec.nodeSelector": KeyError, "metadata.labels": {"tier": "a"}, "metadata.generation": 1}),
    merge({"status": {"nodeName": "x", "odd": 1}}, path=f"{TM}/status", has={"status.odd": KeyError}, warns=['unknown field "status.odd"']),
    merge({"status": {"phase": "Running"}}, path=f"{MACHINES}/nope/status", **no_vm("nope")),
    ops(op("add", "/status", value={"phase": "Running"}), path=f"{TM}/status", has={"status.phase": "Running"}),
    strategic({"status": {"capacity": {"cpu": "4"}}, "spec": {"unschedulable": True}}, path=f"{N0}/status", has={"status.capacity.cpu": "4", "spec.unschedulable": KeyError}),
    # JSON patches
    ops(op("add", "/metadata/labels/a~1b", value="v"), has={"metadata.labels": {"a/b": "v", "tier": "a"}}),
    ops(op("replace", "/metadata/labels/tier", value="z"), has={"metadata.labels": {"tier": "z"}}),
    ops(op("remove", "/metadata/labels/tier"), has={"metadata.labels": KeyError}),
    ops(op("test", "/metadata/labels/tier", value="a"), op("copy", "/metadata/labels/c", **{"from": "/metadata/labels/tier"}), op("move", "/metadata/labels/d", **{"from": "/metadata/labels/tier"}), has={"metadata.labels": {"c": "a", "d": "a"}}),
    ops(op("test", "/metadata/resourceVersion", value="<vm0.rv>"), op("add", "/metadata/finalizers/-", value="a.io/b"), has={"metadata.finalizers.1": "a.io/b"}),
    ops(op("test", "/metadata/resourceVersion", value="1"), **REJECTED),
    ops(op("test", "/metadata/name", value="x"), **REJECTED),
    ops(op("remove", "/spec/nope"), **REJECTED),
    ops(op("add", "/spec/nope/-", value=1), **REJECTED),
    ops(op("bogus", "/x"), **REJECTED),
    ops(op("add", "/x/y/z", value="Q"), **REJECTED),
    ops(op("replace", "/spec/missing", value=1), has={"spec.missing": KeyError}, warns=['unknown field "spec.missing"']),
    ops(op("replace", "/kind", value="Q"), **invalid('Q.kubevirt.io "vm0" is invalid: kind: Invalid value: "Q": must be VirtualMachine')),
    ops(path=TM, has={"metadata.resourceVersion": "<vm0.rv>"}),
    ops(op("add", "/spec/unk", value=1, foo=2), path=f"{TM}?fieldValidation=Strict", code=422, says=' "" is invalid: patch: Invalid value: "{…'),
    ops(op("replace", "/metadata/managedFields", value=[{}]), has={"metadata.managedFields": KeyError}),
    Row(f"PATCH {TM}", body={"op": "x"}, type=JSON_PATCH, **undecoded("json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp")),
    Row(f"PATCH {TM}", body="[", type=JSON_PATCH, **undecoded("unexpected end of JSON input")),
    Row(f"PATCH {TM}", body="[5]", type=JSON_PATCH, **undecoded("json: cannot unmarshal number into Go value of type handlers.jsonPatchOp")),
    Row(f"PATCH {TM}", body=json.dumps([op("add", "/metadata/labels/a", value="x")] * 10_001), type=JSON_PATCH, **refused(413, "RequestEntityTooLarge", "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001")),
    # Strategic
    Row(f"PATCH {TM}", body={}, type=STRATEGIC, **refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml")),
    strategic({"spec": {"unschedulable": True}}, has={"spec.unschedulable": True, "metadata.generation": KeyError}),
    strategic({"spec": {"podCIDR": None}}, after=[strategic({"spec": {"podCIDR": "10.0.0.0/24"}})], has={"spec.podCIDR": "10.0.0.0/24"}),
    strategic({"spec": {"podCIDR": "10.1.0.0/24"}}, after=[strategic({"spec": {"podCIDR": "10.0.0.0/24"}})], **refused(422, "Invalid", 'Node "node0" is invalid: spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid')),
    strategic({"status": {"phase": "Running", "capacity": {"cpu": "1500m", "memory": "2097152Ki"}}}, path=f"{N0}/status", has={"status.phase": "Running", "status.capacity.cpu": "1500m", "status.capacity.memory": "2Gi"}),
    strategic({"metadata": {"labels": {"a": "b"}}}, path="/api/v1/namespaces/default", has={"metadata.labels.a": "b"}),
    strategic({"spec": {"taints": [taint("b")]}}, after=[strategic({"spec": {"taints": [taint("a")]}})], has={"spec.taints": [taint("b")]}),
    strategic({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, path=f"{N0}/status", after=[strategic({"status": {"conditions": [{**READY, "reason": "x"}]}}, path=f"{N0}/status")], has={"status.conditions": [{"type": "Ready", "status": "False", "reason": "x", "lastHeartbeatTime": None, "lastTransitionTime": None}]}),
    strategic({"status": {"addresses": [{"type": "InternalIP", "address": "b"}]}}, path=f"{N0}/status", after=[strategic(ADDRESSES, path=f"{N0}/status")], has={"status.addresses.0.address": "b", "status.addresses.1.address": "a"}),
    strategic({"status": {"addresses": [{"$patch": "delete", "type": "Hostname"}]}}, path=f"{N0}/status", after=[strategic(ADDRESSES, path=f"{N0}/status")], has={"status.addresses": KeyError}),
    strategic({"status": {"addresses": [{"$patch": "replace"}, {"type": "InternalIP", "address": "b"}]}}, path=f"{N0}/status", after=[strategic(ADDRESSES, path=f"{N0}/status")], has={"status.addresses": [{"type": "InternalIP", "address": "b"}]}),
    strategic({"metadata": {"labels": {"$patch": "replace", "n": "1", "kubernetes.io/hostname": "node0"}}}, has={"metadata.labels": {"n": "1", "kubernetes.io/hostname": "node0"}}),
    strategic({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.io/b"]}}, after=[strategic({"metadata": {"finalizers": ["a.io/b", "a.io/c"]}})], has={"metadata.finalizers": ["a.io/c"]}),
    strategic({"metadata": {"finalizers": ["a.io/c"]}}, after=[strategic({"metadata": {"finalizers": ["a.io/b"]}})], has={"metadata.finalizers": ["a.io/c", "a.io/b"]}),
    strategic({"spec": {"$retainKeys": ["providerID"], "unschedulable": None}}, after=[strategic({"spec": {"unschedulable": True}})], has={"spec.unschedulable": KeyError}),
    strategic({"status": {"conditions": [{"status": "True"}]}}, path=f"{N0}/status", **refused(500, "", "map: map[status:True] does not contain declared merge key: type"), has={"reason": KeyError}),
    strategic({"metadata": {"resourceVersion": "1"}}, **outdated("nodes", "node0")),
    strategic({"metadata": {"name": "x"}}, **bad("the name of the object (x) does not match the name on the URL (node0)")),
    strategic({"spec": {"unk": 1}}, warns=['unknown field "spec.unk"']),
    strategic({"spec": {"unk": 1}}, path=f"{N0}?fieldValidation=Strict", code=422, says=' "" is invalid: patch: Invalid value: "map[spec:map[unk:1]]": strict decoding error: unknown field "spec.unk"'),
    merge({"spec": {"unschedulable": "x"}}, path=N0, code=422, says=' "" is invalid: patch: Invalid value: "{…'),
    merge({"spec": {"unschedulable": True}}, path=f"{KV}/nodes/node0", has={"apiVersion": "kubevirt.io/v1alpha1", "spec.unschedulable": True}),
    # While it is being deleted
    merge({"metadata": {"finalizers": ["kubevirt.io/virtualmachine", "a.io/b"]}}, path=f"{LEAVING}/going", code=422,
          says='VirtualMachine.kubevirt.io "going" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a.io/b"}'),
    merge({"metadata": {"finalizers": None}}, path=f"{LEAVING}/going", has={"metadata.finalizers": KeyError, "metadata.name": "going"}),
    Row(f"GET {LEAVING}/going", after=[merge({"metadata": {"finalizers": []}}, path=f"{LEAVING}/going")], **no_vm("going")),
    # What kube-apiserver's library makes of odd operations
    ops(op("add", "/metadata/labels/c"), has={"metadata.labels.c": ""}),
    ops(op("replace", "/metadata/labels/tier"), has={"metadata.labels.tier": ""}),
    ops(op("add", "/metadata/finalizers/-1", value="x.io/y"), has={"metadata.finalizers": ["kubevirt.io/virtualmachine", "x.io/y"]}),
    ops(op("add", "/metadata/finalizers/-3", value="x.io/y"), **REJECTED),
    ops(op("test", "/spec/domain/memory/value", value=64.0), **REJECTED),
    ops({"op": 5, "path": "/x"}, **undecoded("json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string")),
    ops({"op": "add", "path": 5, "value": 1}, **undecoded("json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string")),
    ops(None, **REJECTED),
    ops(op("add", "/metadata/labels/c", value="3", odd=1), has={"metadata.labels.c": "3"}, warns=['json patch unknown field "[0].odd"']),
    Row(f"PATCH {N0}", body="x", type=STRATEGIC, **bad("invalid character 'x' looking for beginning of value")),
    merge({"spec": {"nosuch": 1, "terminationGracePeriodSeconds": "x"}}, code=422, warns=['unknown field "spec.nosuch"']),
    # What a strategic patch may not lead to, in the words of the converter
    strategic([], **bad("json: cannot unmarshal array into Go value of type map[string]interface {}")),
    strategic({"spec": {"unschedulable": "x"}}, **unrestored("map[spec:map[unschedulable:x]]", "unrecognized type: bool")),
    strategic({"spec": {"taints": "x"}}, **unrestored("map[spec:map[taints:x]]", "cannot restore slice from string")),
    strategic({"spec": {"taints": ["x"]}}, **unrestored("map[spec:map[taints:[x]]]", "cannot restore struct from: string")),
    strategic({"spec": {"providerID": 5}}, **unrestored("map[spec:map[providerID:5]]", "cannot convert int64 to string")),
    strategic({"metadata": {"labels": "x"}}, **unrestored("map[metadata:map[labels:x]]", "cannot restore map from string")),
    strategic({"metadata": 5}, **unrestored("map[metadata:5]", "cannot restore struct from: int64")),
    *(strategic(patch, path=f"{EVENTS}/e", after=[AN_EVENT], **unrestored(shown, why)) for patch, shown, why in (
        ({"count": 1.5}, "map[count:1.5]", "cannot convert float64 to int32"),
        ({"firstTimestamp": 5}, "map[firstTimestamp:5]", "json: cannot unmarshal number into Go value of type string"),
        ({"eventTime": "x"}, "map[eventTime:x]", 'parsing time "x" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "x" as "2006"'),
    )),
    # Beside a core kind's status its metadata is written, beside a custom resource's nothing
    strategic({"metadata": {"labels": {"s": "1"}}, "spec": {"unschedulable": True}}, path=f"{N0}/status", has={"metadata.labels.s": "1", "spec.unschedulable": KeyError}),
    merge({"metadata": {"labels": {"s": "1"}}, "status": {"phase": "Running"}}, path=f"{TM}/status", has={"metadata.labels.s": KeyError, "status.phase": "Running"}),
    merge({"kind": "Foo", "apiVersion": "v1", "status": {"phase": "Running"}}, path=f"{TM}/status", has={"kind": "VirtualMachine", "status.phase": "Running"}),
    merge({"kind": None}, code=422, says=' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":\\"kubevirt.io/v1alpha1\\",\\"metadata\\":{\\"creationTimestamp\\":…'),
]  # fmt: skip
