"""OpenAPI: the v3 document of every group version and one v2 document, generated from the declared kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from app.machinery.discovery import Kinds, etag, kinds_under, reviews_under, served_group_versions, serves_core
from app.machinery.kind import GroupVersion, Kind
from app.machinery.objects import Document
from app.machinery.openapi_meta import (
    LIST_META,
    META_SCHEMAS,
    OBJECT_META,
    PATCH,
    REFERENCE,
    SHARED_SHAPES,
    TYPE_META,
    described,
    reference,
)
from app.machinery.openapi_operations import Naming, paths_of, review_paths
from app.machinery.openapi_roots import roots
from app.machinery.schema import whole, with_type_meta
from app.machinery.structural import shapes

TITLE = "Drover"


def v3_index(kinds: Kinds) -> Document:
    """GET /openapi/v3: where each group version's document is, with its hash in the address."""
    documents = v3_documents(kinds)
    return {
        "paths": {
            key: {"serverRelativeURL": f"/openapi/v3/{key}?hash={etag(document)}"}
            for key, document in sorted(documents.items())
        }
    }


def v3_documents(kinds: Kinds) -> dict[str, Document]:
    """Every document of the index by its key: the path that it is about, without the leading slash. Behind a cluster only
    the group versions: the keys of an index go into the cluster's own, and `version` there is the cluster's."""
    versions = {version.path.lstrip("/"): v3(kinds, version) for version in served_group_versions(kinds)}
    return roots(TITLE) | versions if serves_core(kinds) else versions


def v3(kinds: Kinds, group_version: GroupVersion) -> Document:
    """GET /openapi/v3/<path of the group version>."""
    naming = Naming(group_version)
    schemas: Document = dict(META_SCHEMAS)
    paths: Document = {}
    for kind in kinds_under(kinds, group_version):
        _add(schemas, _schemas(kind, naming))
        _add(schemas, [(naming.schema(kind.list_name), _list_schema(kind, naming))])
        for subresource in kind.subresources:
            if subresource.asks is not None:
                _add(schemas, _schemas(subresource.asks, Naming(subresource.asks.group_version)))
        paths |= paths_of(kind, naming)
    for review in reviews_under(kinds, group_version):
        _add(schemas, _schemas(review, naming))
        paths |= review_paths(review, naming)
    return {
        "openapi": "3.0.0",
        "info": {"title": TITLE, "version": group_version.version},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": _described_once(dict(sorted(schemas.items())))},
    }


def _described_once(schemas: Document) -> Document:
    """`kubectl explain` prints what a field says, and below it what its shape does: a shape says nothing that a field of it
    says already."""
    said = {
        (target, field.get("description"))
        for schema in schemas.values()
        for field in (schema.get("properties") or {}).values()
        for target in _targets(field)
    }
    return {
        name: {key: value for key, value in schema.items() if key != "description" or (name, value) not in said}
        for name, schema in schemas.items()
    }


def _targets(field: Document) -> Iterator[str]:
    """The shapes that a field, or each of its items, is of."""
    for of in (field, field.get("items"), field.get("additionalProperties")):
        if isinstance(of, dict):
            yield from (one["$ref"].removeprefix(REFERENCE) for one in (of, *of.get("allOf", ())) if "$ref" in one)


def v2(kinds: Kinds) -> Document:
    """GET /openapi/v2 as JSON: the same operations and definitions in Swagger's form."""
    paths: Document = {}
    definitions: Document = {}
    for group_version in served_group_versions(kinds):
        document = v3(kinds, group_version)
        paths |= {path: _v2_path(item) for path, item in document["paths"].items()}
        definitions |= {name: _v2_schema(schema) for name, schema in document["components"]["schemas"].items()}
    if not serves_core(kinds):
        definitions = _unclaimed(definitions, {version.group for version in served_group_versions(kinds)})
    return {
        "swagger": "2.0",
        "info": {"title": TITLE, "version": "v1alpha1"},
        "paths": dict(sorted(paths.items())),
        "definitions": dict(sorted(definitions.items())),
    }


def _add(schemas: Document, more: Iterable[tuple[str, Document]]) -> None:
    for name, schema in more:
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"BUG: two shapes are called {name}")


