"""What holds of every kind."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import StrEnum
from types import ModuleType
from typing import Any

import pytest

from app.kinds import ALL, NODE, POD, affinity, migration, namespace, node, pod, virtualmachine
from app.machinery.kind import CORE, KUBEVIRT, Kind
from app.machinery.objects import Document
from app.machinery.schema import schema_of

SHARED = {"apiVersion", "kind", "metadata"}
MODULES = (affinity, migration, namespace, node, pod, virtualmachine)


def undescribed(schema: Document, path: str) -> Iterator[str]:
    """The paths of fields that `kubectl explain` would print without a word."""
    for name, below in schema.get("properties", {}).items():
        if not below.get("description"):
            yield f"{path}.{name}"
        yield from undescribed(below, f"{path}.{name}")
    if "items" in schema:
        yield from undescribed(schema["items"], f"{path}[]")


def closed_sets(module: ModuleType) -> list[type[StrEnum]]:
    own = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    return [value for value in own if issubclass(value, StrEnum)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_every_field_says_what_it_is(kind: Kind[Any, Any]) -> None:
    own = {name: below for name, below in schema_of(kind).openapi["properties"].items() if name not in SHARED}

    assert list(undescribed({"properties": own}, kind.name)) == []


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_every_column_says_what_it_shows(kind: Kind[Any, Any]) -> None:
    assert [column.name for column in kind.columns if not column.description] == []


@pytest.mark.parametrize(
    "closed",
    [each for module in MODULES for each in closed_sets(module)],
    ids=lambda each: f"{each.__module__}.{each.__name__}",
)
def test_every_member_of_a_closed_set_has_a_paragraph(closed: type[StrEnum]) -> None:
    body = inspect.getsource(closed).splitlines()[2:]

    assert len(closed) == sum(line.startswith('    """') for line in body)
    assert closed.__doc__


def test_nodes_and_pods_are_stored_once_and_served_twice() -> None:
    assert {NODE.name, POD.name} == {kind.name for kind in ALL if kind.served == (CORE, KUBEVIRT)}


def test_short_names_are_unique() -> None:
    short = [name for kind in ALL for name in kind.short_names]

    assert len(short) == len(set(short))
