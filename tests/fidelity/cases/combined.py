# ruff: noqa: E501 - a case stays a row
"""What two features make of one another: pages with selectors, tables of writes, dry runs that validate, applies to a status."""

from __future__ import annotations

from typing import Any

from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    APPLY,
    EVENTS,
    GROUP,
    JSON,
    JSON_PATCH,
    MADE,
    MIGS,
    NODE,
    NODES,
    PARTIAL,
    PARTIALS,
    POLICIES,
    POLICY,
    PROTOBUF,
    ROLES,
    STRATEGIC,
    TABLE,
    THREE,
    VM,
    VM_FINALIZER,
    VMS,
    YAML,
    account,
    delete,
    get,
    mig,
    node,
    patch,
    policy,
    post,
    put,
    role,
    vm,
)  # fmt: skip

STREAM = "watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
BETA = TABLE.replace("v=v1", "v=v1beta1")
PACKED = f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PACKED_LIST = f"{PROTOBUF};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
FREE = patch(VM, {"metadata": {"finalizers": None}})
WATCH = f"{VMS}?watch=1&timeoutSeconds=1"
SINCE = "&resourceVersion=$(0.metadata.resourceVersion)"
TWICE = '{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachine","metadata":{"name":"a","finalizers":["kubevirt.io/virtualmachine"],"labels":{"x":"1","x":"2"},"nosuch":1},"spec":{"domain":{"memory":{"value":64,"unit":"MB"},"type":"qemu","os":{"type":{"os":"hvm"}},"devices":{}},"nosuch":1,"nosuch":2},"more":1}'
ACCOUNT_TWICE = '{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a","labels":{"x":"1","x":"2"},"nosuch":1},"more":1,"more":2}'
CONDITION: dict[str, Any] = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}

ENTRIES: tuple[Any, ...] = (5, {"time": 5}, {"time": "x"}, {"fieldsV1": {"f:x": 5}}, {"operation": []}, {"nosuch": 1})


def applied(body: Any, query: str = "fieldManager=one", below: str = "", path: str = VM, **more: Any) -> Ask:
    identity = {"apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachine"}
    return patch(f"{path}{below}?{query}", {**identity, **body} if isinstance(body, dict) else body, APPLY, **more)


def applied_node(body: Any, query: str = "fieldManager=one", below: str = "") -> Ask:
    return patch(f"{NODE}{below}?{query}", {"apiVersion": "v1", "kind": "Node", **body}, APPLY)


PAGES = [
    Case("combined: pages of a label in a table", [*THREE, get(f"{VMS}?limit=1&labelSelector=tier%3Dx", accept=TABLE), get(f"{VMS}?limit=1&labelSelector=tier%3Dx&continue=$(3.metadata.continue)", accept=TABLE), get(f"{VMS}?limit=1&labelSelector=tier%3Dx&continue=$(3.metadata.continue)&includeObject=Object", accept=BETA)]),
    Case("combined: pages of metadata", [*THREE, get(f"{VMS}?limit=2", accept=PARTIALS), get(f"{VMS}?limit=2&continue=$(3.metadata.continue)", accept=PARTIALS), get(f"{VMS}?limit=2&continue=$(3.metadata.continue)", accept=YAML), get(f"{VMS}?limit=2&continue=$(3.metadata.continue)", accept=PACKED_LIST)]),
    Case("combined: pages that lose their next", [*THREE, get(f"{VMS}?limit=1"), patch(f"{VMS}/b", {"metadata": {"finalizers": None}}), delete(f"{VMS}/b"), get(f"{VMS}?limit=1&continue=$(3.metadata.continue)"), get(f"{VMS}?limit=1&continue=$(6.metadata.continue)"), get(VMS)]),
    Case("combined: pages of an exact version", [*THREE, get(f"{VMS}?limit=1&resourceVersion=$(1.metadata.resourceVersion)&resourceVersionMatch=Exact"), get(f"{VMS}?limit=1&continue=$(3.metadata.continue)"), get(f"{VMS}?limit=1&labelSelector=tier%3Dx&resourceVersion=$(2.metadata.resourceVersion)&resourceVersionMatch=Exact"), get(f"{VMS}?limit=1&resourceVersion=$(1.metadata.resourceVersion)&resourceVersionMatch=NotOlderThan")]),
    Case("combined: a token of another resource", [*THREE, get(f"{VMS}?limit=1"), get(f"{MIGS}?limit=1&continue=$(3.metadata.continue)")]),
    Case("combined: pages of all namespaces", [*THREE, get(f"{GROUP}/virtualmachines?limit=2&fieldSelector=metadata.namespace%3D$ns"), get(f"{GROUP}/virtualmachines?limit=3&fieldSelector=metadata.namespace%3D$ns", accept=TABLE)]),
    Case("combined: pages of a field and a label", [*THREE, get(f"{VMS}?limit=1&labelSelector=tier%3Dx&fieldSelector=metadata.name!%3Da"), get(f"{VMS}?limit=5&labelSelector=tier%3Dx&fieldSelector=metadata.name!%3Da", accept=TABLE), get(f"{VMS}?limit=1&fieldSelector=metadata.name%3Dnosuch")]),
    Case("combined: pages of typed", [*(post(ACCOUNTS, account(name, labels={"x": name})) for name in "abc"), get(f"{ACCOUNTS}?limit=2", accept=PROTOBUF), get(f"{ACCOUNTS}?limit=2"), get(f"{ACCOUNTS}?limit=2&continue=$(4.metadata.continue)", accept=TABLE), get(f"{ACCOUNTS}?limit=1&labelSelector=x+notin+(a)", accept=PARTIALS), get(f"{ACCOUNTS}?limit=1&labelSelector=x+notin+(a)", accept=PACKED_LIST)]),
    Case("combined: pages of typed that are deleted", [*(post(ACCOUNTS, account(name)) for name in "abc"), get(f"{ACCOUNTS}?limit=1"), delete(ACCOUNTS), get(f"{ACCOUNTS}?limit=1&continue=$(3.metadata.continue)"), get(ACCOUNTS)]),
    Case("combined: a token on a watch", [*THREE, get(f"{VMS}?limit=1"), get(f"{WATCH}&continue=$(3.metadata.continue)"), get(f"{WATCH}&limit=1&labelSelector=tier%3Dx")]),
    Case("combined: exact with selectors", [*THREE, patch(f"{VMS}/b", {"metadata": {"labels": {"tier": "x"}}}), get(f"{VMS}?labelSelector=tier%3Dx&resourceVersion=$(2.metadata.resourceVersion)&resourceVersionMatch=Exact"), get(f"{VMS}?labelSelector=tier%3Dx&resourceVersion=$(2.metadata.resourceVersion)&resourceVersionMatch=NotOlderThan"), get(f"{VMS}?fieldSelector=metadata.name%3Db&resourceVersion=$(2.metadata.resourceVersion)&resourceVersionMatch=Exact", accept=TABLE)]),
]  # fmt: skip

