# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 4: what metadata may say, with the exact words where it may not."""

from __future__ import annotations

import json
from typing import Any

from tests.api.builders import MACHINES, NODES, machine, node
from tests.api.laws.row import Row, bad, invalid, vm_is

LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
    r"(e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
KEY = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
VALUE = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}
THREE = [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": name, "controller": True} for name in "xyz"]
"""Controllers, of which there can be one."""
DOMAIN = "to avoid accidental conflicts with other finalizer writers"
BOTH = '["orphan","foregroundDeletion","kubevirt.io/virtualmachine"]'


def with_(name: str = "new", **metadata: Any) -> Row:
    return Row(f"POST {MACHINES}", 201, body={**machine(name), "metadata": {"name": name, **metadata}})


def vm(*errors: str, name: str = "new", **metadata: Any) -> Row:
    """A create that is refused for its metadata."""
    return Row(
        f"POST {MACHINES}", body={**machine(name), "metadata": {"name": name, **metadata}}, **vm_is(name, *errors)
    )


def undecoded(why: str, **metadata: Any) -> Row:
    body = {**machine("new"), "metadata": {"name": "new", **metadata}}
    return Row(
        f"POST {MACHINES}",
        body=body,
        **bad(f'VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: {why}'),
    )


def host(*errors: str, name: str = "new", **metadata: Any) -> Row:
    listed = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return Row(
        f"POST {NODES}",
        body={**node(name), "metadata": {"name": name, **metadata}},
        **invalid(f'Node "{name}" is invalid: {listed}'),
    )


ROWS = [
    # Names: a contract of ours makes them labels for all our kinds but Namespaces' events and pods
    vm(f'metadata.name: Invalid value: "Bad_Name": {LABEL}', name="Bad_Name"),
    vm(f'metadata.name: Invalid value: "-a": {LABEL}', name="-a"),
    vm('metadata.name: Invalid value: "a.b": must not contain dots', name="a.b"),
    vm(f'metadata.name: Invalid value: "{"a" * 64}": must be no more than 63 characters', name="a" * 64),
    vm(f'metadata.name: Invalid value: "a/b": {LABEL}', name="a/b"),
    Row("POST /api/v1/namespaces", body={"metadata": {"name": "Bad"}}, **invalid(f'Namespace "Bad" is invalid: metadata.name: Invalid value: "Bad": {LABEL}')),
    Row(f"POST {MACHINES}?dryRun=All", 201, body={**machine(), "metadata": {"generateName": "x" * 70}}, has={"metadata.generateName": "x" * 70}),
    Row(f"POST {MACHINES}", body={**machine(), "metadata": {"generateName": "x" * 254}}, code=422, says=f'VirtualMachine.kubevirt.io "{"x" * 58}…'),
    Row(f"POST {MACHINES}", body={**machine(), "metadata": {"generateName": "Bad-"}}, code=422, says='VirtualMachine.kubevirt.io "Bad-…'),
    # Labels
    with_(labels={"a": "b", "a.io/b": "", "A_b.C-d": "x" * 63}),
    vm(f'metadata.labels: Invalid value: "a b": name part {KEY}', labels={"a b": "c"}),
    vm(f'metadata.labels: Invalid value: "-a": name part {KEY}', labels={"-a": "c"}),
    vm("metadata.labels: Invalid value: \"/a\": prefix part must be non-empty", labels={"/a": "c"}),
    vm('metadata.labels: Invalid value: "a/": name part must be non-empty', f'metadata.labels: Invalid value: "a/": name part {KEY}', labels={"a/": "c"}),
    vm(f'metadata.labels: Invalid value: "A/b": prefix part {SUBDOMAIN}', labels={"A/b": "c"}),
    vm(f'metadata.labels: Invalid value: "a/b/c": a valid label key {KEY} with an optional DNS subdomain prefix and \'/\' (e.g. \'example.com/MyName\')', labels={"a/b/c": "c"}),
    vm(f'metadata.labels: Invalid value: "{"a" * 64}": name part must be no more than 63 bytes', labels={"a" * 64: "c"}),
    vm(f'metadata.labels: Invalid value: "a b": {VALUE}', labels={"k": "a b"}),
    vm(f'metadata.labels: Invalid value: "{"x" * 64}": must be no more than 63 bytes', labels={"k": "x" * 64}),
    # Annotations
    with_(annotations={"A": "anything\n", "a.io/B": ""}),
    vm(f'metadata.annotations: Invalid value: "a b": name part {KEY}', annotations={"a b": "c"}),
    vm("metadata.annotations: Too long: may not be more than 262144 bytes", annotations={"a": "x" * 262_144}),
    # Finalizers
    Row(f"POST {MACHINES}", 201, body={**machine("new"), "metadata": {"name": "new", "finalizers": ["bad", "a.b", "a.io/b"]}},
        warns=[f'metadata.finalizers: "a.b": prefer a domain-qualified finalizer name including a path (/) {DOMAIN}', f'metadata.finalizers: "bad": prefer a domain-qualified finalizer name {DOMAIN}']),
    vm(f'metadata.finalizers: Invalid value: "a b": name part {KEY}', finalizers=["a b"]),
    vm(f"metadata.finalizers: Invalid value: {BOTH}: finalizer orphan and foregroundDeletion cannot be both set", finalizers=["orphan", "foregroundDeletion"]),
    host('metadata.finalizers[0]: Invalid value: "bad": name is neither a standard finalizer name nor is it fully qualified', finalizers=["bad"]),
    # Owners
    with_(ownerReferences=[OWNER, {**OWNER, "uid": "v", "controller": True}]),
    vm('metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty', ownerReferences=[{**OWNER, "apiVersion": ""}]),
    vm('metadata.ownerReferences.kind: Invalid value: "": must not be empty', ownerReferences=[{**OWNER, "kind": ""}]),
    vm('metadata.ownerReferences.name: Invalid value: "": must not be empty', ownerReferences=[{**OWNER, "name": ""}]),
    vm('metadata.ownerReferences.uid: Invalid value: "": must not be empty', ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "n"}]),
    vm(*(f'metadata.ownerReferences.{part}: Invalid value: "": {empty}' for part, empty in (("apiVersion", "version must not be empty"), ("kind", "must not be empty"), ("name", "must not be empty"), ("uid", "must not be empty"))), ownerReferences=[{}]),
    vm('metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"n","uid":"u"}: /v1, Kind=Event is disallowed from being an owner', ownerReferences=[{**OWNER, "kind": "Event"}]),
    vm('metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","kind":"Node","name":"n","uid":"u","controller":true},{"apiVersion":"v1","kind":"Node","name":"m","uid":"v","controller":true}]: '
       'Only one reference can have Controller set to true. Found "true" in references for Node/n and Node/m', ownerReferences=[{**OWNER, "controller": True}, {**OWNER, "name": "m", "uid": "v", "controller": True}]),
    Row(f"POST {MACHINES}", 201, body={**machine("new"), "metadata": {"name": "new", "ownerReferences": [OWNER, OWNER]}}, has={"metadata.ownerReferences": [OWNER]},
        warns=[".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u"]),
    # Types
    undecoded("json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string", labels={"a": 1}),
    undecoded("json: cannot unmarshal string into Go struct field ObjectMeta.labels of type map[string]string", labels="a"),
    undecoded("json: cannot unmarshal bool into Go struct field ObjectMeta.annotations of type string", annotations={"a.b/c": True}),
    undecoded("json: cannot unmarshal object into Go struct field ObjectMeta.finalizers of type []string", finalizers={"a": "b"}),
    undecoded("json: cannot unmarshal number into Go struct field ObjectMeta.finalizers of type string", finalizers=[1]),
    undecoded("json: cannot unmarshal string into Go struct field OwnerReference.ownerReferences.controller of type bool", ownerReferences=[{**OWNER, "controller": "yes"}]),
    undecoded("json: cannot unmarshal string into Go struct field ObjectMeta.generation of type int64", generation="x"),
    undecoded('parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"', creationTimestamp="x"),
    Row(f"POST {MACHINES}", body={**machine("new"), "metadata": "x"}, **bad('VirtualMachine in version "v1alpha1" cannot be handled as a VirtualMachine: json: cannot unmarshal string into Go value of type v1.ObjectMeta')),
    Row(f"POST {NODES}", body={**node("new"), "metadata": {"name": "new", "labels": {"a": 1}}}, **bad('Node in version "v1" cannot be handled as a Node: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string')),
    Row(f"POST {MACHINES}", 201, body={**machine("new"), "metadata": {"name": "new", "labels": {"a": None}, "annotations": None, "finalizers": None}}, has={"metadata.labels": {"a": ""}, "metadata.annotations": KeyError}),
    Row(f"POST {MACHINES}", 201, body={**machine("new"), "metadata": {"name": "new", "managedFields": [{"manager": "x"}]}}, has={"metadata.managedFields.0.manager": "tests"}),
    vm(f'metadata.labels: Invalid value: "{"a" * 254}/b": prefix part must be no more than 253 bytes', labels={f"{'a' * 254}/b": "c"}),
    Row(f"POST {MACHINES}", 422, body={**machine("new"), "metadata": {"name": "new", "ownerReferences": THREE}}, has={"details.causes.1.message": f'Invalid value: {json.dumps(THREE, separators=(",", ":"))}: Only one reference can have Controller set to true. Found "true" in references for Pod/x and Pod/z'}),
]  # fmt: skip
