"""The roles that are always there, and ClusterRoles whose rules are put together from others'.

Any number of processes do this side by side: each makes what the stored roles say, and the second finds it made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import structlog

from app.controllers.defaults import made_at_start
from app.controllers.loop import Loop, Source
from app.controllers.outcome import SETTLED, Outcome
from app.kinds.default_roles import AUTO_UPDATE, default_bindings, default_roles
from app.kinds.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.machinery.rbac import Rule, uncovered
from app.machinery.selectors import matches_label_selector
from app.store.base import AlreadyExists, Conflict, Key, NotFound, Scope, Store, Stored

log = structlog.get_logger()


async def ensure_default_roles(store: Store) -> None:
    """Made where they are missing; where somebody changed them, what Drover needs is added and nothing taken away, unless an
    annotation says to leave them alone. Raises StoreError."""
    await _ensure(store, CLUSTER_ROLE, default_roles(), _with_rules)
    await _ensure(store, CLUSTER_ROLE_BINDING, default_bindings(), _with_subjects)
    await RoleAggregation(store).settle()


async def _ensure(
    store: Store, kind: Kind[Any, Any], wanted: Iterable[Document], completed: Callable[[Document, Document], Document]
) -> None:
    found = {stored.key.name: stored.document for stored in (await store.objects.list(Scope(kind.resource))).items}
    for document in wanted:
        name = document["metadata"]["name"]
        key, there = Key(kind.resource, "", name), found.get(name)
        # Whoever of several processes comes first makes it; one that changes or goes meanwhile is left to its user.
        with suppress(AlreadyExists, Conflict, NotFound):
            if there is None:
                await store.objects.create(key, made_at_start(kind, document))
            elif (there["metadata"].get("annotations") or {}).get(AUTO_UPDATE) != "false":
                await store.objects.replace(key, completed(there, document))


def _with_rules(found: Document, wanted: Document) -> Document:
    metadata = _with_labels(found, wanted)
    if "aggregationRule" in wanted:
        return {
            **found,
            "metadata": metadata,
            "aggregationRule": found.get("aggregationRule") or wanted["aggregationRule"],
        }
    held = [Rule.of(rule) for rule in found.get("rules") or ()]
    missing = [rule for rule in wanted["rules"] if uncovered(held, [Rule.of(rule)])]
    return {**found, "metadata": metadata, "rules": [*(found.get("rules") or ()), *missing]}


def _with_subjects(found: Document, wanted: Document) -> Document:
    subjects = found.get("subjects") or []
    missing = [subject for subject in wanted["subjects"] if subject not in subjects]
    return {**found, "metadata": _with_labels(found, wanted), "subjects": [*subjects, *missing]}


def _with_labels(found: Document, wanted: Document) -> Document:
    labels = {**(found["metadata"].get("labels") or {}), **wanted["metadata"]["labels"]}
    return {**found["metadata"], "labels": labels}


class RoleAggregation:
    """Keeps the rules of ClusterRoles with an aggregationRule."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = Loop("roles", store, [Source(Scope(CLUSTER_ROLE.resource), self._concerned)], self.reconcile)
        self._aggregated: set[str] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._loop.run()

    def _concerned(self, changed: Stored) -> Iterable[Key]:
        """Whichever role changes may be a part of each that is put together, or of another one now."""
        if changed.document.get("aggregationRule"):
            self._aggregated.add(changed.key.name)
        return [Key(CLUSTER_ROLE.resource, "", name) for name in sorted(self._aggregated)]

    async def settle(self) -> None:
        """All of them, also those that are parts of others. Raises StoreError."""
        roles = (await self._store.objects.list(Scope(CLUSTER_ROLE.resource))).items
        keys = [stored.key for stored in roles if stored.document.get("aggregationRule")]
        for _ in keys:
            for key in keys:
                await self.reconcile(key)

    async def reconcile(self, key: Key) -> Outcome:
        try:
            stored = await self._store.objects.get(key)
        except NotFound:
            self._aggregated.discard(key.name)
            return SETTLED
        role = stored.document
        if not role.get("aggregationRule"):
            self._aggregated.discard(key.name)
            return SETTLED
        roles = [found.document for found in (await self._store.objects.list(Scope(CLUSTER_ROLE.resource))).items]
        rules = put_together(role, roles)
        if rules != (role.get("rules") or []):
            with suppress(Conflict, NotFound):  # another process made the same, or somebody wrote: that is heard again
                await self._store.objects.replace(key, {**role, "rules": rules})
        return SETTLED


def put_together(role: Document, roles: Iterable[Document]) -> list[Document]:
    """The rules of every role that the aggregationRule selects, by name, each rule once."""
    selectors = role["aggregationRule"].get("clusterRoleSelectors") or []
    rules: list[Document] = []
    for part in sorted(roles, key=lambda found: found["metadata"]["name"]):
        if part["metadata"]["name"] != role["metadata"]["name"] and _is_selected(part, selectors):
            rules.extend(rule for rule in part.get("rules") or () if rule not in rules)
    return rules


def _is_selected(role: Document, selectors: Iterable[Document]) -> bool:
    labels = role["metadata"].get("labels") or {}
    return any(matches_label_selector(labels, selector) for selector in selectors)
