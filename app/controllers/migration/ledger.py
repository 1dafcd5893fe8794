"""What a held run's process says, written to the store under the run's token: its log, its progress, its pod."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from app.controllers.birth import Birth
from app.controllers.documents import domain_uuid, key_of
from app.controllers.events import Recorder
from app.controllers.migration.effects import Tell
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.messages import Arrived, Holding, Noticed, Sampled, Started, Steered
from app.controllers.migration.plan import Plan
from app.controllers.migration.progress import shown
from app.controllers.migration.telling import tell
from app.controllers.pods import MIGRATION_CONTAINER
from app.controllers.virtualmachine.report import on_node
from app.kinds import POD, VIRTUAL_MACHINE, names
from app.kinds.migration import FINAL, ConditionType, MigrationCondition, Reason
from app.machinery.objects import Document
from app.store.base import AlreadyExists, Conflict, Key, NotFound, Run, Store, Transaction, Unavailable

log = structlog.get_logger()

PROGRESS_S = 0.4
"""Between writes of progress: well within the second that is promised."""
RETRY_S = 0.5

_OF_HOLDS = frozenset({ConditionType.HELD, ConditionType.RESOLVED})

Writing = Callable[[Transaction], Awaitable[None]]


@dataclass(slots=True)
class _Unwritten:
    """What was heard since the last write."""

    lines: list[tuple[datetime, str]] = field(default_factory=list)
    sampled: Sampled | None = None
    started: Started | None = None
    noticed: list[Noticed] = field(default_factory=list)
    steered: Steered | None = None
    arrived: Arrived | None = None
    holding: Holding | None = None

    @property
    def about_migration(self) -> bool:
        said = (self.sampled, self.started, self.steered, self.arrived, self.holding)
        return bool(self.noticed) or any(one is not None for one in said)


class Ledger:
    """One run's. Every write is fenced by the run's token and raises LeaseLost when somebody else holds the run."""

    def __init__(self, store: Store, run: Run, birth: Birth) -> None:
        self._store = store
        self._run = run
        self._plan = Plan.read(run.plan)
        self._birth = birth
        self._recorder = Recorder("migration-worker", birth)
        self._unwritten = _Unwritten()
        self._heard = asyncio.Event()
        self._urgent = asyncio.Event()
        self._writing = asyncio.Lock()

    def line(self, text: str) -> None:
        self._unwritten.lines.append((datetime.now(UTC), text))
        self._heard.set()

    def note(self, report: Sampled | Started | Noticed | Steered | Arrived | Holding) -> None:
        match report:
            case Sampled():
                self._unwritten.sampled = report
            case Started():
                self._unwritten.started = report
                self._urgent.set()
            case Noticed():
                self._unwritten.noticed.append(report)
            case Steered():
                self._unwritten.steered = report
                self._urgent.set()
            case Arrived():
                self._unwritten.arrived = report
                self._urgent.set()
            case Holding():
                self._unwritten.holding = report
                self._urgent.set()
        self._heard.set()

    async def write(self) -> None:
        """Until cancelled: what is heard, at most every PROGRESS_S, but at once what somebody waits for."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            self._urgent.clear()
            began = time.monotonic()
            await self.flush()
            try:
                async with asyncio.timeout(began + PROGRESS_S - time.monotonic()):
                    await self._urgent.wait()
            except TimeoutError:
                continue

    async def flush(self) -> None:
        """Everything heard so far is in the store on return, also what somebody else was writing."""
        async with self._writing:
            unwritten, self._unwritten = self._unwritten, _Unwritten()
            if unwritten.about_migration:
                await self._commit(lambda tx: self._tell(tx, unwritten))
            if unwritten.lines:
                await self._append(unwritten.lines)

    async def began(self, *, restarted_by: int | None) -> None:
        """A process of the run was started; `restarted_by` is the exit status of the one before it."""
        await self._commit(lambda tx: self._pod_runs(tx, restarted_by))

    async def finished(self, code: ExitCode, result: Document) -> None:
        """The outcome is known: the pod has its exit code and the run frees its slot, together."""
        await self.flush()

        async def write(tx: Transaction) -> None:
            await self._pod_ended(tx, code, result)
            tx.finish_run(self._run.id, self._run.token, int(code), result)

        await self._commit(write)

    async def _commit(self, writing: Writing) -> None:
        """Again when somebody wrote first or the store is away: the lease says when that must end."""
        while True:
            try:
                async with self._store.transaction() as tx:
                    tx.fence_run(self._run.id, self._run.token)
                    await writing(tx)
                return
            except (Conflict, NotFound, AlreadyExists):
                continue
            except Unavailable as error:
                log.warning("not written yet", run=str(self._run.id), error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _append(self, lines: list[tuple[datetime, str]]) -> None:
        while True:
            try:
                await self._store.logs.append(self._plan.migration_pod_uid, lines)
                return
            except Unavailable as error:
                log.warning("log not written yet", run=str(self._run.id), error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _tell(self, tx: Transaction, heard: _Unwritten) -> None:
        migration = await _found(tx, self._run.migration, str(self._run.migration_uid))
        vm = await self._vm(tx) if heard.arrived or heard.started or heard.noticed else None
        if migration is not None and (migration.get("status") or {}).get("phase") not in FINAL:
            changed = _heard(migration, heard, self._birth.stamp_micro())
            if changed != migration:
                tx.replace(self._run.migration, changed)
            for told in self._news(heard):
                await tell(self._recorder, tx, migration, vm, told)
            if heard.holding is not None and heard.holding.refused not in ("", _refused(migration)):
                text = f"{_word(migration)} is refused: {heard.holding.refused}"
                await self._recorder.record(tx, migration, "ResolveRefused", text, "Warning")
        if heard.arrived is not None and vm is not None:
            moved = on_node(vm, self._plan.target.node)
            if moved != vm:
                tx.replace(key_of(VIRTUAL_MACHINE, vm), moved)

    def _news(self, heard: _Unwritten) -> Iterator[Tell]:
        if heard.started is not None:
            way = f"from {self._plan.source.node} to {self._plan.target.node}"
            encrypted = ", encrypted" if self._plan.tls else ""
            yield Tell("Started", f"the guest is being copied {way}{encrypted}")
        for one in heard.noticed:
            yield Tell(one.reason, one.message, one.warning)

    async def _vm(self, tx: Transaction) -> Document | None:
        namespace, _, name = self._plan.vm.partition("/")
        try:
            vm = (await tx.get(Key(VIRTUAL_MACHINE.resource, namespace, name))).document
        except NotFound:
            return None
        return vm if domain_uuid(vm) == self._plan.domain else None

    async def _pod(self, tx: Transaction) -> Document | None:
        key = Key(POD.resource, self._run.migration.namespace, self._plan.migration_pod)
        return await _found(tx, key, str(self._plan.migration_pod_uid))

    async def _pod_runs(self, tx: Transaction, restarted_by: int | None) -> None:
        pod = await self._pod(tx)
        if pod is None:
            return
        changed, now = copy.deepcopy(pod), self._birth.stamp()
        status = changed.setdefault("status", {})
        container = _container(status)
        if restarted_by is not None:
            container["lastState"] = {"terminated": _terminated(restarted_by, container, now, "")}
            container["restartCount"] = container.get("restartCount", 0) + 1
        container |= {"ready": True, "started": True, "state": {"running": {"startedAt": now}}}
        status |= {"phase": "Running", "containerStatuses": [container]}
        status.setdefault("startTime", now)
        tx.replace(key_of(POD, pod), changed)

    async def _pod_ended(self, tx: Transaction, code: ExitCode, result: Document) -> None:
        pod = await self._pod(tx)
        if pod is None:
            return
        changed, now = copy.deepcopy(pod), self._birth.stamp()
        status = changed.setdefault("status", {})
        container = _container(status)
        ended = _terminated(int(code), container, now, str(result.get("message", "")))
        container |= {"ready": False, "started": False, "state": {"terminated": ended}}
        status |= {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]}
        tx.replace(key_of(POD, pod), changed)


def _heard(migration: Document, heard: _Unwritten, now: str) -> Document:
    changed = copy.deepcopy(migration)
    status = changed.setdefault("status", {})
    if heard.sampled is not None:
        status["progress"] = shown(heard.sampled, status.get("progress") or {})
    if heard.steered is not None:
        status.setdefault("migrationState", {})["mode"] = heard.steered.mode.value
    if heard.started is not None and heard.started.autostart:
        status.setdefault("migrationState", {})["autostart"] = True
    if heard.arrived is not None:
        status.setdefault("migrationState", {})["targetNodeDomainReadyTimestamp"] = heard.arrived.at
    if heard.holding is not None:
        kept = [c for c in status.get("conditions") or [] if c.get("type") not in _OF_HOLDS]
        status["conditions"] = [*kept, *_held(migration, heard.holding, now)]
        if not heard.holding.message:
            # What was said of this hold must not decide another one.
            (changed["metadata"].get("annotations") or {}).pop(names.RESOLVE, None)
    return changed


def _held(migration: Document, holding: Holding, now: str) -> list[Document]:
    if not holding.message:
        return []
    since = next((c.get("lastTransitionTime") for c in _conditions(migration) if c["type"] == ConditionType.HELD), now)
    told = [
        MigrationCondition(
            type=ConditionType.HELD,
            status="True",
            reason=Reason.LIBVIRT_BUSY if holding.busy else Reason.HOST_UNREACHABLE,
            message=holding.message,
            last_transition_time=since,
        )
    ]
    if holding.refused:
        told.append(
            MigrationCondition(
                type=ConditionType.RESOLVED,
                status="False",
                reason=Reason.AGAINST_EVIDENCE,
                message=holding.refused,
                last_transition_time=now,
            )
        )
    return [condition.dump() for condition in told]


def _refused(migration: Document) -> str:
    return next((str(c.get("message")) for c in _conditions(migration) if c["type"] == ConditionType.RESOLVED), "")


def _word(migration: Document) -> str:
    return f"{names.RESOLVE}={(migration['metadata'].get('annotations') or {}).get(names.RESOLVE, '')}"


def _conditions(migration: Document) -> list[Document]:
    return (migration.get("status") or {}).get("conditions") or []


def _container(status: Document) -> Document:
    known: list[Document] = status.get("containerStatuses") or []
    return known[0] if known else {"name": MIGRATION_CONTAINER, "restartCount": 0, "image": "", "imageID": ""}


def _terminated(status: int, container: Document, now: str, message: str) -> Document:
    """As Kubernetes words it; 128 + n is signal n."""
    terminated: Document = {"exitCode": status, "reason": "Error" if status else "Completed", "finishedAt": now}
    if status > 128:
        terminated["signal"] = status - 128
    if message:
        terminated["message"] = message
    started = ((container.get("state") or {}).get("running") or {}).get("startedAt")
    if started:
        terminated["startedAt"] = started
    return terminated


async def _found(tx: Transaction, key: Key, uid: str) -> Document | None:
    """That very object: another one of the same name is not meant."""
    try:
        document = (await tx.get(key)).document
    except NotFound:
        return None
    return document if document["metadata"]["uid"] == uid else None
