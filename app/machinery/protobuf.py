"""Kubernetes' protobuf: an envelope around a message. Some clients send nothing else, and some ask for it first."""

from __future__ import annotations

from collections.abc import Container, Iterator
from datetime import UTC, datetime
from typing import Any, assert_never

import orjson

from app.machinery.errors import ApiError, bad_request
from app.machinery.objects import Document
from app.machinery.protobuf_messages import MESSAGES, READ, Field, Message, Scalar
from app.machinery.protobuf_wire import blob, varint

MAGIC = b"k8s\x00"
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"

Wire = tuple[int, int | bytes]
"""A field's number and its value: an integer for a varint, bytes for what has a length."""

_TYPE: Message = {"apiVersion": Field(1, Scalar.TEXT), "kind": Field(2, Scalar.TEXT)}
_VARINT, _LENGTH = 0, 2


# Written


def has_message(document: Document) -> bool:
    """Whether it is of a kind that can be sent so."""
    return document.get("kind") in MESSAGES


def to_protobuf(document: Document) -> bytes:
    """The document in the envelope. Raises KeyError for a kind that has no message here."""
    type_meta = _written({name: document.get(name, "") for name in _TYPE}, _TYPE)
    raw = _written(document, MESSAGES[document["kind"]])
    return MAGIC + blob(1, type_meta) + blob(2, raw) + blob(3, b"") + blob(4, b"")


def to_frame(type_: str, document: Document) -> bytes:
    """A watch's event: its length, and a message with the document in its envelope."""
    event = blob(1, type_.encode()) + blob(2, blob(1, to_protobuf(document)))
    return len(event).to_bytes(4, "big") + event


def _written(document: Document, message: Message) -> bytes:
    parts = [_field(message[name], value) for name, value in document.items() if name in message and value is not None]
    return b"".join(parts)


def _field(field: Field, value: Any) -> bytes:
    if field.repeated:
        return b"".join(_one(field.number, field.of, item) for item in value)
    if field.map:
        entries = ((_one(1, Scalar.TEXT, key) + _one(2, field.of, item)) for key, item in sorted(value.items()))
        return b"".join(blob(field.number, entry) for entry in entries)
    return _one(field.number, field.of, value)


def _one(number: int, of: Scalar | str, value: Any) -> bytes:
    if isinstance(of, str):
        return blob(number, _written(value, MESSAGES[of]))
    match of:
        case Scalar.TEXT:
            return blob(number, value.encode())
        case Scalar.INTEGER | Scalar.BOOLEAN | Scalar.OPTIONAL_INTEGER | Scalar.OPTIONAL_BOOLEAN:
            return varint(number << 3 | _VARINT) + varint(int(value))
        case Scalar.TIME | Scalar.MOMENT:
            return blob(number, _time(value))
        case Scalar.QUANTITY:
            return blob(number, blob(1, str(value).encode()))
        case Scalar.DOCUMENT:
            return blob(number, blob(1, orjson.dumps(value)))
        case Scalar.TEXTS:
            return blob(number, b"".join(blob(1, text.encode()) for text in value))
        case unhandled:
            assert_never(unhandled)


def _time(text: str) -> bytes:
    moment = datetime.fromisoformat(text)
    whole = moment.replace(microsecond=0)
    parts = varint(1 << 3 | _VARINT) + varint(int(whole.timestamp()))
    return parts + varint(2 << 3 | _VARINT) + varint(moment.microsecond * 1000)


# Read


def parse_protobuf(body: bytes) -> Document:
    """The document of a request's body. Raises ApiError: 400 for what cannot be read, 415 for other kinds."""
    return of_protobuf(body, READ)


def of_protobuf(body: bytes, kinds: Container[str] = MESSAGES) -> Document:
    """The document in the envelope. Raises ApiError: 400 for what cannot be read, 415 for what is none of the kinds."""
    if not body.startswith(MAGIC):
        prefix = " ".join(map(str, MAGIC))
        raise bad_request(f"provided data does not appear to be a protobuf message, expected prefix [{prefix}]")
    raw, type_meta = b"", Document()
    for number, value in _fields(body[len(MAGIC) :]):
        if number == 1:
            type_meta = _read(_bytes(value), _TYPE)
        elif number == 2:
            raw = _bytes(value)
    kind = type_meta.get("kind", "")
    if kind not in kinds:
        raise ApiError(
            415,
            "UnsupportedMediaType",
            f"{kind or 'this'} is not read as protobuf here; send application/json or application/yaml",
        )
    return {**type_meta, **_read(raw, MESSAGES[kind])}


def _read(data: bytes, message: Message) -> Document:
    """The known fields by name. What a client of JSON would leave out is left out: empty texts, noughts."""
    names = {field.number: (name, field) for name, field in message.items()}
    document: Document = {}
    for number, raw in _fields(data):
        if number not in names:
            continue
        name, field = names[number]
        if field.map:
            entry = _read(_bytes(raw), {"key": Field(1, Scalar.TEXT), "value": Field(2, field.of)})
            document.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
            continue
        value = _value(raw, field.of)
        if field.repeated:
            document.setdefault(name, []).append(value)
        elif value not in ("", {}, None):
            document[name] = value
    return document


def _value(raw: int | bytes, of: Scalar | str) -> Any:
    if isinstance(of, str):
        return _read(_bytes(raw), MESSAGES[of])
    match of:
        case Scalar.TEXT:
            return _text(raw)
        case Scalar.INTEGER:
            return _integer(raw) or None
        case Scalar.BOOLEAN:
            return _integer(raw) != 0 or None
        case Scalar.OPTIONAL_INTEGER:
            return _integer(raw)
        case Scalar.OPTIONAL_BOOLEAN:
            return _integer(raw) != 0
        case Scalar.TIME | Scalar.MOMENT:
            return _moment(_bytes(raw), exact=of is Scalar.MOMENT)
        case Scalar.QUANTITY:
            return _only_text(raw)
        case Scalar.DOCUMENT:
            return _document(_only_text(raw))
        case Scalar.TEXTS:
            return [_text(value) for number, value in _fields(_bytes(raw)) if number == 1]
        case unhandled:
            assert_never(unhandled)


def _moment(data: bytes, *, exact: bool) -> str | None:
    parts = dict(_fields(data))
    if not parts:
        return None
    seconds, nanos = _integer(parts.get(1, 0)), _integer(parts.get(2, 0))
    try:
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000, tzinfo=None)
    except (ValueError, OverflowError, OSError):
        raise _malformed() from None
    return moment.isoformat(timespec="microseconds" if exact else "seconds") + "Z"


def _only_text(raw: int | bytes) -> str:
    return next((_text(value) for number, value in _fields(_bytes(raw)) if number == 1), "")


def _document(text: str) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        raise _malformed() from None


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
