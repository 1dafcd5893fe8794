"""OpenAPI: the v3 document of every group version and one v2 document, generated from the declared kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.machinery.discovery import Kinds, etag, kinds_under, served_group_versions, subresources
from app.machinery.kind import GroupVersion, Kind
from app.machinery.objects import Document
from app.machinery.openapi_meta import LIST_META, META_SCHEMAS, OBJECT_META
from app.machinery.openapi_operations import Naming, paths_of
from app.machinery.schema import object_schema

REFERENCE = "#/components/schemas/"
TITLE = "Drover"


def v3_index(kinds: Kinds) -> Document:
    """GET /openapi/v3: where each group version's document is, with its hash in the address."""
    return {
        "paths": {
            group_version.path.lstrip("/"): {
                "serverRelativeURL": f"/openapi/v3{group_version.path}?hash={etag(v3(kinds, group_version))}"
            }
            for group_version in served_group_versions(kinds)
        }
    }


def v3(kinds: Kinds, group_version: GroupVersion) -> Document:
    """GET /openapi/v3/<path of the group version>."""
    served = kinds_under(kinds, group_version)
    schemas: Document = dict(META_SCHEMAS)
    paths: Document = {}
    for kind in served:
        schemas |= _schemas(kind, group_version)
        paths |= paths_of(kind, Naming(group_version))
    schemas |= _borrowed(served, schemas)
    return {
        "openapi": "3.0.0",
        "info": {"title": TITLE, "version": group_version.version},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def v2(kinds: Kinds) -> Document:
    """GET /openapi/v2 as JSON: the same operations and definitions in Swagger's form."""
    paths: Document = {}
    definitions: Document = {}
    for group_version in served_group_versions(kinds):
        document = v3(kinds, group_version)
        paths |= {path: _v2_path(item) for path, item in document["paths"].items()}
        definitions |= {name: _v2_schema(schema) for name, schema in document["components"]["schemas"].items()}
    return {
        "swagger": "2.0",
        "info": {"title": TITLE, "version": "v1alpha1"},
        "paths": dict(sorted(paths.items())),
        "definitions": dict(sorted(definitions.items())),
    }


def reference(name: str) -> Document:
    return {"$ref": REFERENCE + name}


def _schemas(kind: Kind[Any, Any], group_version: GroupVersion) -> Iterator[tuple[str, Document]]:
    """The object and its list, by name."""
    naming = Naming(group_version)
    schema = object_schema(kind)
    properties = {**schema["properties"], "metadata": _described(OBJECT_META, "Standard object's metadata.")}
    gvk = naming.gvk(kind.name)
    yield naming.schema(kind.name), {**schema, "properties": properties, "x-kubernetes-group-version-kind": [gvk]}
    yield naming.schema(kind.list_name), _list_schema(kind, naming)


def _list_schema(kind: Kind[Any, Any], naming: Naming) -> Document:
    properties = object_schema(kind)["properties"]
    return {
        "type": "object",
        "description": f"{kind.list_name} is a list of {kind.name}",
        "required": ["items"],
        "properties": {
            "apiVersion": properties["apiVersion"],
            "items": {
                "type": "array",
                "description": f"List of {kind.plural}.",
                "items": reference(naming.schema(kind.name)),
            },
            "kind": properties["kind"],
            "metadata": _described(LIST_META, "Standard list metadata."),
        },
        "x-kubernetes-group-version-kind": [naming.gvk(kind.list_name)],
    }


def _described(name: str, description: str) -> Document:
    return {"description": description, "allOf": [reference(name)], "default": {}}


def _borrowed(served: list[Kind[Any, Any]], known: Document) -> Document:
    """A free-form schema for a subresource's body that is declared nowhere here."""
    borrowed: Document = {}
    for kind in served:
        for subresource in subresources(kind):
            group_version = subresource.group_version
            if group_version is None:
                continue
            naming = Naming(group_version)
            borrowed.setdefault(naming.schema(subresource.kind), _free_form(naming.gvk(subresource.kind)))
    return {name: schema for name, schema in borrowed.items() if name not in known}


def _free_form(gvk: Document) -> Document:
    return {
        "type": "object",
        "description": f"{gvk['kind']} of {gvk['group'] or 'core'}/{gvk['version']}.",
        "x-kubernetes-preserve-unknown-fields": True,
        "x-kubernetes-group-version-kind": [gvk],
    }


# v2


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
        content = next(iter(body["content"].values()))
        required = {"required": True} if body.get("required") else {}
        parameters.append({"name": "body", "in": "body", **required, "schema": _v2_schema(content["schema"])})
        converted["consumes"] = list(body["content"])
    if parameters:
        converted["parameters"] = parameters
    converted["produces"] = ["application/json", "application/yaml"]
    converted["schemes"] = ["https"]
    converted["responses"] = {code: _v2_response(answer) for code, answer in operation["responses"].items()}
    return converted


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
    if "allOf" in value and len(value["allOf"]) == 1:
        target = _v2_schema(value["allOf"][0])
        return {**target, "description": value["description"]} if "description" in value else target
    if "$ref" in value:
        return {"$ref": value["$ref"].replace(REFERENCE, "#/definitions/")}
    converted = {name: _v2_schema(item) for name, item in value.items()}
    if converted.get("x-kubernetes-int-or-string") is True:
        return {**converted, "type": "string", "format": "int-or-string"}
    return converted
