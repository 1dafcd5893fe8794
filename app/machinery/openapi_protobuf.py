"""The v2 document as gnostic's protobuf (OpenAPIv2.proto): what kubectl up to 1.28, and `explain` of OpenAPI v2, read."""

from __future__ import annotations

from collections.abc import Mapping

from app.machinery.objects import Document
from app.machinery.openapi_wire import (
    EXTENSIONS,
    Fields,
    any_value,
    body,
    double,
    each,
    integer,
    limits,
    message,
    named,
    one_of,
    text,
    texts,
    truth,
    within,
)
from app.machinery.protobuf_wire import blob, varint


def to_protobuf(document: Document) -> bytes:
    """The whole document. Raises ValueError for a field that Swagger 2.0 does not have."""
    return body(document, _DOCUMENT)


def _additional(number: int, value: Document | bool) -> bytes:
    """AdditionalPropertiesItem: a schema or a truth, which is written even when it is false."""
    if isinstance(value, bool):
        return blob(number, varint(2 << 3) + varint(int(value)))
    return blob(number, _schema(1, value))


def _schema(number: int, value: Document) -> bytes:
    return blob(number, body(value, _SCHEMA))


def _parameter(number: int, value: Document) -> bytes:
    """ParametersItem: a reference, a body, or one of the others by where it is."""
    if "$ref" in value:
        return one_of(2, message(_REFERENCE))(number, value)
    if value["in"] == "body":
        return one_of(1, one_of(1, message(_BODY_PARAMETER)))(number, value)
    choice, fields = _PARAMETERS[value["in"]]
    return one_of(1, one_of(2, one_of(choice, message(fields))))(number, value)


def _response(number: int, value: Document) -> bytes:
    """ResponseValue: a reference or a response."""
    if "$ref" in value:
        return one_of(2, message(_REFERENCE))(number, value)
    return one_of(1, message(_RESPONSE))(number, value)


def _responses(number: int, values: Document) -> bytes:
    """Responses: extensions stand beside the codes."""
    codes = {code: value for code, value in values.items() if not code.startswith(EXTENSIONS)}
    extensions = {name: value for name, value in values.items() if name not in codes}
    return blob(number, named(_response)(1, codes) + named(any_value)(2, extensions))


def _paths(number: int, values: Document) -> bytes:
    """Paths: extensions stand beside the paths."""
    paths = {path: value for path, value in values.items() if path.startswith("/")}
    extensions = {name: value for name, value in values.items() if name not in paths}
    return blob(number, named(any_value)(1, extensions) + named(message(_PATH))(2, paths))


# The tables


def _primitive(number: int, value: Document) -> bytes:
    return blob(number, body(value, _PRIMITIVE))


def _simple(first: int) -> Fields:
    """What every value that is no object can say, from its type to its extensions; numbered in this order."""
    return {
        "type": (first, text),
        "format": (first + 1, text),
        "items": (first + 2, _primitive),
        "collectionFormat": (first + 3, text),
        "default": (first + 4, any_value),
        **limits(first + 5),
        "enum": (first + 15, each(any_value)),
        "multipleOf": (first + 16, double),
    }


