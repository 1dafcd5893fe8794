"""Objects for tests: each says only what the test is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE
from app.machinery.kind import Kind
from app.machinery.lifecycle import prepare_create
from app.machinery.objects import Document
from app.machinery.table import table
from tests.kinds.domains import domain

NOW = "2026-01-01T00:00:10Z"


def object_of(kind: Kind[Any, Any], name: str, *, metadata: Document | None = None, **body: Any) -> Document:
    identity = {"apiVersion": str(kind.group_version), "kind": kind.name}
    return {**identity, "metadata": {"name": name} | (metadata or {}), **body}


def migration(*, status: Document | None = None, **spec: Any) -> Document:
    document = object_of(MIGRATION, "m", spec={"selector": {"name": "testvm"}} | spec)
    return document if status is None else document | {"status": status}


def vm(*, status: Document | None = None, **spec: Any) -> Document:
    document = object_of(VIRTUAL_MACHINE, "testvm", spec={"domain": domain()} | spec)
    return document if status is None else document | {"status": status}


def node(*, annotations: Document | None = None, labels: Document | None = None, **body: Any) -> Document:
    spec = {"providerID": "qemu+tls://h1/system"} | body.pop("spec", {})
    metadata = {"annotations": annotations or {}, "labels": {"kubernetes.io/hostname": "node0"} | (labels or {})}
    return object_of(NODE, "node0", metadata=metadata, spec=spec, **body)


def pod(*, labels: Document | None = None, **body: Any) -> Document:
    return object_of(POD, "p", metadata={"labels": labels or {}}, **body)


def created(kind: Kind[Any, Any], document: Document) -> Document:
    """As it would be stored."""
    namespace = "default" if kind.namespaced else ""
    return prepare_create(kind, kind.group_version, document, namespace=namespace, now=NOW, uid="u", suffix="abcde")


def said(kind: Kind[Any, Any], document: Document) -> list[str]:
    """What is wrong with it, in words."""
    return [str(problem) for problem in kind.check_create(document)]


def said_of_change(kind: Kind[Any, Any], old: Document, new: Document) -> list[str]:
    """What is wrong with changing it so, in words."""
    return [str(problem) for problem in kind.check_update(old, new)]


def shown(kind: Kind[Any, Any], document: Document, *, wide: bool = False) -> dict[str, Any]:
    """What `kubectl get` would print of it, by column."""
    printed = table(kind, [document], now=datetime(2026, 1, 1, 0, 1, tzinfo=UTC))
    cells = zip(printed["columnDefinitions"], printed["rows"][0]["cells"], strict=True)
    return {column["name"]: cell for column, cell in cells if wide or not column["priority"]}
