"""Is a document of the kind that it is sent as, and are its fields of Go's types? Said in Go's and kube-apiserver's words.

A custom resource's own fields are judged by its schema, later and all together; only its metadata is decoded here. A kind
that is compiled into kube-apiserver is decoded as a whole, and the first field of a wrong type ends that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from pydantic import BaseModel

from app.machinery.documents import OBJECT
from app.machinery.errors import ApiError, bad_request, invalid, invalid_object
from app.machinery.go_convert import TIME, cannot_restore
from app.machinery.go_json import cannot_unmarshal
from app.machinery.go_quantity import NotAQuantity, canonical
from app.machinery.go_time import time_error
from app.machinery.kind import GroupVersion, Kind
from app.machinery.objects import Document, ObjectMeta, in_utc
from app.machinery.schema import is_type_error, metadata_schema, schema_of

AnyKind = Kind[Any, Any]

SCHEME = "pkg/api/legacyscheme/scheme.go:30"
_LISTED = {
    "": (
        *("ComponentStatus", "ConfigMap", "Endpoints", "Event", "LimitRange", "Namespace", "Node", "PersistentVolume"),
        *("PersistentVolumeClaim", "Pod", "PodTemplate", "ReplicationController", "ResourceQuota"),
        *("Secret", "Service", "ServiceAccount"),
    ),
    "rbac.authorization.k8s.io": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
}
_UNLISTED = {
    "": (
        *("Binding", "List", "NodeProxyOptions", "PodAttachOptions", "PodExecOptions", "PodLogOptions"),
        *("PodPortForwardOptions", "PodProxyOptions", "PodStatusResult", "RangeAllocation", "SerializedReference"),
        "ServiceProxyOptions",
    ),
}
_OPTIONS = (
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "UpdateOptions",
    "WatchEvent",
)
_UNVERSIONED = frozenset(("Status", "APIVersions", "APIGroup", "APIGroupList", "APIResourceList"))
"""Known whatever their version."""


def _is_known(group: str, name: str) -> bool:
    """Does kube-apiserver know a kind of that name in the version of the group that we serve?"""
    listed = _LISTED.get(group, ())
    return name in listed or name.removesuffix("List") in listed or name in (*_UNLISTED.get(group, ()), *_OPTIONS)


_TIMES = ("creationTimestamp", "deletionTimestamp")


class Undecodable(ApiError):
    """400: a field is of a type that Go cannot read into the kind. A patch that leads there is answered otherwise."""

    def __init__(self, kind: AnyKind, group_version: GroupVersion, why: str, said: str = "") -> None:
        version = group_version.version
        name = said or kind.name
        super().__init__(400, "BadRequest", f'{name} in version "{version}" cannot be handled as a {kind.name}: {why}')
        self.why = why


class Unrecognized(ApiError):
    """400: it cannot even be told what it is."""

    def __init__(self, kind: AnyKind, why: str, raw: bytes) -> None:
        super().__init__(
            400,
            "BadRequest",
            f"the object provided is unrecognized (must be of type {kind.name}): {why} ({_summary(raw)})",
        )
        self.why = why


def _summary(raw: bytes) -> str:
    """The beginning of a body; of what is no JSON object, its bytes."""
    if not raw:
        return "<empty>"
    shown = raw[:30].decode(errors="replace") if raw.startswith(b"{") else raw[:30].hex()
    return shown + " ..." if len(raw) > 30 else shown


def ensure_identity(
    kind: AnyKind,
    group_version: GroupVersion,
    document: Document,
    raw: bytes | None = None,
    *,
    patched: bool = False,
    subresource: str | None = None,
) -> None:
    """Is this the kind that is served here? Core kinds may leave it unsaid, and of a custom resource's patched status it does
    not matter, as nothing else of the outcome is taken. Raises ApiError 400 and 422."""
    if kind.typed:
        document = in_any_case(document)
    elif document.get("apiVersion") == group_version.text and document.get("kind") == kind.name:
        return
    for name in ("apiVersion", "kind"):
        if not isinstance(document.get(name) or "", str):
            why = OBJECT.prefix + cannot_unmarshal(document[name], "string", f".{name}")
            raise Unrecognized(kind, why, _sent(document, raw))
    version, name = document.get("apiVersion") or "", document.get("kind") or ""
    if version.count("/") > 1:
        raise Unrecognized(kind, f"unexpected GroupVersion string: {version}", _sent(document, raw))
    if kind.typed:
        _ensure_typed_identity(kind, group_version, version or str(group_version), name or kind.name)
        return
    if not name:
        sent = _sent(document, raw)
        raise Unrecognized(kind, f"Object 'Kind' is missing in '{sent.decode(errors='replace')}'", sent)
    if version != str(group_version) and not patched:
        raise _other_version(version, group_version)
    wrong = [
        invalid(field, said, f"must be {must}")
        for field, said, must in (("kind", name, kind.name), ("apiVersion", version, str(group_version)))
        if said != must
    ]
    if wrong and not (patched and subresource == "status" and version):
        metadata = document.get("metadata")
        called = metadata.get("name", "") if isinstance(metadata, dict) else ""
        raise invalid_object(name, version.rpartition("/")[0], str(called), wrong)


def _sent(document: Document, raw: bytes | None) -> bytes:
    """What came, for messages; or what the server made of an object."""
    return orjson.dumps(document) if raw is None else raw


def in_any_case(document: Document) -> Document:
    """What a document is called, by whatever letters: Go reads that much of it without regard to their case."""
    said = {name.lower(): value for name, value in document.items() if value is not None}
    return {**document, "apiVersion": said.get("apiversion"), "kind": said.get("kind")}


def _other_version(version: str, expected: GroupVersion) -> ApiError:
    return bad_request(f"the API version in the data ({version}) does not match the expected API version ({expected})")


def _ensure_typed_identity(kind: AnyKind, group_version: GroupVersion, version: str, name: str) -> None:
    if version != str(group_version) and group_version != kind.group_version:
        raise _other_version(version, group_version)
    said = GroupVersion(*("", version) if "/" not in version else tuple(version.split("/", 1)))
    known = name in _UNVERSIONED or (version == str(group_version) and _is_known(group_version.group, name))
    if not known and (version != str(group_version) or name != kind.name):
        unknown = f'no kind "{name}" is registered for version "{version}" in scheme "{SCHEME}"'
        raise Undecodable(kind, said, unknown, name)
    if name != kind.name:
        conversion = f"converting (v1.{name}) to ({kind.package}.{kind.name}): unknown conversion"
        raise Undecodable(kind, said, conversion, name)


Words = Callable[[Any, str, str], str]
"""Why a value is not of a Go type: of the value, the type, and the place with its struct."""


def decoder_words(value: Any, go_type: str, place: str) -> str:
    """JSON's decoder's."""
    return cannot_unmarshal(value, "string" if go_type == TIME else go_type, place)


def converter_words(value: Any, go_type: str, _: str) -> str:
    """Those that a strategic merge patch is answered with."""
    return cannot_restore(value, go_type)


_NOTHING: Document = {"labels": {}, "annotations": {}, "ownerReferences": [], "finalizers": [], "managedFields": []}
"""What says nothing in a field of metadata; of the others an empty text."""
_OWNER: Document = {"apiVersion": "", "kind": "", "name": "", "uid": ""}


def metadata_of(
    kind: AnyKind, group_version: GroupVersion, document: Document, *, fits: bool = False, words: Words = decoder_words
) -> Document:
    """A copy of its metadata, known to be of the right types (before this already where it `fits`) and without what is
    empty. Raises Undecodable."""
    metadata = document.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        field = f"{kind.name}.metadata" if kind.typed else ""
        raise Undecodable(kind, group_version, words(metadata, "v1.ObjectMeta", field))
    present = {name: value for name, value in metadata.items() if value not in (None, _NOTHING.get(name, ""))}
    if type(present.get("generation")) is int and not present["generation"]:
        del present["generation"]
    for name in ("labels", "annotations"):
        if isinstance(present.get(name), dict) and None in present[name].values():
            present[name] = {key: "" if value is None else value for key, value in present[name].items()}
    if isinstance(present.get("finalizers"), list) and None in present["finalizers"]:
        present["finalizers"] = ["" if value is None else value for value in present["finalizers"]]
    if isinstance(owners := present.get("ownerReferences"), list):
        present["ownerReferences"] = [_owner(owner) for owner in owners]
    if not (fits or metadata_schema().fits(present)):
        _ensure_metadata_types(kind, group_version, present, words)
    for name in _TIMES:
        if name in present and (why := time_error(present[name])):
            raise Undecodable(kind, group_version, why)
        if name in present:
            present[name] = in_utc(present[name])
    present.pop("managedFields", None)
    return present


def _owner(said: Any) -> Any:
    """As Go writes what it has read: null is nothing, and the four fields are there in any case."""
    if said is not None and not isinstance(said, dict):
        return said
    return _OWNER | {name: value for name, value in (said or {}).items() if value is not None}


def _ensure_metadata_types(kind: AnyKind, group_version: GroupVersion, metadata: Document, words: Words) -> None:
    if not kind.typed:
        # kube-apiserver writes a custom resource's metadata anew before it reads that: sorted.
        metadata = dict(sorted(metadata.items()))
    schema = metadata_schema()
    for error in filter(is_type_error, [*schema.check(metadata), *(schema.fractions(metadata) if kind.typed else ())]):
        prefix = "metadata." if kind.typed else ""
        value, steps = _found(metadata, error.path)
        if isinstance(value, str) and "of type date-time" in error.message:
            raise Undecodable(kind, group_version, time_error(value) or error.message)
        struct, field, go_type = _go_place_of_metadata(steps)
        raise Undecodable(kind, group_version, words(value, go_type, f"{struct}.{prefix}{field}"))


def told(kind: AnyKind, document: Document) -> Document:
    """What a document says: to a kind that is compiled into kube-apiserver a null says nothing, and a moment is one in UTC.
    Of metadata `metadata_of` knows more."""
    if not kind.typed:
        return document
    others = {name: value for name, value in document.items() if name != "metadata"}
    said: Document = _read(others, schema_of(kind).openapi)
    return {**said, "metadata": document["metadata"]} if document.get("metadata") is not None else said


_ZERO: Document = {"object": {}, "string": ""}
"""What Go reads a null in a list as, by what the list is of."""


_MICRO = ("eventTime", "lastObservedTime")
"""Times that are told to the microsecond."""
AMOUNTS = ("capacity", "allocatable", "requests", "limits")
"""Maps of quantities."""


def _read(value: Any, schema: Document, name: str = "") -> Any:
    if isinstance(value, str) and schema.get("format") == "date-time":
        micro = name in _MICRO
        return value if micro and time_error(value, micro=True) else in_utc(value, micro=micro)
    if isinstance(value, list):
        items = schema.get("items", {})
        zero = _ZERO.get(items.get("type"))
        return [zero if item is None else _read(item, items) for item in value]
    if not isinstance(value, dict):
        return value
    if name in AMOUNTS:
        return {resource: _amount(item) for resource, item in value.items()}
    known, values = schema.get("properties", {}), schema.get("additionalProperties")
    rest = values if isinstance(values, dict) else {}
    return {name: _read(item, known.get(name, rest), name) for name, item in value.items() if item is not None}


def _amount(value: Any) -> Any:
    """As Go writes it; what is none stays, and is complained of."""
    try:
        return _canonical(value)
    except NotAQuantity:
        return value


def _canonical(value: Any) -> str:
    """A number will do, and null is nothing. Raises NotAQuantity."""
    return "0" if value is None else canonical(value if isinstance(value, str) else orjson.dumps(value).decode())


def ensure_types(kind: AnyKind, group_version: GroupVersion, document: Document, words: Words = decoder_words) -> None:
    """Of a kind that is compiled into kube-apiserver: are the types right? Raises Undecodable for the first that is not."""
    schema = schema_of(kind)
    if not kind.typed:
        return
    _ensure_micro(kind, group_version, document)
    _ensure_amounts(kind, group_version, document)
    if schema.fits(document):
        return
    for error in filter(is_type_error, [*schema.check(document), *schema.fractions(document)]):
        value, steps = _found(document, error.path)
        if steps[:1] == ["metadata"]:
            continue
        if isinstance(value, str) and "of type date-time" in error.message:
            raise Undecodable(kind, group_version, time_error(value))
        struct, field, go_type = _go_place_of(kind, steps)
        raise Undecodable(kind, group_version, words(value, go_type, f"{struct}.{field}"))


def _ensure_micro(kind: AnyKind, group_version: GroupVersion, document: Document) -> None:
    """Of an Event's times that are told to the microsecond: are they?"""
    series = document.get("series")
    for holder in (document, series if isinstance(series, dict) else {}):
        for name in _MICRO:
            said = holder.get(name)
            if isinstance(said, str) and (why := time_error(said, micro=True)):
                raise Undecodable(kind, group_version, why)


