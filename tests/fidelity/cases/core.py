# ruff: noqa: E501 - a case stays a row
"""Kubernetes' own kinds: namespaces, nodes, events, accounts and roles, and what their validation says."""

from __future__ import annotations

from typing import Any

from app.machinery.objects import Document
from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    EVENTS,
    MERGE,
    NODE,
    NODES,
    ROLES,
    STRATEGIC,
    TABLE,
    account,
    delete,
    get,
    node,
    patch,
    post,
    put,
    role,
)  # fmt: skip

RBAC = "/apis/rbac.authorization.k8s.io/v1"
BINDINGS = f"{RBAC}/namespaces/$ns/rolebindings"
SPECS: tuple[Document, ...] = (
    {}, {"unschedulable": True}, {"unschedulable": False}, {"taints": []}, {"taints": [{}]}, {"taints": [{"key": "a"}]}, {"taints": [{"key": "a", "effect": "Foo"}]}, {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule", "value": "x"}]}, {"taints": [{"key": "a b", "effect": "NoSchedule"}]}, {"taints": [{"key": "a", "effect": "NoExecute", "value": "x", "timeAdded": "2026-01-01T00:00:00Z"}]}, {"taints": [{"key": "", "effect": "NoSchedule"}]},
    {"taints": [{"key": "a", "effect": "NoSchedule", "timeAdded": "x"}]}, {"taints": [{"key": "a", "effect": "NoSchedule", "value": "a b"}]}, {"providerID": ""}, {"providerID": "x"}, {"providerID": 5}, {"nosuch": 1},
)  # fmt: skip
AMOUNTS: tuple[Any, ...] = (
    {"cpu": "2000m", "memory": "1024Ki"}, {"cpu": 2, "memory": 1.5}, {"cpu": "x"}, {"cpu": ""}, {"cpu": True}, {"cpu": "-1"}, {"pods": "0.5"}, {"a.b/c": "100m"}, {"cpu": "1n"}, {"cpu": "4MM"}, "x",
)  # fmt: skip
EVENT: Document = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "$ns"}}
EVENT_BODIES: tuple[Document, ...] = (
    {}, {"count": 5}, {"count": -1}, {"count": "x"}, {"count": 1.5}, {"count": 2**40}, {"type": "Foo"}, {"type": "Warning"}, {"firstTimestamp": "x"}, {"firstTimestamp": None}, {"firstTimestamp": "2026-01-01T00:00:00+02:00"}, {"firstTimestamp": "2026-01-01T00:00:00.123456Z"}, {"firstTimestamp": 5}, {"eventTime": "2026-01-01T00:00:00Z"}, {"eventTime": "2026-01-01T00:00:00.000000Z"}, {"eventTime": "x"}, {"eventTime": None}, {"reportingComponent": "c"}, {"reportingInstance": "i"}, {"action": "a"}, {"message": "x" * 1025}, {"reason": "x" * 129},
    {"eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "c"}, {"eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "c", "reportingInstance": "i", "action": "a", "reason": "r"}, {"eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "c", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal"}, {"eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "C D", "reportingInstance": "i", "action": "a" * 129, "reason": "r" * 129, "type": "x", "message": "m" * 1025},
    {"source": "x"}, {"source": {"component": "c", "host": "h"}}, {"source": {"nosuch": 1}}, {"series": {"count": 1}}, {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}, {"related": {"kind": "Pod", "name": "x"}}, {"involvedObject": {}}, {"involvedObject": {"namespace": "other"}}, {"involvedObject": {"kind": "Pod", "name": "x", "uid": "u", "apiVersion": "v1", "resourceVersion": "5", "fieldPath": "f", "namespace": "$ns"}}, {"involvedObject": None}, {"involvedObject": "x"}, {"nosuch": 1},
)  # fmt: skip
RULES: tuple[Any, ...] = (
    [], None, "x", [{}], [{"verbs": []}], [{"verbs": ["get"]}], [{"verbs": ["get"], "resources": ["pods"]}], [{"verbs": ["get"], "apiGroups": [""]}], [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"]}], [{"verbs": ["get"], "nonResourceURLs": ["/x"]}], [{"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"], "apiGroups": [""]}], [{"verbs": "get"}], [{"verbs": [5]}], [{"nosuch": 1, "verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}], [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
)  # fmt: skip
REF: Document = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}
SUBJECTS: tuple[Any, ...] = (
    [], None, [{}], [{"kind": "User", "name": "x"}], [{"kind": "User", "name": "x", "apiGroup": "rbac.authorization.k8s.io"}], [{"kind": "User", "name": "x", "apiGroup": "foo"}], [{"kind": "User"}], [{"kind": "Group", "name": "x"}], [{"kind": "ServiceAccount", "name": "x"}], [{"kind": "ServiceAccount", "name": "x", "namespace": "y"}], [{"kind": "ServiceAccount", "name": "x_", "namespace": "y"}], [{"kind": "ServiceAccount", "name": "x", "namespace": "y", "apiGroup": "foo"}], [{"kind": "Foo", "name": "x"}], "x",
)  # fmt: skip
REFS: tuple[Any, ...] = (
    {},
    None,
    {"kind": "Role", "name": "a"},
    {"kind": "ClusterRole", "name": "view"},
    {"kind": "ClusterRole", "name": "view", "apiGroup": "foo"},
    {"kind": "Foo", "name": "a"},
    {"kind": "Role"},
    {"kind": "Role", "name": "a/b"},
    {"name": "a"},
)
SPACES: tuple[Document, ...] = (
    {}, {"spec": {}}, {"spec": {"finalizers": []}}, {"spec": {"finalizers": ["kubernetes", "x.io/y"]}}, {"spec": {"finalizers": ["bad"]}}, {"spec": None}, {"status": {"phase": "Terminating"}}, {"status": "x"}, {"spec": {"nosuch": 1}}, {"metadata": {"name": "$id", "labels": {"a": "b"}}}, {"metadata": {"name": "$id", "labels": {"kubernetes.io/metadata.name": "other"}}}, {"metadata": {"name": "$id", "finalizers": ["x"]}}, {"metadata": {"name": "$id", "namespace": "x"}}, {"metadata": {"generateName": "$id-"}}, {"metadata": {"generateName": "A"}}, {"metadata": {"name": "a.b"}},
)  # fmt: skip