WATCHES = [
    *(Case(f"combined: a stream of one label as {accept}", [*THREE, get(f"{VMS}?{STREAM}&labelSelector=tier%3Dx", accept=accept)]) for accept in (JSON, TABLE, BETA, PARTIAL, f"{PARTIAL},{JSON}")),
    Case("combined: a stream of one name", [*THREE, get(f"{VMS}?{STREAM}&fieldSelector=metadata.name%3Db"), get(f"{VMS}?{STREAM}&fieldSelector=metadata.name%3Dnosuch"), get(f"{VMS}?{STREAM}&fieldSelector=metadata.name%3Db&resourceVersion=$(2.metadata.resourceVersion)", accept=TABLE)]),
    Case("combined: a stream of nothing", [get(f"{VMS}?{STREAM}"), get(f"{VMS}?{STREAM}", accept=TABLE), get(f"{ACCOUNTS}?{STREAM}"), get(f"{ACCOUNTS}?{STREAM}", accept=f"{PROTOBUF};stream=watch")]),
    Case("combined: a stream without bookmarks", [*THREE[:1], get(f"{VMS}?{STREAM.removesuffix('&allowWatchBookmarks=true')}"), get(f"{VMS}?{STREAM.removesuffix('true')}false")]),
    Case("combined: a stream of all namespaces", [*THREE, get(f"{GROUP}/virtualmachines?{STREAM}&fieldSelector=metadata.namespace%3D$ns")]),
    Case("combined: a stream of typed in protobuf", [post(ACCOUNTS, account()), get(f"{ACCOUNTS}?{STREAM}", accept=f"{PROTOBUF};stream=watch"), get(f"{ACCOUNTS}?{STREAM}", accept=PACKED), get(f"{ACCOUNTS}?{STREAM}", accept=f"{PACKED},{PARTIAL},{JSON}")]),
    Case("combined: a stream of metadata in protobuf", [*THREE[:1], get(f"{VMS}?{STREAM}", accept=PACKED)]),
    Case("combined: a stream of nodes", [post(NODES, node(metadata={"labels": {"of": "$id"}})), get(f"{NODES}?{STREAM}&labelSelector=of%3D$id", accept=TABLE), get(f"{NODES}?{STREAM}&labelSelector=of%3D$id&fieldSelector=spec.unschedulable%3Dtrue"), get(f"{NODES}?{STREAM}&labelSelector=of%3D$id", accept=PARTIAL)]),
    *(Case(f"combined: tables of a watch with {include}", [*THREE[:1], patch(VM, {"metadata": {"labels": {"z": "1"}}}), get(f"{WATCH}{SINCE}&includeObject={include}", accept=BETA), get(f"{VMS}?{STREAM}&includeObject={include}", accept=TABLE)]) for include in ("None", "Object")),
    Case("combined: a watch of no time", [*THREE[:1], get(f"{VMS}?watch=1&timeoutSeconds=1&timeoutSeconds=30"), get(f"{VMS}?watch=1&timeoutSeconds=01"), get(f"{VMS}?watch=true&watch=false&timeoutSeconds=1")]),
    Case("combined: a watch that is pretty", [*THREE[:1], get(f"{WATCH}&pretty=true", headers={"User-Agent": "curl/8"}), get(f"{WATCH}{SINCE}", accept=f"{JSON};pretty=1")]),
    Case("combined: a legacy watch as a table", [*THREE[:1], get(f"{GROUP}/watch/namespaces/$ns/virtualmachines?timeoutSeconds=1", accept=TABLE), get(f"{GROUP}/watch/namespaces/$ns/virtualmachines/a?timeoutSeconds=1", accept=PARTIAL), get("/api/v1/watch/namespaces/$ns/serviceaccounts?timeoutSeconds=1"), get("/api/v1/watch/namespaces/$ns?timeoutSeconds=1")]),
    Case("combined: a watch by two selectors", [*THREE, patch(VM, {"metadata": {"labels": {"tier": "y"}}}), patch(f"{VMS}/c", {"metadata": {"labels": {"tier": "y"}}}), get(f"{WATCH}{SINCE}&labelSelector=tier%3Dx&fieldSelector=metadata.name%3Dc"), get(f"{WATCH}{SINCE}&labelSelector=tier+in+(x,y)&fieldSelector=metadata.name!%3Dc", accept=PARTIAL)]),
    Case("combined: a watch of a status", [*THREE[:2], patch(f"{VM}/status", {"status": {"phase": "Running", "nodeName": "n"}}), patch(f"{VM}/status", {"status": {"phase": "Succeeded"}}), get(f"{WATCH}{SINCE}&fieldSelector=status.phase%3DRunning"), get(f"{WATCH}{SINCE}&fieldSelector=status.phase!%3DRunning,status.nodeName%3Dn", accept=TABLE)]),
    Case("combined: a watch of a name that comes again", [post(ACCOUNTS, account()), delete(f"{ACCOUNTS}/a"), post(ACCOUNTS, account("a", labels={"x": "1"})), patch(f"{ACCOUNTS}/a", {"metadata": {"labels": {"x": None}}}), get(f"{ACCOUNTS}?watch=1&timeoutSeconds=1{SINCE}"), get(f"{ACCOUNTS}?watch=1&timeoutSeconds=1{SINCE}&labelSelector=x"), get(f"{ACCOUNTS}?watch=1&timeoutSeconds=1{SINCE}", accept=f"{PROTOBUF};stream=watch"), get(f"{ACCOUNTS}?watch=1&timeoutSeconds=1{SINCE}", accept=TABLE)]),
]  # fmt: skip

