"""Who owns which field: metadata.managedFields, as every create, update and apply leaves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from app.machinery.fieldset import FieldSet, NotFields, difference, of_paths, parsed, union, without
from app.machinery.kind import Kind
from app.machinery.objects import Document, in_utc
from app.machinery.typed import Comparison, compare, type_of
from app.machinery.values import value
from app.machinery.zeroes import filled

AnyKind = Kind[Any, Any]
Entries = Sequence[Document]
"""metadata.managedFields."""

MOST_UPDATERS = 10
"""More entries of updates than this are not kept: the oldest become one."""

ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"

_NOBODYS = frozenset(
    ("name", "namespace", "uid", "creationTimestamp", "selfLink", "generation", "resourceVersion", "managedFields")
)
"""Fields of metadata that only the server says: nobody owns them."""

_STRIPPED = of_paths([("f:metadata",)])
_IGNORED = {"": of_paths([("f:status",)]), "status": of_paths([("f:metadata",), ("f:spec",)])}
"""By subresource: what a write there cannot change, and so does not own."""
_IGNORED_OF_TYPED = {**_IGNORED, "status": of_paths([("f:spec",), ("f:metadata", "f:ownerReferences")])}
"""The same of a core kind, whose status is written with metadata beside it."""


class Operation(StrEnum):
    """How a manager came to own its fields. Only what was applied is taken away again when it is left out."""

    APPLY = "Apply"
    UPDATE = "Update"


@value(order=True)
class Manager:
    """Who owns: the same name may stand for several, one for each operation, subresource and updated version."""

    name: str
    operation: Operation
    version: str = ""
    """The apiVersion of updates; an applier is the same under every version."""
    subresource: str = ""

    @classmethod
    def of(cls, name: str, operation: Operation, version: str, subresource: str) -> Manager:
        return cls(name or "unknown", operation, version if operation is Operation.UPDATE else "", subresource)

    def __str__(self) -> str:
        """As conflicts name it."""
        said = f'"{self.name}"'
        if self.subresource:
            said += f' with subresource "{self.subresource}"'
        return f"{said} using {self.version}" if self.operation is Operation.UPDATE else said


@value()
class Owned:
    """What a manager owns, under which version, and since when."""

    fields: FieldSet
    version: str
    time: str = ""


Managed = Mapping[Manager, Owned]


@value()
class Writer:
    """Who writes an object now, and where."""

    name: str
    version: str
    """The apiVersion of the request."""
    now: str
    subresource: str = ""

    def manager(self, operation: Operation) -> Manager:
        return Manager.of(self.name, operation, self.version, self.subresource)


def ignored_of(kind: AnyKind, writer: Writer) -> FieldSet:
    """What the writer does not own, whatever it says."""
    return (_IGNORED_OF_TYPED if kind.typed else _IGNORED).get(writer.subresource, {})


# Entries


def decoded(entries: Any) -> dict[Manager, Owned]:
    """Raises NotFields for what no server has written."""
    managed: dict[Manager, Owned] = {}
    for entry in entries or ():
        version = entry.get("apiVersion") or ""
        if entry.get("operation") not in tuple(Operation) or entry.get("fieldsType") != "FieldsV1" or not version:
            raise NotFields("an entry has an operation, an apiVersion and fieldsType FieldsV1")
        operation = Operation(entry["operation"])
        manager = Manager.of(entry.get("manager") or "", operation, version, entry.get("subresource") or "")
        managed[manager] = Owned(parsed(entry.get("fieldsV1") or {}), version, in_utc(entry.get("time") or ""))
    return managed


def encoded(managed: Managed) -> list[Document]:
    """Appliers first, then by time."""
    ordered = sorted(managed.items(), key=lambda item: (item[0].operation, item[1].time, item[0]))
    return [_entry(manager, owned) for manager, owned in ordered]


def _entry(manager: Manager, owned: Owned) -> Document:
    entry: Document = {
        "apiVersion": owned.version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.fields,
        "manager": manager.name,
        "operation": str(manager.operation),
    }
    if manager.subresource:
        entry["subresource"] = manager.subresource
    if owned.time:
        entry["time"] = owned.time
    return entry


def with_entries(document: Document, entries: Entries) -> Document:
    """The document with these managedFields; none at all where nobody owns anything."""
    metadata = {name: value for name, value in document["metadata"].items() if name != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**document, "metadata": metadata}


def before_write(live: Document, asked: Any, subresource: str) -> dict[Manager, Owned]:
    """The owners that a write starts from: those that it says itself, or else the stored ones. `[{}]` says: nobody."""
    if not subresource:
        if asked == [{}]:
            return {}
        managed = _decoded_or_none(asked)
        if managed:
            return managed
    return _decoded_or_none(live.get("metadata", {}).get("managedFields"))


def _decoded_or_none(entries: Any) -> dict[Manager, Owned]:
    """Clients may send any nonsense here without harm: it is as if they had not."""
    try:
        return decoded(entries)
    except NotFields:
        return {}


# Writes other than apply


def created(kind: AnyKind, document: Document, writer: Writer) -> list[Document]:
    """The entries of a new object: its creator owns all of it, but for finalizers that the server puts on each, and for
    the one that keeps each namespace until it is empty."""
    said = ownable(document)
    if kind.contains and len((said.get("spec") or {}).get("finalizers") or ()) == 1:
        said["spec"] = {name: value for name, value in said["spec"].items() if name != "finalizers"}
    finalizers = [finalizer for finalizer in said["metadata"].pop("finalizers", ()) if finalizer not in kind.finalizers]
    if finalizers:
        said["metadata"]["finalizers"] = finalizers
    every = type_of(kind).every(said) if not kind.typed else differences(kind, {}, said, writer).changed
    fields = without(difference(every, _STRIPPED), ignored_of(kind, writer))
    if not fields:
        return []
    manager = writer.manager(Operation.UPDATE)
    return [_entry(manager, Owned(fields, writer.version, writer.now))]


def updated(kind: AnyKind, old: Document, new: Document, asked: Any, writer: Writer) -> list[Document]:
    """The entries after `old` became `new`. An object that nobody is recorded to own stays so until it is applied."""
    managed = before_write(old, asked, writer.subresource)
    if managed:
        found = differences(kind, old, new, writer)
        managed = capped(taken(managed, found, writer.manager(Operation.UPDATE), writer))
    return encoded(managed)


def ownable(document: Document) -> Document:
    """The document without what nobody owns."""
    left: Document = {name: value for name, value in document.items() if name not in ("apiVersion", "kind")}
    metadata = document.get("metadata")
    if metadata is not None:
        left["metadata"] = {name: value for name, value in metadata.items() if name not in _NOBODYS}
    return left


def differences(kind: AnyKind, old: Document, new: Document, writer: Writer) -> Comparison:
    """What a write there changes."""
    old, new = (filled({"metadata": {}, **kind.blank}, ownable(document)) for document in (old, new))
    found, ignored = compare(type_of(kind), old, new), ignored_of(kind, writer)
    return Comparison(*(without(fields, ignored) for fields in (found.added, found.modified, found.removed)))


def taken(managed: Managed, found: Comparison, manager: Manager, writer: Writer) -> dict[Manager, Owned]:
    """The owners after a manager made these changes: what it changed is its own now, what went is nobody's."""
    changed = found.changed
    left = lost(lost(managed, changed), found.removed)
    own = difference(changed, _STRIPPED)
    if own:
        before = left.get(manager)
        fields = union(before.fields, own) if before is not None else own
        left[manager] = Owned(fields, writer.version, writer.now)
    return left