CASES = [
    *(Case(f"node: {spec}", [post(NODES, node(**spec)), get(NODE)]) for spec in SPECS),
    *(Case(f"node: change to {spec}", [post(NODES, node(providerID="first")), patch(NODE, {"spec": spec}, STRATEGIC), put(NODE, node(**spec))]) for spec in SPECS),
    Case("node: status in a create", [post(NODES, {**node(), "status": {"phase": "Running", "addresses": [{"type": "Hostname", "address": "x"}]}}), patch(NODE, {"status": {"addresses": []}}, STRATEGIC)]),
    *(Case(f"node: amounts {amounts}", [post(NODES, node()), patch(f"{NODE}/status", {"status": {"capacity": amounts}}, kind), get(NODE)]) for amounts in AMOUNTS for kind in (STRATEGIC, MERGE)),
    Case("node: namespace", [post(NODES, node(metadata={"namespace": "x"})), get("/api/v1/namespaces/$ns/nodes"), post("/api/v1/namespaces/$ns/nodes", node())]),
    *(Case(f"event: {str(body)[:150]}", [post(EVENTS, {**EVENT, **body}), get(f"{EVENTS}/e")]) for body in EVENT_BODIES),
    *(Case(f"event: strictly {str(body)[:150]}", [post(f"{EVENTS}?fieldValidation=Strict", {**EVENT, **body})]) for body in EVENT_BODIES),
    *(Case(f"event: change to {str(body)[:150]}", [post(EVENTS, EVENT), patch(f"{EVENTS}/e", body, STRATEGIC), put(f"{EVENTS}/e", {**EVENT, **body})]) for body in EVENT_BODIES if "involvedObject" not in body),
    Case("event: table and lists", [post(EVENTS, {**EVENT, "reason": "R", "message": "m", "type": "Normal", "count": 2}), get(f"{EVENTS}/e", accept=TABLE), get("/api/v1/events?fieldSelector=metadata.namespace%3D$ns", accept=TABLE), delete(f"{EVENTS}/e"), delete(EVENTS)]),
    *(Case(f"role: rules {rules}", [post(ROLES, {**role(), "rules": rules}), get(f"{ROLES}/a"), post(f"{RBAC}/clusterroles", {**role("$id"), "kind": "ClusterRole", "rules": rules})]) for rules in RULES),
    *(Case(f"binding: subjects {subjects}", [post(BINDINGS, {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "a"}, "roleRef": REF, "subjects": subjects})]) for subjects in SUBJECTS),
    *(Case(f"binding: role {ref}", [post(ROLES, role()), post(BINDINGS, {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "a"}, "roleRef": ref}), post(f"{RBAC}/clusterrolebindings", {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "$id"}, "roleRef": ref})]) for ref in REFS),
    Case("binding: another role", [post(ROLES, role()), post(BINDINGS, {"kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "a"}, "roleRef": REF}), patch(f"{BINDINGS}/a", {"roleRef": {"name": "b"}}), get(f"{BINDINGS}/a", accept=TABLE)]),
    Case("role: odd names", [post(ROLES, role(name)) for name in ("A:b", "a b", "a/b", "..", "é", "system:x")]),
    Case("role: change", [post(ROLES, role()), patch(f"{ROLES}/a", {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}]}, STRATEGIC), patch(f"{ROLES}/a", {"rules": None}, STRATEGIC), put(f"{ROLES}/a", role()), delete(f"{ROLES}/a")]),
    *(Case(f"namespace: {body}", [post("/api/v1/namespaces", {"metadata": {"name": "$id"}, **body}), get("/api/v1/namespaces/$id"), delete("/api/v1/namespaces/$id")]) for body in SPACES),
    Case("namespace: changes", [post("/api/v1/namespaces", {"metadata": {"name": "$id"}}), patch("/api/v1/namespaces/$id", {"metadata": {"labels": {"a": "b"}}}, STRATEGIC), patch("/api/v1/namespaces/$id", {"metadata": {"labels": {"kubernetes.io/metadata.name": None}}}, STRATEGIC), patch("/api/v1/namespaces/$id", {"spec": {"finalizers": []}}), put("/api/v1/namespaces/$id", {"metadata": {"name": "$id"}}), put("/api/v1/namespaces/$id/status", {"metadata": {"name": "$id"}, "status": {"phase": "Terminating"}}), put("/api/v1/namespaces/$id/finalize", {"metadata": {"name": "$id"}, "spec": {}})]),
    Case("account: token", [post(ACCOUNTS, account()), get(f"{ACCOUNTS}/a/token"), post(f"{ACCOUNTS}/nosuch/token", {"spec": {}}), delete(f"{ACCOUNTS}/a/token")]),
    Case("account: lists", [post(ACCOUNTS, account(name)) for name in ("b", "a")] + [get(ACCOUNTS), get(ACCOUNTS, accept=TABLE), get("/api/v1/serviceaccounts?fieldSelector=metadata.namespace%3D$ns")]),
    Case("pods: none", [get("/api/v1/namespaces/$ns/pods/x"), get("/api/v1/namespaces/$ns/pods/x/log"), get("/api/v1/namespaces/$ns/pods/x/status"), post("/api/v1/namespaces/$ns/pods/x/eviction", {"metadata": {"name": "x"}}), delete("/api/v1/namespaces/$ns/pods/x"), get("/api/v1/namespaces/$ns/pods/x/log?tailLines=-1"), get("/api/v1/namespaces/$ns/pods/x/log?tailLines=abc"), get("/api/v1/namespaces/$ns/pods/x/nosuch"), get("/api/v1/namespaces/$ns/pods")]),
    Case("events: other group", [get("/apis/events.k8s.io/v1/namespaces/$ns/events"), get("/apis/events.k8s.io")]),
    Case("unknown subresources", [Ask(f"{method} {path}/nosuch", {}) for path in (f"{ACCOUNTS}/a", NODE, f"{EVENTS}/a", f"{ROLES}/a", "/api/v1/namespaces/$ns") for method in ("POST", "PUT", "DELETE")]),
]  # fmt: skip
