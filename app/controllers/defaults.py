"""Objects that Drover makes for everybody at its start: prepared as the API would, and owned by Drover."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from app.machinery.kind import Kind
from app.machinery.lifecycle import prepare_create
from app.machinery.managed import Writer, created, with_entries
from app.machinery.objects import Document
from app.machinery.zeroes import emptied, filled

MANAGER = "drover"


def made_at_start(kind: Kind[Any, Any], document: Document) -> Document:
    """A new object of a kind that has no namespaces. Somebody who applies it finds who owns its fields."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    version = kind.group_version
    fresh = prepare_create(kind, version, document, namespace="", now=now, uid=str(uuid4()), suffix="")
    whole = filled(kind.blank, fresh)
    return with_entries(emptied(kind.blank, whole), created(kind, whole, Writer(MANAGER, str(version), now)))
