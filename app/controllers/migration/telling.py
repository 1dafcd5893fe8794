"""Telling people of a Migration: an Event on it, and one on its VirtualMachine that says which Migration it speaks of."""

from __future__ import annotations

from app.controllers.events import EventKind, Recorder
from app.controllers.migration.effects import Tell
from app.machinery.objects import Document
from app.store.base import Transaction


async def tell(recorder: Recorder, tx: Transaction, migration: Document, vm: Document | None, told: Tell) -> None:
    """A VirtualMachine has many Migrations in its time."""
    kind: EventKind = "Warning" if told.warning else "Normal"
    await recorder.record(tx, migration, told.reason, told.message, kind)
    if vm is not None:
        await recorder.record(tx, vm, told.reason, f"Migration {migration['metadata']['name']}: {told.message}", kind)