def _ensure_amounts(kind: AnyKind, group_version: GroupVersion, document: Document) -> None:
    """Of what a Node has: are they quantities?"""
    status = document.get("status")
    for name in AMOUNTS:
        amounts = status.get(name) if isinstance(status, dict) else None
        for value in amounts.values() if isinstance(amounts, dict) else ():
            try:
                _canonical(value)
            except NotAQuantity as wrong:
                raise Undecodable(kind, group_version, str(wrong)) from wrong


Steps = list[str | int]


def _found(document: Any, path: str) -> tuple[Any, Steps]:
    """The value at a path, and the steps there: a key may have dots and brackets in it."""
    steps: Steps = []
    while path:
        if isinstance(document, list):
            index, _, path = path[1:].partition("]")
            steps.append(int(index))
        else:
            key = max((key for key in document if _leads(key, path)), key=len)
            steps.append(key)
            path = path[len(key) :]
        document = document[steps[-1]]
        path = path.removeprefix(".")
    return document, steps


def _leads(key: str, path: str) -> bool:
    return path.startswith(key) and path[len(key) : len(key) + 1] in ("", ".", "[")


def _go_place_of(kind: AnyKind, steps: Steps) -> tuple[str, str, str]:
    if kind.body is not None:
        return _go_place(kind.name, kind.body, steps)
    root = str(steps[0])
    struct = f"{kind.name}{root.capitalize()}"
    if len(steps) == 1:
        return kind.name, root, f"v1.{struct}"
    inner, field, go_type = _go_place(struct, kind.spec if root == "spec" else kind.status, steps[1:])
    return inner, f"{root}.{field}", go_type


