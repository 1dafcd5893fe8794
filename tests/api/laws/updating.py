# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 2.4: update, of custom resources and of core kinds, and the status apart."""

from __future__ import annotations

from typing import Any

from tests.api.builders import KV, MACHINES, NODES, labelled, machine, node
from tests.api.laws.row import MERGE, Row, absent, bad, no_vm, outdated, refused, vm_is

TM = f"{MACHINES}/vm0"
N0 = f"{NODES}/node0"
LEAVING = f"{KV}/namespaces/leaving/virtualmachines"
VM = "virtualmachines.kubevirt.io"
NEEDED = f'{VM} "vm0" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update'
OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"
OTHER = "11111111-1111-4111-8111-111111111111"


def vm(status: Any = None, **metadata: Any) -> dict[str, Any]:
    """What is stored as vm0, with more metadata."""
    document = {
        **machine("vm0"),
        "metadata": {"name": "vm0", "labels": {"tier": "a"}, "resourceVersion": "<vm0.rv>", **metadata},
    }
    return document if status is None else {**document, "status": status}


def spec(**fields: Any) -> dict[str, Any]:
    return {**vm(), "spec": machine("vm0", **fields)["spec"]}


def status(said: dict[str, Any], *errors: str) -> Row:
    return Row(f"PATCH {TM}/status", body={"status": said}, type=MERGE, **vm_is("vm0", *errors))


