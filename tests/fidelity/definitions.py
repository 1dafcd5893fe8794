"""CustomResourceDefinitions of the kinds that are not Kubernetes' own, for a reference that is to validate as Drover does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.kinds import ALL
from app.machinery.kind import CORE, Column, Kind
from app.machinery.objects import Document
from app.machinery.schema import object_schema

AnyKind = Kind[Any, Any]


def definitions() -> list[Document]:
    """One for each custom resource; apply them to the reference first."""
    return [definition(kind) for kind in ALL if not kind.typed]


def definition(kind: AnyKind) -> Document:
    """What a kind says, as far as a CustomResourceDefinition can say it: columns that are computed cannot be."""
    group_version = kind.group_version
    schema = _without_strategies(object_schema(kind))
    schema["properties"] = {**schema["properties"], "metadata": {"type": "object"}}
    version: Document = {
        "name": group_version.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [_column(column) for column in kind.columns if isinstance(column.source, str)],
    }
    if kind.has_status:
        version["subresources"] = {"status": {}}
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": f".{path}"} for path in kind.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.resource},
        "spec": {
            "group": group_version.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "plural": kind.plural,
                "singular": kind.singular,
                "kind": kind.name,
                "listKind": kind.list_name,
                **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
                **({"categories": list(kind.categories)} if kind.categories else {}),
            },
            "versions": [version],
        },
    }


def _without_strategies(value: Any) -> Any:
    """How strategic patches merge is said of types that are compiled in only."""
    if isinstance(value, list):
        return [_without_strategies(item) for item in value]
    if isinstance(value, dict):
        return {
            name: _without_strategies(below)
            for name, below in value.items()
            if not name.startswith("x-kubernetes-patch-")
        }
    return value


def _column(column: Column) -> Document:
    said = {"name": column.name, "type": column.type, "jsonPath": f".{column.source}", "priority": column.priority}
    optional = {"description": column.description, "format": column.format}
    return said | {name: text for name, text in optional.items() if text}


def computed_columns() -> Iterator[str]:
    """Names of columns that the reference cannot have."""
    for kind in ALL:
        if kind.group_version != CORE and not kind.typed:
            yield from (column.name for column in kind.columns if not isinstance(column.source, str))
