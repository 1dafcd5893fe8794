"""The roles and bindings that are there from the start, as Kubernetes and KubeVirt have them, for what is served here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.kinds.rbac import RBAC
from app.machinery.access import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from app.machinery.objects import Document

AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
"""An annotation: "false" keeps a role or binding as it is at the next start."""
BOOTSTRAPPED = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

READ = ("get", "list", "watch")
CHANGE = ("create", "delete", "deletecollection", "patch", "update")
READ_WRITE = (*READ, *CHANGE)
AUTHORIZATION, AUTHENTICATION, POLICY, KUBEVIRT = (
    "authorization.k8s.io", "authentication.k8s.io", "policy", "kubevirt.io",
)  # fmt: skip

HEALTH = ("/healthz", "/livez", "/readyz")
VERSION = ("/version", "/version/")
ISSUER = (
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
)
SERVICE_ACCOUNTS = "system:serviceaccounts"
DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*")


def default_roles() -> list[Document]:
    """Every ClusterRole."""
    return [*_for_everybody(), *_for_namespaces(), *_for_guests()]


def default_bindings() -> list[Document]:
    """Every ClusterRoleBinding."""
    everybody = (AUTHENTICATED, UNAUTHENTICATED)
    return [
        _binding("cluster-admin", MASTERS),
        _binding("system:monitoring", "system:monitoring"),
        _binding("system:discovery", AUTHENTICATED),
        _binding("system:basic-user", AUTHENTICATED),
        _binding("system:public-info-viewer", *everybody),
        _binding("system:service-account-issuer-discovery", SERVICE_ACCOUNTS),
    ]


def _for_everybody() -> Iterator[Document]:
    yield _role("cluster-admin", _may(("*",), ("*",), ("*",)), _see(("*",), "*"))
    yield _role("system:discovery", _see(("get",), *DISCOVERY, *HEALTH, *VERSION))
    yield _role("system:public-info-viewer", _see(("get",), *HEALTH, *VERSION))
    yield _role("system:monitoring", _see(("get",), "/metrics", *HEALTH, *(f"{path}/*" for path in HEALTH)))
    yield _role(
        "system:basic-user",
        _may(("create",), (AUTHORIZATION,), ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
        _may(("create",), (AUTHENTICATION,), ("selfsubjectreviews",)),
    )
    yield _role("system:service-account-issuer-discovery", _see(("get",), *ISSUER))
    yield _role(
        "system:auth-delegator",
        _may(("create",), (AUTHENTICATION,), ("tokenreviews",)),
        _may(("create",), (AUTHORIZATION,), ("subjectaccessreviews",)),
    )


def _for_namespaces() -> Iterator[Document]:
    """admin, edit and view: put together from roles that carry a label, so that others add to them."""
    yield _aggregated("admin", "admin")
    yield _aggregated("edit", "edit", to="admin")
    yield _aggregated("view", "view", to="edit")
    yield _role(
        "system:aggregate-to-admin",
        _may(("create",), (AUTHORIZATION,), ("localsubjectaccessreviews",)),
        _may(READ_WRITE, (RBAC.group,), ("roles", "rolebindings")),
        to=("admin",),
    )
    yield _role(
        "system:aggregate-to-edit",
        _may(("impersonate",), ("",), ("serviceaccounts",)),
        _may(CHANGE, ("",), ("pods",)),
        _may(("create",), ("",), ("pods/eviction", "serviceaccounts/token")),
        _may(CHANGE, ("",), ("serviceaccounts",)),
        _may(CHANGE, ("",), ("events",)),
        to=("edit",),
    )
    yield _role(
        "system:aggregate-to-view",
        _may(READ, ("",), ("pods", "pods/log", "pods/status", "serviceaccounts", "services")),
        _may(READ, ("",), ("events", "namespaces", "namespaces/status")),
        to=("view",),
    )


def _for_guests() -> Iterator[Document]:
    """KubeVirt's names; `kubevirt.io:migrate` is for those who move guests and change nothing else."""
    guests = ("virtualmachines", "migrations")
    yield _role("kubevirt.io:admin", _may(READ_WRITE, (KUBEVIRT,), guests), to=("admin",))
    yield _role("kubevirt.io:edit", _may(READ_WRITE, (KUBEVIRT,), guests), to=("edit",))
    yield _role(
        "kubevirt.io:view",
        _may(READ, (KUBEVIRT,), (*guests, "virtualmachines/status", "migrations/status", "pods", "pods/log")),
        to=("view",),
    )
    yield _role(
        "kubevirt.io:migrate",
        _may(READ_WRITE, (KUBEVIRT,), ("migrations",)),
        _may(READ, (KUBEVIRT,), ("virtualmachines", "migrationpolicies", "nodes", "pods", "pods/log")),
        _may(READ, ("",), ("nodes", "pods", "pods/log", "events", "namespaces")),
        _may(("create",), ("",), ("pods/eviction",)),
        _may(("patch", "update"), ("", KUBEVIRT), ("nodes",)),
    )


def _may(verbs: Sequence[str], groups: Sequence[str], resources: Sequence[str]) -> Document:
    return {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)}


def _see(verbs: Sequence[str], *paths: str) -> Document:
    return {"verbs": list(verbs), "nonResourceURLs": list(paths)}


def _role(name: str, *rules: Document, to: Sequence[str] = ()) -> Document:
    labels = BOOTSTRAPPED | {f"{_AGGREGATE}{target}": "true" for target in to}
    return {**_object("ClusterRole", name, labels), "rules": list(rules)}


def _aggregated(name: str, by: str, to: str = "") -> Document:
    role = _role(name, to=(to,) if to else ())
    del role["rules"]
    return {**role, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {f"{_AGGREGATE}{by}": "true"}}]}}


def _binding(role: str, *groups: str) -> Document:
    return {
        **_object("ClusterRoleBinding", role, BOOTSTRAPPED),
        "roleRef": {"apiGroup": RBAC.group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC.group, "kind": "Group", "name": group} for group in groups],
    }


def _object(kind: str, name: str, labels: dict[str, str]) -> Document:
    metadata = {"name": name, "labels": dict(labels), "annotations": {AUTO_UPDATE: "true"}}
    return {"apiVersion": str(RBAC), "kind": kind, "metadata": metadata}
