"""The guests of one node: started, followed and ended by the agent that holds the node's lease."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never
from uuid import UUID

import structlog

from app.controllers import guest
from app.controllers.documents import domain_uuid, is_adopted, key_of, launchers_of, remove, unfinished_migrations_of
from app.controllers.lease import Held
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.placement.nodes import shared_paths
from app.controllers.placement.reservations import requests_of
from app.controllers.pods import guest_need, is_finished, is_leaving, launcher_pod
from app.controllers.tools import Tools
from app.controllers.virtualmachine.decide import (
    Away,
    Decision,
    Destroy,
    Forget,
    Hold,
    Leave,
    PowerOff,
    Release,
    Report,
    Seen,
    Start,
    Undefine,
    decide,
    is_ours,
    may_be_elsewhere,
)
from app.controllers.virtualmachine.images import check_layers
from app.controllers.virtualmachine.leftovers import Leftovers, is_left_paused
from app.controllers.virtualmachine.made import obsolete_on, without
from app.controllers.virtualmachine.removal import forget
from app.controllers.virtualmachine.report import (
    is_paused,
    pod_reported,
    reason_of,
    reported,
    with_vm_condition,
    without_condition,
)
from app.controllers.virtualmachine.schedule import node_of, phase_of
from app.controllers.virtualmachine.sizes import sized
from app.controllers.virtualmachine.whereabouts import Elsewhere, Search, lost_by, nowhere
from app.hypervisor.base import (
    Busy,
    Domain,
    DomainExists,
    DomainGone,
    Hypervisor,
    Incompatible,
    Job,
    Mark,
    Refused,
    State,
    Unreachable,
)
from app.hypervisor.domain_xml import BadXml
from app.kinds import NODE, POD, VIRTUAL_MACHINE
from app.kinds.virtualmachine import ConditionType, Phase, Reason
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Transaction

log = structlog.get_logger()

RETRY_DISKS_S = 10.0
RETRY_END_S = 5.0
POLL_S = 1.0
"""How soon a step is looked at again that no event tells of."""


class Link:
    """What the agent knows of its host: an open connection, or since it broke libvirt's words; None before the first answer."""

    def __init__(self) -> None:
        self.host: Hypervisor | Away | None = None


