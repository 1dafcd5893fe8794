"""The protobuf that kubectl sends without a fallback: an envelope around one of a few kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from app.machinery.errors import ApiError, bad_request
from app.machinery.objects import Document

MAGIC = b"k8s\x00"
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"

Wire = tuple[int, int | bytes]
"""A field's number and its value: an integer for a varint, bytes for what has a length."""
Read = Callable[[int | bytes], Any]


def parse_protobuf(body: bytes) -> Document:
    """The document in the envelope. Raises ApiError: 400 for what cannot be read, 415 for other kinds."""
    if not body.startswith(MAGIC):
        raise bad_request("the body of the request is not in Kubernetes' protobuf envelope")
    envelope = _message(body[len(MAGIC) :], {1: ("type", _type_meta), 2: ("raw", _bytes)})
    type_meta = envelope.get("type", {})
    fields = _KINDS.get(type_meta.get("kind", ""))
    if fields is None:
        raise ApiError(
            415,
            "UnsupportedMediaType",
            f"{type_meta.get('kind', 'this')} is not read as protobuf here; send application/json or application/yaml",
        )
    return {**type_meta, **_message(envelope.get("raw", b""), fields)}


def _fields(data: bytes) -> Iterator[Wire]:
    """The wire format: fixed-size numbers are skipped, groups are refused. Raises ApiError 400."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
            case 2:
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise _malformed()
                yield key >> 3, data[at : at + length]
                at += length
            case 1 | 5 as fixed:
                at += 8 if fixed == 1 else 4
            case _:
                raise _malformed()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _malformed()


def _malformed() -> ApiError:
    return bad_request("proto: cannot parse invalid wire-format data")


Fields = dict[int, tuple[str, Read]]


def _message(data: int | bytes, fields: Fields) -> Document:
    """The known fields by name; a repeated one is a list, a map entry goes into its map. Unset texts are left out."""
    document: Document = {}
    for number, raw in _fields(_bytes(data)):
        if number not in fields:
            continue
        name, read = fields[number]
        value = read(raw)
        if name.endswith("[]"):
            document.setdefault(name.removesuffix("[]"), []).append(value)
        elif name.endswith("{}"):
            document.setdefault(name.removesuffix("{}"), {}).update({value.get("key", ""): value.get("value", "")})
        elif value not in ("", {}):
            document[name] = value
    return document


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise _malformed()
    return raw


def _text(raw: int | bytes) -> str:
    try:
        return _bytes(raw).decode()
    except UnicodeDecodeError:
        raise _malformed() from None


def _integer(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise _malformed()
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _boolean(raw: int | bytes) -> bool:
    return _integer(raw) != 0


def _nested(fields: Fields) -> Read:
    return lambda raw: _message(raw, fields)


_type_meta = _nested({1: ("apiVersion", _text), 2: ("kind", _text)})
_entry = _nested({1: ("key", _text), 2: ("value", _text)})
_owner = _nested(
    {
        5: ("apiVersion", _text),
        1: ("kind", _text),
        3: ("name", _text),
        4: ("uid", _text),
        6: ("controller", _boolean),
        7: ("blockOwnerDeletion", _boolean),
    }
)
_metadata = _nested(
    {
        1: ("name", _text),
        2: ("generateName", _text),
        3: ("namespace", _text),
        5: ("uid", _text),
        6: ("resourceVersion", _text),
        11: ("labels{}", _entry),
        12: ("annotations{}", _entry),
        13: ("ownerReferences[]", _owner),
        14: ("finalizers[]", _text),
    }
)
_preconditions = _nested({1: ("uid", _text), 2: ("resourceVersion", _text)})

_rule = _nested(
    {
        1: ("verbs[]", _text),
        2: ("apiGroups[]", _text),
        3: ("resources[]", _text),
        4: ("resourceNames[]", _text),
        5: ("nonResourceURLs[]", _text),
    }
)
_requirement = _nested({1: ("key", _text), 2: ("operator", _text), 3: ("values[]", _text)})
_selector = _nested({1: ("matchLabels{}", _entry), 2: ("matchExpressions[]", _requirement)})
_subject = _nested({1: ("kind", _text), 2: ("apiGroup", _text), 3: ("name", _text), 4: ("namespace", _text)})
_role_ref = _nested({1: ("apiGroup", _text), 2: ("kind", _text), 3: ("name", _text)})
_binding: Fields = {1: ("metadata", _metadata), 2: ("subjects[]", _subject), 3: ("roleRef", _role_ref)}
_resource_attributes = _nested(
    {
        1: ("namespace", _text),
        2: ("verb", _text),
        3: ("group", _text),
        4: ("version", _text),
        5: ("resource", _text),
        6: ("subresource", _text),
        7: ("name", _text),
    }
)
_other_attributes = _nested({1: ("path", _text), 2: ("verb", _text)})
_access: Fields = {1: ("resourceAttributes", _resource_attributes), 2: ("nonResourceAttributes", _other_attributes)}


def _extra(raw: int | bytes) -> Document:
    """An entry of a map of lists."""
    entry = _message(raw, {1: ("key", _text), 2: ("value", _nested({1: ("items[]", _text)}))})
    return {"key": entry.get("key", ""), "value": entry.get("value", {}).get("items", [])}


_subject_access: Fields = {
    **_access,
    3: ("user", _text),
    4: ("groups[]", _text),
    5: ("extra{}", _extra),
    6: ("uid", _text),
}
_bound = _nested({1: ("kind", _text), 2: ("apiVersion", _text), 3: ("name", _text), 4: ("uid", _text)})
_token_request = _nested({1: ("audiences[]", _text), 3: ("boundObjectRef", _bound), 4: ("expirationSeconds", _integer)})


def _reviewing(spec: Fields) -> Fields:
    return {1: ("metadata", _metadata), 2: ("spec", _nested(spec))}


_KINDS: dict[str, Fields] = {
    "Role": {1: ("metadata", _metadata), 2: ("rules[]", _rule)},
    "ClusterRole": {
        1: ("metadata", _metadata),
        2: ("rules[]", _rule),
        3: ("aggregationRule", _nested({1: ("clusterRoleSelectors[]", _selector)})),
    },
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "ServiceAccount": {1: ("metadata", _metadata)},
    "SelfSubjectAccessReview": _reviewing(_access),
    "SubjectAccessReview": _reviewing(_subject_access),
    "LocalSubjectAccessReview": _reviewing(_subject_access),
    "SelfSubjectRulesReview": _reviewing({1: ("namespace", _text)}),
    "SelfSubjectReview": {1: ("metadata", _metadata)},
    "TokenReview": _reviewing({1: ("token", _text), 2: ("audiences[]", _text)}),
    "TokenRequest": {1: ("metadata", _metadata), 2: ("spec", _token_request)},
    "Namespace": {1: ("metadata", _metadata), 2: ("spec", _nested({1: ("finalizers[]", _text)}))},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", _integer),
        2: ("preconditions", _preconditions),
        3: ("orphanDependents", _boolean),
        4: ("propagationPolicy", _text),
        5: ("dryRun[]", _text),
    },
}