def _schemas(kind: Kind[Any, Any], naming: Naming) -> Iterator[tuple[str, Document]]:
    """The object and every shape that it is made of, by name."""
    metadata = described(OBJECT_META, "Standard object's metadata.")
    if kind.body is not None:
        parts = _shapes(kind.body, naming)
        body = parts.pop(naming.schema(kind.body.__name__))
    else:
        parts = _shapes(kind.spec, naming) | (_shapes(kind.status, naming) if kind.has_status else {})
        named = {"spec": kind.spec} | ({"status": kind.status} if kind.has_status else {})
        schemas = {field: naming.schema(model.__name__) for field, model in named.items()}
        fields = {field: described(name, parts[name].get("description", "")) for field, name in schemas.items()}
        body = whole(fields, spec=parts[schemas["spec"]])
    schema = with_type_meta(kind, metadata, body)
    yield naming.schema(kind.name), {**schema, "x-kubernetes-group-version-kind": [naming.gvk(kind.name)]}
    yield from parts.items()


def _shapes(model: type[BaseModel], naming: Naming) -> dict[str, Document]:
    """A model and those below, as schemas that refer to one another."""
    below = shapes(model, lambda name: REFERENCE + _shape_name(name, naming))
    return {_shape_name(name, naming): schema for name, schema in below.items()}


def _shape_name(name: str, naming: Naming) -> str:
    return SHARED_SHAPES.get(name) or naming.schema(name)


def _list_schema(kind: Kind[Any, Any], naming: Naming) -> Document:
    return {
        "type": "object",
        "description": f"{kind.list_name} is a list of {kind.name}",
        "required": ["items"],
        "properties": {
            **TYPE_META,
            "items": {
                "type": "array",
                "description": f"List of {kind.plural}.",
                "items": reference(naming.schema(kind.name)),
            },
            "metadata": described(LIST_META, "Standard list metadata."),
        },
        "x-kubernetes-group-version-kind": [naming.gvk(kind.list_name)],
    }


# v2


def _unclaimed(definitions: Document, groups: set[str]) -> Document:
    """Where somebody else's document is merged with ours, shared shapes such as Status stay without the kind that they are:
    theirs has it, and a client that finds two of one kind refuses both."""
    return {name: _unmarked(schema) if _is_claimed(schema, groups) else schema for name, schema in definitions.items()}


def _is_claimed(schema: Document, groups: set[str]) -> bool:
    return any(kind["group"] not in groups for kind in schema.get("x-kubernetes-group-version-kind", ()))


def _unmarked(schema: Document) -> Document:
    return {name: value for name, value in schema.items() if name != "x-kubernetes-group-version-kind"}


def _v2_path(item: Document) -> Document:
    return {
        verb: [_v2_parameter(parameter) for parameter in value] if verb == "parameters" else _v2_operation(value)
        for verb, value in item.items()
    }


def _v2_operation(operation: Document) -> Document:
    converted = {name: value for name, value in operation.items() if name not in ("requestBody", "responses")}
    parameters = [_v2_parameter(parameter) for parameter in operation.get("parameters", ())]
    body = operation.get("requestBody")
    if body is not None:
        required = {"required": True} if body.get("required") else {}
        parameters.append({"name": "body", "in": "body", **required, "schema": _v2_schema(_only_schema(body))})
        converted["consumes"] = list(body["content"])
    if parameters:
        converted["parameters"] = parameters
    converted["produces"] = ["application/json", "application/yaml"]
    converted["schemes"] = ["https"]
    converted["responses"] = {code: _v2_response(answer) for code, answer in operation["responses"].items()}
    return converted


def _only_schema(body: Document) -> Document:
    """v2 has one schema for all content types: of patches, which differ by theirs, it only says that they are one."""
    schemas = [content["schema"] for content in body["content"].values()]
    return schemas[0] if all(schema == schemas[0] for schema in schemas) else reference(PATCH)


def _v2_response(answer: Document) -> Document:
    converted: Document = {"description": answer["description"]}
    for content in answer.get("content", {}).values():
        return {**converted, "schema": _v2_schema(content["schema"])}
    return converted


def _v2_parameter(parameter: Document) -> Document:
    converted = {name: value for name, value in parameter.items() if name != "schema"}
    return {**converted, **parameter["schema"]}


def _v2_schema(value: Any) -> Any:
    """References point elsewhere, and what v2 cannot say with a reference beside it is left out."""
    if isinstance(value, list):
        return [_v2_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "anyOf" in value:
        return {"type": "object", "description": value["description"]}
    if "allOf" in value and len(value["allOf"]) == 1:
        target = _v2_schema(value["allOf"][0])
        return {**target, "description": value["description"]} if "description" in value else target
    if "$ref" in value:
        return {"$ref": value["$ref"].replace(REFERENCE, "#/definitions/")}
    converted = {name: _v2_schema(item) for name, item in value.items()}
    if converted.get("nullable") is True:
        converted = {**{name: item for name, item in converted.items() if name != "nullable"}, "x-nullable": True}
    if converted.get("x-kubernetes-int-or-string") is True:
        return {**converted, "type": "string", "format": "int-or-string"}
    return converted
