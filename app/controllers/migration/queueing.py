"""Whether one that waits for a slot goes on waiting: seen in passing, for a decision holds up every writer of the store.

Of a thousand that wait each looks again every few seconds, and whenever one ends; only few of these looks find a slot.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime

from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.observe import Guest, bound_by, status_of, vm_name
from app.controllers.migration.transitions import condition_of, entered_at
from app.controllers.pods import is_leaving
from app.kinds import VIRTUAL_MACHINE
from app.kinds.migration import ConditionType, Phase, Reason
from app.kinds.virtualmachine import Phase as VMPhase
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Store


async def still_queues(
    store: Store, migration: Document, held: Container[Key], config: MigrationConfig, now: datetime
) -> bool:
    """What it says it waits for is still so, and nothing else is known that would end its wait. `held` are Migrations that
    do not count in the cluster. Where that is not sure a decision is due. Raises Unavailable."""
    status = status_of(migration)
    said = condition_of(status, ConditionType.SCHEDULED)
    if status.phase is not Phase.PENDING or said is None or said.reason != Reason.WAITING_FOR_SLOT:
        return False
    since = entered_at(status, Phase.PENDING)
    if (
        is_leaving(migration)
        or migration["spec"].get("cancel")
        or since is None
        or now - since >= config.patience.queue
    ):
        return False
    try:
        key = Key(VIRTUAL_MACHINE.resource, migration["metadata"]["namespace"], vm_name(migration))
        guest = Guest((await store.objects.get(key)).document, None)
    except NotFound:
        return False
    stays = guest.uid == status.instance and guest.phase is VMPhase.RUNNING
    if not stays or is_leaving(guest.vm) or bound_by(guest.vm) is not None:
        return False
    runs, limits = await store.runs.unfinished(), config.limits
    if sum(run.migration not in held for run in runs) >= limits.cluster:
        return said.message == limits.in_cluster()
    full = sum(run.source == guest.node for run in runs) >= limits.outbound
    return full and said.message == limits.leaving(guest.node)
