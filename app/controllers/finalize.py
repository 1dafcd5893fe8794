"""`namespaces/finalize`: who looked after a namespace's content says that it is done."""

from __future__ import annotations

from app.controllers.remover import settle
from app.kinds import NAMESPACE
from app.machinery.errors import conflict, invalid_object, not_found
from app.machinery.kind import CORE
from app.machinery.lifecycle import is_finished_deleting, prepare_update, validate_update
from app.machinery.objects import Document
from app.store.base import Conflict, Key, NotFound, Store


class Finalize:
    """The handler of the subresource: changes `spec.finalizers` alone, and removes what nobody holds any more."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, _verb: str, key: Key, body: Document, dry_run: bool) -> Document:
        try:
            return await self._finalized(key, body, dry_run)
        except NotFound as error:
            raise not_found(NAMESPACE.plural, "", key.name) from error
        except Conflict as error:
            raise conflict(NAMESPACE.plural, "", key.name) from error

    async def _finalized(self, key: Key, body: Document, dry_run: bool) -> Document:
        async with self._store.transaction(serial=True) as tx:
            stored = await tx.get(key)
            changed = prepare_update(NAMESPACE, CORE, stored.document, body, subresource="finalize")
            errors = validate_update(NAMESPACE, stored.document, changed)
            if errors:
                raise invalid_object(NAMESPACE.name, "", key.name, errors)
            if dry_run:
                return changed
            settle(tx, stored, changed)
        return changed if is_finished_deleting(changed) else (await self._store.objects.get(key)).document
