"""Structural schemas: what a pydantic model says about a document, as the OpenAPI v3 subset that Kubernetes reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel

from app.machinery.objects import Document

FREE_FORM: Document = {"x-kubernetes-preserve-unknown-fields": True}
INT_OR_STRING: Document = {"x-kubernetes-int-or-string": True}
_DROPPED = ("title", "examples", "$defs", "discriminator")


@dataclass(frozen=True, slots=True)
class _Scope:
    """What references mean at a place: the definitions, those that are being followed, and how to refer instead."""

    definitions: Document
    refer: Callable[[str], str] | None = None
    above: tuple[str, ...] = ()


def structural(model: type[BaseModel]) -> Document:
    """One inlined schema without references. A truthy default is an API default; a falsy one is merely unset."""
    raw = _described(model)
    return _structural(raw, _Scope(raw.get("$defs", {})))


def shapes(model: type[BaseModel], refer: Callable[[str], str]) -> dict[str, Document]:
    """The same, as one schema for each model, by its class's name. `refer` makes a name the reference to it."""
    raw = _described(model)
    definitions = raw.get("$defs", {})
    models = {name: below for name, below in definitions.items() if _is_model(below)} | {model.__name__: raw}
    return {name: _structural(below, _Scope(definitions, refer)) for name, below in models.items()}


def _described(model: type[BaseModel]) -> Document:
    """What pydantic says of it."""
    described: Document = orjson.loads(_encoded(model))
    return described


@cache
def _encoded(model: type[BaseModel]) -> bytes:
    """Worked out once, for it takes long."""
    return orjson.dumps(model.model_json_schema(by_alias=True, mode="validation"))


def _is_model(definition: Document) -> bool:
    """Or else a choice of words, which is told where it is used."""
    return definition.get("type") == "object"


def _structural(raw: Document, scope: _Scope) -> Document:
    resolved, scope = _resolved(raw, scope)
    if resolved is None:
        return {"type": "object", **FREE_FORM}
    schema = {key: value for key, value in resolved.items() if key not in _DROPPED}
    if "description" in schema:
        schema["description"] = _unwrapped(schema["description"])
    if not schema.get("default"):
        schema.pop("default", None)
    if "allOf" in schema:
        return schema
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "anyOf" in schema:
        schema = {**_union(schema.pop("anyOf"), scope), **schema}
        if "allOf" in schema:
            return schema
    for bound in ("Minimum", "Maximum"):
        _openapi_bound(schema, bound)
    if "items" in schema:
        schema["items"] = _below(schema["items"], scope)
    if "properties" in schema:
        schema["properties"] = {name: _structural(value, scope) for name, value in schema["properties"].items()}
    return _with_map_values(_typed(schema), scope)


def _below(raw: Document, scope: _Scope) -> Document:
    """Of an item or a value, which needs nothing beside a reference."""
    schema = _structural(raw, scope)
    return schema["allOf"][0] if "allOf" in schema else schema


def _unwrapped(text: str) -> str:
    """Paragraphs on one line each: a docstring's line ends mean nothing to who reads `kubectl explain`."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _resolved(raw: Document, scope: _Scope) -> tuple[Document | None, _Scope]:
    """The schema with its reference followed; None where a model contains itself, which a structural schema cannot say.

    Where models are referred to, `allOf` with the one reference instead: beside it there may be a description."""
    if "allOf" in raw and len(raw["allOf"]) == 1:
        raw = {**raw["allOf"][0], **{key: value for key, value in raw.items() if key != "allOf"}}
    reference = raw.get("$ref")
    if reference is None:
        return raw, scope
    name = str(reference).rsplit("/", 1)[-1]
    own = {key: value for key, value in raw.items() if key != "$ref"}
    if scope.refer is not None and _is_model(scope.definitions[name]):
        # pydantic leaves out a field's description that is the model's own.
        said = {"description": text} if (text := scope.definitions[name].get("description")) else {}
        return {**said, **own, "allOf": [{"$ref": scope.refer(name)}]}, scope
    if name in scope.above:
        return None, scope
    followed, scope = _resolved(scope.definitions[name], replace(scope, above=(*scope.above, name)))
    return (None if followed is None else {**followed, **own}), scope


def _union(choices: list[Document], scope: _Scope) -> Document:
    """`X | None` is X: null is never stored. `int | str` is int-or-string. Any other union is free-form."""
    meant = [choice for choice in choices if choice.get("type") != "null"]
    if len(meant) == 1:
        return _structural(meant[0], scope)
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


def _with_map_values(schema: Document, scope: _Scope) -> Document:
    values: Any = schema.pop("additionalProperties", None)
    schema.pop("propertyNames", None)
    if values is True:
        return schema | FREE_FORM
    if isinstance(values, dict):
        schema["additionalProperties"] = _below(values, scope)
    elif schema.get("type") == "object" and "properties" not in schema and not schema.keys() & FREE_FORM.keys():
        schema["properties"] = {}
    return schema
