"""Needs and nodes that say only what a test is about."""

from __future__ import annotations

from typing import Any

from app.controllers.placement.need import HostNeeds, Need
from app.controllers.placement.nodes import NodeView
from app.machinery.objects import Document

GIB = 2**30


def node(name: str = "a", **fields: Any) -> NodeView:
    return NodeView(**{"name": name, "memory": 8 * GIB, "cpu_milli": 8000, **fields})


def need(**fields: Any) -> Need:
    return Need(**{"memory": GIB, "cpu_milli": 1000, **fields})


def asks(origin: NodeView | None = None, **host: Any) -> Need:
    """A need for something of the host."""
    return need(origin=origin, host=HostNeeds(**host))


def requires(*expressions: Document, fields: list[Document] | None = None) -> Document:
    term: Document = {"matchExpressions": list(expressions)}
    if fields:
        term["matchFields"] = fields
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}


def expression(key: str, operator: str, *values: str) -> Document:
    return {"key": key, "operator": operator, "values": list(values)}
