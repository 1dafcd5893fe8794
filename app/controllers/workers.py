"""The bounded pool: claim runs, one process each, hold their leases, hand them over on shutdown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from app.controllers.birth import Birth
from app.controllers.migration.nursery import Nursery
from app.controllers.migration.orders import boottime
from app.controllers.migration.process import Factory
from app.controllers.migration.supervise import Supervision, Tenure
from app.controllers.migration.worker_metrics import WorkerMetrics
from app.kinds import MIGRATION, names
from app.machinery.objects import Document
from app.store.base import Gone, Key, Scope, Store, StoreError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a worker works."""

    capacity: int = 10
    """Processes at once in this worker; the cluster's limit is another."""
    poll_s: float = 0.5
    """How often runs are looked for when no change tells of one: those of workers that died."""
    tenure: Tenure = field(default_factory=Tenure)


class Workers:
    """Any number of these share the queue. `identity` is unique among all processes that ever hold a run."""

    def __init__(
        self,
        store: Store,
        factory: Factory,
        identity: str,
        config: WorkerConfig = WorkerConfig(),
        *,
        birth: Birth = Birth(),  # noqa: B008  (frozen)
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._store = store
        self._identity = identity
        self._config = config
        self._birth = birth
        self._nursery = Nursery(factory)
        self._held: dict[UUID, Supervision] = {}
        self._wake = asyncio.Event()
        self._metrics = metrics or WorkerMetrics()
        self._metrics.follow(self._held.values, config.capacity)

    async def run(self) -> None:
        """Until cancelled; then every process is ended, its libvirt job goes on, and others may take over at once."""
        await self._nursery.warm()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            while True:
                self._wake.clear()
                for run_id, supervision in (await self._claimed()).items():
                    self._held[run_id] = supervision
                    tasks.create_task(self._keep(run_id, supervision))
                try:
                    async with asyncio.timeout(self._config.poll_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _claimed(self) -> dict[UUID, Supervision]:
        free = self._config.capacity - len(self._held)
        if free <= 0:
            return {}
        tenure, asked_s = self._config.tenure, boottime()
        try:
            runs = await self._store.runs.claim(self._identity, tenure.lease, free)
        except StoreError as error:
            log.warning("no runs claimed", worker=self._identity, error=str(error))
            return {}
        for run in runs:
            self._metrics.claimed.add(("true" if run.token > 1 else "false",))
            log.info(
                "run claimed",
                run=str(run.id),
                namespace=run.migration.namespace,
                migration=run.migration.name,
                migration_uid=str(run.migration_uid),
                attempt=run.attempt,
                token=run.token,
            )
        return {
            run.id: Supervision(self._store, self._nursery, run, asked_s, tenure, self._birth, self._metrics)
            for run in runs
        }

    async def _keep(self, run_id: UUID, supervision: Supervision) -> None:
        try:
            await supervision.run()
        finally:
            if self._held.get(run_id) is supervision:  # it may have been lost and claimed again meanwhile
                del self._held[run_id]
            self._wake.set()

    async def _listen(self) -> None:
        """A change of a Migration's phase may mean a run, and a wish to cancel may not wait for the next renewal."""
        while True:
            try:
                since = await self._store.objects.revision()
                async with self._store.objects.watch(Scope(MIGRATION.resource), since) as watch:
                    self._hear()
                    async for event in watch:
                        before = event.previous.document if event.previous else {}
                        if _concerns(before) != _concerns(event.object.document):
                            self._hear(event.object.key)
            except Gone:
                continue
            except StoreError as error:
                log.warning("watch broken", worker=self._identity, error=str(error))
                await asyncio.sleep(self._config.poll_s)

    def _hear(self, migration: Key | None = None) -> None:
        """Of that Migration, or of who knows which."""
        self._wake.set()
        for supervision in self._held.values():
            if migration in (None, supervision.migration):
                supervision.nudge()


def _concerns(migration: Document) -> tuple[object, ...]:
    """What a worker wants to hear of; its own writes of progress are not that."""
    status = migration.get("status") or {}
    state = status.get("migrationState") or {}
    word = ((migration.get("metadata") or {}).get("annotations") or {}).get(names.RESOLVE)
    return status.get("phase"), state.get("abortRequested"), state.get("migrationConfiguration"), word
