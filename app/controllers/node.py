"""The agent of one host: whoever holds the lease `node/<name>` asks it how it is, and reconciles its guests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import structlog

from app.controllers.config import HostConfig
from app.controllers.hosts import Hosts
from app.controllers.lease import Held
from app.controllers.loop import Loop, Source
from app.controllers.nodestatus import described, earlier_twin, host_uuid, with_ready
from app.controllers.outcome import SETTLED, Again, Outcome
from app.controllers.tools import Tools
from app.controllers.virtualmachine.decide import Away
from app.controllers.virtualmachine.follow import Inheritance, Link, NodeGuests
from app.hypervisor.base import Busy, Change, Host, Hypervisor, Refused, Unreachable
from app.kinds import NODE, VIRTUAL_MACHINE
from app.kinds.node import Reason
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Scope, Stored

log = structlog.get_logger()


@dataclass(slots=True)
class _Session:
    """One connection to the host, from its opening until it breaks."""

    uri: str
    connection: Hypervisor
    twin: str | None = None
    swept_at: float = float("-inf")


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
        self._guests = NodeGuests(name, tools, held, self._link, inheritance)
        self._key = Key(NODE.resource, "", name)
        self._beats = Loop(
            "node",
            tools.store,
            [Source(Scope(NODE.resource, None, name))],
            self._beat,
            concurrency=1,
            clock=tools.clock,
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
        )

    async def run(self) -> None:
        """Until cancelled. The host's guests are not disturbed by its end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._beats.run())
                tasks.create_task(self._follows.run())
        finally:
            await self._drop()

    def _mine(self, stored: Stored) -> Iterable[Key]:
        """VMs that live here, also those that lived here until this change."""
        vm = stored.document
        if (vm.get("status") or {}).get("nodeName") != self._name:
            return ()
        self._vms[UUID(vm["metadata"]["uid"])] = stored.key
        return (stored.key,)

    def _no_more(self, stored: Stored) -> Iterable[Key]:
        """A VM that is gone: what is left of it here, if anything, is found by the next sweep."""
        self._vms.pop(UUID(stored.document["metadata"]["uid"]), None)
        return ()

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
        self._failing_since = None
        await self._say(described(node, host, self._config.cpu_ratio), session)
        self._give(session)
        return Again(self._config.heartbeat_s)

    async def _session_of(self, node: Document) -> _Session:
        uri = str(node["spec"].get("providerID") or "")
        if self._session is not None and self._session.uri != uri:
            await self._drop()
        if self._session is None:
            connection = await self._hosts.of(NODE.read(node))
            self._session = _Session(uri, connection)
            self._tasks.create_task(self._listen(self._session))
        return self._session

    async def _ask(self, session: _Session) -> Host:
        async with asyncio.timeout(self._config.heartbeat_s):
            return await session.connection.host()

    async def _sweep(self, session: _Session, node: Document, host: Host) -> Document:
        """Now and then, and before a host that came back gets anything to do: is it a twin, and what is left there?"""
        if self._tools.clock() - session.swept_at < self._config.sweep_s:
            return node
        if host_uuid(node) != str(host.uuid):
            # Written before the others are read: of two that register at once, at least one sees the other.
            await self._write(described(node, host, self._config.cpu_ratio))
            node = (await self._tools.store.objects.get(self._key)).document
        listing = await self._tools.store.objects.list(Scope(NODE.resource))
        session.twin = earlier_twin(node, str(host.uuid), [stored.document for stored in listing.items])
        if session.twin is None:
            await self._tidy(session.connection)
            self._look_again()
        session.swept_at = self._tools.clock()
        return node

    async def _tidy(self, connection: Hypervisor) -> None:
        for domain in await connection.domains():
            try:
                await self._guests.tidy(connection, domain)
            except (Refused, Busy) as error:
                log.warning("leftover stays", node=self._name, domain=str(domain.uuid), error=error.text)

    def _give(self, session: _Session) -> None:
        """From here on the guests' reconciles may use the connection."""
        if session.twin is None and self._session is session and self._link.host is not session.connection:
            self._link.host = session.connection
            self._look_again()

    async def _say(self, node: Document, session: _Session) -> None:
        now = self._tools.birth.stamp()
        if session.twin is None:
            told = with_ready(node, "True", Reason.HOST_READY, "libvirt answers", now)
        else:
            message = f"Node {session.twin} is the same libvirt host: delete one of them"
            told = with_ready(node, "False", Reason.DUPLICATE_HOST, message, now)
        await self._write(told)

    async def _lost(self, node: Document, text: str, *, patient: bool) -> Outcome:
        """A daemon that is being restarted is back at once: an error that comes quickly is told after `patience_s` only."""
        now = self._tools.clock()
        self._failing_since = now if self._failing_since is None else self._failing_since
        await self._drop()
        if patient and self._known_well() and now - self._failing_since < self._config.patience_s:
            return Again(self._config.patience_s / 4)
        self._link.host = Away(text)
        self._look_again()
        told = with_ready(node, "False", Reason.HOST_UNREACHABLE, text, self._tools.birth.stamp())
        await self._write(told)
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
        """Only what changed; nobody writes who has lost the lease."""
        stored = await self._tools.store.objects.get(self._key)
        if told == stored.document:
            return
        async with self._tools.store.transaction() as tx:
            tx.fence_lease(self._held.name, self._held.token)
            tx.replace(self._key, told)
