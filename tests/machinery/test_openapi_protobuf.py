"""The documents as protobuf: read back by a reader of its own, each says what the JSON says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import yaml

from app.kinds import ALL
from app.machinery import openapi_v3_protobuf
from app.machinery.objects import Document
from app.machinery.openapi import v2, v3_documents
from app.machinery.openapi_protobuf import to_protobuf

# How gnostic's OpenAPIv2.proto reads: for every message, the fields by number as `name type`, `name* type` when repeated.
# "=" is a message that stands for its one field, "<>" one that is a list of pairs.
PROTO = {
    "Document": "1 swagger s, 2 info Info, 8 paths Paths, 9 definitions Schemas",
    "Info": "1 title s, 2 version s, 3 description s",
    "Paths": "<> 1 Any, 2 PathItem",
    "PathItem": "2 get Operation, 3 put Operation, 4 post Operation, 5 delete Operation, 8 patch Operation,"
    " 9 parameters* ParametersItem, 10 x- Any",
    "Operation": "1 tags* s, 2 summary s, 3 description s, 5 operationId s, 6 produces* s, 7 consumes* s,"
    " 8 parameters* ParametersItem, 9 responses Responses, 10 schemes* s, 11 deprecated b, 13 x- Any",
    "ParametersItem": "= 1 Parameter, 2 Reference",
    "Parameter": "= 1 BodyParameter, 2 NonBodyParameter",
    "NonBodyParameter": "= 1 HeaderParameter, 3 QueryParameter, 4 PathParameter",
    "BodyParameter": "1 description s, 2 name s, 3 in s, 4 required b, 5 schema Schema, 6 x- Any",
    "HeaderParameter": "1 required b, 2 in s, 3 description s, 4 name s, 5 type s, 6 format s",
    "PathParameter": "1 required b, 2 in s, 3 description s, 4 name s, 5 type s, 6 format s, 12 minimum d,"
    " 15 minLength i, 16 pattern s, 19 uniqueItems b, 20 enum* Any, 22 x- Any",
    "QueryParameter": "1 required b, 2 in s, 3 description s, 4 name s, 5 allowEmptyValue b, 6 type s, 7 format s,"
    " 8 items Items, 9 collectionFormat s, 10 default Any, 11 maximum d, 13 minimum d, 20 uniqueItems b, 21 enum* Any,"
    " 23 x- Any",
    "Items": "1 type s, 2 format s, 16 enum* Any",
    "Responses": "<> 1 ResponseValue, 2 Any",
    "ResponseValue": "= 1 Response, 2 Reference",
    "Response": "1 description s, 2 schema SchemaItem, 5 x- Any",
    "SchemaItem": "= 1 Schema",
    "Reference": "1 $ref s, 2 description s",
    "Schemas": "<> 1 Schema",
    "Schema": "1 $ref s, 2 format s, 3 title s, 4 description s, 5 default Any, 6 multipleOf d, 7 maximum d,"
    " 8 exclusiveMaximum b, 9 minimum d, 10 exclusiveMinimum b, 11 maxLength i, 12 minLength i, 13 pattern s,"
    " 14 maxItems i, 15 minItems i, 16 uniqueItems b, 17 maxProperties i, 18 minProperties i, 19 required* s,"
    " 20 enum* Any, 21 additionalProperties SchemaOrTruth, 22 type TypeItem, 23 items SchemaItem, 24 allOf* Schema,"
    " 25 properties Schemas, 27 readOnly b, 31 x- Any",
    "SchemaOrTruth": "= 1 Schema, 2 b",
    "TypeItem": "= 1 s",
    "Any": "= 2 yaml",
}


PROTO_V3 = {
    "Document": "1 openapi s, 2 info Info, 4 paths Paths, 5 components Components",
    "Info": "1 title s, 2 description s, 6 version s",
    "Paths": "<> 1 PathItem",
    "PathItem": "4 get Operation, 5 put Operation, 6 post Operation, 7 delete Operation, 10 patch Operation,"
    " 13 parameters* ParameterOrReference",
    "Operation": "1 tags* s, 3 description s, 5 operationId s, 6 parameters* ParameterOrReference,"
    " 7 requestBody RequestBodyOrReference, 8 responses Responses, 13 x- Any",
    "ParameterOrReference": "= 1 Parameter, 2 Reference",
    "Parameter": "1 name s, 2 in s, 3 description s, 4 required b, 10 schema SchemaOrReference",
    "RequestBodyOrReference": "= 1 RequestBody, 2 Reference",
    "RequestBody": "1 description s, 2 content MediaTypes, 3 required b",
    "MediaTypes": "<> 1 MediaType",
    "MediaType": "1 schema SchemaOrReference",
    "Responses": "<> 2 ResponseOrReference",
    "ResponseOrReference": "= 1 Response, 2 Reference",
    "Response": "1 description s, 3 content MediaTypes",
    "Reference": "1 $ref s, 3 description s",
    "Components": "1 schemas Schemas",
    "Schemas": "<> 1 SchemaOrReference",
    "SchemaOrReference": "= 1 Schema, 2 Reference",
    "Items": "= 1 SchemaOrReference",
    "Schema": "1 nullable b, 3 readOnly b, 9 title s, 10 multipleOf d, 11 maximum d, 12 exclusiveMaximum b, 13 minimum d,"
    " 14 exclusiveMinimum b, 15 maxLength i, 16 minLength i, 17 pattern s, 18 maxItems i, 19 minItems i, 20 uniqueItems b,"
    " 23 required* s, 24 enum* Any, 25 type s, 26 allOf* SchemaOrReference, 27 oneOf* SchemaOrReference,"
    " 28 anyOf* SchemaOrReference, 30 items Items, 31 properties Schemas, 32 additionalProperties Items, 33 default Default,"
    " 34 description s, 35 format s, 36 x- Any",
    "Default": "= 1 d, 2 b, 3 s",
    "Any": "= 2 yaml",
}


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        length = 8 if key & 7 == 1 else varint()
        value = data[at : at + length]
        assert len(value) == length
        at += length
        yield key >> 3, struct.unpack("<d", value)[0] if key & 7 == 1 else value


def read(type_: str, raw: Any, proto: Mapping[str, str] = PROTO) -> Any:
    """A value of that type: a message, or one of s(tring), b(ool), i(nteger), d(ouble), yaml."""
    if type_ not in proto:
        readers: dict[str, Callable[[], Any]] = {
            "s": lambda: raw.decode(),
            "b": lambda: bool(raw),
            "yaml": lambda: yaml.safe_load(raw),
        }
        return readers.get(type_, lambda: raw)()
    layout = proto[type_]
    table = {
        int(line.split()[0]): line.split()[1:] for line in layout.removeprefix("= ").removeprefix("<> ").split(",")
    }
    if layout.startswith("="):
        ((number, value),) = fields(raw)
        return read(table[number][0], value, proto)
    if layout.startswith("<>"):
        return dict(pair(table[number][0], value, proto) for number, value in fields(raw))
    message: Document = {}
    for number, value in fields(raw):
        name, inner = table[number]
        if name == "x-":
            message |= dict([pair(inner, value, proto)])
        elif name.endswith("*"):
            message.setdefault(name[:-1], []).append(read(inner, value, proto))
        else:
            assert name not in message
            message[name] = read(inner, value, proto)
    return message


def pair(type_: str, raw: bytes, proto: Mapping[str, str]) -> tuple[str, Any]:
    """A Named… message: its name and value."""
    found = dict(fields(raw))
    return found[1].decode(), read(type_, found[2], proto)


def without_zeros(value: Any) -> Any:
    """proto3 does not tell a zero or an empty list from nothing, except within YAML."""
    if isinstance(value, list):
        return [without_zeros(item) for item in value]
    if not isinstance(value, dict):
        return value
    zero = ("minimum", "minLength", "minItems")
    return {
        name: without_zeros(item) for name, item in value.items() if not (name in zero and item == 0) and item != []
    }


def document_of(**schema: Any) -> Document:
    return {"swagger": "2.0", "info": {"title": "t", "version": "v"}, "paths": {}, "definitions": {"a": schema}}


def test_every_field_of_the_served_document_can_be_read_back() -> None:
    document = v2(ALL)

    assert read("Document", to_protobuf(document)) == without_zeros(document)


@pytest.mark.parametrize("key", v3_documents(ALL))
def test_every_field_of_a_v3_document_can_be_read_back(key: str) -> None:
    document = v3_documents(ALL)[key]

    assert read("Document", openapi_v3_protobuf.to_protobuf(document), PROTO_V3) == without_zeros(document)


def test_every_word_of_a_schema_can_be_read_back() -> None:
    document = document_of(
        type="string", title="t", default={"a": [1, "x", None]}, multipleOf=0.5, maximum=-2.5, minimum=1,
        exclusiveMaximum=True, exclusiveMinimum=True, maxLength=300, minLength=1, pattern="^é$", maxItems=2**40,
        minItems=3, uniqueItems=True, maxProperties=9, minProperties=1, enum=["a", 1, "true"], readOnly=True,
        additionalProperties=False, allOf=[{"$ref": "#/definitions/b"}], required=["a", "b"],
    )  # fmt: skip
    nested = document_of(additionalProperties={"type": "object", "properties": {"x-y.z": {"type": "string"}}})

    assert read("Document", to_protobuf(document)) == {**document, "paths": {}}
    assert "x-y.z" in str(read("Document", to_protobuf(nested)))


def test_what_swagger_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="oneOf"):
        to_protobuf(document_of(oneOf=[{"type": "string"}]))
