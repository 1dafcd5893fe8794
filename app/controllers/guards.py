"""What refuses a deletion, for wiring to bind; judged in the deleting transaction."""

from __future__ import annotations

from collections.abc import Iterator

from app.controllers.documents import is_over
from app.kinds import MIGRATION, NAMESPACE, NODE, POD, VIRTUAL_MACHINE, names
from app.kinds.pod import Phase
from app.kinds.virtualmachine import FINAL
from app.machinery.errors import ApiError, conflict, resource_details
from app.machinery.objects import Document
from app.store.base import Scope, Transaction

NAMED = 5
"""How many are named in a refusal; the others are counted."""
DEFAULT_NAMESPACE = "default"


async def node_guard(tx: Transaction, node: Document) -> None:
    """409 while guests run there or arrive, or an unfinished Migration needs the Node."""
    name = node["metadata"]["name"]
    listed = {
        "guest": [_of(vm) for vm in await _documents(tx, VIRTUAL_MACHINE.resource) if _lives_on(vm, name)],
        "arriving guest": [_of(pod) for pod in await _documents(tx, POD.resource) if _is_target_on(pod, name)],
        "unfinished migration": [_of(m) for m in await _documents(tx, MIGRATION.resource) if _needs(m, name)],
    }
    reasons = [f"{_counted(what, found)} ({_named(found)})" for what, found in listed.items() if found]
    if reasons:
        help_ = "migrate or delete the VirtualMachines, and wait for the Migrations, first"
        raise conflict(NODE.plural, NODE.group_version.group, name, f"the node has {', '.join(reasons)}: {help_}")


async def namespace_guard(_tx: Transaction, namespace: Document) -> None:
    """403 for `default`. Any other terminates, with what is in it."""
    name = namespace["metadata"]["name"]
    if name == DEFAULT_NAMESPACE:
        message = f'{NAMESPACE.plural} "{name}" is forbidden: this namespace may not be deleted'
        raise ApiError(403, "Forbidden", message, resource_details(NAMESPACE.plural, "", name))


async def _documents(tx: Transaction, resource: str) -> Iterator[Document]:
    return (stored.document for stored in (await tx.list(Scope(resource))).items)


def _lives_on(vm: Document, node: str) -> bool:
    status = vm.get("status") or {}
    return status.get("nodeName") == node and status.get("phase") not in FINAL


def _is_target_on(pod: Document, node: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    arrives = labels.get(names.APP) == names.APP_LAUNCHER and names.MIGRATION_UID in labels
    return arrives and pod["spec"].get("nodeName") == node and pod["status"].get("phase") == Phase.PENDING


def _needs(migration: Document, node: str) -> bool:
    state = (migration.get("status") or {}).get("migrationState") or {}
    return node in (state.get("sourceNode"), state.get("targetNode")) and not is_over(migration)


def _of(document: Document) -> str:
    return f"{document['metadata']['namespace']}/{document['metadata']['name']}"


def _counted(what: str, found: list[str]) -> str:
    return f"{len(found)} {what}" if len(found) == 1 else f"{len(found)} {what}s"


def _named(found: list[str]) -> str:
    shown = ", ".join(sorted(found)[:NAMED])
    return shown if len(found) <= NAMED else f"{shown} and {len(found) - NAMED} more"