ROWS = [
    Row(f"PUT {TM}", body=vm(labels={"a": "b"}), has={"metadata.labels": {"a": "b"}, "metadata.generation": 1, "metadata.uid": "<vm0.uid>"}),
    Row(f"PUT {TM}", body=spec(nodeSelector={"a": "b"}), has={"spec.nodeSelector": {"a": "b"}, "metadata.generation": 2}),
    Row(f"PUT {TM}", body=vm(), has={"metadata.resourceVersion": "<vm0.rv>", "metadata.generation": 1}),
    Row(f"PUT {TM}?dryRun=All", body=spec(nodeSelector={"a": "b"}), has={"metadata.resourceVersion": "<vm0.rv>", "metadata.generation": 2, "spec.nodeSelector": {"a": "b"}}),
    Row(f"GET {TM}", after=[Row(f"PUT {TM}?dryRun=All", body=spec(nodeSelector={"a": "b"}))], has={"metadata.generation": 1, "spec.nodeSelector": KeyError}),
    # Checks
    Row(f"PUT {TM}", body=machine("vm0"), **refused(422, "Invalid", NEEDED), has={"details.kind": "virtualmachines"}),
    Row(f"PUT {TM}", body=vm(resourceVersion="1"), **outdated(VM, "vm0"), has={"details": {"name": "vm0", "group": "kubevirt.io", "kind": "virtualmachines"}}),
    Row(f"PUT {TM}", body=vm(resourceVersion="0"), **refused(422, "Invalid", NEEDED)),
    Row(f"PUT {N0}", body={**node(), "metadata": {"name": "node0", "resourceVersion": "0"}}, has={"kind": "Node"}),
    Row(f"PUT {TM}", body=vm(name="other"), **bad("the name of the object (other) does not match the name on the URL (vm0)")),
    Row(f"PUT {TM}", body=vm(name=""), **bad("the name of the object (vm0 based on URL) was undeterminable: name must be provided")),
    Row(f"PUT {TM}", body=vm(namespace="other"), **bad(OTHER_NAMESPACE)),
    Row(f"PUT {TM}", body=vm(namespace="other", name="x"), **bad(OTHER_NAMESPACE)),
    Row(f"PUT {TM}", body=vm(uid=OTHER), code=409, reason="Conflict", says=f'Operation cannot be fulfilled on {VM} "vm0": StorageError: invalid object, Code: 4, Key: /registry/kubevirt.io/virtualmachines/default/vm0, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {OTHER}, UID in object meta: <vm0.uid>'),
    Row(f"PUT {MACHINES}/nope", body=machine("nope"), **no_vm("nope")),
    Row(f"PUT {TM}", body={**vm(), "kind": "Foo"}, code=422, says='Foo.kubevirt.io "vm0" is invalid: kind: Invalid value: "Foo": must be VirtualMachine'),
    Row(f"PUT {TM}", body={**vm(), "apiVersion": "v1"}, **bad("the API version in the data (v1) does not match the expected API version (kubevirt.io/v1alpha1)")),
    Row(f"PUT {TM}", body={"metadata": {"name": "vm0"}}, code=400, says="the object provided is unrecognized (must be of type VirtualMachine): Object 'Kind' is missing in …"),
    Row(f"PUT {TM}?fieldValidation=Strict", body=spec(bogus=1), **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: strict decoding error: unknown field "spec.bogus"')),
    Row(f"PUT {TM}", body=spec(bogus=1), has={"spec.bogus": KeyError, "metadata.resourceVersion": "<vm0.rv>"}, warns=['unknown field "spec.bogus"']),
    # What is restored, and what may not change
    Row(f"PUT {TM}", body=vm(creationTimestamp="2020-01-01T00:00:00Z", generation=9, selfLink="/x", labels={"a": "b"}), has={"metadata.generation": 1, "metadata.selfLink": TM}),
    Row(f"PUT {TM}", body=vm(deletionTimestamp="2020-01-01T00:00:00Z"), **vm_is("vm0", 'metadata.deletionTimestamp: Invalid value: "2020-01-01T00:00:00Z": field is immutable')),
    Row(f"PUT {TM}", body=vm(deletionGracePeriodSeconds=5), **vm_is("vm0", "metadata.deletionGracePeriodSeconds: Invalid value: 5: field is immutable")),
    Row(f"PUT {TM}", body=vm(generateName="x-"), has={"metadata.generateName": "x-"}),
    Row(f"PUT {TM}", body=vm(labels={"a b": "c"}), code=422, reason="Invalid", has={"details.causes.2.field": "metadata.labels", "details.causes.3": KeyError}),
    # Status
    Row(f"PUT {TM}", body=vm({"phase": "Running"}), has={"status": KeyError, "metadata.resourceVersion": "<vm0.rv>"}),
    Row(f"PUT {TM}/status", body={**vm({"phase": "Running"}, labels={"x": "y"}), "spec": {"domain": {}}}, has={"status.phase": "Running", "spec.domain.type": "qemu", "metadata.labels": {"tier": "a"}, "metadata.generation": 1}),
    Row(f"PUT {TM}/status", body=vm({"phase": "Running"}, resourceVersion="1"), **outdated(VM, "vm0")),
    Row(f"PUT {TM}/status", body={**machine("vm0"), "status": {}}, **refused(422, "Invalid", NEEDED)),
    Row(f"PUT {MACHINES}/nope/status", body=machine("nope"), **no_vm("nope")),
    Row(f"GET {TM}", after=[Row(f"PATCH {TM}/status", body={"status": {"phase": "Running"}}, type=MERGE), Row(f"PATCH {TM}", body={"metadata": {"labels": {"n": "1"}}}, type=MERGE)],
        has={"status.phase": "Running", "metadata.labels.n": "1", "metadata.generation": 1}),
    # Core kinds
    Row(f"PUT {N0}", body=labelled(node(), a="b"), has={"metadata.labels.a": "b", "metadata.generation": KeyError}),
    Row(f"PUT {N0}", body={"metadata": {"name": "node0"}, "spec": node()["spec"]}, has={"kind": "Node"}),
    Row(f"PUT {N0}", body={**labelled(node(unschedulable=None), a="b"), "status": None}, has={"metadata.labels.a": "b", "spec.unschedulable": KeyError}),
    Row(f"PUT {N0}", body={**node(), "metadata": {"name": "node0", "resourceVersion": "1"}}, **outdated("nodes", "node0")),
    Row(f"PUT {N0}?dryRun=All", body=node(unschedulable=True), has={"metadata.generation": KeyError, "spec.unschedulable": True}),
    Row(f"PUT {N0}", body=node(unschedulable="x"), **bad('Node in version "v1" cannot be handled as a Node: json: cannot unmarshal string into Go struct field NodeSpec.spec.unschedulable of type bool')),
    Row(f"PUT {NODES}/nope", body=node("nope"), **absent("nodes", "nope")),
    Row(f"PUT {N0}/status", body={**node(unschedulable=True), "status": {"capacity": {"cpu": "4"}}}, has={"status.capacity": {"cpu": "4"}, "spec.unschedulable": KeyError}),
    Row(f"PUT {KV}/nodes/node0", body={**labelled(node(), a="b"), "apiVersion": "kubevirt.io/v1alpha1"}, has={"apiVersion": "kubevirt.io/v1alpha1", "metadata.labels.a": "b"}),
    Row("PUT /api/v1/namespaces/default", body={"metadata": {"name": "default", "labels": {"a": "b"}}}, has={"metadata.labels.a": "b", "spec.finalizers": ["kubernetes"]}),
    # What is not there is made of some kinds
    # What a schema says of a status, whose fields are called by their place in it
    status({"conditions": ["x"]}, *(f"status.conditions[0]: {why}" for why in ('Invalid value: "string": conditions[0] in body must be of type object: "string"', 'Invalid value: "x": must be an object for an array of list-type map'))),
    status({"conditions": [{"type": "Ready", "status": "True"}] * 2 + [5]}, *(f"status.conditions[2]: {why}" for why in ('Invalid value: "integer": conditions[2] in body must be of type object: "integer"', "Invalid value: 5: must be an object for an array of list-type map"))),
    status({"conditions": [None]}, 'status.conditions[0]: Invalid value: "null": conditions[0] in body must be of type object: "null"'),
    status({"conditions": [{"type": "Ready", "status": "True"}] * 2}, 'status.conditions[1]: Duplicate value: {"type":"Ready"}'),
    *(status({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": value}]}, f'status.conditions[0].lastTransitionTime: Invalid value: "{shown}": conditions[0].lastTransitionTime in body must be of type date-time: "{shown}"') for value, shown in ((5, "int64"), (1.5, "float64"), (True, ""), ({}, ""), ("x", "x"))),
    status({"graphics": [{"type": "vnc", "host": "x", "port": 1.5}]}, 'status.graphics[0].port: Invalid value: "number": graphics[0].port in body must be of type integer: "number"', 'status: Invalid value: "": Checked value must be of type integer (default format) in graphics[0].port'),
    Row("PUT /api/v1/namespaces/default/events/e", 201, body={"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}}, has={"kind": "Event", "metadata.name": "e"}),
    Row("PUT /api/v1/namespaces/default/events/e", 201, body={"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "nosuch": 1}, warns=['unknown field "nosuch"']),
    Row("PUT /api/v1/namespaces/default/events/e?dryRun=All", 201, body={"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "nosuch": 1}, warns=['unknown field "nosuch"']),
    Row(f"PUT {MACHINES}/gone", body={**machine("gone"), "nosuch": 1}, **no_vm("gone"), warns=['unknown field "nosuch"']),
    Row(f"PUT {TM}", body={**vm(), "metadata": {"name": "b"}, "nosuch": 1}, **bad("the name of the object (b) does not match the name on the URL (vm0)"), warns=['unknown field "nosuch"']),
    Row(f"PUT {TM}", body={"apiVersion": "kubevirt.io/v1alpha1", "kind": "Thing"}, **bad("the name of the object (vm0 based on URL) was undeterminable: name must be provided")),
    Row(f"PUT {TM}", body={**vm(), "kind": "Thing"}, **refused(422, "Invalid", 'Thing.kubevirt.io "vm0" is invalid: kind: Invalid value: "Thing": must be VirtualMachine')),
    Row("PUT /api/v1/namespaces/default/events/e", body={"metadata": {"name": "f"}, "involvedObject": {"namespace": "default"}}, **bad("the name of the object (f) does not match the name on the URL (e)")),
    Row("PUT /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/r", 201, body={"metadata": {"name": "r"}, "rules": []}, has={"kind": "Role"}),
    Row("PUT /apis/rbac.authorization.k8s.io/v1/clusterroles/r", 201, body={"metadata": {"name": "r"}, "rules": []}, has={"kind": "ClusterRole"}),
    Row(f"PUT {TM}?force=true", body=vm(labels={"a": "b"}), has={"metadata.labels": {"a": "b"}}),
    # A deletion that has begun is not put off
    Row(f"PATCH {LEAVING}/going", body={"metadata": {"deletionTimestamp": "2099-01-01T00:00:00Z"}}, type=MERGE, has={"metadata.name": "going"}),
    Row(f"PUT {N0}x", body={}, **bad("the name of the object (node0x based on URL) was undeterminable: name must be provided")),
    Row(f"PATCH {TM}", body={"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}] * 2}}, type=MERGE,
        warns=[".metadata.ownerReferences contains duplicate entries after mutating admission happens; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u"]),
    Row(f"PATCH {N0}", body={"spec": {"taints": [{"key": "a", "effect": "Foo"}]}}, type=MERGE, code=422, has={"details.causes.1.field": "metadata.taints[0].effect", "details.causes.2": KeyError}),
    # A core kind's metadata is looked at four times, a custom resource's three times
    Row(f"PATCH {N0}", body={"metadata": {"labels": {"a": "é"}}}, type=MERGE, code=422, has={"details.causes.3.field": "metadata.labels", "details.causes.4": KeyError}),
    Row(f"PATCH {TM}", body={"metadata": {"labels": {"a": "é"}}}, type=MERGE, code=422, has={"details.causes.2.field": "metadata.labels", "details.causes.3": KeyError}),
    Row("PATCH /api/v1/namespaces/default/status", body={"status": {"phase": "Terminating"}}, type=MERGE, **refused(422, "Invalid", "Namespace \"default\" is invalid: status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty")),
    Row("PATCH /api/v1/namespaces/default/serviceaccounts/a", after=[Row("POST /api/v1/namespaces/default/serviceaccounts", body={"metadata": {"name": "a"}})], body={"metadata": {"finalizers": ["a"]}}, type=MERGE, code=422, has={"details.causes.1.field": "metadata.finalizers[0]", "details.causes.2": KeyError}),
]  # fmt: skip
