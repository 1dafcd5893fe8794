"""The v2 document as gnostic's protobuf (OpenAPIv2.proto): what kubectl up to 1.28, and `explain` of OpenAPI v2, read.

Each message is a table from the JSON name to the field's number and writer. As proto3 has it, an empty value is not written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

from app.machinery.objects import Document

Write = Callable[[int, Any], bytes]
"""A field's bytes, key and all, from its number and its JSON value."""
Fields = Mapping[str, tuple[int, Write]]

EXTENSIONS = "x-"
"""In a table: the field that holds every name that begins like this."""


def to_protobuf(document: Document) -> bytes:
    """The whole document. Raises ValueError for a field that Swagger 2.0 does not have."""
    return _body(document, _DOCUMENT)


# The wire format


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _truth(field: int, value: bool) -> bytes:
    return _number(field, int(value))


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value) if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode()) if value else b""


def _texts(field: int, values: Iterable[str]) -> bytes:
    return b"".join(_bytes(field, value.encode()) for value in values)


# Messages


def _body(value: Mapping[str, Any], fields: Fields) -> bytes:
    extensions = {name: item for name, item in value.items() if name.startswith(EXTENSIONS)}
    plain = [(*_field(name, fields), item) for name, item in value.items() if name not in extensions]
    written = [write(number, item) for number, write, item in sorted(plain, key=lambda field: field[0])]
    if extensions:
        number, write = _field(EXTENSIONS, fields)
        written.append(write(number, extensions))
    return b"".join(written)


def _field(name: str, fields: Fields) -> tuple[int, Write]:
    if name not in fields:
        raise ValueError(
            f"BUG: the OpenAPI v2 document says {name!r}, where Swagger 2.0 knows only {', '.join(fields)}"
        )
    return fields[name]


def _message(fields: Fields) -> Write:
    return lambda number, value: _bytes(number, _body(value, fields))


def _each(write: Write) -> Write:
    return lambda number, values: b"".join(write(number, value) for value in values)


def _one_of(choice: int, write: Write) -> Write:
    """A message whose only field, the chosen one, is the value."""
    return lambda number, value: _bytes(number, write(choice, value))


def _named(write: Write) -> Write:
    """A map as pairs: a repeated message of name and value."""
    return lambda number, values: b"".join(
        _bytes(number, _text(1, name) + write(2, value)) for name, value in values.items()
    )


def _within(number: int, write: Write) -> Write:
    """A message around one repeated field."""
    return lambda outer, values: _bytes(outer, write(number, values))


def _any(number: int, value: Any) -> bytes:
    """Any JSON value, as YAML text."""
    return _bytes(number, _text(2, yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True)))


def _additional(number: int, value: Document | bool) -> bytes:
    """AdditionalPropertiesItem: a schema or a truth, which is written even when it is false."""
    if isinstance(value, bool):
        return _bytes(number, _varint(2 << 3) + _varint(int(value)))
    return _bytes(number, _schema(1, value))


def _schema(number: int, value: Document) -> bytes:
    return _bytes(number, _body(value, _SCHEMA))


def _parameter(number: int, value: Document) -> bytes:
    """ParametersItem: a reference, a body, or one of the others by where it is."""
    if "$ref" in value:
        return _one_of(2, _message(_REFERENCE))(number, value)
    if value["in"] == "body":
        return _one_of(1, _one_of(1, _message(_BODY_PARAMETER)))(number, value)
    choice, fields = _PARAMETERS[value["in"]]
    return _one_of(1, _one_of(2, _one_of(choice, _message(fields))))(number, value)


def _response(number: int, value: Document) -> bytes:
    """ResponseValue: a reference or a response."""
    if "$ref" in value:
        return _one_of(2, _message(_REFERENCE))(number, value)
    return _one_of(1, _message(_RESPONSE))(number, value)


def _responses(number: int, values: Document) -> bytes:
    """Responses: extensions stand beside the codes."""
    codes = {code: value for code, value in values.items() if not code.startswith(EXTENSIONS)}
    extensions = {name: value for name, value in values.items() if name not in codes}
    return _bytes(number, _named(_response)(1, codes) + _named(_any)(2, extensions))


def _paths(number: int, values: Document) -> bytes:
    """Paths: extensions stand beside the paths."""
    paths = {path: value for path, value in values.items() if path.startswith("/")}
    extensions = {name: value for name, value in values.items() if name not in paths}
    return _bytes(number, _named(_any)(1, extensions) + _named(_message(_PATH))(2, paths))


# The tables


def _limits(first: int) -> Fields:
    """What a schema and a parameter that is not a body can say of a value; numbered in this order."""
    writers: tuple[tuple[str, Write], ...] = (
        ("maximum", _double),
        ("exclusiveMaximum", _truth),
        ("minimum", _double),
        ("exclusiveMinimum", _truth),
        ("maxLength", _number),
        ("minLength", _number),
        ("pattern", _text),
        ("maxItems", _number),
        ("minItems", _number),
        ("uniqueItems", _truth),
    )
    return {name: (number, write) for number, (name, write) in enumerate(writers, first)}


def _primitive(number: int, value: Document) -> bytes:
    return _bytes(number, _body(value, _PRIMITIVE))


