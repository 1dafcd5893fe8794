# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 2.1: create."""

from __future__ import annotations

import json
from typing import Any

from tests.api.builders import KV, MACHINES, MIGRATIONS, NODES, machine, migration, node
from tests.api.laws.row import APPLY, TABLE, YAML, Row, bad, no_vm, refused, vm_is

NO_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

NO_NAME = "metadata.name: Required value: name or generateName is required"
EVENTS = "/api/v1/namespaces/default/events"
CLUSTER_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
LEAVING = f"{KV}/namespaces/leaving/virtualmachines"
FIND_KIND = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


def named(document: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], **metadata}}


def nameless(document: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**document, "metadata": metadata}


def unrecognized(why: str, shown: str, kind: str = "VirtualMachine") -> dict[str, Any]:
    return bad(f"the object provided is unrecognized (must be of type {kind}): {why} ({shown})")


def unparsed(why: str, shown: str, kind: str = "VirtualMachine") -> dict[str, Any]:
    return unrecognized(f"couldn't get version/kind; json parse error: {why}", shown, kind)


def exists(resource: str, name: str, prefix: str = "", suffix: str = "") -> dict[str, Any]:
    return refused(409, "AlreadyExists", f'{prefix}{resource} "{name}" already exists{suffix}')


def no_whole(shown: str) -> dict[str, Any]:
    """Of the retries of a Migration, which are 100 at most."""
    at = "spec.backoffLimit"
    return refused(
        422,
        "Invalid",
        f'Migration.kubevirt.io "new" is invalid: [{at}: Invalid value: "number": {at} in body must be of type integer: "number", '
        f'<nil>: Invalid value: "": Checked value must be of type integer (default format) in {at}, '
        f"{at}: Invalid value: {shown}: {at} in body should be less than or equal to 100]",
    )


def aggregating(selector: Any) -> dict[str, Any]:
    return {"metadata": {"name": "new"}, "aggregationRule": {"clusterRoleSelectors": [selector]}}


def aggregated(selector: Any, why: str) -> Row:
    """A selector that is wrong in one way, and said to be wrong as a whole."""
    at = "aggregationRule.clusterRoleSelectors[0]"
    whole = "" if why.endswith("…") else f", {at}: Invalid value: null: invalid label selector.]"
    says = f'ClusterRole.rbac.authorization.k8s.io "new" is invalid: [{at}.{why}{whole}'
    return Row(f"POST {CLUSTER_ROLES}", body=aggregating(selector), **refused(422, "Invalid", says))


VM = "virtualmachines.kubevirt.io"
UNLUCKY = ", the server was not able to generate a unique name for the object"
MINE = {
    "uid": "mine",
    "creationTimestamp": "2020-01-01T00:00:00Z",
    "generation": 7,
    "selfLink": "/mine",
    "deletionTimestamp": "2020-01-01T00:00:00Z",
    "deletionGracePeriodSeconds": 5,
}

TWICE = "apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata: {name: new}\nspec:\n  bogus: 1\n  nodeSelector: {a: b}\n  nodeSelector: {a: c}\n  domain: {memory: {value: 64, unit: MB}, type: qemu, os: {type: {os: hvm}}, devices: {}}\n"

ACCOUNTS = "POST /api/v1/namespaces/default/serviceaccounts"
BINDINGS = "POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
RBAC = "rbac.authorization.k8s.io/v1"
ROLES = f"/apis/{RBAC}/namespaces/default/roles"
AN_EVENT = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}}


def bound(**said: Any) -> dict[str, Any]:
    return {"metadata": {"name": "b"}, **said}


def binding(*errors: str) -> dict[str, Any]:
    listed = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return refused(422, "Invalid", f'RoleBinding.rbac.authorization.k8s.io "b" is invalid: {listed}')


