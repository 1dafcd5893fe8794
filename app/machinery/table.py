"""Tables: objects as `kubectl get` prints them, by a kind's columns; and objects with their metadata only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from app.machinery.errors import bad_request, invalid
from app.machinery.kind import Column, Kind
from app.machinery.objects import Document

META_GROUP = "meta.k8s.io"

NAME = Column(
    "Name",
    "metadata.name",
    format="name",
    description="Name must be unique within a namespace. Is required when creating resources, although some resources "
    "may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for "
    "creation idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
)


def table(
    kind: Kind[Any, Any],
    documents: Iterable[Document],
    *,
    now: datetime,
    include_object: str = "Metadata",
    headers: bool = True,
    list_metadata: Document | None = None,
    version: str = "v1",
) -> Document:
    """A meta.k8s.io Table. A watch asks for headers with its first event only. Raises ApiError 400."""
    carry = carried(include_object, version)
    columns = _columns(kind)
    cells = [_cell(column, kind, now) for column in columns]
    return {
        "kind": "Table",
        "apiVersion": f"{META_GROUP}/{version}",
        "metadata": list_metadata or {},
        "columnDefinitions": [_definition(column, kind) for column in columns] if headers else None,
        "rows": [{"cells": [cell(document) for cell in cells], "object": carry(document)} for document in documents],
    }


def _columns(kind: Kind[Any, Any]) -> tuple[Column, ...]:
    """The name comes first, unless the kind itself says where it stands."""
    named = any(column.format == NAME.format for column in kind.columns)
    return kind.columns if named else (NAME, *kind.columns)


def carried(include_object: str, version: str) -> Callable[[Document], Document | None]:
    """What of an object its row carries. Raises ApiError 400."""
    match include_object:
        case "" | "Metadata":
            return lambda document: partial(document, version=version)
        case "Object":
            return lambda document: document
        case "None":
            return lambda _: None
        case _:
            must = invalid("includeObject", include_object, "must be 'Metadata', 'Object', 'None', or empty")
            raise bad_request(f"Unable to convert to Table as requested: {must}")


def _definition(column: Column, kind: Kind[Any, Any]) -> Document:
    """What is compiled into kube-apiserver calls an age a string."""
    return {
        "name": column.name,
        "type": "string" if column.type == "date" and kind.typed and column.aged else column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _cell(column: Column, kind: Kind[Any, Any], now: datetime) -> Callable[[Document], Any]:
    """Compile one column: where its value is, and how it is shown. A text that is not there is an empty one to Go."""
    source = column.source
    find = _at(source) if isinstance(source, str) else source
    if column.type == "string" and (kind.typed or column is NAME) and isinstance(source, str) and column.absent is None:
        return lambda document: find(document) or ""
    if column.type != "date" or not column.aged:
        return find
    return lambda document: age(find(document), now) or column.absent


def _at(path: str) -> Callable[[Document], Any]:
    steps = path.split(".")

    def find(document: Document) -> Any:
        value: Any = document
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    return find


def age(timestamp: Any, now: datetime) -> str | None:
    """A time as the duration since then; None when there is none, `<invalid>` when it cannot be read."""
    if not timestamp:
        return None
    try:
        then = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return "<invalid>"
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return human_duration((now - then).total_seconds())


_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 86_400 * 365


def human_duration(seconds_exact: float) -> str:
    """A duration to two or three figures, by kubectl's rules."""
    seconds = int(seconds_exact)
    if seconds < -1:
        return "<invalid>"
    if seconds < 2 * _MINUTE:
        return f"{max(seconds, 0)}s"
    for limit, unit, letter, lesser, lesser_letter in (
        (10 * _MINUTE, _MINUTE, "m", 1, "s"),
        (3 * _HOUR, _MINUTE, "m", 0, ""),
        (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
        (2 * _DAY, _HOUR, "h", 0, ""),
        (8 * _DAY, _DAY, "d", _HOUR, "h"),
        (2 * _YEAR, _DAY, "d", 0, ""),
        (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    ):
        if seconds < limit:
            rest = seconds % unit // lesser if lesser else 0
            return f"{seconds // unit}{letter}" + (f"{rest}{lesser_letter}" if rest else "")
    return f"{seconds // _YEAR}y"


def partial(document: Document, *, version: str = "v1") -> Document:
    """The object as PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"{META_GROUP}/{version}",
        "metadata": document.get("metadata", {}),
    }


def partial_list(documents: Iterable[Document], list_metadata: Document, *, version: str = "v1") -> Document:
    """The objects as PartialObjectMetadataList."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"{META_GROUP}/{version}",
        "metadata": list_metadata,
        "items": [partial(document, version=version) for document in documents],
    }