def lost(managed: Managed, fields: FieldSet) -> dict[Manager, Owned]:
    """The owners when nobody of them owns these any more; who owns nothing is gone."""
    if not fields:
        return dict(managed)
    left = {manager: replace(owned, fields=difference(owned.fields, fields)) for manager, owned in managed.items()}
    return {manager: owned for manager, owned in left.items() if owned.fields}


def capped(managed: Managed) -> dict[Manager, Owned]:
    """With at most so many updaters, the oldest of a version made one."""
    kept = dict(managed)
    updaters = [manager for manager in kept if manager.operation is Operation.UPDATE]
    surplus = len(updaters) - MOST_UPDATERS
    first_of: dict[str, Manager] = {}
    for manager in sorted(updaters, key=lambda manager: (kept[manager].time, manager)):
        if surplus <= 0:
            break
        version = kept[manager].version
        if version not in first_of:
            first_of[version] = manager
            continue
        bucket = Manager(ANCIENT, Operation.UPDATE, version)
        if bucket not in kept:
            kept[bucket] = kept.pop(first_of[version])
        if manager != bucket:
            old = kept.pop(manager)
            kept[bucket] = Owned(union(old.fields, kept[bucket].fields), version, old.time)
            surplus -= 1
    return kept


def settled(old: Document, new: Document) -> Document:
    """`new`, but `old` itself when they differ only in when somebody became an owner: that is no change."""
    return old if _timeless(old) == _timeless(new) else new


def _timeless(document: Document) -> tuple[Document, Document, list[Document]]:
    metadata = document["metadata"]
    entries: Iterable[Document] = metadata.get("managedFields") or ()
    return (
        {name: value for name, value in document.items() if name != "metadata"},
        {name: value for name, value in metadata.items() if name != "managedFields"},
        [{name: value for name, value in entry.items() if name != "time"} for entry in entries],
    )