DELETES = [
    Case("combined: a collection in a dry run", [*THREE, delete(f"{VMS}?labelSelector=tier%3Dx&dryRun=All", {"propagationPolicy": "Foreground"}), delete(f"{VMS}?labelSelector=tier%3Dx", {"dryRun": ["All"], "propagationPolicy": "Orphan"}), delete(f"{VMS}?fieldSelector=metadata.name%3Db", {"dryRun": ["Foo"]}), get(VMS)]),
    Case("combined: a collection in the foreground", [*THREE, delete(f"{VMS}?labelSelector=tier%3Dx", {"propagationPolicy": "Foreground"}), delete(f"{VMS}?labelSelector=tier%3Dx", {"propagationPolicy": "Orphan"}), delete(f"{VMS}?labelSelector=tier%3Dx", {"propagationPolicy": "Background"}), get(VMS)]),
    Case("combined: a collection by preconditions", [*THREE, delete(VMS, {"preconditions": {"uid": "$(0.metadata.uid)"}}), delete(f"{VMS}?fieldSelector=metadata.name%3Db", {"preconditions": {"resourceVersion": "$(1.metadata.resourceVersion)"}}), get(VMS)]),
    *(Case(f"combined: a typed collection as {accept}", [post(ACCOUNTS, account("a", labels={"x": "1"})), post(ACCOUNTS, account("b", finalizers=["x.io/y"])), delete(f"{ACCOUNTS}?dryRun=All", accept=accept), delete(ACCOUNTS, {"gracePeriodSeconds": 0}, accept=accept), get(ACCOUNTS)]) for accept in (TABLE, PARTIALS, YAML, PROTOBUF)),
    Case("combined: a collection by pages", [*THREE, get(f"{VMS}?limit=1"), delete(f"{VMS}?limit=1&continue=$(3.metadata.continue)"), delete(f"{VMS}?limit=1&labelSelector=tier%3Dx"), get(VMS)]),
    Case("combined: a collection of yaml", [*THREE[:1], delete(VMS, "propagationPolicy: Foreground\n", type=YAML), delete(VMS, "propagationPolicy: Foreground\nnosuch: 1\npropagationPolicy: Orphan\n", type=YAML), get(VMS)]),
    Case("combined: a delete that is repeated strictly", [MADE, delete(f"{VM}?fieldValidation=Strict", '{"kind":"DeleteOptions","apiVersion":"v1","nosuch":1,"gracePeriodSeconds":1,"gracePeriodSeconds":2}'), get(VM)]),
    Case("combined: a delete in a form", [post(ACCOUNTS, account("a", finalizers=["x.io/y"])), delete(f"{ACCOUNTS}/a", accept=PROTOBUF), delete(f"{ACCOUNTS}/a", accept=PACKED), delete(f"{ACCOUNTS}/a?pretty=true")]),
    Case("combined: a delete of a version", [MADE, patch(VM, {"metadata": {"labels": {"a": "b"}}}), delete(VM, {"preconditions": {"resourceVersion": "$(0.metadata.resourceVersion)"}, "dryRun": ["All"]}), delete(VM, {"preconditions": {"resourceVersion": "$(1.metadata.resourceVersion)", "uid": "$(0.metadata.uid)"}, "dryRun": ["All"]}), get(VM)]),
]  # fmt: skip

