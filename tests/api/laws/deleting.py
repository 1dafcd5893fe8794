# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 2.6: delete and deletecollection, their options, preconditions and finalizers."""

from __future__ import annotations

from typing import Any

from tests.api.builders import KV, MACHINES, MIGRATIONS, NODES, PODS
from tests.api.laws.row import MERGE, Row, absent, bad, no_vm, option, refused

TM = f"{MACHINES}/vm0"
N0 = f"{NODES}/node0"
LEAVING = f"{KV}/namespaces/leaving/virtualmachines"
GONE: dict[str, Any] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "details": {"name": "node0", "kind": "nodes", "uid": "<node0.uid>"},
}
VM = "VirtualMachine.kubevirt.io"
PROPAGATIONS = 'supported values: "Foreground", "Background", "Orphan", "nil"'


def gone(**more: Any) -> Row:
    return Row(f"DELETE {N0}", has={"status": "Success", "details.uid": "<node0.uid>"}, **more)


def fails(name: str, why: str) -> dict[str, Any]:
    return refused(409, "Conflict", f"Operation cannot be fulfilled on {name}: {why}")


OTHER_UID = "the UID in the precondition (A) does not match the UID in record (<vm0.uid>). The object might have been deleted and then recreated"
OTHER_VERSION = "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (<vm0.rv>). The object might have been modified"
NOT_BOTH = 'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set'