def _simple(first: int) -> Fields:
    """What every value that is no object can say, from its type to its extensions; numbered in this order."""
    return {
        "type": (first, _text),
        "format": (first + 1, _text),
        "items": (first + 2, _primitive),
        "collectionFormat": (first + 3, _text),
        "default": (first + 4, _any),
        **_limits(first + 5),
        "enum": (first + 15, _each(_any)),
        "multipleOf": (first + 16, _double),
    }


_NAMED_ANY = _named(_any)
_REFERENCE: Fields = {"$ref": (1, _text), "description": (2, _text)}
_PRIMITIVE: Fields = {**_simple(1), EXTENSIONS: (18, _NAMED_ANY)}
_EXTERNAL_DOCS: Fields = {"description": (1, _text), "url": (2, _text), EXTENSIONS: (3, _NAMED_ANY)}
_WHICH: Fields = {"required": (1, _truth), "in": (2, _text), "description": (3, _text), "name": (4, _text)}
_NAMED_PARAMETER: Fields = {**_WHICH, **_simple(5), EXTENSIONS: (22, _NAMED_ANY)}
_EMPTY_PARAMETER: Fields = {**_WHICH, "allowEmptyValue": (5, _truth), **_simple(6), EXTENSIONS: (23, _NAMED_ANY)}
_PARAMETERS: Mapping[str, tuple[int, Fields]] = {
    "header": (1, _NAMED_PARAMETER),
    "formData": (2, _EMPTY_PARAMETER),
    "query": (3, _EMPTY_PARAMETER),
    "path": (4, _NAMED_PARAMETER),
}
_BODY_PARAMETER: Fields = {
    "description": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _truth),
    "schema": (5, _schema),
    EXTENSIONS: (6, _NAMED_ANY),
}
_HEADER: Fields = {**_simple(1), "description": (18, _text), EXTENSIONS: (19, _NAMED_ANY)}
_SCHEMA: Fields = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "multipleOf": (6, _double),
    **_limits(7),
    "maxProperties": (17, _number),
    "minProperties": (18, _number),
    "required": (19, _texts),
    "enum": (20, _each(_any)),
    "additionalProperties": (21, _additional),
    "type": (22, _one_of(1, _text)),
    "items": (23, _one_of(1, _schema)),
    "allOf": (24, _each(_schema)),
    "properties": (25, _within(1, _named(_schema))),
    "discriminator": (26, _text),
    "readOnly": (27, _truth),
    "externalDocs": (29, _message(_EXTERNAL_DOCS)),
    "example": (30, _any),
    EXTENSIONS: (31, _NAMED_ANY),
}
_RESPONSE: Fields = {
    "description": (1, _text),
    "schema": (2, _one_of(1, _schema)),
    "headers": (3, _within(1, _named(_message(_HEADER)))),
    "examples": (4, _within(1, _NAMED_ANY)),
    EXTENSIONS: (5, _NAMED_ANY),
}
_SECURITY = _each(_within(1, _named(_within(1, _texts))))
_OPERATION: Fields = {
    "tags": (1, _texts),
    "summary": (2, _text),
    "description": (3, _text),
    "externalDocs": (4, _message(_EXTERNAL_DOCS)),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _each(_parameter)),
    "responses": (9, _responses),
    "schemes": (10, _texts),
    "deprecated": (11, _truth),
    "security": (12, _SECURITY),
    EXTENSIONS: (13, _NAMED_ANY),
}
_PATH: Fields = {
    "$ref": (1, _text),
    **{
        method: (number, _message(_OPERATION))
        for number, method in enumerate(("get", "put", "post", "delete", "options", "head", "patch"), 2)
    },
    "parameters": (9, _each(_parameter)),
    EXTENSIONS: (10, _NAMED_ANY),
}
_CONTACT: Fields = {"name": (1, _text), "url": (2, _text), "email": (3, _text), EXTENSIONS: (4, _NAMED_ANY)}
_LICENSE: Fields = {"name": (1, _text), "url": (2, _text), EXTENSIONS: (3, _NAMED_ANY)}
_INFO: Fields = {
    "title": (1, _text),
    "version": (2, _text),
    "description": (3, _text),
    "termsOfService": (4, _text),
    "contact": (5, _message(_CONTACT)),
    "license": (6, _message(_LICENSE)),
    EXTENSIONS: (7, _NAMED_ANY),
}
_API_KEY: Fields = {
    "type": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "description": (4, _text),
    EXTENSIONS: (5, _NAMED_ANY),
}
_TAG: Fields = {
    "name": (1, _text),
    "description": (2, _text),
    "externalDocs": (3, _message(_EXTERNAL_DOCS)),
    EXTENSIONS: (4, _NAMED_ANY),
}
_DOCUMENT: Fields = {
    "swagger": (1, _text),
    "info": (2, _message(_INFO)),
    "host": (3, _text),
    "basePath": (4, _text),
    "schemes": (5, _texts),
    "consumes": (6, _texts),
    "produces": (7, _texts),
    "paths": (8, _paths),
    "definitions": (9, _within(1, _named(_schema))),
    "security": (12, _SECURITY),
    "securityDefinitions": (13, _within(1, _named(_one_of(2, _message(_API_KEY))))),
    "tags": (14, _each(_message(_TAG))),
    "externalDocs": (15, _message(_EXTERNAL_DOCS)),
    EXTENSIONS: (16, _NAMED_ANY),
}