DRY = [
    *(
        Case(f"combined: dry run of repeated fields {validation}", [post(f"{VMS}?dryRun=All&fieldValidation={validation}", TWICE), post(VMS, vm()), put(f"{VM}?dryRun=All&fieldValidation={validation}", TWICE), patch(f"{VM}?dryRun=All&fieldValidation={validation}", '{"metadata":{"labels":{"x":"1","x":"2"}},"spec":{"nosuch":1}}'), patch(f"{VM}?dryRun=All&fieldManager=one&fieldValidation={validation}", TWICE.replace('"nosuch":1', '"annotations":{}', 1).replace(',"nosuch":1,"nosuch":2', "").replace(',"more":1', ""), APPLY), patch(f"{VM}?dryRun=All&fieldValidation={validation}", '[{"op":"add","op":"test","path":"/metadata/labels","value":{"q":"1"},"more":1}]', JSON_PATCH), get(VM)])
        for validation in ("Strict", "Warn", "Ignore")
    ),
    *(
        Case(f"combined: dry run of typed repeated fields {validation}", [post(f"{ACCOUNTS}?dryRun=All&fieldValidation={validation}", ACCOUNT_TWICE), post(ACCOUNTS, account()), put(f"{ACCOUNTS}/a?dryRun=All&fieldValidation={validation}", ACCOUNT_TWICE), patch(f"{ACCOUNTS}/a?dryRun=All&fieldValidation={validation}", '{"metadata":{"labels":{"x":"1","x":"2"}},"nosuch":1}', STRATEGIC), patch(f"{ACCOUNTS}/a?dryRun=All&fieldManager=one&fieldValidation={validation}", ACCOUNT_TWICE.replace(',"nosuch":1', ""), APPLY), get(f"{ACCOUNTS}/a")])
        for validation in ("Strict", "Warn", "Ignore")
    ),
    *(
        Case(f"combined: dry run of a status {validation}", [MADE, put(f"{VM}/status?dryRun=All&fieldValidation={validation}", {**vm(), "metadata": {"name": "a", "resourceVersion": "$(0.metadata.resourceVersion)"}, "status": {"phase": "Running", "nosuch": 1}}), patch(f"{VM}/status?dryRun=All&fieldValidation={validation}", {"status": {"phase": "Running", "nosuch": 1}, "spec": {"nosuch": 1}}), applied({"status": {"phase": "Running"}}, f"dryRun=All&fieldManager=one&fieldValidation={validation}", "/status"), applied({"status": {"nosuch": 1}}, f"dryRun=All&fieldManager=one&fieldValidation={validation}", "/status"), get(VM)])
        for validation in ("Strict", "Warn")
    ),
    Case("combined: dry run of what conflicts", [MADE, put(f"{VM}?dryRun=All", {**vm(), "metadata": {"name": "a", "resourceVersion": "1"}}), patch(f"{VM}?dryRun=All", {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}), post(f"{VMS}?dryRun=All", vm()), applied({"metadata": {"name": "a", "resourceVersion": "1", "labels": {"a": "b"}}}, "dryRun=All&fieldManager=one")]),
    Case("combined: dry run of what is deleted", [MADE, delete(VM), patch(f"{VM}?dryRun=All", {"metadata": {"finalizers": None}}), patch(f"{VM}?dryRun=All", {"metadata": {"finalizers": [VM_FINALIZER, "x.io/n"]}}), delete(f"{VM}?dryRun=All"), post(f"{VMS}?dryRun=All", vm()), get(VM)]),
    Case("combined: dry run of an event by update", [put(f"{EVENTS}/e?dryRun=All&fieldValidation=Strict", {"metadata": {"name": "e"}, "involvedObject": {"namespace": "$ns"}, "nosuch": 1}), put(f"{EVENTS}/e?dryRun=All", {"metadata": {"name": "e"}, "involvedObject": {"namespace": "$ns"}, "nosuch": 1}), put(f"{EVENTS}/e?fieldManager=me", {"metadata": {"name": "e"}, "involvedObject": {"namespace": "$ns"}}, accept=TABLE), get(f"{EVENTS}/e")]),
    Case("combined: dry run of a migration", [post(f"{MIGS}?dryRun=Foo&fieldValidation=Bar", mig()), post(MIGS, mig()), patch(f"{MIGS}/m?dryRun=All&fieldValidation=Strict", {"spec": {"cancel": True}}), patch(f"{MIGS}/m?dryRun=All", {"spec": {"cancel": True}}, accept=TABLE), patch(f"{MIGS}/m/status?dryRun=All", {"status": {"phase": "Running"}}, accept=PARTIAL), get(f"{MIGS}/m")]),
]  # fmt: skip