ROWS = [
    Row(f"POST {MACHINES}", 201, body=machine("new"), has={"kind": "VirtualMachine", "metadata.generation": 1, "metadata.selfLink": f"{MACHINES}/new", "metadata.namespace": "default", "status": KeyError,
                                                        "metadata.managedFields.0.manager": "tests", "metadata.managedFields.0.operation": "Update"}, headers={"location": None}),
    Row(f"POST {MACHINES}", 201, body={**named(machine("new"), **MINE), "status": {"phase": "Running"}}, has={"metadata.generation": 1, "status": KeyError, "metadata.deletionTimestamp": KeyError, "metadata.deletionGracePeriodSeconds": KeyError, "metadata.selfLink": f"{MACHINES}/new"}),
    Row(f"POST {MACHINES}", 201, body=named(machine("new"), annotations={"a": "b"}, labels={"c": "d"}, finalizers=["e.io/f"], ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]),
        has={"metadata.annotations": {"a": "b"}, "metadata.labels": {"c": "d"}, "metadata.finalizers.0": "e.io/f", "metadata.ownerReferences.0.uid": "u"}),
    Row(f"POST {MACHINES}", **bad("resourceVersion should not be set on objects to be created"), body=named(machine("new"), resourceVersion="5")),
    Row(f"POST {MACHINES}?dryRun=All", 201, body=machine("new"), has={"metadata.resourceVersion": KeyError, "metadata.generation": 1}),
    Row(f"GET {MACHINES}/new", after=[Row(f"POST {MACHINES}?dryRun=All", body=machine("new"))], **no_vm("new")),
    Row(f"POST {MACHINES}?dryRun=All", body=machine("vm0"), **exists(VM, "vm0")),
    # Names
    Row(f"POST {MACHINES}", 201, body=nameless(machine(), generateName="vm-"), has={"metadata.generateName": "vm-"}),
    Row(f"POST {MACHINES}", 201, body=nameless(machine(), generateName="vm-", name="new"), has={"metadata.name": "new", "metadata.generateName": "vm-"}),
    Row(f"POST {MACHINES}", body=nameless(machine(), generateName="vm-", name="vm0"), **exists(VM, "vm0", suffix=UNLUCKY), headers={"retry-after": "1"}),
    Row(f"POST {MACHINES}", body=nameless(machine()), **vm_is("", NO_NAME)),
    Row(f"POST {NODES}", body=nameless(node()), code=422, says='Node "" is invalid: …'),
    Row(f"POST {MACHINES}", body=machine("vm0"), **exists(VM, "vm0"), has={"details": {"name": "vm0", "group": "kubevirt.io", "kind": "virtualmachines"}}),
    Row(f"POST {NODES}", body=node("node0"), **exists("nodes", "node0")),
    Row(f"POST {LEAVING}", body=machine("going"), **exists(VM, "going", "object is being deleted: ")),
    # Namespaces
    Row(f"POST {KV}/namespaces/nowhere/virtualmachines", body=machine("new"), **refused(404, "NotFound", 'namespaces "nowhere" not found'), has={"details": {"name": "nowhere", "kind": "namespaces"}}),
    Row(f"POST {MACHINES}", body=named(machine("new"), namespace="other"), **bad("the namespace of the provided object does not match the namespace sent on the request")),
    Row(f"POST {MACHINES}", 201, body=named(machine("new"), namespace="default"), has={"metadata.namespace": "default"}),
    Row(f"POST {NODES}", 201, body=named(node("new"), namespace="default"), has={"metadata.namespace": KeyError}),
    Row(f"POST {LEAVING}", after=[Row("DELETE /api/v1/namespaces/leaving")], body=machine("new"), **refused(403, "Forbidden", f'{VM} "new" is forbidden: unable to create new content in namespace leaving because it is being terminated'),
        has={"details.causes": [{"reason": "NamespaceTerminating", "message": "namespace leaving is being terminated", "field": "metadata.namespace"}]}),
    # On an item's path
    Row(f"POST {MACHINES}/new", 201, body=machine("new"), has={"metadata.name": "new"}),
    Row(f"POST {MACHINES}/vm0", body=machine("vm0"), **exists(VM, "vm0")),
    # Decoding
    Row(f"POST {MACHINES}", **unparsed("unexpected end of JSON input", "<empty>")),
    Row(f"POST {NODES}", **unparsed("unexpected end of JSON input", "<empty>", "Node")),
    Row(f"POST {MACHINES}", body="{bad", **unparsed("invalid character 'b' looking for beginning of object key string", "{bad")),
    Row(f"POST {MACHINES}", body="hello", **unparsed("invalid character 'h' looking for beginning of value", "68656c6c6f")),
    Row(f"POST {MACHINES}", body="[]", **unparsed(f"json: cannot unmarshal array into Go value of type {FIND_KIND}", "5b5d")),
    Row(f"POST {MACHINES}", body={"kind": 5}, **unparsed("json: cannot unmarshal number into Go struct field .kind of type string", '{"kind": 5}')),
    Row(f"POST {MACHINES}", body={"apiVersion": "a/b/c", "kind": "X"}, **unrecognized("unexpected GroupVersion string: a/b/c", '{"apiVersion": "a/b/c", "kind" ...')),
    Row(f"POST {MACHINES}", body={}, **unrecognized("Object 'Kind' is missing in '{}'", "{}")),
    Row(f"POST {MACHINES}", body={"apiVersion": "kubevirt.io/v1alpha1"}, **unrecognized("""Object 'Kind' is missing in '{"apiVersion": "kubevirt.io/v1alpha1"}'""", '{"apiVersion": "kubevirt.io/v1 ...')),
    Row(f"POST {MACHINES}", body={"kind": "VirtualMachine"}, **bad("the API version in the data () does not match the expected API version (kubevirt.io/v1alpha1)")),
    Row(f"POST {MACHINES}", body={**machine("new"), "apiVersion": "v1"}, **bad("the API version in the data (v1) does not match the expected API version (kubevirt.io/v1alpha1)")),
    Row(f"POST {MACHINES}", body={**machine("new"), "kind": "Foo"}, **refused(422, "Invalid", 'Foo.kubevirt.io "new" is invalid: kind: Invalid value: "Foo": must be VirtualMachine'), has={"details.kind": "Foo"}),
    Row(f"POST {MACHINES}", body={**machine("new"), "kind": "virtualmachine"}, code=422, says='virtualmachine.kubevirt.io "new" is invalid: kind: Invalid value: "virtualmachine": must be VirtualMachine'),
    Row(f"POST {MACHINES}", body={"apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachineList", "metadata": {}, "items": [machine("new")]}, code=422, says='VirtualMachineList.kubevirt.io "" is invalid: kind: Invalid value: "VirtualMachineList": must be VirtualMachine'),
    Row(f"POST {MACHINES}", body="a: [", type=YAML, code=400, says="the object provided is unrecognized (must be of type VirtualMachine): yaml: line 1: did not find expected node content (613a205b)"),
    Row(f"POST {NODES}", 201, body={"metadata": {"name": "bare"}, "spec": {"providerID": "qemu:///session"}}, has={"kind": "Node", "apiVersion": "v1"}),
    Row(f"POST {NODES}", body={**node("new"), "kind": "Pod"}, **bad('Pod in version "v1" cannot be handled as a Node: converting (v1.Pod) to (core.Node): unknown conversion')),
    Row(f"POST {NODES}", body={**node("new"), "kind": "Foo"}, **bad('Foo in version "v1" cannot be handled as a Node: no kind "Foo" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30"')),
    Row(f"POST {NODES}", body={**node("new"), "apiVersion": "apps/v1"}, **bad('Node in version "v1" cannot be handled as a Node: no kind "Node" is registered for version "apps/v1" in scheme "pkg/api/legacyscheme/scheme.go:30"')),
    Row(f"POST {KV}/nodes", 201, body={**node("kv"), "apiVersion": "kubevirt.io/v1alpha1"}, has={"apiVersion": "kubevirt.io/v1alpha1"}),
    Row(f"POST {NODES}", body=named({**node("new"), "spec": {"unschedulable": "yes"}}), **bad('Node in version "v1" cannot be handled as a Node: json: cannot unmarshal string into Go struct field NodeSpec.spec.unschedulable of type bool')),
    Row(f"POST {NODES}", body={**node("new"), "spec": {"taints": {}}}, **bad('Node in version "v1" cannot be handled as a Node: json: cannot unmarshal object into Go struct field NodeSpec.spec.taints of type []v1.Taint')),
    Row(f"POST {NODES}", body={**node("new"), "spec": {"taints": [{"key": 5, "effect": "NoSchedule"}]}}, **bad('Node in version "v1" cannot be handled as a Node: json: cannot unmarshal number into Go struct field Taint.spec.taints.key of type string')),
    Row(f"POST {NODES}", body={**node("new"), "spec": "x"}, **bad('Node in version "v1" cannot be handled as a Node: json: cannot unmarshal string into Go struct field Node.spec of type v1.NodeSpec')),
    Row("POST /api/v1/namespaces/default/events", body={"metadata": {"name": "e"}, "involvedObject": {}, "count": "x"}, **bad('Event in version "v1" cannot be handled as a Event: json: cannot unmarshal string into Go struct field Event.count of type int32')),
    Row("POST /api/v1/namespaces/default/events", body={"metadata": {"name": "e"}, "involvedObject": {}, "firstTimestamp": "x"}, **bad('Event in version "v1" cannot be handled as a Event: parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"')),
    # Nulls of core kinds say nothing
    Row("POST /api/v1/namespaces", 201, body={"metadata": {"name": "new"}, "spec": None, "status": None}, has={"spec.finalizers": ["kubernetes"], "status.phase": "Active"}),
    Row(f"POST {NODES}", 201, body={**node("new", unschedulable=None, taints=None), "status": {"conditions": None}}, has={"spec.unschedulable": KeyError, "spec.taints": KeyError}),
    # Events
    Row(f"POST {EVENTS}", 201, body={"metadata": {"name": "Any Name.1"}}, has={"involvedObject": {}, "metadata.name": "Any Name.1"}),
    Row(f"POST {EVENTS}", 201, body={"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}}),
    Row(f"POST {EVENTS}", body={"metadata": {"name": "a%b"}}, **refused(422, "Invalid", 'Event "a%b" is invalid: metadata.name: Invalid value: "a%b": may not contain \'%\'')),
    Row(f"POST {EVENTS}", body={"metadata": {"name": "e"}, "involvedObject": {"namespace": "other"}}, **refused(422, "Invalid", 'Event "e" is invalid: involvedObject.namespace: Invalid value: "other": does not match event.namespace')),
    Row("POST /api/v1/namespaces/leaving/events", body={"metadata": {"name": "e"}}, **refused(422, "Invalid", 'Event "e" is invalid: involvedObject.namespace: Invalid value: "": does not match event.namespace')),
    Row(f"POST {EVENTS}", body={"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "c", "reportingInstance": "i" * 129}, **refused(422, "Invalid", 'Event "e" is invalid: [reportingInstance: Invalid value: "": can have at most 128 characters, action: Required value, reason: Required value]')),
    # Field validation
    Row(f"POST {MACHINES}", 201, body=machine("new", bogus=1), has={"spec.bogus": KeyError}, warns=['unknown field "spec.bogus"']),
    Row(f"POST {MACHINES}?fieldValidation=Warn", 201, body=machine("new", bogus=1), warns=['unknown field "spec.bogus"']),
    Row(f"POST {MACHINES}?fieldValidation=Ignore", 201, body=machine("new", bogus=1), has={"spec.bogus": KeyError}),
    Row(f"POST {MACHINES}?fieldValidation=Strict", 201, body=machine("new")),
    Row(f"POST {MACHINES}?fieldValidation=Strict", body={**named(machine("new", bogus=1, another=2), bogusmeta=1), "top": 1},
        **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: strict decoding error: unknown field "metadata.bogusmeta", unknown field "spec.another", unknown field "spec.bogus", unknown field "top"')),
    Row(f"POST {MACHINES}?fieldValidation=Strict", body=json.dumps(machine("new")).replace('"type": "qemu"', '"type": "qemu", "type": "kvm"'),
        **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: strict decoding error: duplicate field "spec.domain.type"')),
    Row(f"POST {MACHINES}", 201, body=json.dumps(machine("new")).replace('"type": "qemu"', '"type": "kvm", "type": "qemu"'), has={"spec.domain.type": "qemu"}, warns=['duplicate field "spec.domain.type"']),
    Row(f"POST {NODES}?fieldValidation=Strict", body=node("new", bogus=1), **bad('Node in version "v1" cannot be handled as a Node: strict decoding error: unknown field "spec.bogus"')),
    Row(f"POST {NODES}", 201, body=node("new", podCIDRx="x"), warns=['unknown field "spec.podCIDRx"']),
    Row(f"POST {MACHINES}", 201, body=TWICE, type=YAML, has={"spec.nodeSelector": {"a": "c"}}, warns=['line 7: key "nodeSelector" already set in map', 'unknown field "spec.bogus"']),
    Row(f"POST {MACHINES}?fieldValidation=Strict", body=TWICE, type=YAML, **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: strict decoding error: yaml: unmarshal errors:\n  line 7: key "nodeSelector" already set in map, unknown field "spec.bogus"')),
    # What is of a wrong type has no fields
    Row(f"POST {MACHINES}", code=422, reason="Invalid", body=machine("new", nodeSelector={"a": {"b": 1}}), warns=['unknown field "spec.nodeSelector.a.b"']),
    Row(f"POST {MIGRATIONS}", body=migration("new", selector={"name": [{"x": 1}]}), code=422, says='Migration.kubevirt.io "new" is invalid: spec.selector.name: Invalid value: "array": spec.selector.name in body must be of type string: "array"', warns=['unknown field "spec.selector.name[0].x"']),
    Row(f"POST {MIGRATIONS}?fieldValidation=Strict", body=migration("new", cancel=[[{"b": {"c": 1}}]]), **bad('Migration in version "v1alpha1" cannot be handled as a Migration: strict decoding error: unknown field "spec.cancel[0][0].b"')),
    # Of a core kind they are told as they come
    Row(f"POST {NODES}?fieldValidation=Strict", body={"a": 1, **node("new", taints=[{"key": "a", "effect": "NoSchedule", "foo": 1}], zz=1)}, **bad('Node in version "v1" cannot be handled as a Node: strict decoding error: unknown field "a", unknown field "spec.taints[0].foo", unknown field "spec.zz"')),
    # In other forms
    Row(f"POST {MACHINES}", 201, body=machine("new"), accept=TABLE, has={"kind": "Table", "rows.0.cells.0": "new"}),
    Row(f"POST {MACHINES}", 201, body=machine("new"), accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", has={"kind": "PartialObjectMetadata", "spec": KeyError}),
    Row(f"POST {MACHINES}", 201, body=machine("new"), accept=YAML, headers={"content-type": YAML}),
    Row(f"POST {MIGRATIONS}", 201, body=migration("new"), has={"metadata.finalizers": ["kubevirt.io/migration"]}),
    # What a name begins with; numbers; nothing where there should be something
    Row("POST /api/v1/namespaces/default/serviceaccounts", 201, body={"metadata": {"generateName": "a--"}}, has={"metadata.generateName": "a--"}),
    Row(f"POST {EVENTS}", 201, body={"metadata": {"generateName": "."}, "involvedObject": {"namespace": "default"}}, has={"metadata.generateName": "."}),
    Row(f"POST {MACHINES}?force=true", 201, body=machine("new")),
    Row(f"POST {MACHINES}", 201, body=named(machine("new"), resourceVersion="0")),
    Row(f"POST {MACHINES}", body=named(machine("new"), labels=[]), **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: json: cannot unmarshal array into Go struct field ObjectMeta.labels of type map[string]string')),
    Row(f"POST {MACHINES}", body=named(machine("new"), name=[]), **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: json: cannot unmarshal array into Go struct field ObjectMeta.name of type string')),
    Row(f"POST {MACHINES}", body=named(machine("new"), generation=1.5), **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: json: cannot unmarshal number 1.5 into Go struct field ObjectMeta.generation of type int64')),
    Row("POST /api/v1/namespaces", 201, body={"metadata": {"name": "new"}}, has={"metadata.generation": KeyError}),
    # Go's zero values and moments in UTC
    Row(ACCOUNTS, 201, body={"metadata": {"name": "a"}, "imagePullSecrets": [None]}, has={"imagePullSecrets": [{}]}),
    Row(f"POST {EVENTS}", 201, body={**AN_EVENT, "firstTimestamp": "2026-01-01T00:00:00+02:00"}, has={"firstTimestamp": "2025-12-31T22:00:00Z"}),
    Row(f"POST {EVENTS}", 201, body={**AN_EVENT, "firstTimestamp": "2026-01-01T00:00:00.123456Z"}, has={"firstTimestamp": "2026-01-01T00:00:00Z"}),
    Row(f"POST {EVENTS}", 201, body={**AN_EVENT, "related": {"kind": "Pod", "name": "x"}}, has={"metadata.managedFields.0.fieldsV1.f:related": {}}),
    Row(f"POST {NODES}", 201, body={**node("x"), "spec": {**node("x")["spec"], "unschedulable": False}}, has={"spec.unschedulable": KeyError}),
    # What says nothing is written all the same
    Row(f"POST {EVENTS}", 201, body={**AN_EVENT, "series": {"count": 1}}, has={"source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": None, "reportingComponent": "", "reportingInstance": "", "series": {"count": 1, "lastObservedTime": None}, "metadata.managedFields.0.fieldsV1": {"f:involvedObject": {}, "f:series": {".": {}, "f:count": {}, "f:lastObservedTime": {}}}}),
    Row("POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", 201, body={"metadata": {"name": "a"}}, has={"rules": None, "metadata.managedFields": KeyError}),
    Row(f"POST {NODES}", 201, body={**node("x"), "status": {"addresses": [{"type": "Hostname", "address": "x"}], "conditions": [{"type": "Ready", "status": "True"}]}}, has={"status.addresses": [{"type": "Hostname", "address": "x"}], "status.conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": None, "lastTransitionTime": None}], "status.daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "status.nodeInfo.machineID": ""}),
    Row(ACCOUNTS, 201, body={"metadata": {"name": "a", "generation": 7}}, has={"metadata.generation": 7}),
    # What a ClusterRole is put together of is chosen by labels
    aggregated({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}, 'matchExpressions[0].operator: Invalid value: "Gt": not a valid selector operator'),
    aggregated({"matchExpressions": [{"key": "a", "operator": "NotIn"}]}, "matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
    aggregated({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}, "matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
    aggregated({"matchExpressions": [{"key": "a b", "operator": "Exists"}]}, 'matchExpressions[0].key: Invalid value: "a b": name part must consist of alphanumeric characters…'),
    aggregated({"matchLabels": {"a": "x" * 64}}, f'matchLabels: Invalid value: "{"x" * 64}": must be no more than 63 bytes'),
    Row(f"POST {CLUSTER_ROLES}?dryRun=All", 201, body=aggregating({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]})),
    Row("POST /api/v1/namespaces/default/serviceaccounts", 201, body={"metadata": {"name": "new"}, "secrets": [{"name": "x", "kind": "Secret", "namespace": "y"}]}, has={"secrets": [{"name": "x"}]}),
    Row(f"POST {MACHINES}", body=named(machine("new"), managedFields=[{"manager": 5}]), **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: json: cannot unmarshal number into Go struct field ManagedFieldsEntry.managedFields.manager of type string')),
    Row(f"POST {MACHINES}", body=named(machine("new"), managedFields=[{"operation": []}]), **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: json: cannot unmarshal array into Go struct field ManagedFieldsEntry.managedFields.operation of type v1.ManagedFieldsOperationType')),
    Row(f"POST {NODES}", body=named(node("new"), managedFields=[5]), **bad('Node in version "v1" cannot be handled as a Node: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.managedFields of type v1.ManagedFieldsEntry')),
    Row("POST /api/v1/namespaces", 201, body={"metadata": {"name": "a"}}, has={"spec.finalizers": ["kubernetes"], "metadata.managedFields.0.fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}}}),
    # A list with nothing in it is somebody's, and read back as none
    Row(f"POST {ROLES}", 201, body={"metadata": {"name": "a"}, "rules": []}, has={"rules": None, "metadata.managedFields.0.fieldsV1": {"f:rules": {}}}),
    Row(f"PATCH {ROLES}/a?fieldManager=other", body={"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "a"}, "rules": []}, type=APPLY, after=[Row(f"POST {ROLES}", 201, body={"metadata": {"name": "a"}, "rules": []})], **refused(409, "Conflict", f'Apply failed with 1 conflict: conflict with "tests" using {RBAC}: .rules')),
    Row(f"PATCH {ROLES}/a?fieldManager=other", 201, body={"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "a"}, "rules": []}, type=APPLY, has={"rules": None, "metadata.managedFields.0.fieldsV1": {"f:rules": {}}}),
    # Numbers: to Go's types 3.0 is none that is whole, to schemas it is; what is too large is none at all
    Row(ACCOUNTS, body='{"metadata":{"name":"a","generation":3.0}}', **bad('ServiceAccount in version "v1" cannot be handled as a ServiceAccount: json: cannot unmarshal number 3.0 into Go struct field ObjectMeta.metadata.generation of type int64')),
    Row(f"POST {EVENTS}", body={**AN_EVENT, "count": 1.0}, **bad('Event in version "v1" cannot be handled as a Event: json: cannot unmarshal number 1.0 into Go struct field Event.count of type int32')),
    Row(ACCOUNTS, 201, body='{"metadata":{"name":"a","generation":-0}}', has={"metadata.generation": KeyError}),
    Row(f"POST {MIGRATIONS}", body=migration("new", backoffLimit=1000.5), **no_whole("1000.5")),
    Row(f"POST {MIGRATIONS}", body=migration("new", backoffLimit=2**63), **no_whole("9.223372036854776e+18")),
    Row(f"POST {MIGRATIONS}", body=json.dumps(migration("new", backoffLimit=7)).replace("7", "1e999"), **bad('Migration in version "v1alpha1" cannot be handled as a Migration: json: cannot unmarshal number 1e999 into Go value of type float64')),
    Row(f"POST {MIGRATIONS}", body="", type=YAML, **unrecognized("Object 'Kind' is missing in ''", "<empty>", "Migration")),
    # YAML has more words for true and more ways to write a number than JSON
    Row(ACCOUNTS, 201, body="{metadata: {name: a, generation: 0x1F}, automountServiceAccountToken: yes}", type=YAML, has={"automountServiceAccountToken": True, "metadata.generation": 31}),
    Row(ACCOUNTS, 201, body="{metadata: {name: a, annotations: {on: 1e999, 1.50: 2001-01-01}}}", type=YAML, has={"metadata.annotations": {"true": "1e999", "1.5": "2001-01-01"}}),
    Row(ACCOUNTS, body="{metadata: {name: a, annotations: {a: no}}}", type=YAML, **bad('ServiceAccount in version "v1" cannot be handled as a ServiceAccount: json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.annotations of type string')),
    Row(ACCOUNTS, body="{metadata: {name: a, generation: .inf}}", type=YAML, **bad("the object provided is unrecognized (must be of type ServiceAccount): json: unsupported value: +Inf ({metadata: {name: a, generatio ...)")),
    Row(f"{ACCOUNTS}?fieldValidation=Strict", body="{metadata: {name: a, annotations: {yes: x, on: x}}}", type=YAML, **bad('ServiceAccount in version "v1" cannot be handled as a ServiceAccount: strict decoding error: yaml: unmarshal errors:\n  line 1: key true already set in map')),
    # What cannot be read is told before what is not known, and nothing is warned of beside it
    Row(ACCOUNTS, body='{"metadata": {"name": "a"}, "nosuch": 1, "secrets": 5}', **bad('ServiceAccount in version "v1" cannot be handled as a ServiceAccount: json: cannot unmarshal number into Go struct field ServiceAccount.secrets of type []v1.ObjectReference'), warns=[]),
    Row(f"{ACCOUNTS}?fieldValidation=Strict", body='{"metadata": {"name": "a"}, "nosuch": 1, "secrets": 5}', **bad('ServiceAccount in version "v1" cannot be handled as a ServiceAccount: json: cannot unmarshal number into Go struct field ServiceAccount.secrets of type []v1.ObjectReference')),
    Row(ACCOUNTS, body={"metadata": {"name": "a", "generation": -5}}, **refused(422, "Invalid", 'ServiceAccount "a" is invalid: metadata.generation: Invalid value: -5: must be greater than or equal to 0')),
    Row(ACCOUNTS, body="# nothing", type=YAML, **refused(422, "Invalid", 'ServiceAccount "" is invalid: metadata.name: Required value: name or generateName is required')),
    # Quantities are written in one way, and what can be allocated is what there is, unless it is said
    Row(f"POST {NODES}", 201, body={**node("x"), "status": {"capacity": {"cpu": "2000m", "memory": "1024Ki", "pods": 110}}}, has={"status.capacity": {"cpu": "2", "memory": "1Mi", "pods": "110"}, "status.allocatable": {"cpu": "2", "memory": "1Mi", "pods": "110"}}),
    Row(f"POST {NODES}", body={**node("x"), "status": {"capacity": {"cpu": "4X"}}}, **bad(f'Node in version "v1" cannot be handled as a Node: {NO_QUANTITY}')),
    Row(f"POST {NODES}", body={**node("x"), "status": {"capacity": {"cpu": True}}}, **bad(f'Node in version "v1" cannot be handled as a Node: {NO_QUANTITY}')),
    Row(f"POST {NODES}", body={**node("x"), "status": {"capacity": {"cpu": "-1", "pods": "0.5", "a.b/c": "0.1", "memory": "1.5"}}}, **refused(422, "Invalid", 'Node "x" is invalid: [status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0, status.capacity.pods: Invalid value: "500m": must be an integer, status.capacity.a.b/c: Invalid value: "100m": must be an integer, …')),
    # A Node's networks of pods
    Row(f"POST {NODES}", 201, body={**node("x"), "spec": {**node("x")["spec"], "podCIDR": "10.0.0.0/24"}}, has={"spec.podCIDR": "10.0.0.0/24", "spec.podCIDRs": ["10.0.0.0/24"], "metadata.managedFields.0.fieldsV1.f:spec": {"f:podCIDR": {}, "f:podCIDRs": {".": {}, 'v:"10.0.0.0/24"': {}}, "f:providerID": {}}}),
    Row(f"POST {NODES}", 201, body={**node("x"), "spec": {**node("x")["spec"], "podCIDRs": ["10.0.0.0/24", "fd00::/64"]}}, has={"spec.podCIDR": "10.0.0.0/24"}),
    Row(f"POST {NODES}", 201, body={**node("x"), "spec": {**node("x")["spec"], "podCIDR": "10.0.0.0/24", "podCIDRs": ["10.1.0.0/24"]}}, has={"spec.podCIDRs": ["10.0.0.0/24"]}),
    Row(f"POST {NODES}", 201, body={**node("x"), "spec": {**node("x")["spec"], "podCIDR": ""}}, has={"spec.podCIDR": KeyError}),
    Row(f"POST {NODES}", body={**node("x"), "spec": {**node("x")["spec"], "podCIDR": "x"}}, **refused(422, "Invalid", 'Node "x" is invalid: spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)')),
    Row(f"POST {NODES}", body={**node("x"), "spec": {**node("x")["spec"], "podCIDR": "10.0.0.1/24"}}, **refused(422, "Invalid", 'Node "x" is invalid: spec.podCIDRs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length')),
    Row(f"POST {NODES}", body={**node("x"), "spec": {**node("x")["spec"], "podCIDRs": ["10.0.0.0/24", "10.1.0.0/24"]}}, **refused(422, "Invalid", 'Node "x" is invalid: spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more than one CIDR for each IP family')),
    # Times to the microsecond, and numbers of 32 bits
    Row(f"POST {EVENTS}", body={**AN_EVENT, "eventTime": "2026-01-01T00:00:00Z"}, **bad('Event in version "v1" cannot be handled as a Event: parsing time "2026-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000"')),
    Row(f"POST {EVENTS}", body={**AN_EVENT, "series": {"lastObservedTime": "2026-01-01T00:00:00.1234567Z"}}, **bad('Event in version "v1" cannot be handled as a Event: parsing time "2026-01-01T00:00:00.1234567Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "7Z" as "Z07:00"')),
    Row(f"POST {EVENTS}", 201, body={**AN_EVENT, "series": {"lastObservedTime": "2026-01-01T00:00:00.123456+02:00"}}, has={"series.lastObservedTime": "2025-12-31T22:00:00.123456Z"}),
    Row(f"POST {EVENTS}", body={**AN_EVENT, "count": 2**40}, **bad('Event in version "v1" cannot be handled as a Event: json: cannot unmarshal number 1099511627776 into Go struct field Event.count of type int32')),
    # What else kube-apiserver knows, by letters of any case
    Row(ACCOUNTS, body={"kind": "List", "apiVersion": "v1"}, **bad('List in version "v1" cannot be handled as a ServiceAccount: converting (v1.List) to (core.ServiceAccount): unknown conversion')),
    Row(ACCOUNTS, body={"KIND": "Role", "apiversion": "x/v1"}, **bad('Role in version "v1" cannot be handled as a ServiceAccount: no kind "Role" is registered for version "x/v1" in scheme "pkg/api/legacyscheme/scheme.go:30"')),
    Row(BINDINGS, body={"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1"}, **bad('Role in version "v1" cannot be handled as a RoleBinding: converting (v1.Role) to (rbac.RoleBinding): unknown conversion')),
    # Half characters are whole ones to Go
    Row(ACCOUNTS, 201, body=b'{"metadata":{"name":"a","annotations":{"a":"x\xffy","b":"\\ud800z","c":"\\ud83d\\ude00"}}}', has={"metadata.annotations": {"a": "x\ufffdy", "b": "\ufffdz", "c": "\U0001f600"}}),
    # Bindings
    Row(BINDINGS, body=bound(roleRef={}), **binding('roleRef.kind: Unsupported value: "": supported values: "Role", "ClusterRole"', "roleRef.name: Required value")),
    Row(BINDINGS, body=bound(), **binding('roleRef.kind: Unsupported value: "": supported values: "Role", "ClusterRole"', "roleRef.name: Required value")),
    Row(BINDINGS, body=bound(roleRef={"kind": "Role", "name": "a/b"}), **binding("roleRef.name: Invalid value: \"a/b\": may not contain '/'")),
    Row(BINDINGS, body=bound(roleRef={"kind": "Role", "name": "a"}, subjects=[{}]), **binding("subjects[0].name: Required value", 'subjects[0].kind: Unsupported value: "": supported values: "ServiceAccount", "User", "Group"')),
    # Owners
    Row(ACCOUNTS, body={"metadata": {"name": "a", "ownerReferences": [{"apiVersion": "a/b/c", "kind": "Pod", "name": "x", "uid": "u"}]}}, **refused(422, "Invalid", 'ServiceAccount "a" is invalid: metadata.ownerReferences.apiVersion: Invalid value: "a/b/c": version must not be empty')),
    # What is unknown to Go may come twice
    Row(ACCOUNTS, 201, body='{"metadata":{"name":"a","name":"a"},"nosuch":{"a":1,"a":2},"nosuch":3}', warns=['duplicate field "metadata.name"', 'unknown field "nosuch"']),
    # Who is refused is warned all the same
    Row(f"POST {MACHINES}", body={**machine("vm0"), "nosuch": 1}, **exists(VM, "vm0"), warns=['unknown field "nosuch"']),
    Row(ACCOUNTS, code=422, body={"metadata": {"name": "A"}, "nosuch": 1}, warns=['unknown field "nosuch"']),
]  # fmt: skip
