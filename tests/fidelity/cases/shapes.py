# ruff: noqa: E501 - a case stays a row
"""The same objects as Tables, as metadata only, as YAML and protobuf, by what the client accepts."""

from __future__ import annotations

from tests.fidelity.case import Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    CBOR,
    EVENTS,
    JSON,
    NODES,
    PARTIAL,
    PARTIALS,
    PROTOBUF,
    ROLES,
    TABLE,
    THREE,
    VM,
    VMS,
    YAML,
    account,
    delete,
    each,
    get,
    node,
    patch,
    post,
    put,
    role,
    together,
    vm,
)  # fmt: skip

ACCEPTS = (
    None, "", "*/*", "application/*", "text/*", JSON, YAML, PROTOBUF, CBOR, "text/html", "application/json-seq", f"{PROTOBUF},{JSON}", f"{PROTOBUF}, */*", f"{JSON};q=0.1,{YAML};q=0.9", f"{JSON};q=0,{YAML}", f"{JSON};q=2",
    f"{JSON};q=abc", f"{JSON};charset=utf-8", f"{JSON};pretty=1", f"{JSON};pretty=0", f"{JSON};x=y", f"{JSON};stream=watch", f"{YAML};stream=watch", f"{JSON};export=1", TABLE, f"{TABLE},{JSON}", TABLE.replace("v=v1", "v=v1beta1"),
    TABLE.replace("v=v1", "v=v2"), TABLE.replace("meta.k8s.io", "other"), "application/json;as=Table", "application/json;as=Table;v=v1", "application/json;as=Table;g=meta.k8s.io", "application/json;g=meta.k8s.io;v=v1", f"{JSON};as=Foo;v=v1;g=meta.k8s.io",
    f"{JSON};as=Foo;v=v1;g=meta.k8s.io,{JSON}", f"{YAML};as=Table;v=v1;g=meta.k8s.io", f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io", PARTIAL, PARTIALS, PARTIAL.replace("v=v1", "v=v1beta1"), PARTIALS.replace("v=v1", "v=v1beta1"), f"{PARTIAL},{JSON}", f"{PARTIALS},{JSON}",
    f"{YAML};as=PartialObjectMetadata;v=v1;g=meta.k8s.io", f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io", f"{PROTOBUF};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io,{PARTIAL}", "APPLICATION/JSON", "nonsense", ";;;", ",,,", "application/json,,", "*", "text/plain",
    f"{TABLE};q=0.5,{YAML};q=0.6", "application/json;as=;v=;g=", f"{JSON};as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io",
)  # fmt: skip
INCLUDES = ("None", "Metadata", "Object", "", "Foo", "none")

