# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 2.0: what all requests have in common: paths, methods, content types, parameters, headers."""

from __future__ import annotations

import json
from typing import Any

from app.machinery.protobuf import to_protobuf
from tests.api.builders import KV, MACHINES, NODES, PODS, machine, node, pod
from tests.api.laws.row import (
    ACCEPTABLE,
    APPLY,
    MERGE,
    NEVER,
    NO_METHOD,
    NO_RESOURCE,
    NOT_FOUND_TEXT,
    PROTOBUF,
    TABLE,
    UNACCEPTABLE,
    UNKNOWN_FORMAT,
    YAML,
    Row,
    absent,
    bad,
    no_vm,
    option,
    refused,
)

TM = f"{MACHINES}/vm0"
N0 = f"{NODES}/node0"
TEXT404: dict[str, Any] = {"code": 404, "text": NOT_FOUND_TEXT}
STATUS404 = refused(404, "NotFound", NO_RESOURCE)
NO = refused(405, "MethodNotAllowed", NO_METHOD)
PATCHES = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"


def unsupported(verb: str) -> dict[str, Any]:
    says = f'{verb} is not supported on resources of kind "virtualmachines.kubevirt.io"'
    return {
        **refused(405, "MethodNotAllowed", says),
        "has": {"details": {"group": "kubevirt.io", "kind": "virtualmachines"}},
    }


def unroutable(*more: str, first: str = "") -> str:
    return f"406: Not Acceptable\n\nAvailable representations: {first}{', '.join((ACCEPTABLE, *more))}"


