"""What the operator says of a held guest and of its hosts, as the store has it now."""

from __future__ import annotations

from app.controllers.migration.messages import Told
from app.controllers.nodestatus import is_out_of_service
from app.kinds import NODE, names
from app.kinds.migration import Word
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Reader, Run, Scope


async def told_of(reader: Reader, run: Run) -> Told:
    """Raises Unavailable. Of a Migration or Node that has gone nothing is said."""
    migration = await _found(reader, run.migration)
    if migration is not None and migration["metadata"]["uid"] != str(run.migration_uid):
        migration = None
    nodes = (await reader.list(Scope(NODE.resource))).items
    return Told(
        resolve=_word(migration),
        off=tuple(node.key.name for node in nodes if is_out_of_service(node.document)),
        arrived=_has_arrived(migration),
    )


def _word(migration: Document | None) -> Word | None:
    said = ((migration or {}).get("metadata") or {}).get("annotations") or {}
    word = said.get(names.RESOLVE)
    return Word(word) if word in set(Word) else None


def _has_arrived(migration: Document | None) -> bool:
    state = ((migration or {}).get("status") or {}).get("migrationState") or {}
    return bool(state.get("targetNodeDomainReadyTimestamp"))


async def _found(reader: Reader, key: Key) -> Document | None:
    try:
        return (await reader.get(key)).document
    except NotFound:
        return None
