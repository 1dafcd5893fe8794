"""The bounded pool: claim runs, one process each, hold their leases, hand them over on shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog

from app.controllers.migration.exit_codes import known
from app.controllers.migration.job import Job
from app.controllers.migration.ledger import Ledger
from app.controllers.migration.messages import Alive, Cancel, Ended, Noted, Renewed
from app.controllers.migration.nursery import Child, Nursery
from app.controllers.migration.orders import Bounds, boottime
from app.controllers.migration.plan import Plan
from app.controllers.migration.process import Factory
from app.kinds import MIGRATION
from app.store.base import Gone, LeaseLost, Run, Scope, Store, StoreError, Unavailable

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a worker works."""

    capacity: int = 10
    """Processes at once; more than the cluster's limit only helps after it was raised."""
    lease: timedelta = timedelta(seconds=15)
    """How long a silent worker keeps its runs; renewed at a third of it."""
    poll_s: float = 1.0
    """How often runs are looked for when the watch tells of none: those of workers that died."""
    settle_s: float = 40.0
    """After the former lease ended: until then a call of a worker that froze may still be obeyed by a host."""
    silence_s: float = 30.0
    """A process that says nothing for so long hangs, and is ended and started again."""

    @property
    def renew_s(self) -> float:
        return self.lease.total_seconds() / 3

    @property
    def margin_s(self) -> float:
        """How much of the lease a verb needs."""
        return min(5.0, self.renew_s)


@dataclass(slots=True)
class _Hold:
    """A run that this worker holds."""

    run: Run
    deadline_s: float
    nudge: asyncio.Event = field(default_factory=asyncio.Event)
    """Renew now: the run may have been cancelled."""
    child: Child | None = None
    heard_s: float = 0.0


class Workers:
    """Any number of these share the queue. `identity` is unique among all processes that ever hold a run."""

    def __init__(
        self,
        store: Store,
        factory: Factory,
        identity: str,
        config: WorkerConfig = WorkerConfig(),
    ) -> None:
        self._store = store
        self._identity = identity
        self._config = config
        self._nursery = Nursery(factory)
        self._holds: dict[UUID, _Hold] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; then every process is ended, its libvirt job goes on, and others may take over at once."""
        await self._nursery.warm()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            while True:
                self._wake.clear()
                for hold in await self._claimed():
                    self._holds[hold.run.id] = hold
                    tasks.create_task(self._keep(hold))
                try:
                    async with asyncio.timeout(self._config.poll_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _claimed(self) -> list[_Hold]:
        free = self._config.capacity - len(self._holds)
        if free <= 0:
            return []
        asked_s = boottime()
        try:
            runs = await self._store.runs.claim(self._identity, self._config.lease, free)
        except StoreError as error:
            log.warning("no runs claimed", worker=self._identity, error=str(error))
            return []
        for run in runs:
            log.info("run claimed", run=str(run.id), migration=run.migration.name, token=run.token)
        return [_Hold(run, asked_s + self._config.lease.total_seconds()) for run in runs]

    async def _listen(self) -> None:
        """Every change of a Migration's phase may mean a run; a wish to cancel must be heard before the next renewal."""
        while True:
            try:
                since = await self._store.objects.revision()
                async with self._store.objects.watch(Scope(MIGRATION.resource), since) as watch:
                    self._wake.set()
                    async for event in watch:
                        self._hear(event.object.document, event.previous.document if event.previous else {})
            except Gone:
                continue
            except StoreError as error:
                log.warning("watch broken", worker=self._identity, error=str(error))
                await asyncio.sleep(self._config.poll_s)

    def _hear(self, new: dict[str, object], old: dict[str, object]) -> None:
        before, after = _told(old), _told(new)
        if before != after:
            self._wake.set()
            for hold in self._holds.values():
                hold.nudge.set()

    async def _keep(self, hold: _Hold) -> None:
        """One run, from claim to exit code, in as many processes as it takes."""
        try:
            await self._supervise(hold)
        except LeaseLost:
            log.warning("run lost", run=str(hold.run.id), worker=self._identity)
        except Unavailable as error:
            log.warning("run left: no store", run=str(hold.run.id), error=str(error))
        finally:
            self._holds.pop(hold.run.id, None)
            self._wake.set()

    async def _supervise(self, hold: _Hold) -> None: ...


def _told(document: dict[str, object]) -> tuple[object, object]:
    status = document.get("status")
    if not isinstance(status, dict):
        return None, None
    state = status.get("migrationState") or {}
    return status.get("phase"), state.get("abortRequested")


_Unused = (Awaitable, Callable, known, Job, Ledger, Alive, Ended, Cancel, Noted, Renewed, Bounds, Plan)
