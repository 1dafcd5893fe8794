"""What the tests of the hosts' side share: objects as a user would make them, and waiting for what the store shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.controllers.birth import Birth
from app.controllers.config import HostConfig
from app.controllers.documents import key_of
from app.controllers.host_controllers import HostControllers
from app.controllers.leader import Leader
from app.controllers.lease import LeaseKeeper
from app.controllers.tools import Tools
from app.hypervisor.base import Hypervisors
from app.kinds import NAMESPACE, NODE, POD, VIRTUAL_MACHINE
from app.machinery.kind import CORE, Kind
from app.machinery.lifecycle import prepare_create, prepare_delete
from app.machinery.objects import Document
from app.store.base import Key, Scope, Store, edit

PATIENCE_S = 30.0
SMALL: Document = {
    "memory": {"value": 64, "unit": "MB"},
    "type": "qemu",
    "os": {"type": {"os": "hvm"}},
    "devices": {},
}
FAST = HostConfig(heartbeat_s=0.5, patience_s=0.5, sweep_s=1.0, share_s=0.2, unserved_s=1.0, garbage_s=1.0)


@dataclass
class World:
    """A store, and what is put into it and read from it."""

    store: Store
    birth: Birth = field(default_factory=Birth)

    async def node(self, name: str, uri: str, **metadata: Any) -> Document:
        return await self._create(NODE, "", name, metadata, spec={"providerID": uri})

    async def vm(self, name: str, **spec: Any) -> Document:
        spec.setdefault("terminationGracePeriodSeconds", 0)
        if "domainXML" not in spec:
            spec.setdefault("domain", SMALL)
        return await self._create(VIRTUAL_MACHINE, "default", name, {}, spec=spec)

    async def _create(
        self, kind: Kind[Any, Any], namespace: str, name: str, metadata: Document, **fields: Any
    ) -> Document:
        document = self.birth.document(kind, namespace, name, **fields)
        document["metadata"].update(metadata)
        return (await self.store.objects.create(key_of(kind, document), document)).document

    async def make(
        self,
        kind: Kind[Any, Any],
        name: str,
        *,
        namespace: str = "default",
        owners: Sequence[Document] = (),
        finalizers: Sequence[str] = (),
        labels: dict[str, str] | None = None,
        **fields: Any,
    ) -> Document:
        """An object with exactly these finalizers and owner references."""
        document = self.birth.document(kind, namespace if kind.namespaced else "", name, labels=labels, **fields)
        document["metadata"].pop("finalizers", None)
        if finalizers:
            document["metadata"]["finalizers"] = list(finalizers)
        if owners:
            document["metadata"]["ownerReferences"] = list(owners)
        return (await self.store.objects.create(key_of(kind, document), document)).document

    async def room(self, name: str) -> Document:
        """A namespace, as the API makes it."""
        raw: Document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        stamp, uid = self.birth.stamp(), self.birth.uid()
        document = prepare_create(NAMESPACE, CORE, raw, namespace="", now=stamp, uid=uid, suffix="")
        return (await self.store.objects.create(key_of(NAMESPACE, document), document)).document

    async def delete(
        self, kind: Kind[Any, Any], name: str, namespace: str = "default", options: Document | None = None
    ) -> None:
        """As the API deletes: finalizers are waited for."""
        key = Key(kind.resource, namespace if kind.namespaced else "", name)
        stamp = self.birth.stamp()
        document = (await self.store.objects.get(key)).document
        if prepare_delete(kind, document, options, now=stamp) is None:
            await self.store.objects.delete(key)
        else:
            await edit(self.store.objects, key, lambda current: prepare_delete(kind, current, options, now=stamp))

    async def pods(self) -> list[Document]:
        return [stored.document for stored in (await self.store.objects.list(Scope(POD.resource))).items]

    async def events(self, reason: str) -> list[Document]:
        listing = await self.store.objects.list(Scope("events"))
        return [stored.document for stored in listing.items if stored.document["reason"] == reason]

    async def until(
        self,
        kind: Kind[Any, Any],
        name: str,
        holds: Callable[[Document], bool],
        *,
        namespace: str = "default",
        within_s: float = PATIENCE_S,
    ) -> Document:
        """The first version of the object of which that holds."""
        key = Key(kind.resource, namespace if kind.namespaced else "", name)
        last: Document = {}
        try:
            async with asyncio.timeout(within_s):
                async for document in self._versions(key):
                    last = document
                    if document and holds(document):
                        return document
        except TimeoutError:
            raise AssertionError(f"{name} never came to that within {within_s} s: {last}") from None
        raise AssertionError("BUG: the watch ended")

    async def until_gone(self, kind: Kind[Any, Any], name: str, *, namespace: str = "default") -> None:
        key = Key(kind.resource, namespace if kind.namespaced else "", name)
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for document in self._versions(key):
                    if not document:
                        return
        except TimeoutError:
            left = (await self.store.objects.get(key)).document
            raise AssertionError(f"{name} is still there: {left}") from None

    async def phase(self, name: str, phase: str, *, within_s: float = PATIENCE_S) -> Document:
        return await self.until(
            VIRTUAL_MACHINE, name, lambda vm: vm.get("status", {}).get("phase") == phase, within_s=within_s
        )

    async def settles(self, seen: Callable[[], Awaitable[Any]], expected: Any) -> None:
        """For what is not an object, such as leases: asked a few times a second."""
        last = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (last := await seen()) != expected:  # noqa: ASYNC110  (leases send no event)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{last} never became {expected}") from None

    async def _versions(self, key: Key) -> AsyncIterator[Document]:
        """The object now and after each change; {} while there is none."""
        listing = await self.store.objects.list(Scope(key.resource, key.namespace, key.name))
        yield listing.items[0].document if listing.items else {}
        async with self.store.objects.watch(Scope(key.resource, key.namespace, key.name), listing.revision) as watch:
            async for event in watch:
                yield {} if event.type == "DELETED" else event.object.document


def condition(document: Document, type_: str) -> Document:
    """That condition, {} if there is none."""
    conditions = document.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == type_), {})


def is_ready(document: Document) -> bool:
    return bool(condition(document, "Ready").get("status") == "True")


@asynccontextmanager
async def running(
    store: Store, hypervisors: Hypervisors, identity: str = "one", config: HostConfig = FAST, lease_s: float = 9.0
) -> AsyncIterator[asyncio.TaskGroup]:
    """The hosts' side of one process, until the block ends."""
    keeper = LeaseKeeper(store.leases, identity, timedelta(seconds=lease_s))
    controllers = HostControllers(store, hypervisors, keeper, config)
    async with asyncio.TaskGroup() as tasks:
        parts = [tasks.create_task(keeper.run()), tasks.create_task(controllers.run())]
        try:
            yield tasks
        finally:
            for part in reversed(parts):
                part.cancel()


@asynccontextmanager
async def leading(store: Store) -> AsyncIterator[None]:
    """Only what one process does for all, until the block ends."""
    keeper = LeaseKeeper(store.leases, "leader", timedelta(seconds=9))
    async with asyncio.TaskGroup() as tasks:
        parts = [tasks.create_task(part) for part in (keeper.run(), Leader(keeper, Tools(store), FAST).run())]
        try:
            yield
        finally:
            for part in parts:
                part.cancel()


async def eventually(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """For what no event tells: asked a few times a second."""
    try:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110  (processes of the machine send no event)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never came true within {within_s} s") from None