def _go_place_of_metadata(steps: Steps) -> tuple[str, str, str]:
    """An entry of managedFields is a struct that no model of ours describes: nothing but texts is judged in it."""
    match steps:
        case ["managedFields", int(), str(name), *_]:
            go_type = "v1.ManagedFieldsOperationType" if name == "operation" else "string"
            return "ManagedFieldsEntry", f"managedFields.{name}", go_type
        case ["managedFields", int()]:
            return "ObjectMeta", "managedFields", "v1.ManagedFieldsEntry"
        case _:
            return _go_place("ObjectMeta", ObjectMeta, steps)


_GO_TYPES = {
    "labels": "map[string]string",
    "annotations": "map[string]string",
    "uid": "types.UID",
    "generation": "int64",
    "deletionGracePeriodSeconds": "int64",
    "terminationGracePeriodSeconds": "int64",
    "capacity": "v1.ResourceList",
    "allocatable": "v1.ResourceList",
    "requests": "v1.ResourceList",
    "limits": "v1.ResourceList",
    "managedFields": "[]v1.ManagedFieldsEntry",
}
"""Where the JSON type alone does not tell."""
_SIMPLE = {"string": "string", "boolean": "bool", "integer": "int32", "number": "float64"}


def _go_place(struct: str, model: type[BaseModel], steps: Steps) -> tuple[str, str, str]:
    """Of the value after some steps: the struct that it is in, the path of its field without indexes and keys, its Go type."""
    raw = model.model_json_schema(by_alias=True)
    definitions: Document = raw.get("$defs", {})
    schema, named = raw, ""
    field: list[str] = []
    for step in steps:
        if isinstance(step, int):
            schema, named = _resolved(schema.get("items", {}), definitions), ""
        elif "properties" in schema:
            struct = struct if schema is raw else str(schema.get("title", struct))
            schema, named = _resolved(schema["properties"].get(step, {}), definitions), step
            field.append(step)
        else:
            values = schema.get("additionalProperties")
            schema, named = _resolved(values if isinstance(values, dict) else {}, definitions), ""
    return struct, ".".join(field), _go_type(schema, named, definitions)


def _go_type(schema: Document, named: str, definitions: Document) -> str:
    if named in _GO_TYPES:
        return _GO_TYPES[named]
    match schema.get("type"):
        case "array":
            return "[]" + _go_type(_resolved(schema.get("items", {}), definitions), "", definitions)
        case "object" if "properties" in schema:
            return f"v1.{schema.get('title', '')}"
        case "object":
            return "map[string]string"
        case "string" if schema.get("format") == "date-time":
            return TIME
        case other:
            return _SIMPLE.get(str(other), "string")


def _resolved(schema: Document, definitions: Document) -> Document:
    """The schema that is meant behind references and `X | None`."""
    meant = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    followed = meant[0] if meant else schema
    name = str(followed.get("$ref", "")).rsplit("/", 1)[-1]
    return definitions[name] if name else followed
