"""What a decision's effects write: pods, run, VirtualMachine and Events, all in the transaction that decided."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never
from uuid import UUID

from app.controllers.birth import Birth
from app.controllers.census import Census
from app.controllers.documents import is_adopted, key_of, revision_of
from app.controllers.events import Recorder
from app.controllers.migration.effects import CancelRun, Conclude, Decision, Retune, StartRun, Tell, Withdraw
from app.controllers.migration.exit_codes import Where
from app.controllers.migration.observe import Guest, Scene
from app.controllers.migration.places import place_of
from app.controllers.migration.plan import Copy, Plan
from app.controllers.migration.records import record
from app.controllers.migration.telling import tell
from app.controllers.migration.tuning import changed_plan, planned
from app.controllers.placement.nodes import peer_uri, shared_paths
from app.controllers.pods import is_launcher_of, is_leaving, is_target_of, migration_pod, target_pod
from app.controllers.storage import copied_path, copies, images, is_declared_shared
from app.controllers.virtualmachine.made import made_on, with_made_disks, with_moved_disks, with_obsolete
from app.controllers.virtualmachine.report import on_node, pod_reported, with_phase
from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE, names
from app.kinds.migration import FINAL, MigrationState, MigrationStatus
from app.kinds.virtualmachine import Phase as VMPhase
from app.kinds.virtualmachine import Reason as VMReason
from app.kinds.virtualmachine import VMDisk, VMHostRequirements
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Run, Transaction


@dataclass(frozen=True, slots=True)
class Committer:
    """Knows how new objects are born; `store_id` is what it marks guests with."""

    birth: Birth
    recorder: Recorder
    store_id: str = ""
    census: Census = field(default_factory=Census)

    async def commit(self, tx: Transaction, scene: Scene, decision: Decision) -> None:
        """Twice is harmless: each write carries the version that was read, so a second one conflicts."""
        status = decision.status
        vm = scene.guest.vm if scene.guest else None
        for effect in decision.effects:
            match effect:
                case StartRun():
                    status, vm = await self._start(tx, scene, status, effect)
                case CancelRun():
                    tx.cancel_run(effect.run)
                case Retune():
                    plan = next(run.plan for run in scene.runs if run.id == effect.run)
                    tx.replan_run(effect.run, changed_plan(plan, effect.configuration))
                case Withdraw():
                    tx.finish_run(effect.run, 0, int(effect.code), dict(effect.result))
                    await self._end_pod(tx, scene.migration, effect)
                case Conclude():
                    vm = await self.conclude(tx, scene.migration, vm, effect)
                case Tell():
                    await tell(self.recorder, tx, scene.migration, vm, effect)
                case unhandled:
                    assert_never(unhandled)
        if vm is not None and scene.guest is not None and vm != scene.guest.vm:
            tx.replace(key_of(VIRTUAL_MACHINE, vm), vm)
        _put(tx, scene.migration, status)
        if status.phase in FINAL and scene.seen.status.phase not in FINAL:
            runs = await tx.runs_of(UUID(scene.migration["metadata"]["uid"]))
            tx.remember(record(scene.migration, status, runs))

    async def conclude(
        self, tx: Transaction, migration: Document, vm: Document | None, end: Conclude
    ) -> Document | None:
        """The pods as the outcome left them; the VirtualMachine as it is to be stored."""
        pods = await self._pods(tx, migration, vm)
        now = self.birth.stamp()
        moved = end.where is Where.TARGET
        for pod in pods:
            if is_target_of(pod, migration):
                self._settle_target(tx, pod, end, now, moved=moved)
            elif moved and vm is not None and _is_at(pod, vm, end.source):
                self.remove(tx, pod_reported(pod, VMPhase.SUCCEEDED, VMReason.GUEST_RUNNING, end.message, now))
        settled = _settled(vm, end.target if moved else end.source)
        return settled and await self._settle_disks(tx, migration, settled, end, moved=moved)

    async def _pods(self, tx: Transaction, migration: Document, vm: Document | None) -> list[Document]:
        """Those that the Migration reserved its targets with, and the VirtualMachine's own."""
        await self.census.taken(tx)
        keys = {*self.census.targets(key_of(MIGRATION, migration), migration["metadata"]["uid"])}
        if vm is not None:
            keys.update(self.census.launchers(vm["metadata"]["uid"]))
        return [stored.document for stored in (await tx.several(keys)).values()]

    async def _settle_disks(
        self, tx: Transaction, migration: Document, vm: Document, end: Conclude, *, moved: bool
    ) -> Document:
        """The files that nobody needs any more, if Drover made them; those of others stay, and are named."""
        runs = await tx.runs_of(UUID(migration["metadata"]["uid"]))
        last = max(runs, key=lambda run: run.attempt, default=None)
        if last is None or not (planned := _planned(last)):
            return vm
        used = _used(last, planned) if moved else ()
        if used is None:
            return vm
        vm = with_obsolete(vm, end.target, {copy.target_path for copy in planned if copy not in used})
        if not used:
            return vm
        left = {copy.source_path for copy in used}
        written = {copy.source_path for copy in Plan.read(last.plan).copies if copy in used}
        kept = sorted(written - made_on(vm, end.source))
        if kept:
            told = f"{', '.join(kept)} on {end.source}: the guest has left it, and Drover did not make it, so it stays"
            await self.recorder.record(tx, vm, "DiskLeftBehind", told)
        return with_obsolete(with_moved_disks(vm, used), end.source, left)

    async def _end_pod(self, tx: Transaction, migration: Document, end: Withdraw) -> None:
        """No process will ever run in it."""
        name = migration["status"]["migrationState"]["migrationPod"]
        pod = (await tx.get(Key(POD.resource, migration["metadata"]["namespace"], name))).document
        status = {**pod["status"], "phase": "Failed", "reason": "NotStarted", "message": end.result["message"]}
        tx.replace(key_of(POD, pod), {**pod, "status": status})

    def _settle_target(self, tx: Transaction, pod: Document, end: Conclude, now: str, *, moved: bool) -> None:
        if pod["spec"].get("nodeName") != end.target:
            return  # an earlier attempt's, whose host may hold a copy
        if not moved and end.target_free:
            self.remove(tx, pod_reported(pod, VMPhase.FAILED, VMReason.GUEST_VANISHED, end.message, now))
        if not moved:
            return
        changed = pod_reported(pod, VMPhase.RUNNING, VMReason.GUEST_RUNNING, end.message, now)
        if changed != pod:
            tx.replace(key_of(POD, pod), changed)

    def remove(self, tx: Transaction, pod: Document) -> None:
        """Watchers see how it ended in the last version that they are told."""
        tx.delete(key_of(POD, pod), revision=revision_of(pod), document=pod)

    async def _start(
        self, tx: Transaction, scene: Scene, status: MigrationStatus, effect: StartRun
    ) -> tuple[MigrationStatus, Document]:
        guest, need, migration = scene.guest, scene.need, scene.migration
        assert guest is not None and guest.pod is not None and need is not None, "BUG: started without a guest"
        arriving = target_pod(self.birth, guest.vm, migration, effect.target, need)
        worker = migration_pod(self.birth, guest.vm, migration)
        attempt = len(scene.runs) + 1
        plan = await self._plan(tx, scene, guest, effect.target, attempt, arriving, worker)
        tx.create(key_of(POD, arriving), arriving)
        tx.create(key_of(POD, worker), worker)
        tx.start_run(
            Run(
                id=UUID(self.birth.uid()),
                migration=key_of(MIGRATION, migration),
                migration_uid=UUID(migration["metadata"]["uid"]),
                domain=plan.domain,
                source=guest.node,
                target=effect.target,
                attempt=attempt,
                plan=plan.dump(),
                memory=need.memory,
            )
        )
        status = status.model_copy(update={"migration_state": _state(status, scene, plan)})
        vm = with_made_disks(with_phase(guest.vm, VMPhase.MIGRATING), effect.target, (*plan.copies, *plan.images))
        vm["status"]["migrationNodeName"] = effect.target
        return status, vm

    async def _plan(
        self,
        tx: Transaction,
        scene: Scene,
        guest: Guest,
        target_name: str,
        attempt: int,
        arriving: Document,
        worker: Document,
    ) -> Plan:
        source, target = await two_nodes(tx, guest.node, target_name)
        annotations = target["metadata"].get("annotations") or {}
        uid, metadata = scene.migration["metadata"]["uid"], guest.vm["metadata"]
        options = scene.options
        assert guest.pod is not None and options is not None, "BUG: started without a pod, or options"
        return Plan(
            vm=f"{metadata['namespace']}/{metadata['name']}",
            domain=guest.domain,
            adopted=is_adopted(guest.vm),
            source=place_of(source),
            target=place_of(target),
            peer_uri=peer_uri(target),
            migration_uri=_migration_uri(annotations.get(names.MIGRATION_URI), uid),
            **planned(options.configuration, options.granted),
            memory=0 if scene.need is None else scene.need.memory,
            disks=sum(disk.size or 0 for disk in to_be_brought(guest.vm, source, target)) if options.copies else 0,
            tls=options.encrypts(source["metadata"].get("annotations") or {}, annotations),
            tls_name=_certified_name(annotations),
            unsafe=_is_declared_shared(guest.vm, source, target),
            copies=_named(copies, guest.vm, source, target, uid, attempt) if options.copies else (),
            images=_named(images, guest.vm, source, target, uid, attempt) if options.copies else (),
            disks_uri=_disks_uri(annotations.get(names.MIGRATION_URI), uid),
            store=self.store_id,
            migration_uid=uid,
            attempt=attempt,
            migration_pod=worker["metadata"]["name"],
            migration_pod_uid=UUID(worker["metadata"]["uid"]),
            target_pod=arriving["metadata"]["name"],
            source_pod=guest.pod["metadata"]["name"],
        )


