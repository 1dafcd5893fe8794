"""Guests that run on a node and that no VirtualMachine there stands for: adopted, followed, or told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import assert_never
from uuid import UUID

import structlog

from app.controllers.documents import domain_uuid, key_of, launchers_of, remove
from app.controllers.lease import Held
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.pods import guest_need, is_launcher_of, is_leaving, launcher_pod
from app.controllers.tools import Tools
from app.controllers.virtualmachine.adopt import (
    LOOK_AGAIN_S,
    Adopt,
    Compare,
    Double,
    Ignore,
    Later,
    Stranger,
    Take,
    Unseen,
    adopted,
    compare,
    is_here,
    is_starting,
    judge,
    managed_by,
    names_for,
    spec_of,
)
from app.controllers.virtualmachine.report import on_node, with_phase, with_vm_condition
from app.controllers.virtualmachine.whereabouts import Whereabouts
from app.hypervisor import domain_facts
from app.hypervisor.base import Domain, DomainGone, Hypervisor, Mark, Unreachable
from app.hypervisor.domain_facts import DomainFacts
from app.hypervisor.domain_reading import as_json
from app.hypervisor.domain_tree import BadXml
from app.kinds import NAMESPACE, NODE, POD, VIRTUAL_MACHINE, names
from app.kinds.virtualmachine import ConditionType, Phase, Reason
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Reader, Scope, Transaction

log = structlog.get_logger()

DOMAINS = "domains"
"""The word by which the queue of domains calls its keys: UUIDs."""
ALARM_S = 10.0
"""How long a guest must be seen running twice before that is told: moves by hand look so for a moment."""
STARTING_S = 60.0
"""How long a guest must be seen starting before it is told that it never will: libvirt itself gives QEMU 30 s."""
NOBODY = "none"
"""What the annotation says to leave guests alone."""


def key_of_domain(domain: UUID) -> Key:
    return Key(DOMAINS, "", str(domain))


@dataclass(slots=True)
class Strangers:
    """One node's. Writes to the store alone, under the node's lease; hosts are only asked."""

    node: str
    tools: Tools
    held: Held
    host: Callable[[], Hypervisor | None]
    whereabouts: Whereabouts
    changed: Callable[[], None]
    """Called when what is to be told of the Node has changed."""
    unseen: dict[UUID, str] = field(default_factory=dict)
    """Guests that run here and that no VirtualMachine tells of, and why: name and reason."""
    _doubles: dict[UUID, float] = field(default_factory=dict)
    """Since when each was seen to run twice."""
    _starting: dict[UUID, float] = field(default_factory=dict)
    """Since when each was seen to start."""

    def keep_only(self, active: Collection[UUID]) -> None:
        """Those that do not run here any more are told of no longer."""
        for domain in [domain for domain in self.unseen if domain not in active]:
            self._forget(domain)
        self._starting = {domain: since for domain, since in self._starting.items() if domain in active}

    async def meet(self, key: Key) -> Outcome:
        """One domain. The store is read before the host: what the store no longer knows had ended before."""
        host, uuid = self.host(), UUID(key.name)
        if host is None:
            return SETTLED
        try:
            return await self._meet(host, uuid)
        except (Unreachable, DomainGone) as error:
            log.info("guest not met", node=self.node, domain=key.name, error=error.text)
            return SETTLED
        except BadXml as error:
            return await self._tell(await host.look(uuid), f"its definition {error}")

    async def _meet(self, host: Hypervisor, uuid: UUID) -> Outcome:
        domain = await host.look(uuid)
        if is_starting(domain):
            return await self._started_by_nobody(domain)
        self._starting.pop(uuid, None)
        seen = await self._see(host, domain) if is_here(domain) else None
        verdict = Ignore() if seen is None else judge(seen)
        domain = domain if seen is None else seen.domain
        if not isinstance(verdict, Unseen):
            self._forget(uuid)
        if not isinstance(verdict, Compare):
            self._doubles.pop(uuid, None)
        match verdict:
            case Ignore():
                return SETTLED
            case Later(after_s):
                return Again(after_s)
            case Adopt(namespace):
                return await self._adopt(host, domain, namespace)
            case Compare(vm, node):
                return await self._compare(host, vm, node, domain)
            case Unseen(why):
                return await self._tell(domain, why)
            case unhandled:
                assert_never(unhandled)

    async def _see(self, host: Hypervisor, found: Domain) -> Stranger:
        """Asked again at the end: only what the store was asked before may be held against the host's answer."""
        store, uuid = self.tools.store, found.uuid
        moving = bool(await store.runs.unfinished(uuid))
        vm = None if moving else await vm_of(store.objects, uuid, found.mark)
        node = (await store.objects.get(Key(NODE.resource, "", self.node))).document
        return Stranger(self.node, self.tools.store_id, await host.look(uuid), vm, moving, adopt_namespace(node))

    async def _adopt(self, host: Hypervisor, domain: Domain, namespace: str) -> Outcome:
        xml = await host.definition(domain.uuid)
        facts = domain_facts.read(xml)
        if why := managed_by(facts):
            return await self._tell(domain, why)
        spec = spec_of(as_json(xml), domain)
        # Serial: the same guest may be met on another host at this moment.
        async with self._transaction(serial=True) as tx:
            if not await _is_room(tx, namespace):
                why = f"it would be adopted in namespace {namespace}, which is not there"
            elif await vm_of(tx, domain.uuid, domain.mark) is not None:
                return Again(0.5)
            else:
                taken = {
                    stored.key.name for stored in (await tx.list(Scope(VIRTUAL_MACHINE.resource, namespace))).items
                }
                name = names_for(domain.name, str(domain.uuid), taken)
                vm = adopted(self.tools.birth, self.node, namespace, name, domain, spec)
                tx.create(key_of(VIRTUAL_MACHINE, vm), vm)
                for pod in await self._left_by(tx, domain):
                    remove(tx, POD, pod)
                self._reserve(tx, vm, domain, facts)
                told = f"{domain.name} ({domain.uuid}) already ran on {self.node}"
                await self.tools.recorder.record(tx, vm, Reason.ADOPTED, told)
        if why:
            return await self._tell(domain, why)
        log.info("guest adopted", node=self.node, domain=str(domain.uuid), namespace=namespace, name=name)
        return SETTLED

    async def _left_by(self, tx: Transaction, domain: Domain) -> list[Document]:
        """The pods here of a VirtualMachine that was taken away by force: the guest gets one of its new object's own."""
        pods = (stored.document for stored in (await tx.list(Scope(POD.resource))).items)
        here = (pod for pod in pods if pod["spec"].get("nodeName") == self.node)
        return [pod for pod in here if is_launcher_of(pod, str(domain.uuid))]

    async def _compare(self, host: Hypervisor, vm: Document, node: str, here: Domain) -> Outcome:
        there = await self.whereabouts.look(node, here.uuid) if node else None
        verdict = compare(here, there, node)
        if not isinstance(verdict, Double):
            self._doubles.pop(here.uuid, None)
        match verdict:
            case Later(after_s):
                return Again(after_s)
            case Take(told):
                await self._take(vm, here, domain_facts.read(await host.definition(here.uuid)), told)
                return SETTLED
            case Double():
                return await self._double(vm, node, here)
            case unhandled:
                assert_never(unhandled)

    async def _take(self, vm: Document, domain: Domain, facts: DomainFacts, told: str) -> None:
        """The VirtualMachine as it was read: whoever changed it since wins, and the guest is met again."""
        moved = with_phase(on_node(vm, self.node), Phase.RUNNING)
        async with self._transaction() as tx:
            for pod in await launchers_of(tx, vm):
                remove(tx, POD, pod)
            tx.replace(key_of(VIRTUAL_MACHINE, vm), moved)
            self._reserve(tx, vm, domain, facts)
            await self.tools.recorder.record(tx, moved, Reason.GUEST_MOVED, f"{told} ({self.node})", "Warning")
        log.warning("guest followed", node=self.node, domain=str(domain.uuid), told=told)

    def _reserve(self, tx: Transaction, vm: Document, domain: Domain, facts: DomainFacts) -> None:
        """A host that this overbooks gets nothing more; the guest runs there already."""
        need = guest_need(domain.memory, max(1, domain.vcpus), vm, hugepages=facts.hugepages)
        pod = launcher_pod(self.tools.birth, vm, self.node, need)
        tx.create(key_of(POD, pod), pod)

    async def _double(self, vm: Document, node: str, here: Domain) -> Outcome:
        now = self.tools.clock()
        left_s = self._doubles.setdefault(here.uuid, now) + ALARM_S - now
        if left_s > 0:
            return Again(min(left_s, 2.0))
        message = f"{here.name} runs on {node} and on {self.node} at once: destroy one of the two by hand"
        told = with_vm_condition(
            vm, ConditionType.DUPLICATE, "True", Reason.RUNS_TWICE, message, self.tools.birth.stamp()
        )
        if told != vm:
            async with self._transaction() as tx:
                tx.replace(key_of(VIRTUAL_MACHINE, vm), told)
                await self.tools.recorder.record(tx, vm, Reason.RUNS_TWICE, message, "Warning")
            log.error("guest runs twice", domain=str(here.uuid), nodes=[node, self.node])
        return Again(ALARM_S)

    async def _started_by_nobody(self, domain: Domain) -> Outcome:
        now = self.tools.clock()
        left_s = self._starting.setdefault(domain.uuid, now) + STARTING_S - now
        if left_s > 0 or await self.tools.store.runs.unfinished(domain.uuid):
            return Again(max(left_s, LOOK_AGAIN_S))
        return await self._tell(
            domain,
            f"libvirtd died while it started this for a migration, and keeps it without a process; the guest is not here, and"
            f" cannot come: stop libvirtd, remove /run/libvirt/qemu/{domain.name}.xml, start libvirtd",
        )

    async def _tell(self, domain: Domain, why: str) -> Outcome:
        said = f"{domain.name}: {why}"
        if self.unseen.get(domain.uuid) != said:
            self.unseen[domain.uuid] = said
            self.changed()
            node = (await self.tools.store.objects.get(Key(NODE.resource, "", self.node))).document
            await self.tools.recorder.record_alone(self.tools.store, node, "NotAdopted", said, "Warning")
        return SETTLED

    def _forget(self, domain: UUID) -> None:
        if self.unseen.pop(domain, None) is not None:
            self.changed()

    @asynccontextmanager
    async def _transaction(self, *, serial: bool = False) -> AsyncIterator[Transaction]:
        """One that nobody commits who has lost the node's lease."""
        async with self.tools.store.transaction(serial=serial) as tx:
            tx.fence_lease(self.held.name, self.held.token)
            yield tx


def adopt_namespace(node: Document) -> str | None:
    """Where this Node's guests are adopted; None where they are left alone."""
    said = (node["metadata"].get("annotations") or {}).get(names.ADOPT_NAMESPACE, "") or "default"
    return None if said == NOBODY else said


async def vm_of(reader: Reader, domain: UUID, mark: Mark | None) -> Document | None:
    """The VirtualMachine whose guest has that UUID in libvirt: in most cases the one that the domain's mark names."""
    if mark is not None:
        namespace, _, name = mark.vm.partition("/")
        try:
            named = (await reader.get(Key(VIRTUAL_MACHINE.resource, namespace, name))).document
        except NotFound:
            pass
        else:
            if domain_uuid(named) == domain:
                return named
    listing = await reader.list(Scope(VIRTUAL_MACHINE.resource))
    return next((stored.document for stored in listing.items if domain_uuid(stored.document) == domain), None)


async def _is_room(tx: Transaction, namespace: str) -> bool:
    if namespace == "default":
        return True
    try:
        return not is_leaving((await tx.get(Key(NAMESPACE.resource, "", namespace))).document)
    except NotFound:
        return False