CASES = [
    *(Case(f"accept: item {accept}", [THREE[0], get(VM, accept=accept)]) for accept in ACCEPTS),
    *(Case(f"accept: list {accept}", [*THREE[:2], get(VMS, accept=accept)]) for accept in ACCEPTS),
    *(Case(f"accept: typed item {accept}", [post(ACCOUNTS, account()), get(f"{ACCOUNTS}/a", accept=accept)]) for accept in ACCEPTS),
    *(Case(f"accept: typed list {accept}", [post(ACCOUNTS, account()), get(ACCOUNTS, accept=accept)]) for accept in ACCEPTS),
    *(Case(f"accept: error {accept}", [get(VM, accept=accept), get(f"{ACCOUNTS}/a", accept=accept)]) for accept in ACCEPTS),
    *(Case(f"accept: create {accept}", [post(VMS, vm(), accept=accept), get(VM)]) for accept in (TABLE, PARTIAL, PARTIALS, YAML, PROTOBUF, CBOR, "text/html", "*/*")),
    *(Case(f"accept: update {accept}", [THREE[0], put(VM, {"$whole": "$(0)"}, accept=accept), patch(VM, {"metadata": {"labels": {"a": "b"}}}, accept=accept)]) for accept in (TABLE, PARTIAL, PARTIALS, YAML, PROTOBUF, "text/html")),
    *(Case(f"accept: delete {accept}", [THREE[0], delete(VM, accept=accept)]) for accept in (TABLE, PARTIAL, PARTIALS, YAML, PROTOBUF, "text/html")),
    *(Case(f"accept: delete at once {accept}", [post(ACCOUNTS, account()), delete(f"{ACCOUNTS}/a", accept=accept)]) for accept in (TABLE, PARTIAL, PARTIALS, YAML, PROTOBUF, "text/html")),
    *(Case(f"accept: deletecollection {accept}", [THREE[0], delete(VMS, accept=accept)]) for accept in (TABLE, PARTIAL, PARTIALS, YAML, "text/html")),
    *(together(f"tables: includeObject {include}", [get(f"{path}?includeObject={include}", accept=accept) for path in (VM, VMS, f"{VM}/status") for accept in (TABLE, JSON, PARTIAL)], THREE[:2]) for include in INCLUDES),
    Case("tables: pages", [*THREE, get(f"{VMS}?limit=2", accept=TABLE), get(f"{VMS}?limit=2&continue=$(3.metadata.continue)", accept=TABLE), get(f"{VMS}?limit=2", accept=PARTIALS)]),
    Case("tables: empty", [get(VMS, accept=TABLE), get(ACCOUNTS, accept=TABLE), get(EVENTS, accept=TABLE)]),
    Case("tables: nodes", [post(NODES, node(metadata={"labels": {"of": "$id"}})), get(f"{NODES}/$id", accept=TABLE), get(f"{NODES}?labelSelector=of%3D$id", accept=TABLE), get(f"{NODES}?labelSelector=of%3D$id", accept=PARTIALS)]),
    Case("tables: nodes with roles", [post(NODES, node(metadata={"labels": {"node-role.kubernetes.io/control-plane": "", "node-role.kubernetes.io/x": "", "kubernetes.io/role": "y"}}, unschedulable=True)), patch(f"{NODES}/$id/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "x"}], "nodeInfo": {"kubeletVersion": "v1", "osImage": "os", "kernelVersion": "k", "containerRuntimeVersion": "c"}}}, "application/strategic-merge-patch+json"), get(f"{NODES}/$id", accept=TABLE)]),
    Case("tables: namespaces", [get("/api/v1/namespaces/$ns", accept=TABLE), get("/api/v1/namespaces?fieldSelector=metadata.name%3D$ns", accept=TABLE)]),
    Case("tables: accounts", [post(ACCOUNTS, account()), get(f"{ACCOUNTS}/a", accept=TABLE)]),
    Case("tables: roles", [post(ROLES, role()), get(f"{ROLES}/a", accept=TABLE), get("/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin", accept=TABLE), get("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cluster-admin", accept=TABLE)]),
    Case("tables: pods", [get("/api/v1/namespaces/$ns/pods", accept=TABLE)]),
    Case("tables: events", [post(EVENTS, {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "x", "namespace": "$ns"}, "reason": "R", "message": "hello\nworld", "type": "Normal", "source": {"component": "c", "host": "h"}, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 3}), get(f"{EVENTS}/e", accept=TABLE), get(EVENTS, accept=TABLE)]),
    Case("tables: events of series", [post(EVENTS, {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "x", "namespace": "$ns", "fieldPath": "spec.x"}, "eventTime": "2026-01-01T00:00:00.000000Z", "series": {"count": 4, "lastObservedTime": "2026-01-02T00:00:00.000000Z"}, "reportingComponent": "c", "reportingInstance": "i", "action": "A", "reason": "R", "type": "Warning"}), get(f"{EVENTS}/e", accept=TABLE)]),
    *each("protobuf: reads", [get(path, accept=PROTOBUF) for path in ("/api/v1/namespaces/$ns", f"{ACCOUNTS}/a", ACCOUNTS, f"{ROLES}/a", f"{EVENTS}", f"{ACCOUNTS}/nosuch")], (post(ACCOUNTS, account()), post(ROLES, role()))),
]  # fmt: skip
