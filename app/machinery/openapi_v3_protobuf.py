"""A v3 document as gnostic's protobuf (OpenAPIv3.proto), which clients may ask for instead of its JSON."""

from __future__ import annotations

from app.machinery.objects import Document
from app.machinery.openapi_wire import (
    EXTENSIONS,
    Fields,
    Write,
    any_value,
    body,
    double,
    each,
    limits,
    message,
    named,
    one_of,
    text,
    texts,
    truth,
    within,
)
from app.machinery.protobuf_wire import blob


def to_protobuf(document: Document) -> bytes:
    """The whole document. Raises ValueError for a field that none of ours has."""
    return body(document, _DOCUMENT)


def _or_reference(write: Write) -> Write:
    """…OrReference: the thing itself, or where it is."""
    reference = one_of(2, message(_REFERENCE))
    itself = one_of(1, write)
    return lambda number, value: (reference if "$ref" in value else itself)(number, value)


def _schema(number: int, value: Document) -> bytes:
    return _or_reference(message(_SCHEMA))(number, value)


def _default(number: int, value: bool | float | str) -> bytes:
    """DefaultType: a number, a truth or a text. One that is empty is none to us."""
    if isinstance(value, bool):
        return one_of(2, truth)(number, value)
    return one_of(3, text)(number, value) if isinstance(value, str) else one_of(1, double)(number, value)


def _responses(number: int, values: Document) -> bytes:
    return blob(number, named(_or_reference(message(_RESPONSE)))(2, values))


_EXTENDED = named(any_value)
_REFERENCE: Fields = {"$ref": (1, text), "description": (3, text)}
_SCHEMA: Fields = {
    "nullable": (1, truth),
    "readOnly": (3, truth),
    "title": (9, text),
    "multipleOf": (10, double),
    **limits(11),
    "required": (23, texts),
    "enum": (24, each(any_value)),
    "type": (25, text),
    "allOf": (26, each(_schema)),
    "oneOf": (27, each(_schema)),
    "anyOf": (28, each(_schema)),
    "items": (30, one_of(1, _schema)),
    "properties": (31, within(1, named(_schema))),
    "additionalProperties": (32, one_of(1, _schema)),
    "default": (33, _default),
    "description": (34, text),
    "format": (35, text),
    EXTENSIONS: (36, _EXTENDED),
}
_CONTENT = within(1, named(message({"schema": (1, _schema)})))
_RESPONSE: Fields = {"description": (1, text), "content": (3, _CONTENT)}
_BODY: Fields = {"description": (1, text), "content": (2, _CONTENT), "required": (3, truth)}
_PARAMETER: Fields = {
    "name": (1, text),
    "in": (2, text),
    "description": (3, text),
    "required": (4, truth),
    "schema": (10, _schema),
}
_PARAMETERS = each(_or_reference(message(_PARAMETER)))
_OPERATION: Fields = {
    "tags": (1, texts),
    "description": (3, text),
    "operationId": (5, text),
    "parameters": (6, _PARAMETERS),
    "requestBody": (7, _or_reference(message(_BODY))),
    "responses": (8, _responses),
    EXTENSIONS: (13, _EXTENDED),
}
_PATH: Fields = {
    **{
        method: (number, message(_OPERATION))
        for number, method in enumerate(("get", "put", "post", "delete", "options", "head", "patch"), 4)
    },
    "parameters": (13, _PARAMETERS),
}
_DOCUMENT: Fields = {
    "openapi": (1, text),
    "info": (2, message({"title": (1, text), "description": (2, text), "version": (6, text)})),
    "paths": (4, within(1, named(message(_PATH)))),
    "components": (5, message({"schemas": (1, within(1, named(_schema)))})),
}
