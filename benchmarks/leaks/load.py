"""What is done to Drover: guests that move without end, watches that are cut and come back, connections that break."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

Document = dict[str, Any]

CORE, GROUP = "/api/v1", "/apis/kubevirt.io/v1alpha1"
NODES = f"{CORE}/nodes"
PODS = f"{CORE}/namespaces/default/pods"
VMS = f"{GROUP}/namespaces/default/virtualmachines"
MIGRATIONS = f"{GROUP}/namespaces/default/migrations"
PATIENCE_S = 240.0
TTL_S = 1
FINAL = ("Succeeded", "Failed")


class Broken(Exception):
    """A promise was not kept: the text says which."""


@dataclass
class Watch:
    """A watch of a collection that comes back where it was, however it was cut off."""

    client: httpx.AsyncClient
    path: str
    told: Callable[[str, Document], None] = lambda _type, _object: None
    revision: int = 0
    answers: int = 0
    """How often it was begun."""
    listed: int = 0
    """How often it had to begin anew."""
    _cut: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """Its connection is closed, in the middle of whatever comes."""
        self._cut.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._list()
        while True:
            self._cut.clear()
            reading, cut = asyncio.create_task(self._read()), asyncio.create_task(self._cut.wait())
            try:
                await asyncio.wait({reading, cut}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (reading, cut):
                    task.cancel()
                await asyncio.wait({reading, cut})
            if not reading.cancelled() and (error := reading.exception()) is not None:
                if not isinstance(error, httpx.TransportError):
                    raise error
                await asyncio.sleep(0.05)

    async def _list(self) -> None:
        self.listed += 1
        listing = (await asked(self.client, "GET", self.path)).json()
        for item in listing["items"]:
            self.told("LISTED", item)
        self.revision = int(listing["metadata"]["resourceVersion"])

    async def _read(self) -> None:
        words = {"watch": "1", "allowWatchBookmarks": "1", "resourceVersion": str(self.revision)}
        async with self.client.stream("GET", self.path, params=words, timeout=httpx.Timeout(30, read=None)) as answer:
            if answer.status_code == 503:
                return await asyncio.sleep(0.2)
            if answer.status_code != 200:
                raise Broken(f"watch of {self.path}: {answer.status_code}")
            self.answers += 1
            async for line in answer.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"]["code"] == 410:
                        await self._list()
                    return None
                self._hear(event["type"], event["object"])
        return None

    def _hear(self, type_: str, document: Document) -> None:
        revision = int(document["metadata"]["resourceVersion"])
        if type_ != "BOOKMARK":
            if revision <= self.revision:
                raise Broken(f"{self.path}: {revision} was told after {self.revision}")
            self.told(type_, document)
        self.revision = max(self.revision, revision)


@dataclass
class Load:
    """Guests on hosts, and what is done to them."""

    client: httpx.AsyncClient
    hosts: list[str]
    guests: int
    random: random.Random
    disconnect: Callable[[str], None]
    """Breaks the connections to a host."""
    terminate: Callable[[], Awaitable[None]]
    """Breaks one of the connections to the database."""
    begun: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    watches: list[Watch] = field(default_factory=list)
    _ends: dict[str, asyncio.Future[Document]] = field(default_factory=dict)
    _vms: dict[str, str] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _there: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Hosts are registered and guests run; watches are open until the block ends."""
        for kind, told in (
            (MIGRATIONS, self._migration),
            (VMS, self._vm),
            (NODES, self._node),
            (PODS, lambda *_: None),
        ):
            self.watches.append(Watch(self.client, kind, told))
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(watch.run()) for watch in self.watches]
            for name in self.hosts:
                labels = {"kubernetes.io/hostname": name}
                node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
                await asked(self.client, "POST", NODES, node | {"spec": {"providerID": f"fake://{name}"}})
            await self._until(lambda: len(self._ready) == len(self.hosts), "every host is ready")
            for number in range(self.guests):
                await asked(self.client, "POST", VMS, _guest(f"vm{number}"))
            await self._until(lambda: self._running() == self.guests, "every guest runs")
            yield
            for task in watching:
                task.cancel()

    async def move(self, until: int, reconnects: Callable[[int], int]) -> None:
        """Until so many Migrations were begun, and each has ended. After so many of them so many connections broke."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.guests):
                tasks.create_task(self._mover(f"vm{number}", until, reconnects))

    async def settle(self) -> None:
        """No Migration is left, nor what belonged to one."""
        await self._until(lambda: not self._there, "every Migration has gone")
        await self._until(lambda: self._running() == self.guests, "every guest runs")
        async with asyncio.timeout(PATIENCE_S):
            while len(pods := (await asked(self.client, "GET", PODS)).json()["items"]) != self.guests:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        if any(pod["status"]["phase"] != "Running" for pod in pods):
            raise Broken("a guest's pod does not run")

    async def _mover(self, vm: str, until: int, reconnects: Callable[[int], int]) -> None:
        while self.begun < until:
            self.begun += 1
            name = f"m{self.begun}"
            end = self._ends[name] = asyncio.get_running_loop().create_future()
            await asked(self.client, "POST", MIGRATIONS, _migration(name, vm))
            try:
                async with asyncio.timeout(PATIENCE_S):
                    status = (await end).get("status", {})
            except TimeoutError:
                left = (await self.client.get(f"{MIGRATIONS}/{name}")).text
                raise Broken(f"{name} did not end within {PATIENCE_S:g} s: {left[-1500:]}") from None
            finally:
                del self._ends[name]
            reason = (status.get("migrationState") or {}).get("failureReason", "")
            self.outcomes[f"{status['phase']} {reason}".strip()] += 1
            while self.cuts.total() < reconnects(self.outcomes.total()):
                await self._reconnect()

    async def _reconnect(self) -> None:
        """Of ten, eight watches, one host, and one connection to the database."""
        match self.cuts.total() % 10:
            case 4:
                self.cuts["host"] += 1
                self.disconnect(self.random.choice(self.hosts))
            case 9:
                self.cuts["database"] += 1
                await self.terminate()
            case _:
                self.cuts["watch"] += 1
                self.random.choice(self.watches).cut()

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Broken(f"not within {PATIENCE_S:g} s: {what}") from None

    def _running(self) -> int:
        return sum(phase == "Running" for phase in self._vms.values())

    def _migration(self, type_: str, document: Document) -> None:
        name = document["metadata"]["name"]
        end, phase = self._ends.get(name), (document.get("status") or {}).get("phase")
        if end is not None and not end.done() and phase in FINAL:
            end.set_result(document)
        (self._there.discard if type_ == "DELETED" else self._there.add)(name)
        self._changed.set()

    def _vm(self, _type: str, document: Document) -> None:
        self._vms[document["metadata"]["name"]] = (document.get("status") or {}).get("phase", "")
        self._changed.set()

    def _node(self, _type: str, document: Document) -> None:
        ready = any(
            c["type"] == "Ready" and c["status"] == "True" for c in document.get("status", {}).get("conditions", ())
        )
        (self._ready.add if ready else self._ready.discard)(document["metadata"]["name"])
        self._changed.set()


async def asked(client: httpx.AsyncClient, method: str, path: str, body: Document | None = None) -> httpx.Response:
    """Again where the database was away: a name of ours that is there already is then our own."""
    repeated = False
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.request(method, path, json=body)
            if answer.is_success or (repeated and answer.status_code == 409):
                return answer
            if answer.status_code != 503:
                raise Broken(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
            repeated = True
            await asyncio.sleep(0.1)


def trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


def _guest(name: str) -> Document:
    domain = {"memory": {"value": 64, "unit": "MB"}, "type": "qemu", "os": {"type": {"os": "hvm"}}, "devices": {}}
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"domain": domain, "terminationGracePeriodSeconds": 0},
    }


def _migration(name: str, vm: str) -> Document:
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": {"name": name},
        "spec": {"selector": {"name": vm}, "ttlSecondsAfterFinished": TTL_S},
    }