@dataclass(frozen=True, slots=True)
class _Observed:
    """What the store says: the VirtualMachine, and then what there is of it."""

    vm: Document
    launchers: Sequence[Document]
    pod: Document | None
    running: bool
    """A run has the guest in hand."""
    cancelling: bool

    @property
    def uuid(self) -> UUID:
        return domain_uuid(self.vm)

    @property
    def in_hand(self) -> bool:
        """A migration has the guest, or is about to."""
        return self.running or phase_of(self.vm) is Phase.MIGRATING


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What an agent takes over from one whose lease lapsed: its calls may still be on their way to the host."""

    guests: frozenset[str] = frozenset()
    """UIDs of the VirtualMachines that were on the node then. Of later ones the former agent knows nothing."""
    quiet_until: float = 0.0
    """Wall-clock seconds; see `decide.Seen`."""

    def quiet_for(self, uid: str) -> float:
        return self.quiet_until if uid in self.guests else 0.0


@dataclass(frozen=True, slots=True)
class NodeGuests:
    """Reconciles the VirtualMachines of one node. Its verbs are sent only while enough of the lease is left, and right
    after the state was read on the same connection; each may be sent twice without harm."""

    node: str
    tools: Tools
    held: Held
    link: Link
    inheritance: Inheritance = Inheritance()
    search: Search = nowhere
    """Asks the other hosts for a guest that is not here any more."""
    path_problem: Callable[[str, str], str | None] | None = None
    """Why a guest of that namespace may not use that path here."""

    @property
    def leftovers(self) -> Leftovers:
        """What is left here of guests that live elsewhere, or nowhere."""
        return Leftovers(self.node, self.tools, self.held, self.inheritance.quiet_until)

    async def reconcile(self, key: Key) -> Outcome:
        host = self.link.host
        if host is None:
            return SETTLED
        try:
            vm = (await self.tools.store.objects.get(key)).document
        except NotFound:
            return SETTLED
        if node_of(vm) != self.node:
            outcome = await self._tidy_moved(vm, host)
            return outcome if isinstance(host, Away) else await self._tidy_disks(vm, host) or outcome
        observed = await self._observe(vm)
        try:
            seen = await self._see(observed, host)
            outcome = await self._act(observed, decide(seen), host)
            if (
                isinstance(seen.host, Domain)
                and not isinstance(host, Away)
                and await self._restored(observed, seen.host, host)
            ):
                return Again(0.0)
            if not isinstance(host, Away) and not is_leaving(observed.vm):
                await self._tidy_disks(observed.vm, host)
            return outcome
        except Unreachable as error:
            log.info("host does not answer", node=self.node, name=key.name, error=error.text)
            return Again(POLL_S)

    async def _tidy_moved(self, vm: Document, host: Hypervisor | Away) -> Outcome:
        if isinstance(host, Away):
            return SETTLED
        try:
            domain = await host.look(domain_uuid(vm))
            if domain.state is State.ABSENT or not is_ours(domain, self.tools.store_id):
                return SETTLED
            gone = await self.leftovers.tidy(host, domain)
        except Unreachable:
            return SETTLED
        return SETTLED if gone else Again(2 * POLL_S)

    async def _tidy_disks(self, vm: Document, host: Hypervisor) -> Outcome | None:
        """
        Remove the files here that Drover made for the guest's disks and that the guest has left, or never came to. Only while
        no migration has it in hand, and nothing here names them. An outcome where that must be tried again.
        """
        paths, uuid = obsolete_on(vm, self.node), domain_uuid(vm)
        if not paths or self.tools.birth.now().timestamp() < self.inheritance.quiet_until:
            return None
        if phase_of(vm) is Phase.MIGRATING or await self.tools.store.runs.unfinished(uuid):
            return None
        try:
            domain = await host.look(uuid)
            if domain.state is not State.ABSENT and await self._names(host, domain, paths):
                return Again(RETRY_DISKS_S)
            for path in paths:
                with self.held.call():
                    await host.remove_disk(path)
        except (Unreachable, DomainGone, Refused, Busy) as error:
            log.warning("disk not removed", node=self.node, domain=str(uuid), error=error.text)
            return Again(RETRY_DISKS_S)
        changed = without(vm, self.node, paths)
        async with self._transaction() as tx:
            tx.replace(key_of(VIRTUAL_MACHINE, changed), changed)
            told = f"{', '.join(paths)} on {self.node}: the guest does not need it any more, so what Drover made there is gone"
            await self.tools.recorder.record(tx, changed, "DiskRemoved", told)
        return None

    async def _names(self, host: Hypervisor, domain: Domain, paths: Sequence[str]) -> bool:
        """Whether the domain here still names any of them, in whatever layer of a disk."""
        if domain.state is State.SHUTOFF:
            return True
        xml = (await host.inspect(domain.uuid)).definition
        return any(path in xml for path in paths)

    async def _observe(self, vm: Document) -> _Observed:
        async with self.tools.store.transaction() as tx:
            launchers = await launchers_of(tx, vm)
            running = bool(await tx.unfinished_runs(domain_uuid(vm)))
            cancelling = is_leaving(vm) and bool(await unfinished_migrations_of(tx, vm))
        here = [pod for pod in launchers if pod["spec"].get("nodeName") == self.node and not is_finished(pod)]
        return _Observed(vm, launchers, here[0] if here else None, running, cancelling)

    async def _see(self, observed: _Observed, host: Hypervisor | Away) -> Seen:
        vm = observed.vm
        phase, leaving = phase_of(vm), is_leaving(vm)
        # A VM that is still Migrating when every Migration of it has gone would wait for ever to be deleted.
        migrating = phase is Phase.MIGRATING and (observed.cancelling or not leaving)
        adopted = is_adopted(vm)
        seen = host if isinstance(host, Away) else await host.look(observed.uuid)
        elsewhere = Elsewhere()
        follows = adopted or phase in (Phase.RUNNING, Phase.UNKNOWN)
        if isinstance(seen, Domain) and may_be_elsewhere(seen) and follows and not (leaving or observed.running):
            elsewhere = await self.search(observed.uuid, self.node)
        lost = await lost_by(self.tools.store.history, vm, seen) if follows and isinstance(seen, Domain) else ""
        return Seen(
            phase=phase,
            host=seen,
            adopted=adopted,
            elsewhere=elsewhere.active,
            silent=elsewhere.silent,
            lost=lost,
            store=self.tools.store_id,
            now=self.tools.birth.now().timestamp(),
            moving=observed.running or migrating,
            deleting=leaving,
            cancelling=observed.cancelling,
            end_at=_end_at(observed),
            quiet_until=self.inheritance.quiet_for(vm["metadata"]["uid"]),
        )

    async def _act(self, observed: _Observed, decision: Decision, host: Hypervisor | Away) -> Outcome:
        match decision:
            case Leave(again_after_s):
                return SETTLED if again_after_s is None else Again(again_after_s)
            case Report():
                await self._report(observed, decision, host)
                return SETTLED
            case Forget():
                async with self._transaction() as tx:
                    forget(tx, observed.vm, observed.launchers)
                return SETTLED
            case Hold(message, again_after_s):
                await self._hold(observed.vm, message)
                return Again(again_after_s)
            case Start() | PowerOff() | Destroy() | Undefine() | Release():
                assert not isinstance(host, Away), "BUG: a verb for a host that does not answer"
                return await self._tell(observed, decision, host)
            case unhandled:
                assert_never(unhandled)

    async def _tell(
        self, observed: _Observed, decision: Start | PowerOff | Destroy | Undefine | Release, host: Hypervisor
    ) -> Outcome:
        """One verb. Nothing is awaited between the look that it rests on and the verb."""
        self.held.require()
        match decision:
            case Start():
                return await self._start(observed, host)
            case PowerOff():
                return await self._power_off(observed, host)
            case Destroy() | Undefine():
                return await self._remove(observed, decision, host)
            case Release():
                return await self._release(observed, host)
            case unhandled:
                assert_never(unhandled)

    async def _remove(self, observed: _Observed, decision: Destroy | Undefine, host: Hypervisor) -> Outcome:
        try:
            with self.held.call():
                await (host.destroy if isinstance(decision, Destroy) else host.undefine)(observed.uuid)
        except (Busy, Refused) as error:
            await self._hold(observed.vm, f"its host cannot end the guest, or forget it: {error.text}")
            return Again(RETRY_END_S)
        return Again(0.0)

    async def _release(self, observed: _Observed, host: Hypervisor) -> Outcome:
        """What a migration took from the guest it has back before it is let go."""
        domain = await host.look(observed.uuid)
        if await self._restored(observed, domain, host):
            return Again(0.0)
        metadata = observed.vm["metadata"]
        before = domain.mark or Mark(self.tools.store_id, f"{metadata['namespace']}/{metadata['name']}")
        try:
            with self.held.call():
                await host.mark(observed.uuid, replace(before, released=True))
        except DomainGone:
            return Again(0.0)
        except (Busy, Refused) as error:
            await self._hold(observed.vm, f"the guest cannot be marked as released: {error.text}")
            return Again(2 * POLL_S)
        return Again(0.0)

    async def _restored(self, observed: _Observed, domain: Domain, host: Hypervisor) -> bool:
        """
        Whether something was given back that a migration took from an adopted guest: the autostart flag, or that it has no
        definition. Only while none has it in hand, which is read just before; noted when done, so that it is done once.
        """
        if self._owed(domain) is None:
            return False
        vm = await self.tools.store.objects.get(key_of(VIRTUAL_MACHINE, observed.vm))
        fresh = await self._observe(vm.document)
        if fresh.in_hand or node_of(fresh.vm) != self.node or fresh.uuid != domain.uuid:
            return False
        # Again: what was seen may be older than the end of a migration that has none in hand any more.
        domain = await host.look(domain.uuid)
        if (mark := self._owed(domain)) is None:
            return False
        try:
            with self.held.call():
                await _give_back(host, domain, mark)
        except (Busy, Refused, DomainGone) as error:
            log.warning("not given back", node=self.node, domain=str(domain.uuid), error=error.text)
            return False
        log.info(
            "given back", node=self.node, domain=str(domain.uuid), autostart=mark.autostart, transient=mark.transient
        )
        return True

    def _owed(self, domain: Domain) -> Mark | None:
        """The mark of a guest to which something is to be given back, and can be."""
        mark = domain.mark
        if mark is None or not (mark.autostart or mark.transient) or not is_ours(domain, self.tools.store_id):
            return None
        stands = domain.job is Job.NONE and domain.state is not State.ABSENT and not is_left_paused(domain)
        return mark if stands else None

    async def _start(self, observed: _Observed, host: Hypervisor) -> Outcome:
        try:
            definition = guest.definition(self.tools.store_id, observed.vm)
            if self.path_problem is not None:
                judge = partial(self.path_problem, observed.vm["metadata"]["namespace"])
                await check_layers(host, guest.facts(observed.vm), judge)
            with self.held.call():
                await host.define_and_start(definition)
        except Incompatible as error:
            await self._refused(observed, Reason.HOST_INCOMPATIBLE, error.text, host)
        except (Refused, DomainExists) as error:
            await self._refused(observed, Reason.DOMAIN_REFUSED, error.text, host)
        except BadXml as error:
            await self._refused(observed, Reason.DOMAIN_REFUSED, str(error), host)
        else:
            return Again(0.0)
        return SETTLED

    async def _refused(self, observed: _Observed, reason: Reason, text: str, host: Hypervisor) -> None:
        now = self.tools.birth.stamp()
        vm = with_vm_condition(observed.vm, ConditionType.SYNCHRONIZED, "False", reason, text, now)
        await self._report(replace(observed, vm=vm), Report(Phase.FAILED, reason, text), host)

    async def _power_off(self, observed: _Observed, host: Hypervisor) -> Outcome:
        """The pod's deletionTimestamp is when the guest is ended: it outlives this process."""
        grace_s = int(observed.vm["spec"].get("terminationGracePeriodSeconds", 30))
        if observed.pod is not None:
            await self._mark_leaving(observed.pod, grace_s)
        await self._hold(observed.vm, f"the guest was asked to power off, and is ended after {grace_s} s")
        if grace_s and (await host.look(observed.uuid)).state is State.RUNNING:
            try:
                with self.held.call():
                    await host.power_off(observed.uuid)
            except (Refused, DomainGone) as error:
                log.info(
                    "guest cannot be asked to power off", node=self.node, domain=str(observed.uuid), error=error.text
                )
        return Again(0.0 if observed.pod is not None else POLL_S)

    async def _mark_leaving(self, pod: Document, grace_s: int) -> None:
        end = self.tools.birth.now() + timedelta(seconds=grace_s)
        stamp = {"deletionTimestamp": end.strftime("%Y-%m-%dT%H:%M:%SZ"), "deletionGracePeriodSeconds": grace_s}
        async with self._transaction() as tx:
            tx.replace(key_of(POD, pod), {**pod, "metadata": {**pod["metadata"], **stamp}})

    async def _report(self, observed: _Observed, report: Report, host: Hypervisor | Away) -> None:
        before, now = observed.vm, self.tools.birth.stamp()
        if phase_of(before) is report.phase is Phase.UNKNOWN and reason_of(before) == report.reason:
            return
        vm = reported(before, report.phase, report.reason, report.message, report.paused, now)
        vm = await self._told_once(vm, observed.uuid)
        if report.phase is Phase.RUNNING and not isinstance(host, Away):
            vm = await self._inspected(vm, observed.uuid, host)
        pod = observed.pod and pod_reported(observed.pod, report.phase, report.reason, report.message, now)
        async with self._transaction() as tx:
            if vm != (await tx.get(key_of(VIRTUAL_MACHINE, vm))).document:
                tx.replace(key_of(VIRTUAL_MACHINE, vm), vm)
            if pod is not None and pod != observed.pod:
                tx.replace(key_of(POD, pod), pod)
            if report.phase is Phase.RUNNING and observed.pod is None and is_adopted(vm):
                self._reserve_again(tx, observed)
            if phase_of(before) is not report.phase or is_paused(before) is not report.paused:
                await self._tell_people(tx, vm, report)

    def _reserve_again(self, tx: Transaction, observed: _Observed) -> None:
        """An adopted guest that was started again needs a place again, in a pod of its own, and the huge pages of the former:
        its spec tells nothing of them."""
        former = [pod for pod in observed.launchers if is_finished(pod)]
        for pod in former:
            remove(tx, POD, pod)
        read, pages = guest.facts(observed.vm), {size for pod in former for size, _ in requests_of(pod).hugepages}
        need = guest_need(read.memory, read.vcpus, observed.vm, hugepages=sorted(pages))
        pod = launcher_pod(self.tools.birth, observed.vm, self.node, need)
        tx.create(key_of(POD, pod), pod)

    async def _told_once(self, vm: Document, uuid: UUID) -> Document:
        """The alarm ends when no other host runs the guest any more."""
        conditions = vm["status"].get("conditions") or ()
        if not any(c["type"] == ConditionType.DUPLICATE for c in conditions):
            return vm
        found = await self.search(uuid, self.node)
        return vm if found.active or found.silent else without_condition(vm, ConditionType.DUPLICATE)

    async def _tell_people(self, tx: Transaction, vm: Document, report: Report) -> None:
        bad = report.phase in (Phase.FAILED, Phase.UNKNOWN)
        message = f"{report.message} ({self.node})"
        await self.tools.recorder.record(tx, vm, report.reason, message, "Warning" if bad else "Normal")

    async def _inspected(self, vm: Document, uuid: UUID, host: Hypervisor) -> Document:
        """What the running guest's host tells of it: that its definition was taken, whether it can be moved and what it
        asks of a host, and its consoles. Looked at again each time, for a snapshot or a hot-plugged device changes it."""
        try:
            live = guest.live(await host.inspect(uuid), await self._shared_paths())
            requirements = await sized(live.requirements, uuid, host)
        except (Refused, DomainGone, Busy, BadXml) as error:
            log.info("guest not inspected", node=self.node, domain=str(uuid), error=str(error))
            return vm
        now = self.tools.birth.stamp()
        if not _is_synchronized(vm):
            reason, how = (Reason.ADOPTED, "ran already") if is_adopted(vm) else (Reason.STARTED, "started")
            vm = with_vm_condition(vm, ConditionType.SYNCHRONIZED, "True", reason, f"{how} on {self.node}", now)
        movable, reason = ("False", live.bound[0].reason) if live.bound else ("True", Reason.MIGRATABLE)
        vm = with_vm_condition(vm, ConditionType.LIVE_MIGRATABLE, movable, reason, live.because, now)
        vm["status"] |= {"hostRequirements": requirements.dump(), "graphics": [c.dump() for c in live.graphics]}
        return {**vm, "status": {key: value for key, value in vm["status"].items() if value not in ({}, [])}}

    async def _shared_paths(self) -> tuple[str, ...]:
        """What this host shares with others, as its Node declares."""
        try:
            node = (await self.tools.store.objects.get(Key(NODE.resource, "", self.node))).document
        except NotFound:
            return ()
        return shared_paths(node["metadata"].get("annotations") or {})

    async def _hold(self, vm: Document, message: str) -> None:
        """Say in the condition Ready how far the deletion is."""
        told = with_vm_condition(
            vm, ConditionType.READY, "False", Reason.BEING_DELETED, message, self.tools.birth.stamp()
        )
        if told != vm:
            async with self._transaction() as tx:
                tx.replace(key_of(VIRTUAL_MACHINE, vm), told)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        """One that nobody commits who has lost the node's lease."""
        async with self.tools.store.transaction() as tx:
            tx.fence_lease(self.held.name, self.held.token)
            yield tx


