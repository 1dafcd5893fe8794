"""Server-side apply: a manager says all that it wants of an object, and owns what it says.

What it said before and leaves out now goes, unless somebody else owns it too. What somebody else owns and it wants
otherwise is a conflict, unless it insists.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from app.machinery.errors import ApiError, bad_request, conflict
from app.machinery.fieldset import (
    FieldSet,
    difference,
    intersection,
    item_by_value,
    of_paths,
    paths,
    shown,
    union,
    without,
)
from app.machinery.kind import GroupVersion
from app.machinery.lifecycle import ensure_named
from app.machinery.managed import (
    BEFORE_FIRST_APPLY,
    AnyKind,
    Entries,
    Managed,
    Manager,
    Operation,
    Owned,
    Writer,
    capped,
    decoded,
    differences,
    encoded,
    ignored_of,
    lost,
    ownable,
    taken,
)
from app.machinery.objects import Document
from app.machinery.typed import ABSENT, Type, compare, type_of

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
"""The manager for which the annotation that client-side apply leaves behind is honoured and kept."""

_STRIPPED: FieldSet = {"f:metadata": {}}


def ensure_applicable(kind: AnyKind, group_version: GroupVersion, config: Document) -> None:
    """Is it of this kind, and does it leave managedFields alone? Raises ApiError 400."""
    said, name = config.get("apiVersion"), config.get("kind")
    if (said, name) != (str(group_version), kind.name):
        version = said if isinstance(said, str) and said.count("/") <= 1 else ""
        group, _, rest = version.rpartition("/")
        raise bad_request(f"invalid object type: {group}/{rest}, Kind={name if isinstance(name, str) else ''}")
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")


def ensure_new(kind: AnyKind, config: Document, name: str) -> Document:
    """The document of an object that an apply makes, under the name in the URL. Raises ApiError."""
    metadata = dict(config.get("metadata") or {})
    if metadata.get("uid"):
        why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
        raise conflict(kind.plural, kind.group_version.group, name, why)
    ensure_named(metadata, name)
    metadata.pop("resourceVersion", None)
    return {**config, "metadata": metadata}


def applied(
    kind: AnyKind, live: Document, config: Document, writer: Writer, *, force: bool
) -> tuple[Document, Entries]:
    """The object as it is wanted after an apply, and who owns what then. `live` is empty for an object that is made
    by it. Raises ApiError: 409 with every conflict, 500 (as kube-apiserver) for what is not in the schema."""
    _ensure_typed(kind, config)
    managed = decoded(live.get("metadata", {}).get("managedFields"))
    if not managed and live:
        managed = _before_first_apply(kind, live, writer)
    merged, owners, same = _applied(kind, live, config, managed, writer, force=force)
    if not same or not live:
        mine = writer.manager(Operation.APPLY)
        if mine in owners:
            owners[mine] = replace(owners[mine], time=writer.now)
    if writer.name == KUBECTL and LAST_APPLIED in _annotations(merged):
        merged = _with_last_applied(merged, config)
    return merged, encoded(owners)


def _ensure_typed(kind: AnyKind, config: Document) -> None:
    problems = list(type_of(kind).problems(config, ""))
    if not problems:
        return
    metadata = config.get("metadata")
    said: Document = metadata if isinstance(metadata, dict) else {}
    group, _, version = config["apiVersion"].rpartition("/")
    where = f"{said.get('namespace', '')}/{said.get('name', '')}; {group}/{version}, Kind={config['kind']}"
    listed = problems[0] if len(problems) == 1 else "\n  ".join(["errors:", *problems])
    raise ApiError(500, "", f"failed to create typed patch object ({where}): {listed}")


def _before_first_apply(kind: AnyKind, live: Document, writer: Writer) -> dict[Manager, Owned]:
    """Somebody made what is there, and must be asked before it is changed: an owner stands in for them."""
    earlier = replace(writer, name=BEFORE_FIRST_APPLY)
    found = differences(kind, {}, live, earlier)
    return capped(taken({}, found, earlier.manager(Operation.UPDATE), earlier))


def _applied(
    kind: AnyKind, live: Document, config: Document, managed: Managed, writer: Writer, *, force: bool
) -> tuple[Document, dict[Manager, Owned], bool]:
    """The object, its owners, and whether the object stays the same."""
    type_, mine = type_of(kind), writer.manager(Operation.APPLY)
    last = managed.get(mine)
    wanted = without(difference(type_.owned(ownable(config)) or {}, _STRIPPED), ignored_of(kind, writer))
    owners = dict(managed)
    owners.pop(mine, None)
    if wanted:
        owners[mine] = Owned(wanted, writer.version, last.time if last is not None else "")
    merged = type_.merged(live, config)
    if last is not None:
        merged = _pruned(type_, merged, last.fields, union(_kept_anyway(kind), _owned_by(owners)))
    found = differences(kind, live, merged, writer)
    others = {manager: owned for manager, owned in owners.items() if manager != mine}
    conflicts = _conflicts(others, found.changed)
    if conflicts and not force:
        _ensure_allowed(type_, live, conflicts, writer)
    left = lost(lost(others, found.changed), found.removed)
    if mine in owners:
        left[mine] = owners[mine]
    return merged, left, not found


def _pruned(type_: Type, merged: Document, last: FieldSet, kept: FieldSet) -> Document:
    """Without what this manager owned before, and nobody owns now."""
    pruned = type_.pruned(merged, last, kept)
    return {} if pruned is ABSENT else pruned


def _owned_by(owners: Managed) -> FieldSet:
    fields: FieldSet = {}
    for owned in owners.values():
        fields = union(fields, owned.fields)
    return fields


def _kept_anyway(kind: AnyKind) -> FieldSet:
    """A file that says nothing of the kind's own finalizers does not mean that what they wait for is done."""
    return of_paths(("f:metadata", "f:finalizers", item_by_value(finalizer)) for finalizer in kind.finalizers)


