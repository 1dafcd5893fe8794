# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 5: Table and PartialObjectMetadata, on every verb."""

from __future__ import annotations

from tests.api.builders import MACHINES, NODES, PODS, machine
from tests.api.laws.row import KUBECTL_PRINTS, MERGE, PARTIAL, PARTIALS, TABLE, UNACCEPTABLE, YAML, Row, bad, refused

TM = f"{MACHINES}/vm0"
NOT_LIST = "you requested PartialObjectMetadata, but the requested object is a list "
NOT_ITEM = "you requested PartialObjectMetadataList, but the requested object is not a list "
META = "PartialObjectMetadata"

EVENTS = "/api/v1/namespaces/default/events"
AN_EVENT = Row(f"POST {EVENTS}", body={"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}})

ROWS = [
    Row(f"GET {MACHINES}", accept=KUBECTL_PRINTS, headers={"content-type": "application/json"},
        has={"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata.resourceVersion": "<rv>", "rows.0.cells.0": "vm0", "rows.1.cells.0": "vm1", "rows.0.object.kind": META, "rows.0.object.apiVersion": "meta.k8s.io/v1",
             "rows.0.object.metadata.labels": {"tier": "a"}, "rows.0.object.spec": KeyError, "columnDefinitions.0.name": "Name", "columnDefinitions.0.format": "name", "columnDefinitions.0.type": "string", "columnDefinitions.0.priority": 0}),
    Row(f"GET {MACHINES}?limit=1", accept=TABLE, has={"metadata.remainingItemCount": 1, "metadata.continue": "<continue>", "rows.1": KeyError}),
    Row(f"GET {TM}", accept=TABLE, has={"kind": "Table", "metadata.resourceVersion": "<vm0.rv>", "rows.0.cells.0": "vm0", "rows.1": KeyError}),
    Row(f"GET {TM}/status", accept=TABLE, has={"kind": "Table"}),
    Row(f"GET {EVENTS}/e", after=[AN_EVENT], accept=TABLE, has={"rows.0.cells.1": "", "rows.0.cells.2": ""}),
    Row("GET /apis/rbac.authorization.k8s.io/v1/clusterroles", accept=PARTIAL, **refused(406, "NotAcceptable", "you requested PartialObjectMetadata, but the requested object is a list (*rbac.ClusterRoleList)")),
    Row("GET /apis/rbac.authorization.k8s.io/v1/clusterroles", accept=TABLE, has={"columnDefinitions.1.name": "Created At", "columnDefinitions.1.type": "date"}),
    Row(f"GET {TM}?includeObject=None", accept=TABLE, has={"rows.0.object": None}),
    Row(f"GET {TM}?includeObject=Metadata", accept=TABLE, has={"rows.0.object.kind": META}),
    Row(f"GET {TM}?includeObject=Object", accept=TABLE, has={"rows.0.object.kind": "VirtualMachine", "rows.0.object.spec.domain.type": "qemu"}),
    Row(f"GET {TM}?includeObject=All", accept=TABLE, **bad("Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty")),
    Row(f"GET {TM}?includeObject=All", has={"kind": "VirtualMachine"}),
    Row(f"GET {TM}", accept=TABLE.replace("v=v1", "v=v1beta1"), has={"apiVersion": "meta.k8s.io/v1beta1", "rows.0.object.apiVersion": "meta.k8s.io/v1beta1"}),
    Row(f"GET {TM}", accept=TABLE.replace("v=v1", "v=v2"), **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row(f"GET {TM}", accept=TABLE.replace("json", "yaml"), headers={"content-type": YAML}, text="apiVersion: meta.k8s.io/v1\n…"),
    Row(f"GET {PODS}", accept=TABLE, has={"rows.0.cells.1": "0/1", "rows.0.cells.2": "Pending", "columnDefinitions.4.name": "Age", "columnDefinitions.4.type": "string", "columnDefinitions.5.priority": 1}),
    Row(f"GET {NODES}", accept=TABLE, has={"columnDefinitions.6.name": "External-IP", "columnDefinitions.9.name": "Container-Runtime", "rows.0.cells.1": "Unknown", "rows.0.cells.4": "", "rows.0.cells.6": "<none>", "rows.0.cells.7": "<unknown>", "rows.0.cells.12": "qemu+unix:///session?socket=/tmp/node0/sock"}),
    Row(f"GET {MACHINES}", accept=TABLE, has={"columnDefinitions.4.name": "Age", "columnDefinitions.4.type": "date"}),
    Row(f"GET {MACHINES}/nope", 404, accept=TABLE, has={"kind": "Status"}),
    Row(f"POST {MACHINES}", 201, body=machine("new"), accept=TABLE, has={"kind": "Table", "rows.0.cells.0": "new"}),
    Row(f"PATCH {TM}", body={"metadata": {"labels": {"n": "1"}}}, type=MERGE, accept=TABLE, has={"kind": "Table", "rows.0.object.metadata.labels.n": "1"}),
    Row(f"PUT {TM}", body={**machine("vm0"), "metadata": {"name": "vm0", "resourceVersion": "<vm0.rv>"}}, accept=TABLE, has={"kind": "Table"}),
    Row(f"DELETE {TM}", accept=TABLE, has={"kind": "Table", "rows.0.cells.0": "vm0"}),
    Row(f"DELETE {NODES}/node0", accept=TABLE, has={"kind": "Status", "status": "Success"}),
    Row(f"DELETE {MACHINES}", accept=TABLE, has={"kind": "Table", "rows.1.cells.0": "vm1"}),
    # Metadata only
    Row(f"GET {TM}", accept=PARTIAL, has={"kind": META, "apiVersion": "meta.k8s.io/v1", "metadata.name": "vm0", "spec": KeyError, "status": KeyError}),
    Row(f"GET {MACHINES}", accept=PARTIALS, has={"kind": f"{META}List", "apiVersion": "meta.k8s.io/v1", "metadata.resourceVersion": "<rv>", "items.0.kind": META, "items.0.metadata.name": "vm0", "items.0.spec": KeyError}),
    Row(f"GET {MACHINES}", accept=PARTIAL, **refused(406, "NotAcceptable", f"{NOT_LIST}(*unstructured.UnstructuredList)")),
    Row(f"GET {NODES}", accept=PARTIAL, **refused(406, "NotAcceptable", f"{NOT_LIST}(*core.NodeList)")),
    Row(f"GET {TM}", accept=PARTIALS, **refused(406, "NotAcceptable", f"{NOT_ITEM}(*unstructured.Unstructured)")),
    Row(f"GET {MACHINES}", accept=f"{PARTIALS.replace('json', 'vnd.kubernetes.protobuf')},{PARTIALS}", has={"kind": f"{META}List"}),
    Row(f"POST {MACHINES}", 201, body=machine("new"), accept=PARTIAL, has={"kind": META, "metadata.name": "new"}),
    Row(f"PATCH {TM}", body={"metadata": {"labels": {"n": "1"}}}, type=MERGE, accept=PARTIAL, has={"kind": META, "metadata.labels.n": "1"}),
    Row(f"DELETE {TM}", accept=PARTIAL, has={"kind": META, "metadata.name": "vm0"}),
    Row(f"DELETE {NODES}/node0", accept=PARTIAL, has={"kind": "Status"}),
    Row("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body={}, accept=TABLE, **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row(f"GET {MACHINES}", accept=TABLE, has={"metadata.continue": KeyError}),
    Row(f"GET {MACHINES}", accept=PARTIALS, has={"metadata.continue": KeyError}),
    Row(f"GET {TM}", accept="*", has={"kind": "VirtualMachine"}),
    Row(f"GET {TM}", accept="application/json;as=;g=;v=", has={"kind": "VirtualMachine"}),
    Row("GET /api/v1/namespaces/default", accept="application/yaml", text="apiVersion: v1\nkind: Namespace\nmetadata:\n  creationTimestamp: \"…"),
]  # fmt: skip