async def _give_back(host: Hypervisor, domain: Domain, mark: Mark) -> None:
    """Each part may be done twice; the mark is changed last."""
    if mark.transient and domain.persistent:
        if domain.state is State.SHUTOFF:
            await host.undefine(domain.uuid)
            return
        await host.make_transient(domain.uuid)
    elif mark.autostart and domain.persistent and not domain.autostart:
        await host.set_autostart(domain.uuid, True)
    await host.mark(domain.uuid, replace(mark, autostart=False, transient=False))


def _is_synchronized(vm: Document) -> bool:
    conditions = vm["status"].get("conditions") or ()
    return any(c["type"] == ConditionType.SYNCHRONIZED and c["status"] == "True" for c in conditions)


def _end_at(observed: _Observed) -> float | None:
    """When the guest is ended without asking. Without a pod, whose deletion would say so, the VM's own deletion counts."""
    if observed.pod is not None:
        stamp = observed.pod["metadata"].get("deletionTimestamp")
        return datetime.fromisoformat(stamp).timestamp() if stamp else None
    stamp = observed.vm["metadata"].get("deletionTimestamp")
    grace_s = int(observed.vm["spec"].get("terminationGracePeriodSeconds", 30))
    return datetime.fromisoformat(stamp).timestamp() + grace_s if stamp else None
