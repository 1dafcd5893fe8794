"""Asking other hosts for a guest by its UUID: who has it, and who does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from app.controllers.hosts import Hosts
from app.controllers.placement.nodes import is_ready
from app.controllers.tools import Tools
from app.controllers.virtualmachine.adopt import ACTIVE
from app.hypervisor.base import Domain, HypervisorError, State
from app.hypervisor.base import Reason as Left
from app.kinds import NODE
from app.kinds.migration import Reason as Why
from app.kinds.node import Reason
from app.machinery.objects import Document
from app.store.base import History, Key, NotFound, Scope

AT_ONCE = 16
ANSWER_S = 5.0
RECORDS = 50
"""Of the guest's Migrations, newest first, that are looked through for one."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the other hosts say of a guest. Node names."""

    active: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    """They were not asked, or did not answer."""


Search = Callable[[UUID, str], Awaitable[Elsewhere]]
"""For that guest, on every host but that Node's."""


async def nowhere(_domain: UUID, _apart_from: str) -> Elsewhere:
    """The search of one who has no other hosts."""
    return Elsewhere()


async def lost_by(history: History, vm: Document, domain: Domain) -> str:
    """What the last Migration that touched the guest said, where it found the guest on no host, and what is off here is what it
    left; else empty. Later ones, which failed at once, say nothing of it. libvirt knows of the remains only that the guest was
    sent away, or ended. Raises Unavailable."""
    if domain.state is not State.SHUTOFF or domain.mark is None or domain.reason not in (Left.MIGRATED, Left.DESTROYED):
        return ""
    metadata = vm["metadata"]
    for last in await history.read(namespace=metadata["namespace"], subject=metadata["name"], limit=RECORDS):
        if str(last.uid) == domain.mark.migration and last.record.get("reason") in (Why.LOST, Why.NODE_LOST):
            return f"Migration {last.name} lost the guest: {last.record.get('message')}"
    return ""


class Whereabouts:
    """Over this process's connections."""

    def __init__(self, tools: Tools, hosts: Hosts) -> None:
        self._tools = tools
        self._hosts = hosts

    async def search(self, domain: UUID, apart_from: str) -> Elsewhere:
        """Every host is asked, for somebody else may have moved the guest to any."""
        listing = await self._tools.store.objects.list(Scope(NODE.resource))
        nodes = [stored.document for stored in listing.items if stored.key.name != apart_from]
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(node: Document) -> Domain | None:
            async with slots:
                return await self._look(node, domain) if is_ready(node) else None

        others = [node for node in nodes if not _is_twin(node)]
        found = await asyncio.gather(*map(ask, others))
        names = [str(node["metadata"]["name"]) for node in others]
        return Elsewhere(
            tuple(name for name, seen in zip(names, found, strict=True) if seen is not None and seen.state in ACTIVE),
            tuple(name for name, seen in zip(names, found, strict=True) if seen is None),
        )

    async def look(self, node: str, domain: UUID) -> Domain | None:
        """What that Node's host says of it; None when it does not answer, or the Node is gone."""
        try:
            document = (await self._tools.store.objects.get(Key(NODE.resource, "", node))).document
        except NotFound:
            return None
        return await self._look(document, domain)

    async def _look(self, node: Document, domain: UUID) -> Domain | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await (await self._hosts.of(NODE.read(node))).look(domain)
        except (HypervisorError, TimeoutError):
            return None


def _is_twin(node: Document) -> bool:
    """The same libvirt host under a second name: the first one answers for both."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("reason") == Reason.DUPLICATE_HOST for c in conditions)
