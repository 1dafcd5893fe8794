"""Small questions about stored documents that several controllers ask."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.controllers.pods import is_launcher_of, launcher_names
from app.kinds import MIGRATION, POD
from app.kinds.migration import FINAL
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.store.base import Key, Reader, Revision, Scope, Transaction

FEW = 8
"""Pods that are read at once where a guest's own are looked for."""


def key_of(kind: Kind[Any, Any], document: Document) -> Key:
    """Where the document is stored."""
    metadata = document["metadata"]
    return Key(kind.resource, metadata.get("namespace", "") if kind.namespaced else "", metadata["name"])


def revision_of(document: Document) -> Revision:
    """The version that was read."""
    return int(document["metadata"]["resourceVersion"])


def domain_uuid(vm: Document) -> UUID:
    """libvirt's UUID of the VM's guest: the VM's own, but for an adopted one."""
    return UUID((vm.get("status") or {}).get("domainUUID") or vm["metadata"]["uid"])


def is_adopted(vm: Document) -> bool:
    """The guest ran before Drover found it."""
    return (vm.get("status") or {}).get("adopted") is True


async def launchers_of(reader: Reader, vm: Document) -> list[Document]:
    """The launcher and target pods of that VM: found by how their names begin, as others' may too."""
    metadata, scope = vm["metadata"], Scope(POD.resource, vm["metadata"]["namespace"])
    beginning = launcher_names(metadata["name"])
    found, after = [], Key(POD.resource, metadata["namespace"], beginning)
    while True:
        page = (await reader.list(scope, limit=FEW, after=after, left=0)).items
        named = [stored.document for stored in page if stored.key.name.startswith(beginning)]
        found += [pod for pod in named if is_launcher_of(pod, metadata["uid"])]
        if len(named) < FEW:
            return found
        after = page[-1].key


async def unfinished_migrations_of(reader: Reader, vm: Document) -> list[Document]:
    """The Migrations that name that VM and have not ended."""
    metadata = vm["metadata"]
    listing = await reader.list(Scope(MIGRATION.resource, metadata["namespace"]))
    return [
        stored.document
        for stored in listing.items
        if stored.document["spec"]["selector"]["name"] == metadata["name"] and not is_over(stored.document)
    ]


def is_over(migration: Document) -> bool:
    """Its phase is final."""
    return (migration.get("status") or {}).get("phase", "") in FINAL


def take_off(tx: Transaction, kind: Kind[Any, Any], document: Document, finalizer: str) -> None:
    """Remove a finalizer from an object that is being deleted; when it was the last one, the object goes."""
    metadata = document["metadata"]
    left = [name for name in metadata.get("finalizers") or () if name != finalizer]
    changed = {**document, "metadata": {**metadata, "finalizers": left}}
    if left:
        tx.replace(key_of(kind, document), changed)
    else:
        del changed["metadata"]["finalizers"]
        tx.delete(key_of(kind, document), revision=revision_of(document), document=changed)


def remove(tx: Transaction, kind: Kind[Any, Any], document: Document) -> None:
    """Delete exactly this version of an object that has no finalizers."""
    tx.delete(key_of(kind, document), revision=revision_of(document))
