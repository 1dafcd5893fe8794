"""What create, update and delete do to an object: default, prepare, validate, in this order and in no other place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from app.machinery.decoding import Words, decoder_words, ensure_identity, ensure_types, metadata_of, told
from app.machinery.errors import (
    ApiError,
    FieldError,
    bad_request,
    conflict,
    invalid,
    invalid_object,
)
from app.machinery.kind import GroupVersion, Kind
from app.machinery.metadata import validate_metadata, validate_metadata_update
from app.machinery.names import generated, self_link
from app.machinery.objects import Document
from app.machinery.propagation import with_policy
from app.machinery.schema import NOWHERE, is_type_error, schema_of

__all__ = [
    "check_preconditions",
    "ensure_decodable",
    "ensure_named",
    "ensure_readable",
    "is_finished_deleting",
    "prepare_create",
    "prepare_delete",
    "prepare_update",
    "served_as",
    "validate_create",
    "validate_metadata",
    "validate_update",
]

AnyKind = Kind[Any, Any]

_ONLY_THE_SERVER_SAYS = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


def ensure_decodable(
    kind: AnyKind,
    group_version: GroupVersion,
    document: Document,
    *,
    namespace: str,
    raw: bytes | None = None,
    patched: bool = False,
    subresource: str | None = None,
    words: Words = decoder_words,
) -> None:
    """Is it of the kind, with fields of the right types, in the request's namespace? Raises ApiError."""
    ensure_identity(kind, group_version, document, raw, patched=patched, subresource=subresource)
    _ensure_namespace(kind, ensure_readable(kind, group_version, document, words), namespace)


def ensure_readable(
    kind: AnyKind, group_version: GroupVersion, document: Document, words: Words = decoder_words
) -> Document:
    """Are its fields of the right types? Its metadata, as metadata_of. Raises Undecodable."""
    ensure_types(kind, group_version, told(kind, document), words)
    return metadata_of(kind, group_version, document, words=words)


def prepare_create(
    kind: AnyKind,
    group_version: GroupVersion,
    document: Document,
    *,
    namespace: str,
    now: str,
    uid: str,
    suffix: str,
    raw: bytes | None = None,
    fits: bool = False,
    applied: bool = False,
) -> Document:
    """The object as it will be stored (under the kind's first group version), with defaults. `raw` is the body that it
    came in, for messages; `fits` says that it is known to fit the kind's schema, and need not be looked through again.
    `applied`: as of an update. Raises ApiError."""
    ensure_identity(kind, group_version, document, raw)
    document = told(kind, document)
    if not fits or kind.typed:
        ensure_types(kind, group_version, document)
    metadata = metadata_of(kind, group_version, document, fits=fits)
    version = metadata.get("resourceVersion", "")
    if version.isdecimal() and int(version[:32]):
        raise bad_request("resourceVersion should not be set on objects to be created")
    _ensure_namespace(kind, metadata, namespace)
    for name in _ONLY_THE_SERVER_SAYS:
        metadata.pop(name, None)
    if "name" not in metadata and metadata.get("generateName"):
        metadata["name"] = generated(metadata["generateName"], suffix)
    if kind.namespaced:
        metadata["namespace"] = namespace
    metadata |= {"uid": uid, "creationTimestamp": now}
    if kind.has_generation:
        metadata["generation"] = 1
    elif not kind.typed:
        metadata.pop("generation", None)
    said: list[str] = metadata.get("finalizers", [])
    finalizers = [*said, *[finalizer for finalizer in kind.finalizers if finalizer not in said]]
    if finalizers:
        metadata["finalizers"] = finalizers
    metadata["selfLink"] = self_link(kind, kind.group_version, namespace, metadata.get("name", ""))
    forgets_status = kind.body is None and not kind.made_with_status
    body = {name: value for name, value in document.items() if not (name == "status" and forgets_status)}
    return _defaulted(kind, {**body, **_identity(kind), "metadata": metadata}, fits=fits, applied=applied)


