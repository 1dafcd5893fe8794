"""What the cases are made of: paths, objects, media types, and the usual ways to begin."""

from __future__ import annotations

from typing import Any

from app.machinery.objects import Document
from tests.fidelity.case import Ask, Case

GROUP = "/apis/kubevirt.io/v1alpha1"
VMS = f"{GROUP}/namespaces/$ns/virtualmachines"
VM = f"{VMS}/a"
MIGS = f"{GROUP}/namespaces/$ns/migrations"
POLICIES = f"{GROUP}/migrationpolicies"
POLICY = f"{POLICIES}/$id"
NODES = "/api/v1/nodes"
NODE = f"{NODES}/$id"
EVENTS = "/api/v1/namespaces/$ns/events"
ACCOUNTS = "/api/v1/namespaces/$ns/serviceaccounts"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/$ns/roles"

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
YAML = "application/yaml"
JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
CBOR = "application/cbor"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIALS = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

DOMAIN: Document = {"memory": {"value": 64, "unit": "MB"}, "type": "qemu", "os": {"type": {"os": "hvm"}}, "devices": {}}
VM_FINALIZER = "kubevirt.io/virtualmachine"
MIG_FINALIZER = "kubevirt.io/migration"


def meta(name: str, **more: Any) -> Document:
    return {"name": name, **more}


def vm(name: str = "a", labels: Document | None = None, finalizers: list[str] | None = None, **spec: Any) -> Document:
    """A VirtualMachine with the finalizer that Drover would put on it, so that the reference has it, too."""
    metadata: Document = {"name": name, "finalizers": [VM_FINALIZER] if finalizers is None else finalizers}
    if labels:
        metadata["labels"] = labels
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": metadata,
        "spec": {"domain": DOMAIN, **spec},
    }


def mig(name: str = "m", **spec: Any) -> Document:
    metadata: Document = {"name": name, "finalizers": [MIG_FINALIZER]}
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": metadata,
        "spec": {"selector": {"name": "a"}, **spec},
    }


def policy(name: str = "$id", metadata: Document | None = None, **spec: Any) -> Document:
    """A kind without status and without finalizers, not in a namespace."""
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "MigrationPolicy",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"selectors": {}, **spec},
    }


def node(name: str = "$id", metadata: Document | None = None, **spec: Any) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"providerID": "qemu:///session", **spec},
    }


def account(name: str = "a", **metadata: Any) -> Document:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, **metadata}}


def role(name: str = "a", **metadata: Any) -> Document:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    return {**kind, "metadata": {"name": name, **metadata}, "rules": rules}


def post(path: str, body: Any, **more: Any) -> Ask:
    return Ask(f"POST {path}", body, **more)


def get(path: str, **more: Any) -> Ask:
    return Ask(f"GET {path}", **more)


def put(path: str, body: Any, **more: Any) -> Ask:
    return Ask(f"PUT {path}", body, **more)


def patch(path: str, body: Any, type: str = MERGE, **more: Any) -> Ask:
    return Ask(f"PATCH {path}", body, type, **more)


def delete(path: str, body: Any = None, **more: Any) -> Ask:
    return Ask(f"DELETE {path}", body, **more)


MADE = post(VMS, vm())
"""Answer 0 of cases that are about one machine."""
THREE = (
    post(VMS, vm("a", {"tier": "x", "n": "1"})),
    post(VMS, vm("b", {"tier": "y", "n": "2"})),
    post(VMS, vm("c", {"tier": "x"})),
)
"""Answers 0 to 2 of cases that are about several."""


def each(prefix: str, asks: list[Ask], before: tuple[Ask, ...] = ()) -> list[Case]:
    """A case for each request, named by it."""
    return [Case(f"{prefix}: {_short(ask)}", [*before, ask]) for ask in asks]


def together(name: str, asks: list[Ask], before: tuple[Ask, ...] = ()) -> Case:
    """One case of requests that change nothing."""
    return Case(name, [*before, *asks])


def _short(ask: Ask) -> str:
    body = "" if ask.body is None else f" {str(ask.body)[:160]}"
    return f"{ask.line}{body}"
