"""What an object's owners mean for it: it stays, loses references, or goes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from app.machinery.objects import Document
from app.machinery.propagation import FOREGROUND, ORPHAN


class Standing(Enum):
    """How an owner stands, seen from who names it."""

    SOLID = auto()
    """It is there, or of a kind that is not kept here and so not ours to judge."""
    WAITING = auto()
    """It is being deleted in the foreground, and waits for its dependents."""
    GONE = auto()
    """No such object, or another one under its name."""
    ELSEWHERE = auto()
    """It lives where the dependent may not have owners: the reference counts for nothing."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Some owner holds it: the references to those that go are taken off."""

    uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Delete:
    """Nobody needs it any more; `policy` is for its own dependents."""

    policy: str


Verdict = Keep | Strip | Delete


def judge(document: Document, standings: Mapping[str, Standing], *, has_dependents: bool) -> Verdict:
    """`standings` are by the owners' uids. An object that names no owner was never anybody's."""
    going = frozenset(uid for uid, standing in standings.items() if standing in (Standing.GONE, Standing.WAITING))
    if not going:
        return Keep()
    if Standing.SOLID in standings.values():
        return Strip(going)
    finalizers = document["metadata"].get("finalizers") or ()
    if ORPHAN in finalizers:
        return Delete("Orphan")
    # An owner that waits for this object waits for what this object owns, too.
    if FOREGROUND in finalizers or (has_dependents and Standing.WAITING in standings.values()):
        return Delete("Foreground")
    return Delete("Background")


def references(document: Document) -> Sequence[Document]:
    """Its owner references."""
    found: Sequence[Document] = document["metadata"].get("ownerReferences") or ()
    return found


def blocks(document: Document, uid: str) -> bool:
    """Must it go before that owner can, when the owner is deleted in the foreground?"""
    return any(reference["uid"] == uid and reference.get("blockOwnerDeletion") for reference in references(document))


def without_owners(document: Document, uids: frozenset[str]) -> Document:
    """The same without its references to those owners."""
    left = [reference for reference in references(document) if reference["uid"] not in uids]
    metadata = {name: value for name, value in document["metadata"].items() if name != "ownerReferences"}
    return {**document, "metadata": {**metadata, "ownerReferences": left} if left else metadata}


def unblocking(document: Document) -> Document:
    """The same, holding up none of its owners: breaks a ring of owners that are all deleted in the foreground."""
    changed = [{**reference, "blockOwnerDeletion": False} for reference in references(document)]
    return {**document, "metadata": {**document["metadata"], "ownerReferences": changed}}


def is_waiting(document: Document) -> bool:
    """Is it being deleted, and the garbage collector asked to see to its dependents first?"""
    metadata = document["metadata"]
    finalizers = metadata.get("finalizers") or ()
    return bool(metadata.get("deletionTimestamp")) and (ORPHAN in finalizers or FOREGROUND in finalizers)