def prepare_update(
    kind: AnyKind,
    group_version: GroupVersion,
    old: Document,
    new: Document,
    *,
    subresource: str | None = None,
    now: str = "",
    patched: bool = False,
    applied: bool = False,
) -> Document:
    """The object as it will be stored, resourceVersion that of `old`; equal to `old` when nothing changes.

    `patched` says that `new` was made from `old` by the server: what a patch may not change is then 422, not 409.
    `applied` says that an apply did that: it leaves its nulls for validation, where elsewhere they say nothing.
    A whole object that says nothing of finalizers keeps the kind's own: it is somebody's file, and does not mean that
    what they wait for is done. An empty list, or a patch, takes them off. Raises ApiError.
    """
    ensure_identity(kind, group_version, new, patched=patched, subresource=subresource)
    new = told(kind, new)
    ensure_types(kind, group_version, new)
    metadata, before = metadata_of(kind, group_version, new), old["metadata"]
    _ensure_same_object(kind, before, metadata, patched=patched)
    metadata = _restored(before, metadata)
    if not patched and (new.get("metadata") or {}).get("finalizers") is None:
        metadata |= _own_finalizers(kind, before)
    if subresource == "status":
        changed = {**_copy(old), "status": new.get("status")}
        if changed["status"] is None:
            del changed["status"]
        if kind.typed:
            changed["metadata"] = _with_owners_of(before, metadata)
        return _defaulted(kind, changed, applied=applied)
    if subresource == "finalize":
        spec = new.get("spec") or {}
        # Its defaults would put back what this takes off.
        return {**_defaulted(kind, {**_copy(old), "metadata": metadata, "spec": _copy(spec)}), "spec": spec}
    changed = {**new, **_identity(kind), "metadata": metadata}
    if kind.contains:
        changed.pop("spec", None)
        if "spec" in old:
            changed["spec"] = _copy(old["spec"])
    if kind.body is None and kind.has_status:
        changed.pop("status", None)
        if "status" in old:
            changed["status"] = _copy(old["status"])
    changed = _defaulted(kind, changed, applied=applied)
    if kind.has_generation and _desired(changed) != _desired(old):
        changed["metadata"]["generation"] = before.get("generation", 0) + 1
    return changed


def _with_owners_of(before: Document, metadata: Document) -> Document:
    """Whose status is written keeps its owners."""
    kept = {name: value for name, value in metadata.items() if name != "ownerReferences"}
    return kept | {name: before[name] for name in ("ownerReferences",) if name in before}


def _own_finalizers(kind: AnyKind, before: Document) -> Document:
    own = [name for name in before.get("finalizers") or () if name in kind.finalizers]
    return {"finalizers": own} if own else {}


def prepare_delete(kind: AnyKind, document: Document, options: Document | None, *, now: str) -> Document | None:
    """None: remove it at once. Otherwise the object marked as being deleted, which waits for its finalizers.

    Propagation is one of them: the garbage collector takes it off. Raises ApiError when a precondition does not hold.
    """
    check_preconditions(kind, document, options or {})
    metadata = document["metadata"]
    before = metadata.get("finalizers") or []
    finalizers = with_policy(before, options or {})
    if not finalizers and not _content_finalizers(document) and not (kind.contains and "spec" not in document):
        return None
    if kind.contains and metadata.get("deletionTimestamp") and _content_finalizers(document):
        return document  # being emptied, it does not look at what is said again
    if metadata.get("deletionTimestamp"):
        return document if finalizers == before else {**document, "metadata": _finalized(metadata, finalizers)}
    marked = _finalized(metadata, finalizers) | {"deletionTimestamp": now}
    if kind.contains:
        return _terminating(document, marked)
    marked["deletionGracePeriodSeconds"] = 0
    if "generation" in metadata:
        marked["generation"] = metadata["generation"] + 1
    return {**document, "metadata": marked}


