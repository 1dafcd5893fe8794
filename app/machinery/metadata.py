"""Metadata: what clients may say in it and what only the server says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from app.machinery.errors import FieldError, forbidden, invalid, required, too_long
from app.machinery.kind import Kind
from app.machinery.names import label_value, object_name, path_segment, qualified_name
from app.machinery.objects import Document

ANNOTATIONS_LIMIT = 262_144
"""Bytes of all keys and values of an object's annotations."""


def validate_metadata(kind: Kind[Any, Any], document: Document) -> Iterator[FieldError]:
    """Of a new object: names, labels, annotations, owners and finalizers."""
    metadata = document.get("metadata") or {}
    yield from _name_errors(metadata, partial(object_name, kind))
    yield from _common_errors(kind, metadata)
    if kind.typed:
        yield from _unqualified_errors(metadata)


def _common_errors(kind: Kind[Any, Any], metadata: Document) -> Iterator[FieldError]:
    namespace = metadata.get("namespace") or ""
    if kind.namespaced and not namespace:
        yield required("metadata.namespace")
    if not kind.namespaced and namespace:
        yield forbidden("metadata.namespace", "not allowed on this type")
    if (generation := metadata.get("generation") or 0) < 0:
        yield invalid("metadata.generation", generation, "must be greater than or equal to 0")
    yield from _described_errors(metadata)
    yield from _finalizer_errors(metadata.get("finalizers") or [])


def _described_errors(metadata: Document) -> Iterator[FieldError]:
    if labels := metadata.get("labels"):
        yield from label_errors(labels, "metadata.labels")
    if annotations := metadata.get("annotations"):
        yield from _annotation_errors(annotations)
    if owners := metadata.get("ownerReferences"):
        yield from _owner_errors(owners)


class _Problems(Protocol):
    """What is wrong with a name, or with what one begins with."""

    def __call__(self, name: str, *, begins: bool = False) -> Iterable[str]: ...


def _name_errors(metadata: Document, problems: _Problems) -> Iterator[FieldError]:
    base, name = metadata.get("generateName") or "", metadata.get("name") or ""
    if base:
        for problem in problems(base, begins=True):
            yield invalid("metadata.generateName", base, problem)
    if not name:
        yield required("metadata.name", "name or generateName is required")
        return
    for problem in problems(name):
        yield invalid("metadata.name", name, problem)


def label_errors(labels: Document, path: str) -> Iterator[FieldError]:
    """Of labels: names and values."""
    for key, value in labels.items():
        for problem in qualified_name(key):
            yield invalid(path, key, problem)
        for problem in label_value(value):
            yield invalid(path, value, problem)


def _unqualified_errors(metadata: Document) -> Iterator[FieldError]:
    """Of kinds that are compiled into kube-apiserver; custom resources are only warned of."""
    for index, finalizer in enumerate(metadata.get("finalizers") or []):
        if "/" not in finalizer and finalizer not in _BUILT_IN:
            neither = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", finalizer, neither)


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
        version = owner.get("apiVersion") or ""
        if version.count("/") > 1 or not version.rpartition("/")[2]:
            yield invalid("metadata.ownerReferences.apiVersion", version, "version must not be empty")
        for part in ("kind", "name", "uid"):
            if not owner.get(part):
                yield invalid(f"metadata.ownerReferences.{part}", owner.get(part) or "", "must not be empty")
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
        controller = controller or f"{owner.get('kind')}/{owner.get('name')}"


IMMUTABLE = "field is immutable"


def validate_metadata_update(kind: Kind[Any, Any], old: Document, new: Document) -> Iterator[FieldError]:
    """Of a changed object. kube-apiserver looks at some of it again and again, and tells a cause for each time."""
    metadata = new.get("metadata") or {}
    yield from _name_errors(metadata, path_segment)
    yield from _common_errors(kind, metadata)
    changes = list(_change_errors(old.get("metadata") or {}, metadata))
    yield from changes
    yield from changes
    if kind.typed:
        yield from validate_metadata(kind, new)
        yield from _unqualified_errors(metadata)


def _change_errors(before: Document, after: Document) -> Iterator[FieldError]:
    """What an update may not change, finalizers that come too late, and what is described in it."""
    if before.get("deletionTimestamp"):
        added = sorted(set(after.get("finalizers") or []) - set(before.get("finalizers") or []))
        if added:
            listed = ", ".join(json.dumps(name) for name in added)
            yield forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}",
            )
    for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if before.get(name) != after.get(name):
            yield invalid(f"metadata.{name}", after.get(name), IMMUTABLE)
    yield from _described_errors(after)


def without_repeated_owners(document: Document, *, patched: bool = False) -> list[str]:
    """Takes owner references that are there already out of the document; what to warn of."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(owners := metadata.get("ownerReferences"), list):
        return []
    repeated = [owner for index, owner in enumerate(owners) if owner in owners[:index]]
    if not repeated:
        return []
    metadata["ownerReferences"] = [owner for index, owner in enumerate(owners) if owner not in owners[:index]]
    when = " after mutating admission happens" if patched else ""
    uids = sorted({str(owner.get("uid")) for owner in repeated if isinstance(owner, dict)})
    return [
        f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may "
        f"reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {', '.join(uids)}"
    ]


def metadata_warnings(kind: Kind[Any, Any], old: Document | None, new: Document) -> Iterator[str]:
    """What is allowed of a custom resource and unwise: finalizers that another writer might call the same."""
    if kind.typed:
        return
    before, after = (old or {}).get("metadata") or {}, new.get("metadata") or {}
    for finalizer in sorted(set(after.get("finalizers") or ()) - set(before.get("finalizers") or ())):
        if "/" not in finalizer and finalizer not in _BUILT_IN:
            path = " including a path (/)" if "." in finalizer else ""
            yield (
                f'metadata.finalizers: "{finalizer}": prefer a domain-qualified finalizer name{path} '
                "to avoid accidental conflicts with other finalizer writers"
            )


_BUILT_IN = frozenset(("orphan", "foregroundDeletion", "kubernetes"))