async def two_nodes(tx: Transaction, one: str, other: str) -> tuple[Document, Document]:
    """In one read. Raises NotFound."""
    keys = [Key(NODE.resource, "", name) for name in (one, other)]
    found = await tx.several(keys)
    missing = [key.name for key in keys if key not in found]
    if missing:
        raise NotFound(missing[0])
    return found[keys[0]].document, found[keys[1]].document


def _put(tx: Transaction, migration: Document, status: MigrationStatus) -> None:
    """With its phase final the finalizer goes in the same transaction, and the object too if it was being deleted."""
    changed = copy.deepcopy(migration)
    changed["status"] = status.dump()
    metadata = changed["metadata"]
    if status.phase in FINAL:
        left = [name for name in metadata.get("finalizers") or () if name != names.MIGRATION_FINALIZER]
        metadata.pop("finalizers", None)
        if left:
            metadata["finalizers"] = left
        elif is_leaving(migration):
            tx.delete(key_of(MIGRATION, migration), revision=revision_of(migration), document=changed)
            return
    if changed != migration:
        tx.replace(key_of(MIGRATION, migration), changed)


def _settled(vm: Document | None, node: str) -> Document | None:
    """The VirtualMachine where its guest is; how the guest is there, that node's agent reports."""
    if vm is None:
        return None
    settled = on_node(vm, node)
    settled["status"].pop("migrationNodeName", None)
    if settled["status"].get("phase") == VMPhase.MIGRATING:
        settled["status"]["phase"] = VMPhase.RUNNING.value
    return settled


