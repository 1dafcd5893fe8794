"""A small judge of Kubernetes' roles: rules as manifests have them, and who is bound to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
Rule = Document


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whom the cluster knows."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)

    def document(self) -> Document:
        shown: Document = {"username": self.name, "groups": list(self.groups)}
        return shown | ({"uid": self.uid} if self.uid else {}) | ({"extra": self.extra} if self.extra else {})


def account(namespace: str, name: str) -> Caller:
    """A service account's token is whose."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return Caller(f"system:serviceaccount:{namespace}:{name}", groups, f"uid-of-{name}")


_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete", "deletecollection"]

BUILT_IN: list[Document] = [
    {"kind": "ClusterRole", "metadata": {"name": "system:public-info-viewer"},
     "rules": [{"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]}]},
    {"kind": "ClusterRole", "metadata": {"name": "system:discovery"},
     "rules": [{"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
                                    "/readyz", "/version", "/version/"], "verbs": ["get"]}]},
    {"kind": "ClusterRole", "metadata": {"name": "system:basic-user"},
     "rules": [{"apiGroups": ["authorization.k8s.io"],
                "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
               {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]}]},
    {"kind": "ClusterRole", "metadata": {"name": "system:auth-delegator"},
     "rules": [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
               {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}]},
    {"kind": "Role", "metadata": {"namespace": "kube-system", "name": "extension-apiserver-authentication-reader"},
     "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": _READ,
                "resourceNames": ["extension-apiserver-authentication"]}]},
    {"kind": "ClusterRole", "metadata": {"name": "cluster-admin"},
     "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]},
    {"kind": "ClusterRole", "metadata": {"name": "view", "aggregated": "aggregate-to-view"},
     "rules": [{"apiGroups": [""], "resources": ["pods", "events", "namespaces"], "verbs": _READ}]},
    {"kind": "ClusterRole", "metadata": {"name": "edit", "aggregated": "aggregate-to-view aggregate-to-edit"},
     "rules": [{"apiGroups": [""], "resources": ["pods", "events", "namespaces"], "verbs": _READ},
               {"apiGroups": [""], "resources": ["pods"], "verbs": _WRITE}]},
    {"kind": "ClusterRoleBinding", "roleRef": {"name": "system:discovery"},
     "subjects": [{"kind": "Group", "name": "system:authenticated"}]},
    {"kind": "ClusterRoleBinding", "roleRef": {"name": "system:basic-user"},
     "subjects": [{"kind": "Group", "name": "system:authenticated"}]},
    {"kind": "ClusterRoleBinding", "roleRef": {"name": "system:public-info-viewer"},
     "subjects": [{"kind": "Group", "name": "system:authenticated"}, {"kind": "Group", "name": "system:unauthenticated"}]},
    {"kind": "ClusterRoleBinding", "roleRef": {"name": "cluster-admin"},
     "subjects": [{"kind": "Group", "name": "system:masters"},
                  {"kind": "ServiceAccount", "namespace": "kube-system", "name": "namespace-controller"}]},
]  # fmt: skip
"""What every cluster has, as far as it matters here."""


def binding(role: str, user: str, namespace: str = "") -> Document:
    """A user's ClusterRole, in one namespace or everywhere."""
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    metadata = {"name": f"{user}-{role}"} | ({"namespace": namespace} if namespace else {})
    subjects = [{"kind": "User", "name": user}]
    return {"kind": kind, "metadata": metadata, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects}


class Judge:
    """Says yes where some rule does."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents = [*BUILT_IN, *documents]

    def allows(self, caller: Caller, asked: Document) -> bool:
        """`asked` is a review's spec: resourceAttributes or nonResourceAttributes."""
        resource = asked.get("resourceAttributes")
        namespace = str((resource or {}).get("namespace") or "")
        rules = self.rules(caller, namespace)
        if resource is not None:
            return any(_fits(rule, resource) for rule in rules)
        return any(_leads(rule, asked["nonResourceAttributes"]) for rule in rules)

    def rules(self, caller: Caller, namespace: str) -> Iterator[Rule]:
        for bound in self.documents:
            if bound["kind"] not in ("ClusterRoleBinding", "RoleBinding"):
                continue
            if bound["kind"] == "RoleBinding" and bound["metadata"]["namespace"] != namespace:
                continue
            if any(_is(subject, caller) for subject in bound["subjects"]):
                yield from self._of(bound["roleRef"]["name"])

    def _of(self, name: str) -> Iterator[Rule]:
        for role in self.documents:
            if role["kind"] in ("ClusterRole", "Role") and role["metadata"]["name"] == name:
                yield from role["rules"]
                for label in str(role["metadata"].get("aggregated", "")).split():
                    yield from self._labelled(f"rbac.authorization.k8s.io/{label}")

    def _labelled(self, label: str) -> Iterator[Rule]:
        for role in self.documents:
            if role["kind"] == "ClusterRole" and (role["metadata"].get("labels") or {}).get(label) == "true":
                yield from role["rules"]


def _is(subject: Document, caller: Caller) -> bool:
    match subject["kind"]:
        case "User":
            return bool(subject["name"] == caller.name)
        case "Group":
            return subject["name"] in caller.groups
        case _:
            return f"system:serviceaccount:{subject['namespace']}:{subject['name']}" == caller.name


def _has(values: Sequence[str], value: str) -> bool:
    return "*" in values or value in values


def _fits(rule: Rule, asked: Document) -> bool:
    resource = asked["resource"] + (f"/{asked['subresource']}" if asked.get("subresource") else "")
    names = rule.get("resourceNames")
    return (
        _has(rule.get("verbs", ()), asked["verb"])
        and _has(rule.get("apiGroups", ()), asked.get("group") or "")
        and _has(rule.get("resources", ()), resource)
        and (not names or asked.get("name") in names)
    )


def _leads(rule: Rule, asked: Document) -> bool:
    path = asked["path"]
    known = rule.get("nonResourceURLs", ())
    leads = any(url == "*" or url == path or (url.endswith("*") and path.startswith(url[:-1])) for url in known)
    return leads and _has(rule.get("verbs", ()), asked["verb"])
