# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""One row a request: what kube-apiserver answers to it, and so do we."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from app.store.base import Store
from tests.api.builders import (
    KV,
    MACHINES,
    MIGRATIONS,
    NODES,
    PODS,
    finalized,
    labelled,
    machine,
    make_namespace,
    make_pod,
    migration,
    node,
    pod,
)

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
YAML = "application/yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIALS = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
PROTOBUF_FIRST = "application/vnd.kubernetes.protobuf,application/json"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
TM = f"{MACHINES}/vm0"
LEAVING = f"{KV}/namespaces/leaving/virtualmachines"
GONE = "the server could not find the requested resource"
OUTDATED = "the object has been modified; please apply your changes to the latest version and try again"
NEVER = 99_999_999


@dataclass(frozen=True)
class Row:
    """A request and what must be in its answer: code, reason, message; and values at dotted paths."""

    ask: str
    """Method and path with query."""
    code: int = 200
    reason: str = ""
    says: str = ""
    """The message, or its beginning when it ends in an ellipsis."""
    body: Any = None
    type: str = "application/json"
    accept: str = "application/json"
    has: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def bad_option(field_: str, why: str, kind: str = "ListOptions") -> str:
    return f'{kind}.meta.k8s.io "" is invalid: {field_}: {why}'


def bad_options(*errors: str) -> str:
    return f'ListOptions.meta.k8s.io "" is invalid: [{", ".join(errors)}]'


def refused(code: int, says: str, reason: str) -> dict[str, Any]:
    return {"code": code, "says": says, "reason": reason}


def bad(says: str) -> dict[str, Any]:
    return refused(400, says, "BadRequest")


def invalid(says: str) -> dict[str, Any]:
    return refused(422, says, "Invalid")


def no_vm(name: str) -> dict[str, Any]:
    return refused(404, f'virtualmachines.kubevirt.io "{name}" not found', "NotFound")


MATCH = "resourceVersionMatch"
INITIAL_NEEDS_MATCH = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"

DISCOVERY = [
    Row("GET /api", has={"kind": "APIVersions", "versions": ["v1"]}),
    Row("GET /apis/", has={"kind": "APIGroupList", "groups.0.name": "kubevirt.io"}),
    Row("GET /apis/kubevirt.io", has={"kind": "APIGroup", "preferredVersion.version": "v1alpha1"}),
    Row(
        "GET /api/v1/namespaces/default",
        has={"spec.finalizers": ["kubernetes"], "metadata.labels": {"kubernetes.io/metadata.name": "default"}},
    ),
    Row("GET /api/v1", has={"kind": "APIResourceList", "groupVersion": "v1"}),
    Row(f"GET {KV}/", has={"kind": "APIResourceList", "apiVersion": "v1", "resources.1.name": "migrations"}),
    Row("GET /apis", accept=AGGREGATED, has={"kind": "APIGroupDiscoveryList", "items.0.metadata.name": "kubevirt.io"}),
    Row("GET /api", accept=AGGREGATED, has={"items.0.metadata": {}, "items.0.versions.0.freshness": "Current"}),
    Row(
        "GET /apis",
        accept="text/html",
        **refused(406, "only the following media types are accepted: …", "NotAcceptable"),
    ),
    Row("GET /apis/nobody.io", **refused(404, GONE, "NotFound")),
    Row("GET /apis/kubevirt.io/v9", **refused(404, GONE, "NotFound")),
    Row("POST /apis", 405, "MethodNotAllowed"),
    Row("GET /version/", has={"major": "1", "minor": "36", "gitVersion": "v1.36.0+drover-test"}),
    Row("GET /openapi/v2", has={"swagger": "2.0"}),
    Row("GET /openapi/v3/apis/kubevirt.io/v9", **refused(404, GONE, "NotFound")),
    Row("GET /livez/nobody", 404),
    Row("GET /nowhere", **refused(404, GONE, "NotFound")),
]

