"""What a VirtualMachine's status remembers of files that Drover made for its disks. Documents in, new documents out."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable

from app.controllers.migration.plan import Copy
from app.machinery.objects import Document


def made_disks(vm: Document) -> list[Document]:
    """All of them."""
    found: list[Document] = (vm.get("status") or {}).get("madeDisks") or []
    return found


def made_on(vm: Document, node: str) -> set[str]:
    """The paths of those on that node."""
    return {str(disk["path"]) for disk in made_disks(vm) if disk["nodeName"] == node}


def obsolete_on(vm: Document, node: str) -> list[str]:
    """The paths of those that are to be removed there."""
    return [str(disk["path"]) for disk in made_disks(vm) if disk["nodeName"] == node and disk.get("obsolete")]


def with_made_disks(vm: Document, node: str, copies: Iterable[Copy]) -> Document:
    """Remembered before they are made, so that no crash leaves one that nobody knows."""
    new = [{"nodeName": node, "path": each.target_path} for each in copies]
    return _with(vm, [*made_disks(vm), *new]) if new else vm


def with_obsolete(vm: Document, node: str, paths: Collection[str]) -> Document:
    """The guest does not use those any more."""
    left = [
        {**disk, "obsolete": True} if disk["nodeName"] == node and disk["path"] in paths else disk
        for disk in made_disks(vm)
    ]
    return _with(vm, left) if left else vm


def with_moved_disks(vm: Document, copies: Iterable[Copy]) -> Document:
    """The guest uses the new files: the next Migration, which may begin before its host has told so, finds them."""
    paths = {each.disk: each.target_path for each in copies}
    changed = copy.deepcopy(vm)
    for disk in (changed["status"].get("hostRequirements") or {}).get("disks") or ():
        disk["path"] = paths.get(disk["target"], disk["path"])
    return changed


def without(vm: Document, node: str, paths: Collection[str]) -> Document:
    """Those have been removed."""
    return _with(vm, [disk for disk in made_disks(vm) if disk["nodeName"] != node or disk["path"] not in paths])


def _with(vm: Document, disks: list[Document]) -> Document:
    changed = copy.deepcopy(vm)
    status = changed.setdefault("status", {})
    status.pop("madeDisks", None)
    if disks:
        status["madeDisks"] = disks
    return changed