_NAMED_ANY = named(any_value)
_REFERENCE: Fields = {"$ref": (1, text), "description": (2, text)}
_PRIMITIVE: Fields = {**_simple(1), EXTENSIONS: (18, _NAMED_ANY)}
_EXTERNAL_DOCS: Fields = {"description": (1, text), "url": (2, text), EXTENSIONS: (3, _NAMED_ANY)}
_WHICH: Fields = {"required": (1, truth), "in": (2, text), "description": (3, text), "name": (4, text)}
_NAMED_PARAMETER: Fields = {**_WHICH, **_simple(5), EXTENSIONS: (22, _NAMED_ANY)}
_EMPTY_PARAMETER: Fields = {**_WHICH, "allowEmptyValue": (5, truth), **_simple(6), EXTENSIONS: (23, _NAMED_ANY)}
_PARAMETERS: Mapping[str, tuple[int, Fields]] = {
    "header": (1, _NAMED_PARAMETER),
    "formData": (2, _EMPTY_PARAMETER),
    "query": (3, _EMPTY_PARAMETER),
    "path": (4, _NAMED_PARAMETER),
}
_BODY_PARAMETER: Fields = {
    "description": (1, text),
    "name": (2, text),
    "in": (3, text),
    "required": (4, truth),
    "schema": (5, _schema),
    EXTENSIONS: (6, _NAMED_ANY),
}
_HEADER: Fields = {**_simple(1), "description": (18, text), EXTENSIONS: (19, _NAMED_ANY)}
_SCHEMA: Fields = {
    "$ref": (1, text),
    "format": (2, text),
    "title": (3, text),
    "description": (4, text),
    "default": (5, any_value),
    "multipleOf": (6, double),
    **limits(7),
    "maxProperties": (17, integer),
    "minProperties": (18, integer),
    "required": (19, texts),
    "enum": (20, each(any_value)),
    "additionalProperties": (21, _additional),
    "type": (22, one_of(1, text)),
    "items": (23, one_of(1, _schema)),
    "allOf": (24, each(_schema)),
    "properties": (25, within(1, named(_schema))),
    "discriminator": (26, text),
    "readOnly": (27, truth),
    "externalDocs": (29, message(_EXTERNAL_DOCS)),
    "example": (30, any_value),
    EXTENSIONS: (31, _NAMED_ANY),
}
_RESPONSE: Fields = {
    "description": (1, text),
    "schema": (2, one_of(1, _schema)),
    "headers": (3, within(1, named(message(_HEADER)))),
    "examples": (4, within(1, _NAMED_ANY)),
    EXTENSIONS: (5, _NAMED_ANY),
}
_SECURITY = each(within(1, named(within(1, texts))))
_OPERATION: Fields = {
    "tags": (1, texts),
    "summary": (2, text),
    "description": (3, text),
    "externalDocs": (4, message(_EXTERNAL_DOCS)),
    "operationId": (5, text),
    "produces": (6, texts),
    "consumes": (7, texts),
    "parameters": (8, each(_parameter)),
    "responses": (9, _responses),
    "schemes": (10, texts),
    "deprecated": (11, truth),
    "security": (12, _SECURITY),
    EXTENSIONS: (13, _NAMED_ANY),
}
_PATH: Fields = {
    "$ref": (1, text),
    **{
        method: (number, message(_OPERATION))
        for number, method in enumerate(("get", "put", "post", "delete", "options", "head", "patch"), 2)
    },
    "parameters": (9, each(_parameter)),
    EXTENSIONS: (10, _NAMED_ANY),
}
_CONTACT: Fields = {"name": (1, text), "url": (2, text), "email": (3, text), EXTENSIONS: (4, _NAMED_ANY)}
_LICENSE: Fields = {"name": (1, text), "url": (2, text), EXTENSIONS: (3, _NAMED_ANY)}
_INFO: Fields = {
    "title": (1, text),
    "version": (2, text),
    "description": (3, text),
    "termsOfService": (4, text),
    "contact": (5, message(_CONTACT)),
    "license": (6, message(_LICENSE)),
    EXTENSIONS: (7, _NAMED_ANY),
}
_API_KEY: Fields = {
    "type": (1, text),
    "name": (2, text),
    "in": (3, text),
    "description": (4, text),
    EXTENSIONS: (5, _NAMED_ANY),
}
_TAG: Fields = {
    "name": (1, text),
    "description": (2, text),
    "externalDocs": (3, message(_EXTERNAL_DOCS)),
    EXTENSIONS: (4, _NAMED_ANY),
}
_DOCUMENT: Fields = {
    "swagger": (1, text),
    "info": (2, message(_INFO)),
    "host": (3, text),
    "basePath": (4, text),
    "schemes": (5, texts),
    "consumes": (6, texts),
    "produces": (7, texts),
    "paths": (8, _paths),
    "definitions": (9, within(1, named(_schema))),
    "security": (12, _SECURITY),
    "securityDefinitions": (13, within(1, named(one_of(2, message(_API_KEY))))),
    "tags": (14, each(message(_TAG))),
    "externalDocs": (15, message(_EXTERNAL_DOCS)),
    EXTENSIONS: (16, _NAMED_ANY),
}