GET = [
    Row(f"GET {TM}", has={"kind": "VirtualMachine", "metadata.selfLink": TM, "metadata.namespace": "default"}),
    Row(f"GET {TM}/", has={"metadata.name": "vm0"}),
    Row(f"GET {TM}?resourceVersion=0", has={"metadata.name": "vm0"}),
    Row(f"GET {TM}?watch=1", has={"metadata.name": "vm0"}),
    Row(f"GET {TM}/status", has={"metadata.name": "vm0", "spec.domain.type": "qemu"}),
    Row(f"GET {TM}/nosub", **refused(404, GONE, "NotFound")),
    Row(f"GET {TM}?resourceVersion=abc", **bad("invalid resource version: resourceVersion: Invalid value: \"abc\": …")),
    Row(f"GET {MACHINES}/nope", **no_vm("nope")),
    Row(f"GET {MACHINES}/UPPER", **no_vm("UPPER")),
    Row(f"GET {MACHINES}/a%20b", **no_vm("a b")),
    Row(f"GET {KV}/namespaces/nowhere/virtualmachines/x", **no_vm("x")),
    Row(f"GET {KV}/virtualmachines/vm0", **refused(404, GONE, "NotFound")),
    Row(f"GET {KV}/nores", **refused(404, GONE, "NotFound")),
    Row(f"GET {KV}/namespaces/default/nores/x", **refused(404, GONE, "NotFound")),
    Row(f"GET {NODES}/nope", **refused(404, 'nodes "nope" not found', "NotFound")),
    Row(f"GET {NODES}/node0", accept=PROTOBUF_FIRST, has={"kind": "Node", "metadata.selfLink": f"{NODES}/node0"}),
    Row(f"GET {KV}/nodes/node0", has={"apiVersion": "kubevirt.io/v1alpha1", "metadata.selfLink": f"{KV}/nodes/node0"}),
    Row(f"GET {KV}/namespaces/default/pods/pod0", has={"apiVersion": "kubevirt.io/v1alpha1", "kind": "Pod"}),
    Row("GET /api/v1/namespaces/default", has={"kind": "Namespace", "metadata.selfLink": "/api/v1/namespaces/default"}),
    Row(f"GET {TM}", accept="text/html", **refused(406, "only the following media types are accepted: application/json, …", "NotAcceptable")),
    Row(f"GET {TM}", accept="text/html;q=0.9, */*;q=0.1", has={"metadata.name": "vm0"}),
    Row(f"GET {TM}", accept=TABLE, has={"kind": "Table", "rows.0.cells.0": "vm0", "columnDefinitions.0.format": "name"}),
    Row(f"GET {TM}?includeObject=None", accept=TABLE, has={"rows.0.object": None}),
    Row(f"GET {TM}?includeObject=Object", accept=TABLE, has={"rows.0.object.kind": "VirtualMachine"}),
    Row(f"GET {TM}?includeObject=All", accept=TABLE, **bad('unrecognized includeObject value: "All"')),
    Row(f"GET {TM}", accept=TABLE.replace("v=v1", "v=v1beta1"), has={"apiVersion": "meta.k8s.io/v1beta1"}),
    Row(f"GET {TM}", accept=PARTIAL, has={"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "spec": KeyError}),
    Row(f"GET {TM}", accept=PARTIALS, code=406),
    Row(f"GET {TM}?timeout=abc", **bad('invalid timeout specified in the request URL - time: invalid duration "abc"')),
    Row(f"GET {TM}?timeout=32s", has={"metadata.name": "vm0"}),
]  # fmt: skip

LIST = [
    Row(f"GET {MACHINES}", has={"kind": "VirtualMachineList", "metadata.selfLink": MACHINES, "metadata.continue": "", "items.1.metadata.name": "vm1"}),
    Row(f"GET {KV}/virtualmachines", has={"metadata.selfLink": f"{KV}/virtualmachines", "items.2.metadata.namespace": "leaving"}),
    Row(f"GET {KV}/namespaces/nowhere/virtualmachines", has={"items": []}),
    Row(f"GET {NODES}", has={"kind": "NodeList", "apiVersion": "v1", "metadata.selfLink": NODES, "metadata.continue": KeyError}),
    Row(f"GET {NODES}", has={"items.0.kind": KeyError, "items.0.apiVersion": KeyError, "items.0.metadata.name": "node0"}),
    Row(f"GET {MACHINES}", has={"items.0.kind": "VirtualMachine", "items.0.apiVersion": "kubevirt.io/v1alpha1"}),
    Row(f"GET {KV}/nodes", has={"apiVersion": "kubevirt.io/v1alpha1", "items.0.apiVersion": "kubevirt.io/v1alpha1"}),
    Row(f"GET {MACHINES}?limit=1", has={"items.0.metadata.name": "vm0", "items.1": KeyError, "metadata.remainingItemCount": 1}),
    Row(f"GET {MACHINES}?limit=1&labelSelector=tier", has={"items.1": KeyError, "metadata.remainingItemCount": KeyError}),
    Row(f"GET {MACHINES}?limit=-1", has={"items.1.metadata.name": "vm1"}),
    Row(f"GET {MACHINES}?limit=abc", **bad('strconv.ParseInt: parsing "abc": invalid syntax')),
    Row(f"GET {MACHINES}?limit=1&limit=abc", has={"items.1": KeyError}),
    Row(f"GET {MACHINES}?labelSelector=tier%3Da", has={"items.0.metadata.name": "vm0", "items.1": KeyError}),
    Row(f"GET {MACHINES}?labelSelector=tier+notin+(a)", has={"items.0.metadata.name": "vm1"}),
    Row(f"GET {MACHINES}?labelSelector=tier,", **bad("found '', expected: identifier after ','")),
    Row(f"GET {MACHINES}?labelSelector=a%3D%3D%3Db", **bad("unable to parse requirement: …")),
    Row(f"GET {MACHINES}?fieldSelector=metadata.name%3Dvm1,", has={"items.0.metadata.name": "vm1", "items.1": KeyError}),
    Row(f"GET {MACHINES}?fieldSelector=metadata.name!%3Dvm1", has={"items.0.metadata.name": "vm0", "items.1": KeyError}),
    Row(f"GET {MACHINES}?fieldSelector=spec.nope%3D1", **bad("field label not supported: spec.nope")),
    Row(f"GET {NODES}?fieldSelector=spec.unschedulable%3Dfalse", has={"items.0.metadata.name": "node0"}),
    Row(f"GET {PODS}?fieldSelector=spec.nodeName%3Dnode0", has={"items.0.metadata.name": "pod0"}),
    Row(f"GET {MACHINES}?resourceVersion=abc", **bad('invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax')),
    Row(f"GET {MACHINES}?resourceVersion=-1", **bad('invalid resource version: resourceVersion: Invalid value: "-1": strconv.ParseUint: parsing "-1": invalid syntax')),
    Row(f"GET {MACHINES}?resourceVersion=0&{MATCH}=NotOlderThan", has={"items.1.metadata.name": "vm1"}),
    Row(f"GET {MACHINES}?{MATCH}=Exact", **invalid(bad_option(MATCH, f"Forbidden: {MATCH} is forbidden unless resourceVersion is provided"))),
    Row(f"GET {MACHINES}?resourceVersion=0&{MATCH}=Exact", **invalid(bad_option(MATCH, f'Forbidden: {MATCH} "exact" is forbidden for resourceVersion "0"'))),
    Row(f"GET {MACHINES}?resourceVersion=5&{MATCH}=Foo", **invalid(bad_option(MATCH, 'Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""'))),
    Row(f"GET {MACHINES}?sendInitialEvents=true", **invalid(bad_option("sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list"))),
    Row(f"GET {MACHINES}?continue=garbage&limit=1", **bad("invalid continue token: continue key is not valid: …")),
    Row(f"GET {MACHINES}", accept=TABLE, has={"kind": "Table", "rows.1.cells.0": "vm1", "rows.0.object.kind": "PartialObjectMetadata"}),
    Row(f"GET {MACHINES}", accept=PARTIALS, has={"kind": "PartialObjectMetadataList", "items.0.kind": "PartialObjectMetadata"}),
    Row(f"GET {MACHINES}", accept=PARTIAL, code=406, reason="NotAcceptable", says="you requested PartialObjectMetadata, but the requested object is a list (VirtualMachineList)"),
]  # fmt: skip

WATCH = [
    Row(f"GET {MACHINES}?watch=1", accept=YAML, code=406),
    Row(f"GET {MACHINES}?watch=1&sendInitialEvents=true", **invalid(bad_option(MATCH, INITIAL_NEEDS_MATCH))),
    Row(f"GET {MACHINES}?watch=1&sendInitialEvents=false", **invalid(bad_option(MATCH, INITIAL_NEEDS_MATCH))),
    Row(f"GET {MACHINES}?watch=1&sendInitialEvents=true&{MATCH}=Exact&resourceVersion=1",
        **invalid(bad_options(f"{MATCH}: {INITIAL_NEEDS_MATCH}", f'{MATCH}: Unsupported value: "Exact": supported values: "NotOlderThan"'))),
    Row(f"GET {MACHINES}?watch=1&{MATCH}=Exact&resourceVersion=1",
        **invalid(bad_options(f"{MATCH}: Forbidden: {MATCH} is forbidden for watch unless sendInitialEvents is provided",
                              f'{MATCH}: Unsupported value: "Exact": supported values: "NotOlderThan"'))),
    Row(f"GET {MACHINES}?watch=1&sendInitialEvents=true&{MATCH}=NotOlderThan&resourceVersion=abc", **bad("invalid resource version: …")),
    Row(f"GET {MACHINES}?watch=1&sendInitialEvents=true&{MATCH}=NotOlderThan&continue=x", 422),
    Row(f"GET {MACHINES}?watch=1&{MATCH}=NotOlderThan", **invalid(bad_option(MATCH, f"Forbidden: {MATCH} is forbidden for watch unless sendInitialEvents is provided"))),
    Row(f"GET {MACHINES}?watch=1&resourceVersion=abc", **bad("invalid resource version: …")),
    Row(f"GET {MACHINES}?watch=1&fieldSelector=x%3D1", **bad("field label not supported: x")),
    Row(f"GET {MACHINES}?watch=1&timeoutSeconds=x", **bad('strconv.ParseInt: parsing "x": invalid syntax')),
    Row(f"GET {MACHINES}?watch=false", has={"kind": "VirtualMachineList"}),
]  # fmt: skip

CREATE = [
    Row(f"POST {MACHINES}", 201, body=machine("new"), has={"metadata.generation": 1, "metadata.selfLink": f"{MACHINES}/new", "status": KeyError}),
    Row(f"POST {MACHINES}", 201, body=machine("new"), type="", has={"metadata.name": "new"}),
    Row(f"POST {MACHINES}", 201, body=machine("new"), type="application/json; charset=utf-8", has={"metadata.name": "new"}),
    Row(f"POST {MACHINES}", 201, body=json.dumps(machine("new")), type=YAML, has={"metadata.name": "new"}),
    Row(f"POST {MACHINES}", 201, body=machine("new"), accept=TABLE, has={"kind": "Table", "rows.0.cells.0": "new"}),
    Row(f"POST {MACHINES}?dryRun=All", 201, body=machine("new"), has={"metadata.resourceVersion": KeyError}),
    Row(f"POST {MACHINES}?dryRun=Foo", body=machine("new"), **invalid(bad_option("dryRun", 'Unsupported value: ["Foo"]: supported values: "All"', "CreateOptions"))),
    Row(f"POST {MACHINES}?dryRun=All", body=machine("vm0"), **refused(409, 'virtualmachines.kubevirt.io "vm0" already exists', "AlreadyExists")),
    Row(f"POST {MACHINES}?fieldValidation=Maybe", 422, body=machine("new")),
    Row(f"POST {MACHINES}?fieldManager={'m' * 129}", body=machine("new"), **invalid(bad_option("fieldManager", "Too long: may not be more than 128 bytes", "CreateOptions"))),
    Row(f"POST {MACHINES}", body=machine("vm0"), **refused(409, 'virtualmachines.kubevirt.io "vm0" already exists', "AlreadyExists")),
    Row(f"POST {LEAVING}", body=machine("going"), **refused(409, 'object is being deleted: virtualmachines.kubevirt.io "going" already exists', "AlreadyExists")),
    Row(f"POST {MACHINES}", body=machine("Bad_Name"), **invalid('VirtualMachine.kubevirt.io "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": …')),
    Row(f"POST {MACHINES}", body={**machine("new"), "kind": "Foo"}, code=422),
    Row(f"POST {MACHINES}", body={**machine("new"), "apiVersion": "v1"}, **bad("the API version in the data (v1) does not match the expected API version (kubevirt.io/v1alpha1)")),
    Row(f"POST {MACHINES}", body="{bad", **bad("invalid character 'b' looking for beginning of object key string")),
    Row(f"POST {MACHINES}", body="[]", code=400),
    Row(f"POST {MACHINES}", body="x", type="text/plain", **refused(415, "the body of the request was in an unknown format - accepted media types include: application/json, …", "UnsupportedMediaType")),
    Row(f"POST {MACHINES}", body=" " * (3 * 1024 * 1024 + 1), **refused(413, "Request entity too large: limit is 3145728", "RequestEntityTooLarge")),
    Row(f"POST {KV}/namespaces/nowhere/virtualmachines", body=machine("new"), **refused(404, 'namespaces "nowhere" not found', "NotFound")),
    Row(f"POST {KV}/namespaces/default/virtualmachines", body={**machine("new"), "metadata": {"name": "new", "namespace": "other"}},
        **bad("the namespace of the provided object does not match the namespace sent on the request")),
    Row(f"POST {KV}/virtualmachines", body=machine("new"), **refused(404, GONE, "NotFound")),
    Row(f"POST {MACHINES}/new", 201, body=machine("new"), has={"metadata.name": "new"}),
    Row(f"POST {MACHINES}/vm0", body=machine("vm0"), **refused(409, 'virtualmachines.kubevirt.io "vm0" already exists', "AlreadyExists")),
    Row(f"POST {NODES}/node0", 405, body=node()),
    Row(f"POST {TM}/status", 405, says='create is not supported on resources of kind "virtualmachines.kubevirt.io"', body=machine("vm0")),
    Row(f"POST {NODES}", 201, body={"metadata": {"name": "bare"}, "spec": {"providerID": "qemu:///session"}}, has={"kind": "Node", "apiVersion": "v1"}),
    Row(f"POST {KV}/nodes", 201, body={**node("kv"), "apiVersion": "kubevirt.io/v1alpha1"}, has={"apiVersion": "kubevirt.io/v1alpha1"}),
    Row(f"POST {MACHINES}", body=machine("new"), accept="text/html", code=406),
    Row(f"POST {MACHINES}?fieldValidation=Strict", body=machine("new", bogus=1),
        **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: strict decoding error: unknown field "spec.bogus"')),
    Row(f"POST {MACHINES}", 201, body=machine("new", bogus=1), has={"spec.bogus": KeyError}, headers={"warning": '299 - "unknown field \\"spec.bogus\\""'}),
    Row(f"POST {MACHINES}?fieldValidation=Ignore", 201, body=machine("new", bogus=1), has={"spec.bogus": KeyError}),
    Row(f"POST {MACHINES}?fieldValidation=Strict", body=json.dumps(machine("new")).replace('"type": "qemu"', '"type": "qemu", "type": "kvm"'),
        **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: strict decoding error: duplicate field "spec.domain.type"')),
]  # fmt: skip

UPDATE = [
    Row(f"PUT {TM}", body=machine("vm0"), **invalid('virtualmachines.kubevirt.io "vm0" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update')),
    Row(f"PUT {TM}", body={**machine("vm0"), "metadata": {"name": "vm0", "resourceVersion": "1"}},
        **refused(409, f'Operation cannot be fulfilled on virtualmachines.kubevirt.io "vm0": {OUTDATED}', "Conflict")),
    Row(f"PUT {TM}", body=machine("other"), **bad("the name of the object (other) does not match the name on the URL (vm0)")),
    Row(f"PUT {MACHINES}/nope", body=machine("nope"), **no_vm("nope")),
    Row(f"PUT {NODES}/node0", body=labelled(node(), a="b"), has={"metadata.labels.a": "b", "metadata.generation": 1}),
    Row(f"PUT {NODES}/node0?dryRun=All", body=node(unschedulable=True), has={"metadata.generation": 2, "spec.unschedulable": True}),
    Row(f"PUT {MACHINES}", 405, body=machine("vm0")),
]  # fmt: skip

PATCH = [
    Row(f"PATCH {TM}", type=MERGE, body={"spec": {"nodeSelector": {"a": "b"}}}, has={"spec.nodeSelector.a": "b", "metadata.generation": 2}),
    Row(f"PATCH {TM}", type=MERGE, body={"metadata": {"labels": {"tier": None, "n": "1"}}}, has={"metadata.labels": {"n": "1"}, "metadata.generation": 1}),
    Row(f"PATCH {TM}", type=MERGE, body={"metadata": {"resourceVersion": "1"}}, **refused(409, f'Operation cannot be fulfilled on virtualmachines.kubevirt.io "vm0": {OUTDATED}', "Conflict")),
    Row(f"PATCH {TM}", type=MERGE, body={"metadata": {"uid": "zz"}}, **invalid('VirtualMachine.kubevirt.io "vm0" is invalid: metadata.uid: Invalid value: "zz": field is immutable')),
    Row(f"PATCH {TM}", type=MERGE, body={"metadata": {"name": "zz"}}, **bad("the name of the object (zz) does not match the name on the URL (vm0)")),
    Row(f"PATCH {TM}", type=MERGE, body={"status": {"phase": "Running"}}, has={"status": KeyError}),
    Row(f"PATCH {TM}", type=MERGE, body="{bad", **bad("error decoding patch: invalid character 'b' looking for beginning of object key string")),
    Row(f"PATCH {TM}", type=MERGE, body="[]", **bad("error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}")),
    Row(f"PATCH {TM}", type=MERGE, body={}, has={"metadata.name": "vm0"}),
    Row(f"PATCH {MACHINES}/absent", type=MERGE, body={}, **no_vm("absent")),
    Row(f"PATCH {TM}", type=MERGE, body={"spec": {"unk": 1}}, has={"spec.unk": KeyError}, headers={"warning": '299 - "unknown field \\"spec.unk\\""'}),
    Row(f"PATCH {TM}?fieldValidation=Strict", type=MERGE, body={"spec": {"unk": 1}}, **invalid(' "" is invalid: patch: Invalid value: …')),
    Row(f"PATCH {TM}?dryRun=All", type=MERGE, body={"spec": {"nodeSelector": {"a": "b"}}}, has={"metadata.generation": 2}),
    Row(f"PATCH {TM}?force=true", type=MERGE, body={}, **invalid(bad_option("force", "Forbidden: may not be specified for non-apply patch", "PatchOptions"))),
    Row(f"PATCH {TM}", type=MERGE, body={"kind": "Foo"}, **invalid('Foo.kubevirt.io "vm0" is invalid: kind: Invalid value: "Foo": must be VirtualMachine')),
    Row(f"PATCH {TM}", type=JSON_PATCH, body=[{"op": "add", "path": "/metadata/labels/a~1b", "value": "v"}], has={"metadata.labels": {"a/b": "v", "tier": "a"}}),
    Row(f"PATCH {TM}", type=JSON_PATCH, body=[{"op": "test", "path": "/metadata/name", "value": "x"}], **invalid("the server rejected our request due to an error in our request")),
    Row(f"PATCH {TM}", type=JSON_PATCH, body={"op": "x"}, **bad("error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp")),
    Row(f"PATCH {TM}", type=JSON_PATCH, body="[", **bad("error decoding patch: unexpected end of JSON input")),
    Row(f"PATCH {TM}", type=STRATEGIC, body={}, **refused(415, "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml", "UnsupportedMediaType")),
    Row(f"PATCH {TM}", type=APPLY, body={}, **invalid(bad_option("fieldManager", "Required value: is required for apply patch", "PatchOptions"))),
    Row(f"PATCH {TM}?fieldManager=m", type=APPLY, body={}, **bad("invalid object type: /, Kind=")),
    Row(f"PATCH {TM}", type="", body={}, code=415),
    Row(f"PATCH {NODES}/node0", type=STRATEGIC, body={"spec": {"unschedulable": True}}, has={"spec.unschedulable": True}),
    Row(f"PATCH {KV}/nodes/node0", type=MERGE, body={"spec": {"unschedulable": True}}, has={"apiVersion": "kubevirt.io/v1alpha1", "spec.unschedulable": True}),
    Row(f"PATCH {TM}/status", type=MERGE, body={"status": {"phase": "Running"}, "spec": {"nodeSelector": {"a": "b"}}}, has={"status.phase": "Running", "spec.nodeSelector": KeyError, "metadata.generation": 1}),
    Row(f"PATCH {LEAVING}/going", type=MERGE, body={"metadata": {"finalizers": ["kubevirt.io/virtualmachine", "a.io/b"]}}, code=422),
    Row(f"PATCH {LEAVING}/going", type=MERGE, body={"metadata": {"finalizers": None}}, has={"metadata.finalizers": KeyError, "metadata.name": "going"}),
]  # fmt: skip

DELETE = [
    Row(f"DELETE {NODES}/node0", has={"kind": "Status", "status": "Success", "details.kind": "nodes", "details.name": "node0"}),
    Row(f"DELETE {NODES}/node0", body={}, has={"status": "Success"}),
    Row(f"DELETE {NODES}/node0", body={"propagationPolicy": "Background"}, has={"status": "Success"}),
    Row(f"DELETE {NODES}/node0", body={"propagationPolicy": "Foreground"}, has={"kind": "Node", "metadata.finalizers": ["foregroundDeletion"], "metadata.deletionGracePeriodSeconds": 0}),
    Row(f"DELETE {NODES}/node0?propagationPolicy=Orphan", has={"kind": "Node", "metadata.finalizers": ["orphan"]}),
    Row(f"DELETE {NODES}/node0?orphanDependents=true", has={"kind": "Node", "metadata.finalizers": ["orphan"]}),
    Row(f"DELETE {NODES}/node0?propagationPolicy=Orphan", body={"propagationPolicy": "Background"}, has={"status": "Success"}),
    Row(f"DELETE {NODES}/node0?propagationPolicy=Orphan&dryRun=All", has={"kind": "Node", "metadata.finalizers": ["orphan"]}),
    Row(f"DELETE {NODES}/node0", body={"preconditions": {"resourceVersion": "1"}}, **refused(409, 'Operation cannot be fulfilled on Node "node0": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record …', "Conflict")),
    Row(f"DELETE {NODES}/node0", body={"preconditions": "A"}, **bad("json: cannot unmarshal into Go struct field DeleteOptions.preconditions")),
    Row(f"DELETE {NODES}/node0", body={"propagationPolicy": "Orphan", "orphanDependents": True}, code=422),
    Row(f"DELETE {TM}", body={"orphanDependents": False}, code=202, has={"kind": "VirtualMachine"}),
    Row(f"DELETE {NODES}/node0?propagationPolicy=Sideways", 422),
    Row(f"DELETE {NODES}/node0", body={"dryRun": ["Foo"]}, **invalid(bad_option("dryRun", 'Unsupported value: ["Foo"]: supported values: "All"', "DeleteOptions"))),
    Row(f"DELETE {NODES}/nope", **refused(404, 'nodes "nope" not found', "NotFound")),
    Row(f"DELETE {TM}", has={"kind": "VirtualMachine", "metadata.deletionGracePeriodSeconds": 0, "metadata.generation": 2}),
    Row(f"DELETE {TM}", body={"preconditions": {"uid": "A"}}, **refused(409, 'Operation cannot be fulfilled on VirtualMachine.kubevirt.io "vm0": the UID in the precondition (A) does not match the UID in record …', "Conflict")),
    Row(f"DELETE {TM}", body={"preconditions": {"resourceVersion": "1"}}, code=409),
    Row(f"DELETE {TM}/status", 405),
    Row(f"DELETE {KV}/virtualmachines", 405),
    Row("DELETE /api/v1/namespaces", 405),
    Row("DELETE /api/v1/namespaces/leaving", has={"kind": "Namespace", "status.phase": "Terminating", "spec.finalizers": ["kubernetes"], "metadata.deletionGracePeriodSeconds": KeyError}),
    Row("DELETE /api/v1/namespaces/leaving?dryRun=All", has={"kind": "Namespace", "status.phase": "Terminating"}),
    Row(f"DELETE {MACHINES}?dryRun=All&propagationPolicy=Foreground", has={"kind": "VirtualMachineList", "items.0.metadata.deletionTimestamp": KeyError}),
    Row(f"DELETE {MACHINES}?limit=1", has={"kind": "VirtualMachineList", "items.0.metadata.name": "vm0", "items.1": KeyError}),
    Row(f"DELETE {MACHINES}?labelSelector=tier%3Da", has={"kind": "VirtualMachineList", "items.0.metadata.name": "vm0", "items.1": KeyError}),
]  # fmt: skip

REST = [
    Row(f"GET {PODS}/pod0/log", type="", says=""),
    Row(f"GET {PODS}/pod0/log?container=nope", **bad("container nope is not valid for pod pod0")),
    Row(f"GET {PODS}/nope/log", **refused(404, 'pods "nope" not found', "NotFound")),
    Row(f"GET {PODS}/pod0/log?tailLines=x", **bad('strconv.ParseInt: parsing "x": invalid syntax')),
    Row(f"POST {PODS}/pod0/log", 405),
    Row("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 201, body={"spec": {}}, has={"status.allowed": True}),
    Row("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", 201, body={}, has={"status.userInfo.username": "system:admin"}),
    Row("GET /apis/authentication.k8s.io/v1/selfsubjectreviews", 405),
    Row(f"HEAD {TM}", 405),
]  # fmt: skip

ROWS = [*DISCOVERY, *GET, *LIST, *WATCH, *CREATE, *UPDATE, *PATCH, *DELETE, *REST]


@pytest.fixture
async def world(client: httpx.AsyncClient, store: Store) -> httpx.AsyncClient:
    """Two machines, another one that is going, a node and a pod."""
    await make_namespace(store, "leaving")
    await client.post(MACHINES, json=labelled(machine("vm0"), tier="a"))
    await client.post(MACHINES, json=labelled(machine("vm1"), tier="b"))
    await client.post(MIGRATIONS, json=finalized(migration("keep"), "kubevirt.io/migration"))
    await client.post(NODES, json=node())
    await client.post(f"{KV}/namespaces/leaving/virtualmachines", json=machine("going"))
    await client.delete(f"{KV}/namespaces/leaving/virtualmachines/going")
    await make_pod(store, pod("pod0"))
    return client


HARMLESS = [row for row in ROWS if row.code >= 400 or row.ask.startswith("GET")]
"""Rows that change nothing: they share one world."""

CHANGING = [row for row in ROWS if row not in HARMLESS]


async def test_reads_and_refusals_are_kube_apiservers(world: httpx.AsyncClient) -> None:
    differing = []
    for row in HARMLESS:
        answer = await asked(world, row)
        differing += [f"{row.ask}: {problem}" for problem in problems(row, answer)]

    assert differing == []


@pytest.mark.parametrize("row", CHANGING, ids=[f"{number}-{row.ask[:60]}" for number, row in enumerate(CHANGING)])
async def test_a_write_is_answered_as_by_kube_apiserver(world: httpx.AsyncClient, row: Row) -> None:
    answer = await asked(world, row)

    assert problems(row, answer) == []


def problems(row: Row, answer: httpx.Response) -> list[str]:
    """Where the answer differs from the row."""
    if answer.status_code != row.code:
        return [f"{answer.status_code} instead of {row.code}: {answer.text}"]
    found = []
    said = answer.json() if answer.content and "json" in answer.headers["content-type"] else {}
    if (row.reason or row.says) and said.get("kind") != "Status":
        found.append(f"no Status: {answer.text}")
    if not matches(said.get("message", ""), row.says):
        found.append(f"it says: {said.get('message')}")
    if row.reason and said.get("reason") != row.reason:
        found.append(f"its reason is {said.get('reason')}")
    found += [f"{path} is {at(said, path)}" for path, value in row.has.items() if at(said, path) != value]
    found += [
        f"{name} is {answer.headers.get(name)}"
        for name, text in row.headers.items()
        if answer.headers.get(name) != text
    ]
    return found


async def asked(client: httpx.AsyncClient, row: Row) -> httpx.Response:
    method, path = row.ask.split(" ", 1)
    headers = {"accept": row.accept} | ({"content-type": row.type} if row.type else {})
    content = row.body if isinstance(row.body, str) or row.body is None else json.dumps(row.body)
    return await client.request(method, path, content=content, headers=headers)


def matches(said: str, expected: str) -> bool:
    return said.startswith(expected[:-1]) if expected.endswith("…") else not expected or said == expected


def at(document: Any, path: str) -> Any:
    """The value at a dotted path; KeyError itself where there is none."""
    for step in path.split("."):
        try:
            document = document[int(step)] if step.isdigit() else document[step]
        except (KeyError, IndexError):
            return KeyError
    return document