APPLIES = [
    Case("combined: apply to a status", [MADE, applied({"status": {"phase": "Running"}}, below="/status"), applied({"status": {"phase": "Failed"}}, "fieldManager=two", "/status"), applied({"status": {"phase": "Failed"}}, "fieldManager=two&force=true", "/status"), applied({"status": {}}, "fieldManager=two", "/status"), applied({}, "fieldManager=two", "/status"), applied({"status": {"phase": "Running"}}), get(VM)]),
    Case("combined: apply conditions to a status", [MADE, applied({"status": {"conditions": [CONDITION]}}, below="/status"), applied({"status": {"conditions": [{**CONDITION, "type": "Synchronized"}]}}, "fieldManager=two", "/status"), applied({"status": {"conditions": [{**CONDITION, "status": "False"}]}}, "fieldManager=two", "/status"), applied({"status": {"conditions": [{"status": "True"}]}}, "fieldManager=two", "/status"), applied({"status": {"conditions": [CONDITION, CONDITION]}}, "fieldManager=two&force=true", "/status"), applied({}, below="/status"), get(VM)]),
    Case("combined: apply to a status what is not of it", [MADE, applied({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"nodeSelector": {"x": "y"}}, "status": {"phase": "Running"}}, below="/status"), applied({"spec": {"nosuch": 1}}, below="/status"), applied({"spec": {"nodeSelector": 5}}, below="/status"), applied({"metadata": {"labels": {"x": 5}}}, below="/status"), get(VM)]),
    Case("combined: apply to a status and patch it", [MADE, applied({"status": {"phase": "Running", "nodeName": "n"}}, below="/status"), patch(f"{VM}/status?fieldManager=p", {"status": {"phase": "Failed"}}), applied({"status": {"phase": "Running", "nodeName": "n"}}, below="/status"), applied({"status": {"nodeName": "n"}}, below="/status"), patch(f"{VM}/status?fieldManager=p", {"status": None}), applied({"status": {"nodeName": "n"}}, below="/status"), get(VM)]),
    Case("combined: apply to the status of nothing", [applied({"status": {"phase": "Running"}}, below="/status"), applied({"status": {"phase": "Running"}}, "fieldManager=one&dryRun=All", "/status"), applied({"status": {"phase": "Running"}}, "", "/status")]),
    Case("combined: apply to the status of a node", [post(NODES, node()), applied_node({"status": {"conditions": [CONDITION]}}, below="/status"), applied_node({"status": {"conditions": [{**CONDITION, "status": "False"}], "addresses": [{"type": "Hostname", "address": "x"}]}}, "fieldManager=two", "/status"), applied_node({"status": {"capacity": {"cpu": 4}}}, "fieldManager=two&force=true", "/status"), applied_node({"spec": {"unschedulable": True}, "metadata": {"name": "$id", "labels": {"q": "1"}}}, "fieldManager=three", "/status"), get(NODE)]),
    Case("combined: apply taints of a node", [post(NODES, node()), applied_node({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}), applied_node({"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}]}}, "fieldManager=two"), applied_node({"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}]}}, "fieldManager=two&force=true"), applied_node({}), applied_node({}, "fieldManager=two"), get(NODE)]),
    Case("combined: apply that knows a version", [MADE, applied({"metadata": {"name": "a", "resourceVersion": "1", "labels": {"a": "b"}}}), applied({"metadata": {"name": "a", "uid": "other", "labels": {"a": "b"}}}), applied({"metadata": {"name": "a", "resourceVersion": "$(0.metadata.resourceVersion)", "uid": "$(0.metadata.uid)", "labels": {"a": "b"}}}), applied({"metadata": {"name": "a", "resourceVersion": "$(0.metadata.resourceVersion)", "labels": {"a": "c"}}}), get(VM)]),
    Case("combined: apply of nothing by version", [applied({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": vm()["spec"]}), applied({"metadata": {"name": "a", "uid": "other"}, "spec": vm()["spec"]}), applied({"metadata": {"name": "a", "generateName": "b-", "finalizers": [VM_FINALIZER]}, "spec": vm()["spec"]}), applied({"metadata": {"name": "b"}, "spec": vm()["spec"]}), applied({"metadata": {"name": "a", "namespace": "other"}, "spec": vm()["spec"]})]),
    Case("combined: apply in forms", [*(applied({"metadata": {"name": "a", "finalizers": [VM_FINALIZER]}, "spec": vm()["spec"]}, "fieldManager=one&dryRun=All", accept=accept) for accept in (TABLE, PARTIAL, YAML, PARTIALS, "text/html")), applied({"metadata": {"name": "a", "finalizers": [VM_FINALIZER]}, "spec": vm()["spec"]}, accept=TABLE), applied({"metadata": {"name": "a", "labels": {"q": "1"}}}, "fieldManager=two&pretty=true", accept=PARTIAL), get(VM)]),
    Case("combined: apply of odd texts", [*(patch(f"{VM}?fieldManager=one", text, APPLY) for text in ("---\n", "a: b\n---\nc: d\n", "apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\n---\nkind: X\n", "- a\n", "5", "null", "apiVersion: v1\nkind: VirtualMachine\n", "kind: VirtualMachine\n", "apiVersion: kubevirt.io/v1alpha1\n", "apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata: 5\n", "apiVersion: kubevirt.io/v1alpha1\nkind: VirtualMachine\nmetadata: {labels: 5}\nspec: {}\n", "apiVersion: kubevirt.io/v1alpha1\nkind: Migration\nmetadata: {name: a}\n"))]),
    Case("combined: apply while it is deleted", [MADE, delete(VM), applied({"metadata": {"name": "a", "labels": {"x": "1"}}}), applied({"metadata": {"name": "a", "finalizers": ["x.io/a"]}}), get(VM)]),
    Case("combined: owners that a client writes", [MADE, patch(VM, {"metadata": {"managedFields": [{}]}}), patch(VM, {"metadata": {"managedFields": []}}), patch(f"{VM}?fieldManager=x", {"metadata": {"labels": {"a": "1"}, "managedFields": [{}]}}), patch(VM, [{"op": "replace", "path": "/metadata/managedFields", "value": []}], JSON_PATCH), patch(VM, [{"op": "remove", "path": "/metadata/managedFields"}], JSON_PATCH), patch(VM, {"metadata": {"managedFields": [{"manager": "m", "operation": "Foo", "apiVersion": "kubevirt.io/v1alpha1", "fieldsType": "FieldsV1", "fieldsV1": {}}]}}), patch(VM, {"metadata": {"managedFields": [{"manager": "m", "operation": "Update", "apiVersion": "kubevirt.io/v1alpha1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}}}]}}), get(VM)]),
    *(Case(f"combined: owners that are {entry}", [post(VMS, {**vm(), "metadata": {"name": "a", "managedFields": [entry]}}), post(ACCOUNTS, account(managedFields=[entry]))]) for entry in ENTRIES),
    Case("combined: owners by protobuf", [post(ROLES, role()), patch(f"{ROLES}/a?fieldManager=x", {"rules": []}, STRATEGIC, accept=PROTOBUF), patch(f"{ROLES}/a?fieldManager=y", {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]}, APPLY), get(f"{ROLES}/a", accept=PACKED)]),
]  # fmt: skip

HEADERS = [
    Case("combined: head", [*THREE[:1], *(Ask(f"HEAD {path}", accept=accept) for path in (VM, VMS, f"{VMS}?limit=1", f"{VM}x", f"{VM}/status", "/api", "/apis", "/version", "/nosuch", NODES) for accept in (JSON, TABLE))]),
    Case("combined: options", [*THREE[:1], *(Ask(f"OPTIONS {path}", headers={"Origin": "https://x.io", "Access-Control-Request-Method": "GET"}) for path in (VM, VMS, f"{VM}/status", "/api", "/apis/kubevirt.io", "/version", "/nosuch", "/livez"))]),
    Case("combined: conditional requests", [MADE, *(get(path, headers=headers) for path in (VM, VMS, "/api/v1", GROUP, "/version") for headers in ({"If-None-Match": "*"}, {"If-Modified-Since": "Fri, 27 Nov 2099 00:00:00 GMT"}, {"Range": "bytes=0-10"}, {"If-Match": '"x"'}))]),
    Case("combined: overridden methods", [MADE, post(VM, {}, headers={"X-HTTP-Method-Override": "DELETE"}), get(VM, headers={"X-HTTP-Method": "PUT"}), get(VM, headers={"X-Forwarded-For": "10.0.0.1", "X-Remote-User": "jane", "X-Forwarded-Proto": "http"})]),
    Case("combined: packed bodies", [post(VMS, b"\x1f\x8b\x08\x00", headers={"Content-Encoding": "gzip"}), post(VMS, vm(), headers={"Content-Encoding": "identity"}), get(VM, headers={"Accept-Charset": "x", "Accept-Language": "de", "Cache-Control": "no-cache", "Pragma": "no-cache"})]),
    *(Case(f"combined: accept {accept}", [MADE, get(VM, accept=accept), get(VMS, accept=accept), get(f"{ACCOUNTS}", accept=accept), get("/version", accept=accept), get("/api/v1", accept=accept)]) for accept in (f"{TABLE};q=0,{JSON}", f"{JSON};q=0.5,{TABLE};q=0.6", f"{PARTIAL},{TABLE}", f"{PARTIALS},{PARTIAL}", f"text/html,application/xhtml+xml,{JSON};q=0.9,*/*;q=0.8", f"{YAML};pretty=1", "*/*;as=Table;v=v1;g=meta.k8s.io", "application/*;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", f" {JSON} ; as=Table ; v=v1 ; g=meta.k8s.io ", f'{JSON};as="Table";v="v1";g="meta.k8s.io"', f"{JSON};AS=Table;V=v1;G=meta.k8s.io", f"{JSON};as=table;v=v1;g=meta.k8s.io", f"{JSON};charset=utf-8;as=Table;v=v1;g=meta.k8s.io", f"{JSON};stream=watch;as=Table;v=v1;g=meta.k8s.io", f"{PROTOBUF};q=0.9,{YAML};q=0.8")),
]  # fmt: skip

TYPED = [
    Case("combined: conditions of a node by strategic patches", [post(NODES, node()), patch(f"{NODE}/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Drained", "status": "False"}]}}, STRATEGIC), patch(f"{NODE}/status", {"status": {"conditions": [{"type": "Drained", "$patch": "delete"}]}}, STRATEGIC), patch(f"{NODE}/status?dryRun=All&fieldValidation=Strict", {"status": {"$setElementOrder/conditions": [{"type": "PeersReachable"}, {"type": "Ready"}], "conditions": [{"type": "PeersReachable", "status": "Unknown"}]}}, STRATEGIC), patch(f"{NODE}/status", {"status": {"conditions": [{"status": "True"}]}}, STRATEGIC), patch(f"{NODE}/status", {"status": {"addresses": [{"$patch": "replace"}, {"type": "Hostname", "address": "x"}]}}, STRATEGIC), get(NODE)]),
    Case("combined: a node by status and by spec", [post(NODES, node()), put(f"{NODE}/status", {**node(unschedulable=True), "status": {"capacity": {"cpu": "4"}}}), put(NODE, {**node(unschedulable=True), "status": {"capacity": {"cpu": "8"}}}), patch(f"{NODE}/status", [{"op": "add", "path": "/spec/unschedulable", "value": False}, {"op": "replace", "path": "/status/capacity/cpu", "value": "6"}], JSON_PATCH), get(f"{NODE}/status", accept=TABLE), get(f"{NODE}/status", accept=PROTOBUF)]),
    Case("combined: a namespace that is finalized", [post("/api/v1/namespaces", {"metadata": {"name": "$id-x"}}), put("/api/v1/namespaces/$id-x/finalize", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "$id-x"}, "spec": {"finalizers": ["kubernetes"]}}), patch("/api/v1/namespaces/$id-x", {"spec": {"finalizers": []}}), patch("/api/v1/namespaces/$id-x/status", {"status": {"phase": "Terminating"}}), put("/api/v1/namespaces/$id-x/finalize?dryRun=All", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "$id-x"}, "spec": {"finalizers": []}}), put("/api/v1/namespaces/$id-x/finalize", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}, "spec": {"finalizers": []}}), get("/api/v1/namespaces/$id-x")]),
    Case("combined: tokens of an account", [post(ACCOUNTS, account()), *(post(f"{ACCOUNTS}/{name}/token{query}", body) for name, query, body in (("nosuch", "", {"spec": {}}), ("a", "?dryRun=Foo", {"spec": {}}), ("a", "", {"spec": {"expirationSeconds": 599}}), ("a", "", {"spec": {"expirationSeconds": 2**33}}), ("a", "", {"spec": {"boundObjectRef": {"kind": "Foo", "apiVersion": "v1", "name": "x"}}}), ("a", "?fieldValidation=Strict", {"spec": {}, "nosuch": 1}), ("a", "", {"metadata": {"name": "b"}, "spec": {}}), ("a", "", {"metadata": {"namespace": "b"}, "spec": {}}), ("a", "", 5))), get(f"{ACCOUNTS}/a/token")]),
    Case("combined: an event in every form", [post(EVENTS, {"metadata": {"generateName": "e."}, "involvedObject": {"kind": "VirtualMachine", "name": "a", "namespace": "$ns"}, "reason": "R", "message": "m", "type": "Normal"}, accept=YAML), get(f"{EVENTS}?fieldSelector=involvedObject.name%3Da,reason%3DR,type!%3DWarning", accept=TABLE), get(f"{EVENTS}?fieldSelector=involvedObject.name%3Da&limit=1", accept=PROTOBUF), delete(f"{EVENTS}?fieldSelector=reason%3DR", accept=PARTIALS), get(EVENTS)]),
    Case("combined: a policy in yaml", [post(f"{POLICIES}?fieldValidation=Strict", "apiVersion: kubevirt.io/v1alpha1\nkind: MigrationPolicy\nmetadata: {name: $id, labels: {a: on}}\nspec: {selectors: {}}\n", type=YAML, accept=YAML), post(POLICIES, "apiVersion: kubevirt.io/v1alpha1\nkind: MigrationPolicy\nmetadata: {name: $id}\nspec: {selectors: {}, selectors: {}}\n", type=YAML, accept=YAML), post(POLICIES, "# nothing\n", type=YAML), post(POLICIES, policy(), accept=YAML), put(POLICY, "apiVersion: kubevirt.io/v1alpha1\nkind: MigrationPolicy\nmetadata: {name: $id, resourceVersion: '$(3.metadata.resourceVersion)'}\nspec: {selectors: {}, maxDowntimeMs: 7}\n", type=YAML, accept=TABLE), get(POLICY, accept=YAML)]),
]  # fmt: skip

