"""Metadata: what clients may say in it and what only the server says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from app.machinery.errors import ApiError, FieldError, bad_request, forbidden, invalid, required, too_long
from app.machinery.kind import GroupVersion, Kind
from app.machinery.names import label_value, object_name, qualified_name
from app.machinery.objects import Document, in_utc
from app.machinery.schema import is_type_error, metadata_schema, type_name

ANNOTATIONS_LIMIT = 262_144
"""Bytes of all keys and values of an object's annotations."""

GO_TYPES = {
    "integer": "int64",
    "boolean": "bool",
    "object": "map[string]string",
    "array": "[]",
    "number": "float64",
}


def metadata_of(kind: Kind[Any, Any], group_version: GroupVersion, document: Document) -> Document:
    """A copy of its metadata, known to be of the right types and without what is empty. Raises ApiError 400."""
    metadata = document.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise undecodable(kind, group_version, type_name(metadata), "metadata", "v1.ObjectMeta")
    present = {name: value for name, value in metadata.items() if value not in (None, "", {}, [])}
    _ensure_types(kind, group_version, present)
    present.pop("managedFields", None)
    for name in ("creationTimestamp", "deletionTimestamp"):
        if name in present:
            present[name] = in_utc(present[name])
    return present


def _ensure_types(kind: Kind[Any, Any], group_version: GroupVersion, metadata: Document) -> None:
    for error in filter(is_type_error, metadata_schema().check(metadata).errors):
        actual, wanted = error.message.split('"')[1], error.message.split("of type ")[1].split(":")[0]
        field = error.path.split("[")[0].split(".")[0]
        raise undecodable(kind, group_version, actual, f"ObjectMeta.metadata.{field}", GO_TYPES.get(wanted, wanted))


def undecodable(kind: Kind[Any, Any], group_version: GroupVersion, actual: str, field: str, go_type: str) -> ApiError:
    """400 in the words of Go's JSON decoder."""
    said = "number" if actual == "integer" else "bool" if actual == "boolean" else actual
    return bad_request(
        f'{kind.name} in version "{group_version.version}" cannot be handled as a {kind.name}: '
        f"json: cannot unmarshal {said} into Go struct field {field} of type {go_type}"
    )


def validate_metadata(kind: Kind[Any, Any], document: Document) -> Iterator[FieldError]:
    """Names, labels, annotations, finalizers and owners."""
    metadata = document.get("metadata") or {}
    yield from _name_errors(kind, metadata)
    yield from _label_errors(metadata.get("labels") or {})
    yield from _annotation_errors(metadata.get("annotations") or {})
    yield from _finalizer_errors(metadata.get("finalizers") or [])
    yield from _owner_errors(metadata.get("ownerReferences") or [])


def _name_errors(kind: Kind[Any, Any], metadata: Document) -> Iterator[FieldError]:
    base, name = metadata.get("generateName") or "", metadata.get("name") or ""
    if base:
        for problem in object_name(kind, base.removesuffix("-") or base):
            yield invalid("metadata.generateName", base, problem)
    if not name:
        yield required("metadata.name", "name or generateName is required")
        return
    for problem in object_name(kind, name):
        yield invalid("metadata.name", name, problem)
    namespace = metadata.get("namespace") or ""
    if kind.namespaced and not namespace:
        yield required("metadata.namespace")
    if not kind.namespaced and namespace:
        yield forbidden("metadata.namespace", "not allowed on this type")


def _label_errors(labels: Document) -> Iterator[FieldError]:
    for key, value in labels.items():
        for problem in qualified_name(key):
            yield invalid("metadata.labels", key, problem)
        for problem in label_value(value):
            yield invalid("metadata.labels", value, problem)


def _annotation_errors(annotations: Document) -> Iterator[FieldError]:
    for key in annotations:
        for problem in qualified_name(key.lower()):
            yield invalid("metadata.annotations", key, problem)
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        yield too_long("metadata.annotations", ANNOTATIONS_LIMIT)


def _finalizer_errors(finalizers: list[str]) -> Iterator[FieldError]:
    for finalizer in finalizers:
        for problem in qualified_name(finalizer):
            yield invalid("metadata.finalizers", finalizer, problem)
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        both = "finalizer orphan and foregroundDeletion cannot be both set"
        yield invalid("metadata.finalizers", finalizers, both)


def _owner_errors(owners: list[Document]) -> Iterator[FieldError]:
    controller = ""
    for owner in owners:
        for part in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(part):
                empty = "version must not be empty" if part == "apiVersion" else "must not be empty"
                yield invalid(f"metadata.ownerReferences.{part}", owner.get(part) or "", empty)
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            yield invalid("metadata.ownerReferences", owner, "/v1, Kind=Event is disallowed from being an owner")
        if not owner.get("controller"):
            continue
        if controller:
            only_one = (
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{controller} and {owner.get('kind')}/{owner.get('name')}"
            )
            yield invalid("metadata.ownerReferences", owners, only_one)
        controller = f"{owner.get('kind')}/{owner.get('name')}"


IMMUTABLE = "field is immutable"


def validate_metadata_update(old: Document, new: Document) -> Iterator[FieldError]:
    """What an update may not change, and finalizers that come too late."""
    before, after = old.get("metadata") or {}, new.get("metadata") or {}
    for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if before.get(name) != after.get(name):
            yield invalid(f"metadata.{name}", after.get(name), IMMUTABLE)
    if before.get("deletionTimestamp"):
        added = [name for name in after.get("finalizers") or [] if name not in (before.get("finalizers") or [])]
        if added:
            listed = ", ".join(json.dumps(name) for name in added)
            yield forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}",
            )


def without_repeated_owners(document: Document) -> list[str]:
    """Takes owner references that are there already out of the document; what to warn of."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(owners := metadata.get("ownerReferences"), list):
        return []
    repeated = [owner for index, owner in enumerate(owners) if owner in owners[:index]]
    if not repeated:
        return []
    metadata["ownerReferences"] = [owner for index, owner in enumerate(owners) if owner not in owners[:index]]
    uids = sorted({str(owner.get("uid")) for owner in repeated if isinstance(owner, dict)})
    return [
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may "
        f"reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {', '.join(uids)}"
    ]


def metadata_warnings(old: Document | None, new: Document) -> Iterator[str]:
    """What is allowed and unwise: finalizers that another writer might call the same."""
    before, after = (old or {}).get("metadata") or {}, new.get("metadata") or {}
    for finalizer in after.get("finalizers") or ():
        if "/" not in finalizer and finalizer not in _BUILT_IN and finalizer not in (before.get("finalizers") or ()):
            yield (
                f'metadata.finalizers: "{finalizer}": prefer a domain-qualified finalizer name including a path (/) '
                "to avoid accidental conflicts with other finalizer writers"
            )


_BUILT_IN = frozenset(("orphan", "foregroundDeletion", "kubernetes"))
