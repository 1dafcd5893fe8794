"""Structural schemas: what a pydantic model says about a document, as the OpenAPI v3 subset that Kubernetes reads."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel

from app.machinery.objects import Document

FREE_FORM: Document = {"x-kubernetes-preserve-unknown-fields": True}
INT_OR_STRING: Document = {"x-kubernetes-int-or-string": True}
_DROPPED = ("title", "examples", "$defs", "discriminator")


def structural(model: type[BaseModel]) -> Document:
    """One inlined schema without references. A truthy default is an API default; a falsy one is merely unset."""
    raw: Document = orjson.loads(_described(model))
    return _structural(raw, raw.get("$defs", {}), ())


@cache
def _described(model: type[BaseModel]) -> bytes:
    """What pydantic says of it: worked out once, for it takes long."""
    return orjson.dumps(model.model_json_schema(by_alias=True, mode="validation"))


def _structural(raw: Document, definitions: Document, above: tuple[str, ...]) -> Document:
    resolved, above = _resolved(raw, definitions, above)
    if resolved is None:
        return {"type": "object", **FREE_FORM}
    schema = {key: value for key, value in resolved.items() if key not in _DROPPED}
    if "description" in schema:
        schema["description"] = _unwrapped(schema["description"])
    if not schema.get("default"):
        schema.pop("default", None)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "anyOf" in schema:
        schema |= _union(schema.pop("anyOf"), definitions, above)
    for bound in ("Minimum", "Maximum"):
        _openapi_bound(schema, bound)
    if "items" in schema:
        schema["items"] = _structural(schema["items"], definitions, above)
    if "properties" in schema:
        schema["properties"] = {
            name: _structural(value, definitions, above) for name, value in schema["properties"].items()
        }
    return _with_map_values(_typed(schema), definitions, above)


def _unwrapped(text: str) -> str:
    """Paragraphs on one line each: a docstring's line ends mean nothing to who reads `kubectl explain`."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _resolved(raw: Document, definitions: Document, above: tuple[str, ...]) -> tuple[Document | None, tuple[str, ...]]:
    """The schema with its reference followed; None where a model contains itself, which a structural schema cannot say."""
    if "allOf" in raw and len(raw["allOf"]) == 1:
        raw = {**raw["allOf"][0], **{key: value for key, value in raw.items() if key != "allOf"}}
    reference = raw.get("$ref")
    if reference is None:
        return raw, above
    name = str(reference).rsplit("/", 1)[-1]
    if name in above:
        return None, above
    own = {key: value for key, value in raw.items() if key != "$ref"}
    followed, above = _resolved(definitions[name], definitions, (*above, name))
    return (None if followed is None else {**followed, **own}), above


def _union(choices: list[Document], definitions: Document, above: tuple[str, ...]) -> Document:
    """`X | None` is X: null is never stored. `int | str` is int-or-string. Any other union is free-form."""
    meant = [choice for choice in choices if choice.get("type") != "null"]
    if len(meant) == 1:
        return _structural(meant[0], definitions, above)
    kinds = {choice.get("type") for choice in meant}
    if kinds == {"integer", "string"}:
        return dict(INT_OR_STRING)
    if kinds == {"integer", "number"}:
        return {"type": "number"}
    return dict(FREE_FORM)


def _openapi_bound(schema: Document, bound: str) -> None:
    """OpenAPI 3.0 has the bound in minimum and a flag beside it, where JSON Schema has a number of its own."""
    exclusive = schema.get(f"exclusive{bound}")
    if exclusive is not None and exclusive is not True:
        schema[bound.lower()] = exclusive
        schema[f"exclusive{bound}"] = True


def _typed(schema: Document) -> Document:
    if "enum" in schema and "type" not in schema:
        schema["type"] = "string" if all(isinstance(choice, str) for choice in schema["enum"]) else "integer"
    says_something = {"type", "properties", "items", "additionalProperties"} & schema.keys()
    if not says_something and not any(key.startswith("x-kubernetes-") for key in schema):
        schema |= FREE_FORM
    return schema


def _with_map_values(schema: Document, definitions: Document, above: tuple[str, ...]) -> Document:
    values: Any = schema.pop("additionalProperties", None)
    schema.pop("propertyNames", None)
    if values is True:
        return schema | FREE_FORM
    if isinstance(values, dict):
        schema["additionalProperties"] = _structural(values, definitions, above)
    elif schema.get("type") == "object" and "properties" not in schema and not schema.keys() & FREE_FORM.keys():
        schema["properties"] = {}
    return schema