STRANGE = {"nosuch": 1}
REFUSED = [
    Case("combined: warned of what is refused", [MADE, post(VMS, {**vm(), **STRANGE}), put(f"{VM}x", {**vm("ax"), **STRANGE}), put(VM, {**vm(), **STRANGE}), put(VM, {**vm(), "metadata": {"name": "a", "resourceVersion": "1"}, **STRANGE}), put(VM, {**vm(), "metadata": {"name": "a", "uid": "x", "resourceVersion": "$(0.metadata.resourceVersion)"}, **STRANGE}), put(VM, {**vm("b"), **STRANGE}), patch(f"{VM}x", STRANGE), patch(VM, {"spec": {"nosuch": 1}, "metadata": {"resourceVersion": "1"}}), patch(VM, {"spec": {"nosuch": 1}, "metadata": {"labels": {"-": "x"}}}), post(f"{GROUP}/namespaces/$id-no/virtualmachines", {**vm(), **STRANGE}), post(VMS, {**vm(), "metadata": {"namespace": "x", "name": "b"}, **STRANGE})]),
    Case("combined: warned of what is refused of typed", [post(ACCOUNTS, account()), post(ACCOUNTS, {**account(), **STRANGE}), put(f"{ACCOUNTS}/b", {**account("b"), **STRANGE}), put(f"{ACCOUNTS}/a", {**account("a", resourceVersion="1"), **STRANGE}), put(f"{ACCOUNTS}/a", {**account("a", uid="x"), **STRANGE}), put(f"{ACCOUNTS}/a", {**account("b"), **STRANGE}), patch(f"{ACCOUNTS}/b", STRANGE), patch(f"{ACCOUNTS}/a", {"nosuch": 1, "metadata": {"resourceVersion": "1"}}), patch(f"{ACCOUNTS}/a", {"nosuch": 1, "metadata": {"labels": {"-": "x"}}}, STRATEGIC), post("/api/v1/namespaces/$id-no/serviceaccounts", {**account(), **STRANGE}), post(ACCOUNTS, {**account("b", namespace="x"), **STRANGE})]),
    Case("combined: warned of what is refused of a status", [MADE, put(f"{VM}/status", {**vm(), "metadata": {"name": "a", "resourceVersion": "1"}, "status": STRANGE}), put(f"{VM}x/status", {**vm("ax"), "status": STRANGE}), patch(f"{VM}/status", {"status": {"phase": "Foo", **STRANGE}}), put(f"{VM}/status", {**vm("b"), "status": STRANGE})]),
    Case("combined: what is wrong twice", [MADE, put(f"{VM}?dryRun=Foo&fieldValidation=Bar", {**vm("b"), **STRANGE}), put(f"{VM}?fieldValidation=Strict", {**vm("b"), **STRANGE}), put(f"{VM}?fieldValidation=Strict", {**vm(), "metadata": {"name": "a", "resourceVersion": "1"}, **STRANGE}), patch(f"{VM}?fieldValidation=Strict", {"spec": {"nosuch": 1}, "metadata": {"resourceVersion": "1", "labels": {"-": "x"}}}), post(f"{VMS}?fieldValidation=Strict", {**vm(), **STRANGE}), post(f"{GROUP}/namespaces/$id-no/virtualmachines?fieldValidation=Strict", {**vm("-"), **STRANGE}), post(f"{GROUP}/namespaces/$id-no/virtualmachines", vm("-")), put(f"{VM}x", vm("-")), patch(f"{VM}x?dryRun=Foo", {})]),
    Case("combined: deleted and written", [MADE, delete(VM), put(VM, {**vm(), "metadata": {"name": "a", "finalizers": [VM_FINALIZER], "resourceVersion": "$(1.metadata.resourceVersion)"}, "spec": {**vm()["spec"], "nodeSelector": {"a": "b"}}}), put(VM, {**vm(), "metadata": {"name": "a", "finalizers": [VM_FINALIZER], "resourceVersion": "$(0.metadata.resourceVersion)"}}), patch(f"{VM}/status", {"status": {"phase": "Failed"}}, accept=TABLE), patch(VM, [{"op": "test", "path": "/metadata/generation", "value": 2}, {"op": "remove", "path": "/metadata/finalizers"}], JSON_PATCH), get(VM), put(VM, vm())]),
    Case("combined: json patches of what is not there", [MADE, *(patch(path, body, JSON_PATCH) for path in (VM, f"{VM}/status", f"{VM}?dryRun=All&fieldValidation=Strict") for body in ([{"op": "test", "path": "/status", "value": None}], [{"op": "add", "path": "/status/phase", "value": "Running"}], [{"op": "add", "path": "/status", "value": {"phase": "Running"}}], [{"op": "copy", "from": "/metadata/name", "path": "/metadata/labels"}], [{"op": "move", "from": "/spec/domain", "path": "/spec/nosuch"}], [{"op": "remove", "path": "/metadata/resourceVersion"}], [{"op": "replace", "path": "/metadata/uid", "value": "x"}], [{"op": "replace", "path": "/metadata/name", "value": "b"}], [{"op": "add", "path": "/metadata/labels", "value": {"a": 1}}], [])), get(VM)]),
    Case("combined: the same write twice", [MADE, patch(f"{VM}?fieldManager=x", {"metadata": {"labels": {"a": "1"}}}), patch(f"{VM}?fieldManager=y", {"metadata": {"labels": {"a": "1"}}}), applied({"metadata": {"name": "a", "labels": {"a": "1"}}}, "fieldManager=z"), applied({"metadata": {"name": "a", "labels": {"a": "1"}}}, "fieldManager=z"), patch(f"{VM}?fieldManager=z", {"metadata": {"labels": {"a": "2"}}}), put(f"{VM}?fieldManager=w", {"$whole": "$(5)"}), put(f"{VM}?fieldManager=w", {"$whole": "$(1)"}), get(VM)]),
]  # fmt: skip

