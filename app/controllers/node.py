"""The agent of one host: whoever holds the lease `node/<name>` asks it how it is, and reconciles its guests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from app.controllers.config import HostConfig
from app.controllers.documents import domain_uuid, is_adopted
from app.controllers.expiry import Expiry
from app.controllers.hosts import Hosts
from app.controllers.lease import Held
from app.controllers.loop import Loop, Source
from app.controllers.nodestatus import (
    described,
    earlier_twin,
    host_uuid,
    is_news,
    is_out_of_service,
    turned_ready,
    with_certificates,
    with_foreign_guests,
    with_peers,
    with_ready,
)
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.peers import Peers
from app.controllers.placement.nodes import credentials_of
from app.controllers.tools import Tools
from app.controllers.virtualmachine.adopt import ACTIVE
from app.controllers.virtualmachine.decide import Away
from app.controllers.virtualmachine.follow import Inheritance, Link, NodeGuests
from app.controllers.virtualmachine.made import made_on
from app.controllers.virtualmachine.strangers import Strangers, adopt_namespace, key_of_domain
from app.controllers.virtualmachine.whereabouts import Whereabouts
from app.hypervisor.base import Busy, Change, DomainGone, Host, Hypervisor, HypervisorError, Refused, Unreachable
from app.hypervisor.peer_probe import is_left_over
from app.kinds import NODE, VIRTUAL_MACHINE
from app.kinds.node import NodeCondition, Reason
from app.kinds.virtualmachine import FINAL
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Revision, Scope, Stored, Transaction

log = structlog.get_logger()


@dataclass(slots=True)
class _Session:
    """One connection to the host, from its opening until it breaks."""

    uri: str
    credentials: str
    connection: Hypervisor
    twin: str | None = None
    swept_at: float = float("-inf")
    adopts: str | None = None
    """The namespace for which it was swept."""
    unmet: set[Key] = field(default_factory=set)
    """Domains that the first sweep found and that have not been met yet."""


class NodeAgent:
    """Serves one Node for as long as its lease is held; a new one is made each time that the lease is gained."""

    def __init__(
        self, name: str, held: Held, tools: Tools, hosts: Hosts, config: HostConfig, inheritance: Inheritance
    ) -> None:
        self._name = name
        self._held = held
        self._tools = tools
        self._hosts = hosts
        self._config = config
        self._link = Link()
        self._session: _Session | None = None
        self._failing_since: float | None = None
        self._vms: dict[UUID, Key] = {}
        self._told: dict[UUID, tuple[Revision, bool]] = {}
        """Of the VMs that ever were here: whether the newest version says that the guest is here, and may run."""
        whereabouts = Whereabouts(tools, hosts)
        self._guests = NodeGuests(name, tools, held, self._link, inheritance, whereabouts.search, config.path_problem)
        self._strangers = Strangers(name, tools, held, self._connection, whereabouts, self._beat_soon)
        self._key = Key(NODE.resource, "", name)
        self._peers = Peers(name, tools, self._connection, self._beat_soon, config)
        self._expiry = Expiry(name, tools, hosts.hypervisors, self._beat_soon, config)
        self._beats = Loop(
            "node",
            tools.store,
            [Source(Scope(NODE.resource, None, name))],
            self._beat,
            concurrency=1,
            clock=tools.clock,
            metrics=tools.loops,
        )
        self._follows = Loop(
            "virtualmachine",
            tools.store,
            [
                Source(Scope(VIRTUAL_MACHINE.resource), self._mine),
                Source(Scope(VIRTUAL_MACHINE.resource), self._no_more, deletions_only=True),
            ],
            self._guests.reconcile,
            clock=tools.clock,
            metrics=tools.loops,
        )

        self._meets = Loop("domain", tools.store, (), self._meet, concurrency=2, clock=tools.clock, metrics=tools.loops)

    async def run(self) -> None:
        """Until cancelled. The host's guests are not disturbed by its end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._beats.run())
                tasks.create_task(self._follows.run())
                tasks.create_task(self._meets.run())
                tasks.create_task(self._peers.run())
                tasks.create_task(self._expiry.run())
        finally:
            await self._drop()

    def _mine(self, stored: Stored) -> Iterable[Key]:
        """VMs that live here, also those that lived here until this change."""
        vm = stored.document
        uuid, status = domain_uuid(vm), vm.get("status") or {}
        is_here = status.get("nodeName") == self._name
        known = self._told.get(uuid)
        if (known is None and is_here) or (known is not None and stored.revision > known[0]):
            self._told[uuid] = stored.revision, is_here and (is_adopted(vm) or status.get("phase") not in FINAL)
        if not is_here and not made_on(vm, self._name):
            return ()
        self._vms[uuid] = stored.key
        return (stored.key,)

    def _is_told(self, domain: UUID) -> bool:
        """A VM that lives here tells of that guest: nobody need meet it."""
        return self._told.get(domain, (0, False))[1]

    def _no_more(self, stored: Stored) -> Iterable[Key]:
        """A VM that is gone: its guest may run on, unseen. What else is left of it is found by the next sweep."""
        uuid = domain_uuid(stored.document)
        # The deletion is heard by both sources, in either order, and of the version before it too: it has the last word.
        if uuid in self._told:
            self._told[uuid] = max(stored.revision, self._told[uuid][0]), False
        if self._vms.pop(uuid, None) is not None:
            self._meets.enqueue(key_of_domain(uuid))
        return ()

    async def _meet(self, key: Key) -> Outcome:
        outcome = await self._strangers.meet(key)
        if self._session is not None:
            self._session.unmet.discard(key)
        return outcome

    def _connection(self) -> Hypervisor | None:
        """The host, once it may be given something to do."""
        return None if isinstance(self._link.host, Away) else self._link.host

    def _beat_soon(self) -> None:
        self._beats.enqueue(self._key)

    async def _beat(self, key: Key) -> Outcome:
        """Ask the host how it is, and write what changed."""
        try:
            node = (await self._tools.store.objects.get(key)).document
        except NotFound:
            return SETTLED
        try:
            session = await self._session_of(node)
            host = await self._ask(session)
            node = await self._sweep(session, node, host)
        except TimeoutError:
            return await self._lost(node, f"no answer within {self._config.heartbeat_s:g} s", patient=False)
        except Unreachable as error:
            return await self._lost(node, error.text, patient=True)
        except HypervisorError as error:
            # The connection stays: what waits there for a worker would go on waiting, and a new one behind it.
            return await self._away(node, error.text, answers=True)
        self._failing_since = None
        await self._say(described(node, host, self._config.cpu_ratio), session)
        self._give(session)
        return Again(self._config.heartbeat_s)

    async def _session_of(self, node: Document) -> _Session:
        uri, credentials = str(node["spec"].get("providerID") or ""), credentials_of(node)
        if self._session is not None and (self._session.uri, self._session.credentials) != (uri, credentials):
            await self._drop()
        if self._session is None:
            connection = await self._hosts.of(NODE.read(node))
            self._session = _Session(uri, credentials, connection)
            self._tasks.create_task(self._listen(self._session))
        return self._session

    async def _ask(self, session: _Session) -> Host:
        async with asyncio.timeout(self._config.heartbeat_s):
            return await session.connection.host()

    async def _sweep(self, session: _Session, node: Document, host: Host) -> Document:
        """Now and then, and before a host that came back gets anything to do: is it a twin, and what is left there?"""
        adopts = adopt_namespace(node)
        if self._tools.clock() - session.swept_at < self._config.sweep_s and session.adopts == adopts:
            return node
        if host_uuid(node) != str(host.uuid):
            # Written before the others are read: of two that register at once, at least one sees the other.
            await self._write(described(node, host, self._config.cpu_ratio))
            node = (await self._tools.store.objects.get(self._key)).document
        listing = await self._tools.store.objects.list(Scope(NODE.resource))
        session.twin = earlier_twin(node, str(host.uuid), [stored.document for stored in listing.items])
        if session.twin is None:
            await self._tidy(session)
            self._look_again()
        session.swept_at, session.adopts = self._tools.clock(), adopts
        return node

    async def _tidy(self, session: _Session) -> None:
        domains = await session.connection.domains()
        for domain in domains:
            try:
                if is_left_over(domain, self._tools.birth.now().timestamp()):
                    await session.connection.undefine(domain.uuid)
                else:
                    await self._guests.leftovers.tidy(session.connection, domain)
            except (Refused, Busy, DomainGone) as error:
                log.warning("leftover stays", node=self._name, domain=str(domain.uuid), error=error.text)
        active = {domain.uuid for domain in domains if domain.state in ACTIVE}
        self._strangers.keep_only(active)
        session.unmet = {key_of_domain(uuid) for uuid in active if not self._is_told(uuid)}
        self._meet_those_found(session)

    def _meet_those_found(self, session: _Session) -> None:
        """Only once the connection was given out; those that are not met now are met by the next sweep."""
        if self._link.host is session.connection:
            for key in tuple(session.unmet):
                self._meets.enqueue(key)

    def _give(self, session: _Session) -> None:
        """From here on the guests' reconciles may use the connection."""
        if session.twin is None and self._session is session and self._link.host is not session.connection:
            self._link.host = session.connection
            self._look_again()
            self._meet_those_found(session)

    async def _say(self, node: Document, session: _Session) -> None:
        now = self._tools.birth.stamp()
        if session.twin is None:
            told = with_ready(node, "True", Reason.HOST_READY, "libvirt answers", now)
        else:
            message = f"Node {session.twin} is the same libvirt host: delete one of them"
            told = with_ready(node, "False", Reason.DUPLICATE_HOST, message, now)
        if not session.unmet:
            told = with_foreign_guests(told, sorted(self._strangers.unseen.values()), now)
        told = with_peers(told, self._peers.unreachable, self._peers.asked, now)
        await self._write(self._with_certificates(told))

    def _with_certificates(self, node: Document) -> Document:
        birth = self._tools.birth
        return with_certificates(node, self._expiry.certificates, birth.now(), birth.stamp())

    async def _lost(self, node: Document, text: str, *, patient: bool) -> Outcome:
        """A daemon that is being restarted is back at once: an error that comes quickly is told after `patience_s` only."""
        now = self._tools.clock()
        self._failing_since = now if self._failing_since is None else self._failing_since
        await self._drop()
        if patient and self._known_well() and now - self._failing_since < self._config.patience_s:
            return Again(self._config.patience_s / 4)
        return await self._away(node, text)

    async def _away(self, node: Document, text: str, *, answers: bool = False) -> Outcome:
        """Nothing is given to it, and its guests are not spoken for, until it is well again. One that answers, whatever it
        says, is not off."""
        self._link.host = Away(text, is_out_of_service(node) and not answers)
        self._look_again()
        told = with_ready(node, "False", Reason.HOST_UNREACHABLE, text, self._tools.birth.stamp())
        await self._write(self._with_certificates(told))
        return Again(min(self._config.heartbeat_s, 2.0))

    def _known_well(self) -> bool:
        return not isinstance(self._link.host, Away)

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if not isinstance(self._link.host, Away):
            self._link.host = None
        if session is not None:
            await self._hosts.drop(session.connection)

    async def _listen(self, session: _Session) -> None:
        """Libvirt's events; when the connection ends it is opened anew at once."""
        try:
            async for event in session.connection.lifecycle():
                if event.change is Change.DISCONNECTED:
                    break
                if event.change is not Change.ITERATED and (key := self._vms.get(event.domain)) is not None:
                    self._follows.enqueue(key)
                if not self._is_told(event.domain):
                    self._meets.enqueue(key_of_domain(event.domain))
        except Unreachable as error:
            log.info("no events from host", node=self._name, error=error.text)
        if self._session is session:
            log.info("connection to host ended", node=self._name)
            await self._drop()
            self._beats.enqueue(self._key)

    def _look_again(self) -> None:
        for key in self._vms.values():
            self._follows.enqueue(key)

    async def _write(self, told: Document) -> None:
        """Only what changed, and heartbeats every few minutes; nobody writes who has lost the lease."""
        stored = await self._tools.store.objects.get(self._key)
        if not is_news(stored.document, told):
            return
        async with self._tools.store.transaction() as tx:
            tx.fence_lease(self._held.name, self._held.token)
            tx.replace(self._key, told)
            if (turned := turned_ready(stored.document, told)) is not None:
                await self._tell_people(tx, told, turned)

    async def _tell_people(self, tx: Transaction, node: Document, ready: NodeCondition) -> None:
        """In Kubernetes' words."""
        if ready.status == "True":
            await self._tools.recorder.record(tx, node, "NodeReady", ready.message)
        else:
            await self._tools.recorder.record(tx, node, "NodeNotReady", f"{ready.reason}: {ready.message}", "Warning")
