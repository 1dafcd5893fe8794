"""Objects that migration tests are about, said in one line each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from uuid import uuid4

from app.controllers.birth import Birth
from app.controllers.documents import key_of
from app.controllers.placement.need import Need
from app.controllers.pods import launcher_pod
from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Scope, Store

BIRTH = Birth()
NAMESPACE = "default"
MIB = 2**20


def node_document(name: str, uri: str = "", *, labels: Mapping[str, str] | None = None, **annotations: str) -> Document:
    """A Ready node; annotations as in `migration_uri="unix:///x/"`."""
    document = BIRTH.document(
        NODE,
        "",
        name,
        labels={"kubernetes.io/hostname": name, **(labels or {})},
        spec={"providerID": uri or f"fake://{name}"},
        status={
            "allocatable": {"cpu": "20", "memory": "8Gi"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "HostReady"}],
        },
    )
    if annotations:
        document["metadata"]["annotations"] = {
            f"kubevirt.io/{key.replace('_', '-')}": value for key, value in annotations.items()
        }
    return document


def vm_document(name: str, node: str, *, uid: str = "", phase: str = "Running", **spec: object) -> Document:
    """A VirtualMachine on that node."""
    document = BIRTH.document(
        VIRTUAL_MACHINE,
        NAMESPACE,
        name,
        labels={"kubevirt.io/nodeName": node},
        spec={"domain": {}, **spec},
        status={"phase": phase, "nodeName": node},
    )
    document["metadata"]["uid"] = uid or str(uuid4())
    return document


def pod_document(vm: Document, node: str, memory: int = 64 * MIB) -> Document:
    """Its running launcher pod."""
    pod = launcher_pod(BIRTH, vm, node, Need(memory, 1000))
    pod["status"] = {"phase": "Running"}
    return pod


def migration_document(name: str, vm: str = "testvm", **spec: object) -> Document:
    """A Migration as the API stores it."""
    return BIRTH.document(MIGRATION, NAMESPACE, name, spec={"selector": {"name": vm}, **spec})


def migration_key(name: str) -> Key:
    return Key(MIGRATION.resource, NAMESPACE, name)


async def create(store: Store, *documents: Document) -> None:
    """Stored, in order."""
    kinds = {kind.name: kind for kind in (MIGRATION, VIRTUAL_MACHINE, POD, NODE)}
    for document in documents:
        await store.objects.create(key_of(kinds[document["kind"]], document), document)


async def running_vm(store: Store, name: str, node: str, **more: str) -> Document:
    """A VirtualMachine that runs on that node, with its pod."""
    vm = vm_document(name, node, **more)
    await create(store, vm, pod_document(vm, node))
    return vm


async def document_at(store: Store, key: Key) -> Document | None:
    try:
        return (await store.objects.get(key)).document
    except NotFound:
        return None


async def pods_where(store: Store, **labels: str) -> list[Document]:
    """Pods with those labels, as in `migration="m1"` for kubevirt.io/migration."""
    wanted = {f"kubevirt.io/{key}": value for key, value in labels.items()}
    listing = await store.objects.list(Scope(POD.resource, NAMESPACE))
    found = [stored.document for stored in listing.items]
    return [pod for pod in found if wanted.items() <= (pod["metadata"].get("labels") or {}).items()]


async def until(
    store: Store, key: Key, holds: Callable[[Document | None], bool], within_s: float = 30
) -> Document | None:
    """The object as soon as that is so of it (None when it is gone). Waits for the watch, never for time."""
    async with asyncio.timeout(within_s):
        since = await store.objects.revision()
        async with store.objects.watch(Scope(key.resource, key.namespace), since) as watch:
            while not holds(found := await document_at(store, key)):
                await watch.next()
            return found


def phase_of(document: Document | None) -> str:
    return "" if document is None else str((document.get("status") or {}).get("phase", ""))