MORE = [
    *(Case(f"combined: list by {query}", [*THREE, get(f"{VMS}?{query}"), get(f"{VMS}?{query}", accept=TABLE), get(f"{VMS}?{query}", accept=PARTIALS)]) for query in ("limit=1&labelSelector=tier%3Dx&resourceVersion=0&resourceVersionMatch=NotOlderThan", "limit=2&fieldSelector=metadata.name!%3Da&resourceVersion=$(2.metadata.resourceVersion)&resourceVersionMatch=Exact", "labelSelector=tier%3Dx&labelSelector=tier%3Dy", "fieldSelector=metadata.name%3Da&fieldSelector=metadata.name%3Db", "limit=1&limit=2&continue=&resourceVersion=", "fieldSelector=metadata.name%3Da,metadata.name!%3Da", "fieldSelector=metadata.name%3Dx%2C", "labelSelector=tier+in+(x),tier+notin+(y),n", "labelSelector=!tier&limit=1", "timeoutSeconds=1&limit=1&pretty=true", "resourceVersion=0&watch=false&limit=", "limit=-5&continue=")),
    Case("combined: an item by odd parameters", [MADE, *(get(f"{VM}?{query}", accept=accept) for query in ("labelSelector=nosuch", "fieldSelector=metadata.name%3Db", "limit=0", "watch=true", "resourceVersion=0&resourceVersionMatch=Exact", "resourceVersion=$(0.metadata.resourceVersion)", "fieldSelector=,", "continue=abc", "dryRun=All", "includeObject=None") for accept in (JSON, TABLE))]),
    Case("combined: namespaces in forms", [get("/api/v1/namespaces/$ns", accept=accept) for accept in (TABLE, PARTIAL, PROTOBUF, PACKED, YAML, f"{TABLE},{PARTIAL}")]),
    Case("combined: a namespace by its label", [*(get(f"/api/v1/namespaces?labelSelector=kubernetes.io/metadata.name%3D$ns{more}", accept=accept) for more in ("", "&limit=1", "&fieldSelector=status.phase%3DActive") for accept in (JSON, TABLE, PARTIALS)), get(f"/api/v1/namespaces?{STREAM}&fieldSelector=metadata.name%3D$ns", accept=TABLE), patch("/api/v1/namespaces/$ns", {"metadata": {"labels": {"kubernetes.io/metadata.name": "x"}}}), patch("/api/v1/namespaces/$ns", {"metadata": {"labels": None}}), get("/api/v1/namespaces/$ns")]),
    Case("combined: all namespaces of typed", [post(ACCOUNTS, account("$id")), *(get(f"/api/v1/serviceaccounts?{query}", accept=accept) for query in ("fieldSelector=metadata.namespace%3D$ns,metadata.name%3D$id", "fieldSelector=metadata.name%3D$id", "fieldSelector=metadata.namespace%3D$ns&limit=1") for accept in (JSON, TABLE)), get(f"/api/v1/serviceaccounts?{STREAM}&fieldSelector=metadata.name%3D$id"), get(f"/api/v1/serviceaccounts?{STREAM}&fieldSelector=metadata.namespace%3D$ns", accept=TABLE)]),
    Case("combined: pods that are not there", [*(get(f"/api/v1/namespaces/$ns/pods/x{below}") for below in ("", "/log", "/status", "/log?follow=true&tailLines=1", "/log?tailLines=-1", "/log?sinceSeconds=0", "/log?sinceTime=x", "/log?limitBytes=0", "/log?previous=maybe", "/eviction", "/nosuch")), *(post("/api/v1/namespaces/$ns/pods/x/eviction", body) for body in ({"metadata": {"name": "x"}}, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "y"}}, {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "x"}}, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "x", "namespace": "other"}}, {"apiVersion": "v1", "kind": "Eviction"}, {"deleteOptions": {"dryRun": ["Foo"]}, "metadata": {"name": "x"}})), delete("/api/v1/namespaces/$ns/pods/x", {"gracePeriodSeconds": 0}), delete("/api/v1/namespaces/$ns/pods?labelSelector=a%3Db&gracePeriodSeconds=0", {"propagationPolicy": "Background"}), get("/api/v1/namespaces/$ns/pods?fieldSelector=spec.nodeName%3Dx,status.phase!%3DFailed", accept=TABLE)]),
    Case("combined: nodes in pages", [*(post(NODES, node(f"$id-{name}", {"labels": {"of": "$id"}}, unschedulable=name == "b")) for name in "abc"), get(f"{NODES}?labelSelector=of%3D$id&limit=2", accept=TABLE), get(f"{NODES}?labelSelector=of%3D$id&limit=2&continue=$(3.metadata.continue)", accept=TABLE), get(f"{NODES}?labelSelector=of%3D$id&fieldSelector=spec.unschedulable%3Dtrue", accept=PARTIALS), delete(f"{NODES}?labelSelector=of%3D$id&fieldSelector=spec.unschedulable%3Dtrue&dryRun=All"), delete(f"{NODES}?labelSelector=of%3D$id", accept=TABLE), get(f"{NODES}?labelSelector=of%3D$id")]),
]  # fmt: skip

CASES = [*PAGES, *WATCHES, *DELETES, *DRY, *APPLIES, *HEADERS, *TYPED, *REFUSED, *MORE]
_ = FREE