ROWS = [
    # Paths
    Row(f"GET {TM}/", has={"metadata.name": "vm0"}),
    Row(f"GET {MACHINES}/", has={"kind": "VirtualMachineList"}),
    Row(f"GET {KV}/nores", **TEXT404),
    Row(f"GET {KV}/namespaces/default/nores/x", **TEXT404),
    Row(f"GET {KV}/namespaces/default/nores", **TEXT404),
    Row(f"GET {KV}/namespaces/default", **TEXT404),
    Row(f"GET {KV}/virtualmachines/vm0", **TEXT404),
    Row("GET /api/v1/namespaces/default/nores", **STATUS404),
    Row("GET /api/v1/namespaces/default/nodes", **STATUS404),
    Row(f"GET {N0}/nosub", **STATUS404),
    Row(f"GET {N0}/status/more", **STATUS404),
    Row(f"GET {TM}/nosub", **no_vm("vm0")),
    Row(f"GET {TM}/scale", **no_vm("vm0")),
    Row(f"PUT {TM}/scale", **no_vm("vm0"), body={}),
    Row(f"PATCH {TM}/scale", **no_vm("vm0"), body={}, type=MERGE),
    Row(f"GET {MACHINES}/nope/scale", **no_vm("nope")),
    Row(f"GET {TM}/status/more", has={"metadata.name": "vm0"}),
    # Methods
    Row(f"HEAD {TM}", text="", headers={"content-type": "application/json"}),
    Row(f"HEAD {MACHINES}", text=""),
    Row(f"HEAD {MACHINES}/nope", 404, text=""),
    Row(f"HEAD {N0}", 405, text=""),
    Row(f"HEAD {NODES}", 405),
    Row(f"OPTIONS {TM}", **unsupported("")),
    Row(f"OPTIONS {N0}", **NO),
    Row(f"PUT {MACHINES}", **bad("name must be provided"), body=machine("vm0")),
    Row(f"PATCH {MACHINES}", **bad("name must be provided"), body={}, type=MERGE),
    Row(f"PUT {NODES}", **NO, body=node()),
    Row(f"PATCH {NODES}", **NO, body={}, type=MERGE),
    Row(f"POST {N0}", **NO, body=node()),
    Row(f"POST {KV}/virtualmachines", **TEXT404, body=machine("new")),
    Row(f"PUT {KV}/virtualmachines", **TEXT404, body=machine("new")),
    Row(f"DELETE {KV}/virtualmachines", **TEXT404),
    Row("POST /api/v1/pods", **NO, body={}),
    Row("DELETE /api/v1/pods", **NO),
    Row("DELETE /api/v1/namespaces", **NO),
    Row(f"POST {TM}/status", **unsupported("create"), body=machine("vm0")),
    Row(f"DELETE {TM}/status", **unsupported("delete")),
    Row(f"POST {N0}/status", **NO, body=node()),
    Row(f"DELETE {N0}/status", **NO),
    # Content types of bodies
    Row(f"POST {MACHINES}", 201, body=machine("new"), type="", has={"metadata.name": "new"}),
    Row(f"POST {MACHINES}", 201, body=machine("new"), type="application/json; charset=utf-8", has={"metadata.name": "new"}),
    Row(f"POST {MACHINES}", 201, body=json.dumps(machine("new")), type=YAML, has={"metadata.name": "new"}),
    Row(f"POST {MACHINES}", 201, body="apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: new\nspec:\n  domainXML: null\n  domain: {memory: {value: 64, unit: MB}, type: qemu, os: {type: {os: hvm}}, devices: {}}\n", type=YAML, has={"spec.domain.type": "qemu"}),
    Row(f"POST {MACHINES}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + ACCEPTABLE), body="x", type="text/plain"),
    Row(f"POST {MACHINES}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + ACCEPTABLE), body=machine("new"), type="application/json;="),
    Row(f"POST {MACHINES}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + ACCEPTABLE), body=machine("new"), type="application/json; charset"),
    Row(f"POST {MACHINES}", 201, body=machine("new"), type='application/json ; charset="utf-8";x=y;'),
    Row(f"POST {NODES}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + ACCEPTABLE), body="x", type="application/xml"),
    Row(f"PUT {TM}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + ACCEPTABLE), body="x", type="text/plain"),
    Row(f"DELETE {TM}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + ACCEPTABLE), body="x", type="text/plain"),
    Row(f"PATCH {TM}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + PATCHES), body={}, type="application/json"),
    Row(f"PATCH {TM}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + PATCHES), body={}, type=""),
    Row(f"PATCH {TM}", **refused(415, "UnsupportedMediaType", UNKNOWN_FORMAT + PATCHES), body={}, type="application/apply-patch+cbor"),
    Row("PATCH /api/v1/namespaces/default", **refused(415, "UnsupportedMediaType", "415: Unsupported Media Type"), body={}, type="text/plain"),
    # Accept
    Row(f"GET {TM}", accept="", headers={"content-type": "application/json"}),
    Row(f"GET {TM}", accept="*/*", headers={"content-type": "application/json"}),
    Row(f"GET {TM}", accept="application/*", headers={"content-type": "application/json"}),
    Row(f"GET {TM}", accept="application/yaml", headers={"content-type": YAML}, text="apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata:\n…"),
    Row(f"GET {TM}", accept="application/json;q=0.1, application/yaml;q=0.9", headers={"content-type": YAML}),
    Row(f"GET {TM}", accept="text/html;q=0.9, */*;q=0.1", headers={"content-type": "application/json"}),
    Row(f"GET {TM}", accept="application/vnd.kubernetes.protobuf,application/json", has={"kind": "VirtualMachine"}),
    Row(f"GET {N0}", accept="application/vnd.kubernetes.protobuf, */*", headers={"content-type": PROTOBUF}, has={"kind": "Node", "apiVersion": "v1", "metadata.uid": "<node0.uid>", "metadata.resourceVersion": "<node0.rv>"}),
    Row(f"GET {NODES}", accept=PROTOBUF, headers={"content-type": PROTOBUF}, has={"kind": "NodeList", "metadata.resourceVersion": "<rv>", "items.0.metadata.name": "node0", "items.0.spec.providerID": "qemu+unix:///session?socket=/tmp/node0/sock"}),
    Row(f"GET {NODES}/nope", 404, accept=PROTOBUF, headers={"content-type": PROTOBUF}, has={"kind": "Status", "reason": "NotFound", "message": 'nodes "nope" not found', "details": {"name": "nope", "kind": "nodes"}}),
    Row(f"GET {TM}", 406, accept=PROTOBUF, headers={"content-type": PROTOBUF}, has={"kind": "Status", "message": UNACCEPTABLE}),
    Row(f"GET {KV}/nodes/node0", 406, accept=PROTOBUF),
    Row(f"GET {TM}", accept=f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1", headers={"content-type": PROTOBUF}, has={"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata.name": "vm0", "metadata.labels": {"tier": "a"}, "metadata.generation": 1}),
    Row(f"GET {MACHINES}", accept=f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", has={"kind": "PartialObjectMetadataList", "items.1.metadata.name": "vm1"}),
    Row(f"GET {N0}", 406, accept=f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1", headers={"content-type": "application/json"}),
    Row("GET /api/v1", accept=PROTOBUF, headers={"content-type": PROTOBUF}, has={"kind": "APIResourceList", "groupVersion": "v1", "resources.namespaces.verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]}),
    Row("GET /apis", accept=PROTOBUF, has={"kind": "APIGroupList", "groups.2.preferredVersion.version": "v1alpha1"}),
    Row(f"POST {NODES}", 201, body=to_protobuf(node("new")), type=PROTOBUF, accept=PROTOBUF, has={"kind": "Node", "metadata.name": "new"}),
    Row(f"DELETE {N0}", accept=PROTOBUF, has={"kind": "Status", "status": "Success", "details.uid": "<node0.uid>"}),
    Row(f"POST {PODS}", 422, body=to_protobuf(pod()), type=PROTOBUF, says='Pod "virt-migration-abcde" is invalid: spec: Forbidden: …'),
    Row(f"GET {TM}", accept="application/json;pretty=1", text='{\n  "apiVersion"…'),
    Row(f"GET {TM}", accept="application/json;as=Foo;g=meta.k8s.io;v=v1", **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row(f"GET {TM}", accept='application/json;as="Table";v="v1";g="meta.k8s.io"', **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row(f"GET {TM}", accept="application/json;AS=Table;V=v1;G=meta.k8s.io", has={"kind": "VirtualMachine"}),
    Row(f"GET {TM}", accept="application/json;as=Table", **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row(f"GET {TM}", accept="application/json;stream=other", **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row(f"GET {TM}", accept="application/json;charset=utf-8", has={"kind": "VirtualMachine"}),
    Row(f"GET {TM}", accept="text/html", **refused(406, "NotAcceptable", UNACCEPTABLE), text='{\n  "kind": "Status",…'),
    Row(f"GET {N0}", accept="text/html", **refused(406, "NotAcceptable", unroutable()), has={"details": {}}, text='{\n  "kind": "Status",…'),
    Row(f"GET {NODES}", accept="application/*", **refused(406, "NotAcceptable", unroutable("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"))),
    Row(f"GET {PODS}/pod0/log", accept="text/html", **refused(406, "NotAcceptable", unroutable(first="text/plain, "))),
    Row(f"POST {NODES}", accept="text/html", body=node("new"), **refused(406, "NotAcceptable", unroutable())),
    Row(f"GET {N0}", accept="application/json;as=Foo;g=meta.k8s.io;v=v1", **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row(f"GET {KV}/nodes", accept="application/*", has={"kind": "NodeList"}),
    Row(f"POST {MACHINES}", accept="text/html", **refused(406, "NotAcceptable", UNACCEPTABLE), body=machine("new")),
    Row(f"GET {MACHINES}/new", **no_vm("new")),
    Row(f"GET {MACHINES}/nope", 404, accept=YAML, headers={"content-type": YAML}, text="apiVersion: v1\ncode: 404\n…"),
    Row(f"GET {MACHINES}/nope", 404, accept=TABLE, headers={"content-type": "application/json"}, has={"kind": "Status"}),
    # Parameters
    Row(f"GET {TM}?pretty=1", text='{\n  "apiVersion"…'),
    Row(f"GET {TM}?pretty=true", text='{\n  "apiVersion"…'),
    Row(f"GET {TM}?pretty=yes", text='{"apiVersion"…'),
    Row(f"GET {TM}", text='{"apiVersion"…'),
    Row(f"GET {TM}", agent="curl/8.0", text='{\n  "apiVersion"…'),
    Row(f"GET {TM}", agent="Wget/1", text='{\n  "apiVersion"…'),
    Row(f"GET {TM}", agent="Mozilla/5.0 (X11)", text='{\n  "apiVersion"…'),
    Row(f"GET {TM}?pretty=false", agent="curl/8.0", text='{"apiVersion"…'),
    Row(f"GET {TM}?timeout=abc", **bad('invalid timeout specified in the request URL - time: invalid duration "abc"')),
    Row(f"GET {TM}?timeout=10", **bad('invalid timeout specified in the request URL - time: missing unit in duration "10"')),
    Row(f"GET {TM}?timeout=1x", **bad('invalid timeout specified in the request URL - time: unknown unit "x" in duration "1x"')),
    Row(f"GET {NODES}?resourceVersion={NEVER}&timeout=50ms", 504, headers={"content-type": "text/plain; charset=utf-8"},
        text='{"metadata":{},"status":"Failure","message":"Timeout: request did not complete within the allotted timeout","reason":"Timeout","details":{},"code":504}…'),
    Row(f"GET {TM}?timeout=32s", has={"metadata.name": "vm0"}),
    Row(f"GET {TM}?bogus=1", has={"metadata.name": "vm0"}),
    Row(f"GET {MACHINES}?limit=1&limit=abc", has={"items.1": KeyError}),
    Row(f"GET {MACHINES}?watch=false", has={"kind": "VirtualMachineList"}),
    Row(f"GET {MACHINES}?watch=0", has={"kind": "VirtualMachineList"}),
    Row(f"GET {MACHINES}?limit=abc", **bad('strconv.ParseInt: parsing "abc": invalid syntax')),
    Row(f"GET {MACHINES}?timeoutSeconds=abc", **bad('strconv.ParseInt: parsing "abc": invalid syntax')),
    Row(f"GET {MACHINES}?limit=9223372036854775808", **bad('strconv.ParseInt: parsing "9223372036854775808": value out of range')),
    # Headers
    Row(f"GET {TM}", sends={"audit-id": "mine"}, headers={"audit-id": "mine", "cache-control": "no-cache, private"}),
    Row(f"GET {TM}", headers={"audit-id": "…", "content-encoding": None}),
    Row(f"GET {TM}", sends={"accept-encoding": "gzip"}, headers={"content-encoding": None}),
    # Options, which come before the body is looked at
    Row(f"POST {MACHINES}?dryRun=Foo", body="{bad", **option("dryRun", 'Unsupported value: ["Foo"]: supported values: "All"', "CreateOptions")),
    Row(f"POST {MACHINES}?dryRun=", body=machine("new"), **option("dryRun", 'Unsupported value: [""]: supported values: "All"', "CreateOptions")),
    Row(f"POST {MACHINES}?dryRun=All&dryRun=Foo", body=machine("new"), **option("dryRun", 'Unsupported value: ["All","Foo"]: supported values: "All"', "CreateOptions")),
    Row(f"DELETE {TM}?dryRun=All&dryRun=", **option("dryRun", 'Unsupported value: ["All",""]: supported values: "All"', "DeleteOptions")),
    Row(f"POST {MACHINES}?dryRun=All&dryRun=All", 201, body=machine("new"), has={"metadata.resourceVersion": KeyError}),
    Row(f"PUT {TM}?dryRun=Foo", body=machine("vm0"), **option("dryRun", 'Unsupported value: ["Foo"]: supported values: "All"', "UpdateOptions")),
    Row(f"PATCH {TM}?dryRun=Foo", body={}, type=MERGE, **option("dryRun", 'Unsupported value: ["Foo"]: supported values: "All"', "PatchOptions")),
    Row(f"DELETE {TM}?dryRun=Foo", **option("dryRun", 'Unsupported value: ["Foo"]: supported values: "All"', "DeleteOptions")),
    Row(f"DELETE {TM}", body={"dryRun": ["Foo"]}, **option("dryRun", 'Unsupported value: ["Foo"]: supported values: "All"', "DeleteOptions")),
    Row(f"POST {MACHINES}?fieldValidation=Maybe", body=machine("new"), **option("fieldValidation", 'Unsupported value: "Maybe": supported values: "", "Ignore", "Strict", "Warn"', "CreateOptions")),
    Row(f"POST {MACHINES}?fieldManager={'m' * 129}", body=machine("new"), **option("fieldManager", "Too long: may not be more than 128 bytes", "CreateOptions")),
    Row(f"POST {MACHINES}?fieldManager=a%07b", body=machine("new"), **option("fieldManager", 'Invalid value: "a\\u0007b": invalid character U+0007 (at position 1)'.replace("\\u0007", "\\a"), "CreateOptions")),
    Row(f"PATCH {TM}?force=true", body={}, type=MERGE, **option("force", "Forbidden: may not be specified for non-apply patch", "PatchOptions")),
    Row(f"PATCH {TM}", body={}, type=APPLY, **option("fieldManager", "Required value: is required for apply patch", "PatchOptions")),
    Row(f"PATCH {TM}?fieldManager=", body={}, type=APPLY, **option("fieldManager", "Required value: is required for apply patch", "PatchOptions")),
    # Sizes
    Row(f"POST {MACHINES}", **refused(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"), body=" " * (3 * 1024 * 1024 + 1)),
    Row(f"GET {PODS}/nope", **absent("pods", "nope")),
    # Of the process
    Row("GET /livez/", 404, text=NOT_FOUND_TEXT),
    Row("POST /livez", text="ok"), Row("OPTIONS /readyz", text="ok"),
    Row("GET /livez/ping", text="ok", headers={"x-content-type-options": None, "cache-control": "no-cache, private"}),
    Row("GET /livez", sends={"audit-id": "mine"}, headers={"audit-id": "mine"}),
    Row("GET /version", accept="text/html", **refused(406, "NotAcceptable", "406: Not Acceptable\n\nAvailable representations: application/json")),
    Row("POST /version", **refused(405, "MethodNotAllowed", NO_METHOD)),
    Row("GET /api/v2", **refused(404, "NotFound", NO_RESOURCE)),
    Row("GET /api/v1/namespaces/default//events", **refused(404, "NotFound", NO_RESOURCE)),
    Row(f"GET {KV}//virtualmachines", 404, text=NOT_FOUND_TEXT),
    # Parameters as Go reads them
    Row(f"GET {MACHINES}?timeout=-1s"), Row(f"GET {MACHINES}?limit=%zz"), Row(f"GET {MACHINES}?limit=x;y"),
    Row(f"GET {MACHINES}?limit=", **bad('strconv.ParseInt: parsing "": invalid syntax')),
    Row(f"GET {MACHINES}/vm0?export=true", **bad("the export parameter, deprecated since v1.14, is no longer supported")),
    Row("GET /apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x", **refused(404, "NotFound", NO_RESOURCE)),
    Row(f"GET {MACHINES}/%2e%2e", **bad("Name parameter invalid: \"..\": may not be '..'")),
    Row(f"DELETE {NODES}/a%25b", **bad("Name parameter invalid: \"a%b\": may not contain '%'")),
    Row(f"GET {MACHINES}/a%22b", **no_vm('a\\"b')),
    Row("GET /livez/", 404, text=NOT_FOUND_TEXT, headers={"x-content-type-options": "nosniff"}),
]  # fmt: skip