ROWS = [
    Row(f"DELETE {N0}", has={name: value for name, value in GONE.items() if name != "details"} | {"details.name": "node0", "details.kind": "nodes", "details.uid": "<node0.uid>", "details.group": KeyError}),
    gone(body={}), gone(body={"propagationPolicy": "Background"}), gone(body={"kind": "DeleteOptions", "apiVersion": "v1"}), gone(body={"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}),
    gone(body={"kind": "DeleteOptions", "apiVersion": "kubevirt.io/v1alpha1"}), gone(body={"gracePeriodSeconds": 0}), gone(body="propagationPolicy: Background\n", type="application/yaml"),
    gone(body={"preconditions": {"uid": "<node0.uid>", "resourceVersion": "<node0.rv>"}}),
    Row(f"DELETE {MACHINES}/vm0", after=[Row(f"PATCH {TM}", body={"metadata": {"finalizers": None}}, type=MERGE)], has={"status": "Success", "details.group": "kubevirt.io", "details.kind": "virtualmachines"}),
    Row(f"DELETE {NODES}/nope", **absent("nodes", "nope")),
    Row(f"DELETE {MACHINES}/nope", **no_vm("nope")),
    Row(f"DELETE {PODS}/pod0", code=403, reason="Forbidden"),
    Row(f"DELETE {PODS}/pod0", after=[Row(f"PATCH {PODS}/pod0/status", body={"status": {"phase": "Succeeded"}}, type=MERGE)], has={"kind": "Pod", "metadata.name": "pod0"}),
    # With finalizers
    Row(f"DELETE {TM}", has={"kind": "VirtualMachine", "metadata.deletionGracePeriodSeconds": 0, "metadata.generation": 2}),
    Row(f"DELETE {TM}", after=[Row(f"DELETE {TM}")], has={"kind": "VirtualMachine", "metadata.generation": 2}),
    Row(f"DELETE {TM}", 202, body={"orphanDependents": False}, has={"kind": "VirtualMachine"}),
    Row(f"DELETE {TM}?orphanDependents=false", 202),
    Row(f"DELETE {TM}", body={"gracePeriodSeconds": 30}, has={"metadata.deletionGracePeriodSeconds": 0}),
    Row(f"DELETE {MIGRATIONS}/keep", has={"kind": "Migration", "metadata.finalizers": ["kubevirt.io/migration"]}),
    # Propagation
    Row(f"DELETE {N0}", body={"propagationPolicy": "Foreground"}, has={"kind": "Node", "metadata.finalizers": ["foregroundDeletion"], "metadata.deletionGracePeriodSeconds": 0}),
    Row(f"DELETE {N0}?propagationPolicy=Orphan", has={"kind": "Node", "metadata.finalizers": ["orphan"]}),
    Row(f"DELETE {N0}?orphanDependents=true", has={"kind": "Node", "metadata.finalizers": ["orphan"]}),
    Row(f"DELETE {N0}?propagationPolicy=Orphan", body={"propagationPolicy": "Background"}, has={"status": "Success"}),
    Row(f"DELETE {N0}?propagationPolicy=Sideways", **option("propagationPolicy", f'Unsupported value: "Sideways": {PROPAGATIONS}', "DeleteOptions")),
    Row(f"DELETE {N0}", body={"propagationPolicy": "Orphan", "orphanDependents": True}, code=422, says=f'DeleteOptions.meta.k8s.io "" is invalid: {NOT_BOTH}'),
    # Preconditions
    Row(f"DELETE {TM}", body={"preconditions": {"uid": "A"}}, **fails(f'{VM} "vm0"', OTHER_UID), has={"details": {"name": "vm0", "group": "kubevirt.io", "kind": "VirtualMachine"}}),
    Row(f"DELETE {TM}", body={"preconditions": {"resourceVersion": "1"}}, **fails(f'{VM} "vm0"', OTHER_VERSION)),
    Row(f"DELETE {N0}", body={"preconditions": {"uid": "A"}}, code=409, says='Operation cannot be fulfilled on Node "node0": the UID in the precondition (A) does not match the UID in record (<node0.uid>). The object might have been deleted and then recreated'),
    Row(f"DELETE {N0}?uid=A", code=409, says='Operation cannot be fulfilled on Node "node0": …'),
    Row(f"DELETE {TM}?resourceVersion=1", **fails(f'{VM} "vm0"', OTHER_VERSION)),
    Row(f"DELETE {TM}?resourceVersion=<vm0.rv>&uid=<vm0.uid>", has={"kind": "VirtualMachine"}),
    Row("DELETE /api/v1/namespaces/default", body={"preconditions": {"uid": "A"}}, code=403),
    Row("DELETE /api/v1/namespaces/n", after=[Row("POST /api/v1/namespaces", body={"metadata": {"name": "n"}})], body={"preconditions": {"uid": "A"}}, code=409, says='Operation cannot be fulfilled on namespaces "n": Precondition failed: UID in precondition: A, UID in object meta: …', has={"details.kind": "namespaces"}),
    Row("DELETE /api/v1/namespaces/n", after=[Row("POST /api/v1/namespaces", body={"metadata": {"name": "n"}}), Row("DELETE /api/v1/namespaces/n")], body={"propagationPolicy": "Foreground"}, has={"status.phase": "Terminating", "metadata.finalizers": KeyError}),
    # Dry run, from the body alone when there is one
    Row(f"DELETE {N0}?dryRun=All", has={"status": "Success"}),
    Row(f"GET {N0}", after=[Row(f"DELETE {N0}?dryRun=All"), Row(f"DELETE {N0}", body={"dryRun": ["All"]})], has={"metadata.name": "node0"}),
    Row(f"GET {N0}", after=[Row(f"DELETE {N0}?dryRun=All", body={})], **absent("nodes", "node0")),
    Row(f"DELETE {N0}?propagationPolicy=Orphan&dryRun=All", has={"kind": "Node", "metadata.finalizers": ["orphan"]}),
    # Bodies
    Row(f"DELETE {N0}", body="{bad", **bad("couldn't get version/kind; json parse error: invalid character 'b' looking for beginning of object key string")),
    Row(f"DELETE {N0}", body={"preconditions": "A"}, **bad("json: cannot unmarshal string into Go struct field DeleteOptions.preconditions of type v1.Preconditions")),
    Row(f"DELETE {N0}", body={"gracePeriodSeconds": "x"}, **bad("json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64")),
    Row(f"DELETE {N0}", body={"kind": "X", "apiVersion": "a/b/c"}, **bad("unexpected GroupVersion string: a/b/c")),
    Row(f"DELETE {N0}", body={"kind": 5}, **bad("couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string")),
    Row(f"DELETE {N0}", body={"kind": "Foo", "apiVersion": "v1"}, code=400, says='no kind "Foo" is registered for version "v1"…'),
    Row(f"DELETE {N0}?gracePeriodSeconds=x", **bad('strconv.ParseInt: parsing "x": invalid syntax')),
    # Collections
    Row(f"DELETE {MACHINES}", has={"kind": "VirtualMachineList", "items.0.metadata.name": "vm0", "items.0.metadata.deletionTimestamp": KeyError, "items.1.metadata.name": "vm1"}),
    Row(f"DELETE {MACHINES}?labelSelector=tier%3Da", has={"items.0.metadata.name": "vm0", "items.1": KeyError}),
    Row(f"DELETE {MACHINES}?fieldSelector=metadata.name%3Dvm1", has={"items.0.metadata.name": "vm1", "items.1": KeyError}),
    Row(f"DELETE {MACHINES}?limit=1", has={"items.0.metadata.name": "vm0", "items.1": KeyError}),
    Row(f"DELETE {NODES}", body={"propagationPolicy": "Background"}, has={"kind": "NodeList", "items.0.metadata.name": "node0"}),
    Row(f"GET {NODES}", after=[Row(f"DELETE {NODES}?dryRun=All")], has={"items.0.metadata.name": "node0"}),
    Row(f"GET {NODES}", after=[Row(f"DELETE {NODES}")], has={"items": []}),
    Row(f"DELETE {MACHINES}?dryRun=All&propagationPolicy=Foreground", has={"kind": "VirtualMachineList"}),
    Row(f"DELETE {MACHINES}?limit=abc", **bad('strconv.ParseInt: parsing "abc": invalid syntax')),
    Row(f"DELETE {MACHINES}?fieldSelector=x%3D1", body="{bad", **bad("field label not supported: x")),
    Row(f"DELETE {MACHINES}?dryRun=Foo", **option("dryRun", 'Unsupported value: ["Foo"]: supported values: "All"', "DeleteOptions")),
    # Namespaces
    Row("DELETE /api/v1/namespaces/leaving", has={"kind": "Namespace", "status.phase": "Terminating", "spec.finalizers": ["kubernetes"], "metadata.deletionGracePeriodSeconds": KeyError}),
    Row("DELETE /api/v1/namespaces/leaving?dryRun=All", has={"kind": "Namespace", "status.phase": "Terminating"}),
    Row("GET /api/v1/namespaces/leaving", after=[Row("DELETE /api/v1/namespaces/leaving?dryRun=All")], has={"status.phase": "Active"}),
    Row("DELETE /api/v1/namespaces/default", **refused(403, "Forbidden", 'namespaces "default" is forbidden: this namespace may not be deleted'), has={"details": {"name": "default", "kind": "namespaces"}}),
    Row("DELETE /api/v1/namespaces/nope", **absent("namespaces", "nope")),
    Row(f"DELETE {TM}?propagationPolicy=", **option("propagationPolicy", f'Unsupported value: "": {PROPAGATIONS}', "DeleteOptions")),
    Row(f"DELETE {TM}?gracePeriodSeconds=", **bad('strconv.ParseInt: parsing "": invalid syntax')),
    Row(f"DELETE {TM}", body={"kind": "Status", "apiVersion": "v1"}, **bad("converting (v1.Status) to (v1.DeleteOptions): unknown conversion")),
    Row(f"DELETE {TM}", body={"gracePeriodSeconds": 1.5}, **bad("json: cannot unmarshal number 1.5 into Go struct field DeleteOptions.gracePeriodSeconds of type int64")),
    Row("DELETE /api/v1/namespaces/default/serviceaccounts/a", after=[Row("POST /api/v1/namespaces/default/serviceaccounts", body={"metadata": {"name": "a"}})], has={"kind": "ServiceAccount", "metadata.name": "a"}),
    Row("DELETE /api/v1/namespaces/default/serviceaccounts/a?orphanDependents=false", after=[Row("POST /api/v1/namespaces/default/serviceaccounts", body={"metadata": {"name": "a"}})], has={"kind": "ServiceAccount"}),
]  # fmt: skip