# Conflicts


def _conflicts(others: Managed, changed: FieldSet) -> dict[Manager, FieldSet]:
    """What others own of what would change."""
    found = {manager: intersection(owned.fields, changed) for manager, owned in others.items()}
    return {manager: fields for manager, fields in found.items() if fields}


def _ensure_allowed(type_: Type, live: Document, conflicts: dict[Manager, FieldSet], writer: Writer) -> None:
    """kubectl may take over what its own client-side apply has left there. Raises ApiError 409 for anything else."""
    allowed = _of_last_applied(type_, live) if writer.name == KUBECTL else {}
    left = {manager: difference(fields, allowed) for manager, fields in conflicts.items()}
    refused = {manager: fields for manager, fields in left.items() if fields}
    if refused:
        raise _conflict(refused)


def _conflict(conflicts: dict[Manager, FieldSet]) -> ApiError:
    """409 with a cause for each manager and field."""
    listed = [(manager, shown(path)) for manager in sorted(conflicts) for path in paths(conflicts[manager])]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in listed
    ]
    if len(listed) == 1:
        manager, path = listed[0]
        said = f"1 conflict: conflict with {manager}: {path}"
    else:
        lines = []
        for manager in sorted(conflicts):
            lines += [f"conflicts with {manager}:", *(f"- {shown(path)}" for path in paths(conflicts[manager]))]
        said = f"{len(listed)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", f"Apply failed with {said}", {"causes": causes})


# Client-side apply's annotation


def _annotations(document: Document) -> Document:
    found: Any = (document.get("metadata") or {}).get("annotations")
    return found if isinstance(found, dict) else {}


def _of_last_applied(type_: Type, live: Document) -> FieldSet:
    """What client-side apply has set, and nobody has changed since."""
    try:
        last = orjson.loads(_annotations(live).get(LAST_APPLIED) or "null")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(last, dict) or any(type_.problems(last, "")):
        return {}
    fields, found = type_.owned(last) or {}, compare(type_, last, live)
    return difference(difference(fields, found.changed), found.removed)


def _with_last_applied(merged: Document, config: Document) -> Document:
    """The annotation says what was applied last, whichever way, so that client-side apply can go on from it."""
    metadata = dict(config.get("metadata") or {})
    metadata.pop("managedFields", None)
    annotations = {name: value for name, value in _annotations(config).items() if name != LAST_APPLIED}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    text = orjson.dumps({**config, "metadata": metadata}, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    kept = {**merged["metadata"], "annotations": {**_annotations(merged), LAST_APPLIED: text}}
    return {**merged, "metadata": kept}
