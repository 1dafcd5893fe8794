"""What the API's tests are about, and nothing else of it."""

from __future__ import annotations

from typing import Any

from app.kinds import NAMESPACE, POD
from app.machinery.kind import CORE
from app.machinery.lifecycle import prepare_create
from app.machinery.objects import Document
from app.store.base import Key, Store, Stored

KV = "/apis/kubevirt.io/v1alpha1"
MIGRATIONS = f"{KV}/namespaces/default/migrations"
MACHINES = f"{KV}/namespaces/default/virtualmachines"
PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
NOW = "2026-01-01T00:00:00Z"
DOMAIN = {"memory": {"value": 64, "unit": "MB"}, "type": "qemu", "os": {"type": {"os": "hvm"}}, "devices": {}}


def machine(name: str = "testvm", **spec: Any) -> Document:
    """A VirtualMachine."""
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"domain": DOMAIN, **spec},
    }


def migration(name: str = "testvm-migration", **spec: Any) -> Document:
    """A Migration of testvm."""
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": {"name": name},
        "spec": {"selector": {"name": "testvm"}, **spec},
    }


def node(name: str = "node0", **spec: Any) -> Document:
    """A Node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"providerID": f"qemu+unix:///session?socket=/tmp/{name}/sock", **spec},
    }


def pod(name: str = "virt-migration-abcde", node_name: str = "node0") -> Document:
    """A pod with one container named `migration`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"kubevirt.io": "migration"}},
        "spec": {"nodeName": node_name, "containers": [{"name": "migration"}]},
    }


def labelled(document: Document, **labels: str) -> Document:
    return {**document, "metadata": {**document["metadata"], "labels": labels}}


def annotated(document: Document, **annotations: str) -> Document:
    return {**document, "metadata": {**document["metadata"], "annotations": annotations}}


def finalized(document: Document, *finalizers: str) -> Document:
    return {**document, "metadata": {**document["metadata"], "finalizers": list(finalizers)}}


async def make_pod(store: Store, document: Document) -> Stored:
    """As a controller does: clients may not."""
    uid = "00000000-0000-4000-8000-000000000002"
    prepared = prepare_create(POD, CORE, document, namespace="default", now=NOW, uid=uid, suffix="")
    return await store.objects.create(Key(POD.resource, "default", document["metadata"]["name"]), prepared)


async def make_namespace(store: Store, name: str) -> None:
    """As the service does at its first start."""
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    uid = "00000000-0000-4000-8000-000000000001"
    prepared = prepare_create(NAMESPACE, CORE, document, namespace="", now=NOW, uid=uid, suffix="")
    await store.objects.create(Key(NAMESPACE.resource, "", name), prepared)
