"""One run that this worker holds: its processes, one after the other, until one gives an exit code that says something."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.controllers.birth import Birth
from app.controllers.migration.exit_codes import known
from app.controllers.migration.job import Job
from app.controllers.migration.ledger import RETRY_S, Ledger
from app.controllers.migration.messages import (
    Alive,
    Cancel,
    Ended,
    Holding,
    Reached,
    Renewed,
    Retuned,
    Sampled,
    Told,
)
from app.controllers.migration.nursery import Child, Nursery
from app.controllers.migration.orders import Bounds, boottime
from app.controllers.migration.places import others_of
from app.controllers.migration.plan import Place, Plan
from app.controllers.migration.steps import Step
from app.controllers.migration.told import told_of
from app.controllers.migration.worker_metrics import WorkerMetrics
from app.controllers.queue import Backoff
from app.machinery.objects import Document
from app.meter import Labels
from app.store.base import Key, LeaseLost, Run, Store, Unavailable

log = structlog.get_logger()

UNSEEN = 137
"""The status of a process whose end nobody saw, because its worker ended too; Kubernetes says the same."""


class NotStarted(Exception):
    """The machine has no room for another process."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """How long a run is held, and what may be done with it."""

    lease: timedelta = timedelta(seconds=8)
    """How long a silent worker keeps its runs: who takes over is to follow within ten seconds. Renewed at a quarter of it, so
    that a verb has what it needs nearly always."""
    settle_s: float = 40.0
    """After the former lease ended: until then a host may still obey a call of a worker that froze."""
    silence_s: float = 30.0
    """A process that says nothing for so long hangs: it is ended, and the hosts are asked by another."""

    @property
    def lease_s(self) -> float:
        return self.lease.total_seconds()

    @property
    def renew_s(self) -> float:
        return self.lease_s / 4

    @property
    def margin_s(self) -> float:
        """What a verb needs of the lease."""
        return min(5.0, self.lease_s * 5 / 9)


class Supervision:
    """Holds one run. `asked_s` is the CLOCK_BOOTTIME from before the call that claimed it: the lease is counted from there,
    and what must be waited for from now."""

    def __init__(
        self,
        store: Store,
        nursery: Nursery,
        run: Run,
        asked_s: float,
        tenure: Tenure,
        birth: Birth,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._metrics = metrics or WorkerMetrics()
        self._log = log.bind(
            run=str(run.id), migration=run.migration.name, migration_uid=str(run.migration_uid), attempt=run.attempt
        )
        self.sampled: Sampled | None = None
        """The last that its process said of the copy."""
        self._store = store
        self._nursery = nursery
        self._run = run
        self._tenure = tenure
        self._deadline_s = asked_s + tenure.lease_s
        self._quiet_until_s = boottime() + _quiet_s(run, tenure)
        self._ledger = Ledger(store, run, birth)
        self._nudge = asyncio.Event()
        self._child: Child | None = None
        self._others: tuple[Place, ...] | None = None
        self._told: Told | None = None
        self._lost = False
        self._holds = False
        self._result: Document = {}

    @property
    def run_id(self) -> str:
        return str(self._run.id)

    @property
    def migration(self) -> Key:
        return self._run.migration

    @property
    def labels(self) -> Labels:
        """node, namespace and name of the guest, for metrics."""
        namespace, _, name = str(self._run.plan.get("vm", "")).partition("/")
        return self._run.source, namespace, name

    def nudge(self) -> None:
        """Renew now: the run may have been cancelled."""
        self._nudge.set()

    async def run(self) -> None:
        """Returns when the run is finished, lost, or left because the store went away. When cancelled, the process is
        ended (its libvirt job goes on) and the run handed over."""
        try:
            await self._hold()
        except asyncio.CancelledError:
            await self._hand_over()
            raise

    async def _hold(self) -> None:
        self._step(Step.CLAIMED)
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(self._renew()), tasks.create_task(self._ledger.write())]
                await self._until_known()
                for helper in helpers:
                    helper.cancel()
        except* LeaseLost:
            self._metrics.ended.add(("LEASE_LOST",))
            self._log.warning("run lost")
        except* NotStarted as errors:
            # No room for a process here: the lease lapses, and a worker that has room takes over.
            self._log.error("migration process not started", error=str(errors.exceptions[0]))

    async def _until_known(self) -> None:
        fresh, before = self._run.token == 1, None if self._run.token == 1 else UNSEEN
        failures, backoff = 0, Backoff()
        while True:
            status = await self._process(fresh, before)
            if self._lost:
                raise LeaseLost(self.run_id)
            code = known(status)
            if code is not None:
                self._log.info("run finished", exit_code=int(code), outcome=code.name)
                self._step(Step.FINISHED)
                await self._ledger.finished(code, self._result)
                self._metrics.ended.add((code.name,))
                return
            self._metrics.unknown.add(())
            self._log.warning("migration process ended without an outcome", status=status)
            fresh, before, failures = False, status, failures + 1
            await asyncio.sleep(backoff.after(failures))

    async def _process(self, fresh: bool, before: int | None) -> int:
        """Its exit status. On return it is dead."""
        plan = Plan.read(self._run.plan)
        others, told = await self._known_of(plan, fresh)
        job = Job(plan, fresh=fresh, cancelled=self._run.cancelled, others=others, told=told)
        bounds = Bounds(self._deadline_s, self._quiet_until_s, self._tenure.margin_s)
        try:
            child = self._child = await self._nursery.start(job, bounds)
        except OSError as error:
            raise NotStarted(str(error)) from error
        child.send(Renewed(deadline_s=self._deadline_s))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ledger.began(restarted_by=before))
                tasks.create_task(self._read(child))
                tasks.create_task(self._print(child))
                return await child.ended()
        finally:
            self._child = None
            await child.end()
            child.close()

    async def _known_of(self, plan: Plan, fresh: bool) -> tuple[tuple[Place, ...], Told | None]:
        """The other hosts and the operator's word as of now; where the database is away, as this worker knew them last."""
        while True:
            try:
                async with asyncio.timeout(self._tenure.renew_s):
                    others = await others_of(self._store.objects, plan)
                    told = None if fresh else await told_of(self._store.objects, self._run)
                self._others, self._told = others, told
                return others, told
            except (Unavailable, TimeoutError) as error:
                if self._others is not None:
                    return self._others, self._told
                if self._lost:
                    raise LeaseLost(self.run_id) from error
                self._log.warning("hosts not read yet", error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _read(self, child: Child) -> None:
        while True:
            try:
                async with asyncio.timeout(self._tenure.silence_s):
                    report = await child.report()
            except TimeoutError:
                self._log.warning("migration process hangs", pid=child.pid)
                child.kill()
                return
            match report:
                case None:
                    return
                case Alive():
                    pass
                case Reached():
                    self._step(report.step)
                case Ended():
                    self._result = report.result
                case Holding():
                    self._holds = bool(report.message)
                    self._ledger.note(report)
                    self._nudge.set()
                case _:
                    if isinstance(report, Sampled):
                        self.sampled = report
                    self._ledger.note(report)

    def _step(self, step: Step) -> None:
        """Where it is, for whoever looks into the log."""
        run = self._run
        self._log.info(
            "migration step",
            step=step.value,
            namespace=run.migration.namespace,
            token=run.token,
            source=run.source,
            target=run.target,
            pid=None if self._child is None else self._child.pid,
        )

    async def _print(self, child: Child) -> None:
        while (line := await child.line()) is not None:
            self._ledger.line(line)

    async def _renew(self) -> None:
        """Until cancelled. When the lease is lost or lapses, the process is told by hanging up."""
        wait_s = self._tenure.renew_s
        while True:
            await self._nudged(wait_s)
            asked_s = boottime()
            try:
                async with asyncio.timeout(self._tenure.renew_s):
                    self._run = await self._store.runs.extend(self._run.id, self._run.token, self._tenure.lease)
            except LeaseLost:
                return self._lose()
            except (Unavailable, TimeoutError):
                if boottime() >= self._deadline_s:
                    return self._lose()
                wait_s = self._tenure.renew_s / 5
                continue
            wait_s = self._tenure.renew_s
            self._deadline_s = asked_s + self._tenure.lease_s
            if self._child is not None:
                self._child.send(Renewed(deadline_s=self._deadline_s))
                self._child.send(_tuning(self._run))
                if self._run.cancelled:
                    self._child.send(Cancel())
            if self._holds:
                await self._tell()

    async def _tell(self) -> None:
        """What the operator says: asked for only where nobody else can tell."""
        try:
            async with asyncio.timeout(self._tenure.renew_s):
                told = self._told = await told_of(self._store.objects, self._run)
        except (Unavailable, TimeoutError) as error:
            log.warning("operator not asked", run=self.run_id, error=str(error))
            return
        if self._child is not None:
            self._child.send(told)

    async def _nudged(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._nudge.wait()
        except TimeoutError:
            return
        self._nudge.clear()

    def _lose(self) -> None:
        self._lost = True
        if self._child is not None:
            self._child.hang_up()

    async def _hand_over(self) -> None:
        """The process is certainly dead, so whoever takes over need not wait for it: the lease ends in the past. But for
        who held the run before, as long as this worker had to."""
        if self._lost:
            return
        try:
            async with asyncio.timeout(self._tenure.renew_s):
                await self._ledger.flush()
                left_s = max(0.0, self._quiet_until_s - boottime())
                past = timedelta(seconds=min(left_s, self._tenure.settle_s) - self._tenure.settle_s)
                await self._store.runs.extend(self._run.id, self._run.token, past)
        except (LeaseLost, Unavailable, TimeoutError) as error:
            self._log.warning("run not handed over; its lease will lapse", error=str(error))


def _tuning(run: Run) -> Retuned:
    plan = Plan.read(run.plan)
    return Retuned(bandwidth=plan.bandwidth, max_downtime_ms=plan.max_downtime_ms)


def _quiet_s(run: Run, tenure: Tenure) -> float:
    """How long from the claim no guest may be started, resumed or ended: the database's times, so no clock is compared."""
    if run.former_lease_until is None or run.lease_until is None:
        return 0.0
    claimed = run.lease_until - tenure.lease
    return (run.former_lease_until - claimed).total_seconds() + tenure.settle_s