def _finalized(metadata: Document, finalizers: list[str]) -> Document:
    others = {name: value for name, value in metadata.items() if name != "finalizers"}
    return {**others, "finalizers": finalizers} if finalizers else others


def is_finished_deleting(document: Document) -> bool:
    """Deletion was asked for, and nobody has anything left to do."""
    metadata = document["metadata"]
    return bool(metadata.get("deletionTimestamp")) and not (metadata.get("finalizers") or _content_finalizers(document))


def _content_finalizers(document: Document) -> list[str]:
    """Who still cares for what lives in the object: of a Namespace, its `spec.finalizers`."""
    spec = document.get("spec")
    found = spec.get("finalizers") if isinstance(spec, dict) else None
    return found if isinstance(found, list) else []


def _terminating(document: Document, metadata: Document) -> Document:
    """A Namespace that was stored before it had content finalizers gets the usual one: it is emptied before it goes."""
    spec = document.get("spec") or {"finalizers": ["kubernetes"]}
    return {
        **document,
        "metadata": metadata,
        "spec": spec,
        "status": {**(document.get("status") or {}), "phase": "Terminating"},
    }


def check_preconditions(kind: AnyKind, document: Document, options: Document) -> None:
    """Raises ApiError 409 when a DeleteOptions' preconditions name another object or another version."""
    wanted, metadata = options.get("preconditions") or {}, document["metadata"]
    uid, version = wanted.get("uid"), wanted.get("resourceVersion")
    if kind.contains:
        for name, said, held in (
            ("UID", uid, metadata.get("uid")),
            ("ResourceVersion", version, metadata.get("resourceVersion")),
        ):
            if said is not None and said != held:
                why = f"Precondition failed: {name} in precondition: {said}, {name} in object meta: {held}"
                raise conflict(kind.plural, kind.group_version.group, metadata["name"], why)
    if uid is not None and uid != metadata.get("uid"):
        raise _precondition_failed(
            kind,
            metadata,
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata.get('uid')}). "
            "The object might have been deleted and then recreated",
        )
    if version is not None and version != metadata.get("resourceVersion"):
        raise _precondition_failed(
            kind,
            metadata,
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata.get('resourceVersion')}). The object might have been modified",
        )


def validate_create(kind: AnyKind, document: Document, *, fits: bool = False) -> list[FieldError]:
    """Shape, metadata, then the kind's own checks, which only see documents of the right shape.

    `fits` says that it was prepared of a document that fits the schema. What the server adds fits too, except for what a
    kind itself may fill in or take out."""
    known = fits and not kind.typed and kind.default is None
    errors = [*validate_metadata(kind, document), *(() if known else _shape_errors(kind, document))]
    return errors or list(kind.check_create(document))


def _below_status(error: FieldError) -> FieldError:
    if error.path == NOWHERE:
        return replace(error, path="status", message=error.message.replace(" in status.", " in "))
    below = error.path.removeprefix("status").removeprefix(".")
    return replace(error, message=error.message.replace(f"{error.path} in body", f"{below} in body"))


def _shape_errors(kind: AnyKind, document: Document) -> list[FieldError]:
    """Of everything but metadata, which no schema judges."""
    return [error for error in schema_of(kind).check(document) if not error.path.startswith("metadata.")]


def validate_update(kind: AnyKind, old: Document, new: Document, *, subresource: str = "") -> list[FieldError]:
    """As for create, and what may not change."""
    shape = _shape_errors(kind, new)
    if subresource == "status":
        # Of a custom resource's status kube-apiserver judges that alone, and calls its fields by their place in it.
        shape = [_below_status(error) for error in shape]
    errors = [*validate_metadata_update(kind, old, new), *shape]
    return errors or list(kind.check_update(old, new))


