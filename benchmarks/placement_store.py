"""The same decisions by the controller itself, with the fleet in PostgreSQL: what `benchmarks.placement --store` measures.

Every Migration is reconciled in its turn until it runs or waits for a node: that is its whole way, with the Events, pods, run
and status that are written for it, each step a durable transaction. The cluster's limit is as many as there are, so that each
is decided; those that fit nowhere stay, and their turns are played again before each later one's.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.controllers.documents import key_of
from app.controllers.lease import LeaseKeeper
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.reconcile import Reconciler
from app.controllers.migration.slots import Limits
from app.controllers.placement.nodes import node_view
from app.controllers.placement.reservations import loads, reservation
from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE
from app.kinds.migration import Phase
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.store.base import Scope
from app.store.embedded import EmbeddedPostgres
from app.store.postgres import PostgresStore

TOGETHER = 1000
"""Objects that are stored in one transaction."""
STEPS = 6
"""So many reconciles take any Migration to where it waits or runs."""


@dataclass(frozen=True)
class StoreFigures:
    """Seconds, and decisions."""

    stored_s: float
    census_s: float
    """Everything read and counted for the first time, as a new leader does, outside of any serial transaction."""
    decided: int
    placed: int
    waiting: int
    decided_s: float
    processor_s: float
    """Of this process alone, PostgreSQL's not counted."""
    median_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.decided / self.decided_s

    def rows(self) -> list[tuple[str, str]]:
        return [
            ("with PostgreSQL: objects stored at the start", f"{self.stored_s:.1f} s"),
            ("  counted for the first time", f"{self.census_s:.1f} s"),
            ("  migrations decided and written", f"{self.decided}"),
            ("    of them started", f"{self.placed}"),
            ("    waiting for a node or a slot", f"{self.waiting}"),
            ("  migrations a second, whole way", f"{self.per_second:.0f}"),
            ("  the same of this process's processor time", f"{self.decided / self.processor_s:.0f}"),
            ("  one migration, median", f"{self.median_ms:.1f} ms"),
            ("  one migration, p99", f"{self.p99_ms:.1f} ms"),
        ]


def with_store(
    nodes: Sequence[Document], vms: Sequence[Document], pods: Sequence[Document], migrations: Sequence[Document]
) -> StoreFigures:
    """The Migrations are decided in the order in which they are given. Raises AssertionError where something was overbooked or
    a limit exceeded."""
    folder = Path(tempfile.mkdtemp(prefix="drover-bench-"))
    folder.chmod(0o711)
    try:
        return asyncio.run(_measured(folder, nodes, vms, pods, migrations))
    finally:
        shutil.rmtree(folder)


async def _measured(
    folder: Path,
    nodes: Sequence[Document],
    vms: Sequence[Document],
    pods: Sequence[Document],
    migrations: Sequence[Document],
) -> StoreFigures:
    embedded = EmbeddedPostgres(folder / "data")
    try:
        store = PostgresStore(await embedded.start())
        await store.open()
        try:
            began = time.perf_counter()
            for kind, documents in ((NODE, nodes), (VIRTUAL_MACHINE, vms), (POD, pods), (MIGRATION, migrations)):
                await _stored(store, kind, documents)
            return await _decided(store, migrations, time.perf_counter() - began)
        finally:
            await store.close()
    finally:
        await embedded.stop()


async def _stored(store: PostgresStore, kind: Kind[Any, Any], documents: Sequence[Document]) -> None:
    for first in range(0, len(documents), TOGETHER):
        async with store.transaction() as tx:
            for document in documents[first : first + TOGETHER]:
                tx.create(key_of(kind, document), document)


async def _decided(store: PostgresStore, migrations: Sequence[Document], stored_s: float) -> StoreFigures:
    limits = Limits(cluster=len(migrations), outbound=2, inbound=2)
    held = await LeaseKeeper(store.leases, "benchmark", timedelta(hours=1)).try_acquire("controllers")
    assert held is not None, "nobody else leads here"
    reconciler = Reconciler(store, held, MigrationConfig(limits))
    before = await _overbooked(store)
    at = time.perf_counter()
    await reconciler.reconcile(key_of(MIGRATION, {"metadata": {"namespace": "default", "name": "none"}}))
    census_s = time.perf_counter() - at
    took, processor = [], time.process_time()
    for migration in migrations:
        at = time.perf_counter()
        await _to_its_place(store, reconciler, migration)
        took.append(time.perf_counter() - at)
    processor_s = time.process_time() - processor
    await _ensure_nothing_is_overbooked(store, limits, before)
    placed = len(await store.runs.unfinished())
    return StoreFigures(
        stored_s=stored_s,
        census_s=census_s,
        decided=len(took),
        placed=placed,
        waiting=len(took) - placed,
        decided_s=sum(took),
        processor_s=processor_s,
        median_ms=statistics.median(took) * 1e3,
        p99_ms=statistics.quantiles(took, n=100)[98] * 1e3,
    )


async def _to_its_place(store: PostgresStore, reconciler: Reconciler, migration: Document) -> None:
    key, before = key_of(MIGRATION, migration), ""
    for _ in range(STEPS):
        await reconciler.reconcile(key)
        phase = (await store.objects.get(key)).document["status"]["phase"]
        if phase == Phase.RUNNING or phase == before:
            return
        before = phase
    raise AssertionError(f"{key.name} is still {before}")


async def _overbooked(store: PostgresStore) -> set[str]:
    """Nodes with more taken than there is, added up anew. Some were drawn so: they get nothing more."""
    nodes = [node_view(stored.document) for stored in (await store.objects.list(Scope(NODE.resource))).items]
    pods = [reservation(stored.document) for stored in (await store.objects.list(Scope(POD.resource))).items]
    taken = loads(pod for pod in pods if pod is not None)
    found = set()
    for node in nodes:
        if (load := taken.get(node.name)) is None:
            continue
        pages = dict(node.hugepages)
        short = any(amount > pages.get(size, 0) for size, amount in load.hugepages)
        if load.memory > node.memory or load.cpu_milli > node.cpu_milli or short:
            found.add(node.name)
    return found


async def _ensure_nothing_is_overbooked(store: PostgresStore, limits: Limits, before: Iterable[str]) -> None:
    assert await _overbooked(store) <= set(before), "a node is overbooked"
    runs = await store.runs.unfinished()
    for side, limit in (
        (Counter(r.source for r in runs), limits.outbound),
        (Counter(r.target for r in runs), limits.inbound),
    ):
        assert all(count <= limit for count in side.values()), "a limit was exceeded"