def _state(status: MigrationStatus, scene: Scene, plan: Plan) -> MigrationState:
    assert scene.options is not None, "BUG: started without options"
    known = status.migration_state or MigrationState()
    return known.model_copy(
        update={
            "source_pod": plan.source_pod,
            "target_pod": plan.target_pod,
            "migration_pod": plan.migration_pod,
            "migration_uid": plan.migration_uid,
            "attempt": plan.attempt,
            "migration_configuration": scene.options.configuration,
            "migration_policy_name": scene.options.policy,
            "encrypted": plan.tls,
        }
    )


def _is_declared_shared(vm: Document, source: Document, target: Document) -> bool:
    told = VMHostRequirements.read((vm.get("status") or {}).get("hostRequirements") or {})
    prefixes = [shared_paths(node["metadata"].get("annotations") or {}) for node in (source, target)]
    return is_declared_shared(told.disks, *prefixes)


def _named(
    chosen: Callable[[Iterable[VMDisk], Sequence[str], Sequence[str]], Iterable[VMDisk]],
    vm: Document,
    source: Document,
    target: Document,
    uid: str,
    attempt: int,
) -> tuple[Copy, ...]:
    """Those disks, and the new files of this attempt for them."""
    told = VMHostRequirements.read((vm.get("status") or {}).get("hostRequirements") or {})
    prefixes = [shared_paths(node["metadata"].get("annotations") or {}) for node in (source, target)]
    return tuple(
        Copy(
            disk=disk.target,
            format=disk.format or "raw",
            source_path=disk.path,
            target_path=copied_path(disk.path, uid, attempt),
        )
        for disk in chosen(told.disks, *prefixes)
    )


def to_be_brought(vm: Document, source: Document, target: Document) -> tuple[VMDisk, ...]:
    """All of the guest's disks that the target would be given."""
    told = VMHostRequirements.read((vm.get("status") or {}).get("hostRequirements") or {})
    prefixes = [shared_paths(node["metadata"].get("annotations") or {}) for node in (source, target)]
    return (*copies(told.disks, *prefixes), *images(told.disks, *prefixes))


def _planned(run: Run) -> tuple[Copy, ...]:
    plan = Plan.read(run.plan)
    return (*plan.copies, *plan.images)


def _used(run: Run, planned: tuple[Copy, ...]) -> tuple[Copy, ...] | None:
    """Those whose new files the guest uses; None where nobody could say. A process of an older release told only whether."""
    told = run.result.get("disksCopied")
    if isinstance(told, bool):
        return planned if told else ()
    return None if told is None else tuple(copy for copy in planned if copy.disk in told)


def _disks_uri(declared: str | None, uid: str) -> str | None:
    """Beside the socket for memory. A host that is reached by its address listens at a port of libvirt's choice."""
    uri = _migration_uri(declared, uid)
    return f"{uri.removesuffix('.sock')}-disks.sock" if uri and uri.startswith("unix:") else None


def _certified_name(annotations: Mapping[str, str]) -> str | None:
    """The annotation says it, or that it is the host in the migration URI."""
    name = annotations.get(names.MIGRATION_TLS)
    return None if name in (None, "true", "false") else name


def _migration_uri(declared: str | None, uid: str) -> str | None:
    """A folder of sockets gets one for each migration: two may arrive at once."""
    if declared and declared.startswith("unix:") and declared.endswith("/"):
        return f"{declared}{uid[:8]}.sock"
    return declared


def _is_at(pod: Document, vm: Document, node: str) -> bool:
    return is_launcher_of(pod, vm["metadata"]["uid"]) and (pod.get("spec") or {}).get("nodeName") == node