def served_as(kind: AnyKind, group_version: GroupVersion, document: Document) -> Document:
    """The stored object as another group version serves it: apiVersion and selfLink differ, nothing else."""
    if group_version == kind.group_version:
        return document
    metadata = document["metadata"]
    link = self_link(kind, group_version, metadata.get("namespace", ""), metadata["name"])
    return {**document, "apiVersion": str(group_version), "metadata": {**metadata, "selfLink": link}}


def _identity(kind: AnyKind) -> Document:
    return {"apiVersion": str(kind.group_version), "kind": kind.name}


def _ensure_namespace(kind: AnyKind, metadata: Document, namespace: str) -> None:
    """Forgets the namespace of what has none. Raises 400 for another one than the request's."""
    said = metadata.get("namespace", "")
    if not kind.namespaced:
        metadata.pop("namespace", None)
    elif said and said != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def _ensure_same_object(kind: AnyKind, before: Document, after: Document, *, patched: bool) -> None:
    """Name, namespace, version and uid of an update are those of the object that it names."""
    name, group = before["name"], kind.group_version.group
    _ensure_namespace(kind, after, before.get("namespace", ""))
    ensure_named(after, name)
    here = before.get("namespace", "")
    if after.get("uid") and after["uid"] != before["uid"] and not patched:
        raise conflict(
            kind.plural,
            group,
            name,
            f"StorageError: invalid object, Code: 4, Key: {_storage_key(kind, here, name)}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {after['uid']}, "
            f"UID in object meta: {before['uid']}",
        )
    version = after.get("resourceVersion")
    version = None if version == "0" else version
    if version is None and not kind.typed:
        must = invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise _invalid_resource(kind, name, must)
    if version is not None and version != before.get("resourceVersion"):
        raise conflict(kind.plural, group, name)


def ensure_named(metadata: Document, name: str) -> None:
    """Raises 400 where that is not the name that it says itself."""
    if not metadata.get("name"):
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if metadata["name"] != name:
        raise bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")


def _storage_key(kind: AnyKind, namespace: str, name: str) -> str:
    """Where kube-apiserver would keep it in etcd."""
    group = kind.group_version.group
    plural = "minions" if kind.resource == "nodes" else kind.plural
    return "/".join(step for step in ("/registry", group, plural, namespace, name) if step)


def _invalid_resource(kind: AnyKind, name: str, error: FieldError) -> ApiError:
    """Storage says this of the resource, where validation says it of the Kind."""
    return invalid_object(kind.plural, kind.group_version.group, name, [error])


def _restored(before: Document, after: Document) -> Document:
    """The new metadata with what only the server says put back; a changed uid or deletion stays, for validation, but for a
    deletion that has begun: that cannot be put off."""
    restored = dict(after)
    if "deletionTimestamp" in before:
        restored["deletionTimestamp"] = before["deletionTimestamp"]
    for name in ("namespace", "resourceVersion", "creationTimestamp", "generation", "selfLink", "managedFields"):
        restored.pop(name, None)
        if name in before:
            restored[name] = before[name]
    for name in ("uid", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if name in before:
            restored.setdefault(name, before[name])
    return restored


def _copy(document: Document) -> Document:
    """Stored documents are shared; what is filled in must not show there."""
    copied: Document = orjson.loads(orjson.dumps(document))
    return copied


def _desired(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in ("metadata", "status")}


def _defaulted(kind: AnyKind, document: Document, *, fits: bool = False, applied: bool = False) -> Document:
    """The kind's own defaults only see what has the right types; validation names what has not."""
    schema = schema_of(kind)
    if kind.typed:
        said: Document = {name: [] for name, zero in kind.blank.items() if zero is None and document.get(name) == []}
        schema.drop_empty(document)
        document |= said  # Who says these owns them; they are stored as null.
    schema.default(document, fits=fits, applied=applied)
    if kind.default is not None and not any(map(is_type_error, schema.check(document))):
        kind.default(document)
    return document


def _precondition_failed(kind: AnyKind, metadata: Document, why: str) -> ApiError:
    return conflict(kind.name, kind.group_version.group, metadata["name"], why)
