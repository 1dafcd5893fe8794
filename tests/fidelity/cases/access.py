# ruff: noqa: E501 - a case stays a row
"""Who asks, and what they may: reviews, impersonation, and how a refusal is worded."""

from __future__ import annotations

from typing import Any

from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    APPLY,
    EVENTS,
    GROUP,
    MERGE,
    NODES,
    ROLES,
    TABLE,
    VM,
    VMS,
    YAML,
    account,
    delete,
    get,
    patch,
    post,
    put,
    role,
    vm,
)

AUTHN = "/apis/authentication.k8s.io/v1"
AUTHZ = "/apis/authorization.k8s.io/v1"
JANE = {"Impersonate-User": "jane", "Impersonate-Group": "movers"}
SPECS: tuple[Any, ...] = (
    {}, None, "x", {"resourceAttributes": {}}, {"resourceAttributes": {"verb": "get", "resource": "pods"}}, {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}, {"resourceAttributes": {"verb": "get", "group": "kubevirt.io", "resource": "migrations", "name": "x", "subresource": "status"}}, {"nonResourceAttributes": {"path": "/x", "verb": "get"}}, {"nonResourceAttributes": {"path": "/livez", "verb": "get"}}, {"resourceAttributes": {"verb": "*", "resource": "*", "group": "*"}},
    {"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"path": "/x"}}, {"nosuch": 1}, {"resourceAttributes": {"nosuch": 1}}, {"resourceAttributes": {"verb": 5}}, {"resourceAttributes": {"verb": "list", "resource": "pods", "labelSelector": {"rawSelector": "a=b"}}},
)  # fmt: skip
SUBJECTS: tuple[Any, ...] = (
    {},
    {"user": "jane"},
    {"user": "jane", "groups": ["system:masters"]},
    {"groups": ["x"]},
    {"user": "jane", "extra": {"a": ["b"]}, "uid": "u"},
    {"user": 5},
)
REFUSED = (
    get(VMS), get(VM), get(f"{VM}/status"), get(f"{GROUP}/virtualmachines"), post(VMS, vm()), put(VM, vm()), patch(VM, {}), patch(VM, vm(), APPLY), delete(VM), delete(VMS), get(f"{VMS}?watch=1"), get(f"{VMS}?fieldSelector=metadata.name%3Da"), get(NODES), get(f"{NODES}/x"), get(EVENTS), post(EVENTS, {}), get("/api/v1/namespaces/$ns"), post("/api/v1/namespaces", {"metadata": {"name": "x"}}),
    get("/api"), get("/apis"), get("/version"), get("/livez"), get("/readyz"), get("/healthz"), get("/metrics"), get("/nosuch"), get("/openapi/v2", accept="text/html"), get("/openapi/v3"), get("/"), get("/api/v1/nosuch"), get("/apis/nosuch.io/v1/things"), get(f"{GROUP}/nosuch"), Ask(f"OPTIONS {VMS}"), Ask(f"HEAD {VMS}"), get(f"{VM}<x>&"), get(f"{GROUP}/watch/namespaces/$ns/virtualmachines"), get(VMS, accept=TABLE), get(VMS, accept=YAML), get("/livez/ping"), get("/readyz?verbose"),
    post(f"{VM}/nosuch", {}), get("/api/v1/namespaces/$ns/pods/x/log"), post("/api/v1/namespaces/$ns/pods/x/eviction", {}), post(ROLES, role()), get("/logs/x"), get("/%2e%2e/x"),
)  # fmt: skip


def _as(ask: Ask, headers: dict[str, str]) -> Ask:
    return Ask(ask.line, ask.body, ask.type, ask.accept, {**ask.headers, **headers})


ASKERS: tuple[Any, ...] = (
    {},
    {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"},
    {"kind": "Foo"},
    {"spec": {}},
    {"metadata": {"name": "x"}},
)

CASES = [
    *(Case(f"access: jane {ask.line[:70]} {ask.type if 'PATCH' in ask.line else ''} {ask.accept}", [_as(ask, JANE)]) for ask in REFUSED),
    *(Case(f"access: anonymous {ask.line[:70]} {ask.accept}", [_as(ask, {"Impersonate-User": "system:anonymous", "Impersonate-Group": "system:unauthenticated"})]) for ask in REFUSED[:30]),
    *(Case(f"access: wrong token {ask.line[:70]}", [_as(ask, {"Authorization": "Bearer nonsense"})]) for ask in (get(VMS), get("/livez"), get("/version"), get("/api"), get("/nosuch"))),
    *(Case(f"access: impersonation {headers}", [get(VM, headers=headers)]) for headers in ({"Impersonate-Group": "x"}, {"Impersonate-User": ""}, {"Impersonate-Uid": "x"}, {"Impersonate-Extra-a": "b"}, {"Impersonate-User": "system:serviceaccount:a:b"}, {"Impersonate-User": "system:serviceaccount:"}, {"Impersonate-User": "x", "Impersonate-Uid": "y", "Impersonate-Extra-a%2Fb": "c"}, {"Impersonate-User": "x", "Impersonate-Group": "system:masters"})),
    *(Case(f"access: self review {spec}", [post(f"{AUTHZ}/selfsubjectaccessreviews", {"spec": spec}), post(f"{AUTHZ}/selfsubjectaccessreviews", {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}, headers=JANE)]) for spec in SPECS),
    *(Case(f"access: review {subject} {str(spec)[:80]}", [post(f"{AUTHZ}/subjectaccessreviews", {"spec": {**(spec if isinstance(spec, dict) else {}), **subject}})]) for subject in SUBJECTS for spec in SPECS[:9:2]),
    *(Case(f"access: local review {str(spec)[:80]}", [post(f"{AUTHZ}/namespaces/$ns/localsubjectaccessreviews", {"metadata": {"namespace": "$ns"}, "spec": {**(spec if isinstance(spec, dict) else {}), "user": "jane"}})]) for spec in SPECS),
    Case("access: rules", [post(f"{AUTHZ}/selfsubjectrulesreviews", {"spec": spec}, headers=headers) for spec in ({}, {"namespace": "default"}, {"namespace": ""}, None) for headers in ({}, JANE)]),
    Case("access: who am i", [post(f"{AUTHN}/selfsubjectreviews", body, headers=JANE) for body in ASKERS]),
    Case("access: who am i with extras", [post(f"{AUTHN}/selfsubjectreviews", {}, headers={"Impersonate-User": "x", "Impersonate-Uid": "u", "Impersonate-Extra-Scopes": "a", "Impersonate-Group": "g"})]),
    *(Case(f"access: token review {spec}", [post(f"{AUTHN}/tokenreviews", {"spec": spec})]) for spec in ({}, {"token": "nonsense"}, {"token": ""}, {"token": "x", "audiences": ["y"]}, {"token": 5})),
    Case("access: reviews otherwise", [Ask(f"{method} {path}") for path in (f"{AUTHZ}/selfsubjectaccessreviews", f"{AUTHN}/tokenreviews", f"{AUTHN}/selfsubjectreviews", f"{AUTHZ}/selfsubjectaccessreviews/x") for method in ("GET", "DELETE", "PUT", "PATCH")]),
    *(Case(f"access: reviews {text}", [post(f"{AUTHZ}/selfsubjectaccessreviews?{text}", {"spec": SPECS[4], "nosuch": 1})]) for text in ("dryRun=All", "dryRun=Foo", "fieldValidation=Strict", "fieldValidation=Warn", "fieldManager=x", "pretty=1")),
    *(Case(f"access: reviews as {type_}", [post(f"{AUTHZ}/selfsubjectaccessreviews", {"spec": SPECS[4]}, type=type_)]) for type_ in (None, YAML, "text/plain", MERGE)),
    *(Case(f"access: reviews accept {accept}", [post(f"{AUTHZ}/selfsubjectaccessreviews", {"spec": SPECS[4]}, accept=accept), post(f"{AUTHN}/selfsubjectreviews", {}, accept=accept, headers=JANE)]) for accept in (None, TABLE, YAML, "text/html", "application/vnd.kubernetes.protobuf")),
    Case("access: escalation", [post(ROLES, role(), headers={"Impersonate-User": "jane"}), post(ROLES, role()), post(ROLES.replace("roles", "rolebindings"), {"kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "writer"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "$id"}, "subjects": [{"kind": "User", "name": "jane-$id", "apiGroup": "rbac.authorization.k8s.io"}]}), post("/apis/rbac.authorization.k8s.io/v1/clusterroles", {"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "$id"}, "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["*"]}]}), post(ROLES, role("b"), headers={"Impersonate-User": "jane-$id"}), patch(f"{ROLES}/a", {"rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]}, headers={"Impersonate-User": "jane-$id"}), get(f"{ROLES}/a", headers={"Impersonate-User": "jane-$id"}), post(ROLES.replace("roles", "rolebindings"), {"kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "x"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}}, headers={"Impersonate-User": "jane-$id"})]),
    Case("access: of what is not there", [get(f"{ACCOUNTS}/nosuch", headers=JANE), post(ACCOUNTS, account(), headers=JANE)]),
]  # fmt: skip
