"""What the faults befall: three hosts, a PostgreSQL, two API processes and two workers. All is gone afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import httpx
import orjson

from app.lab import processes
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.guest import virtual_machine
from app.lab.hosts import LabHost, LabHosts
from app.lab.namespaces import NamespaceHost, NamespaceLab
from app.lab.processes import Process
from app.lab.registration import manifest
from app.store.embedded import EmbeddedPostgres
from tests.api.processes import free_port
from tests.chaos.guests import Guest, Holder, holders
from tests.chaos.judge import Change
from tests.chaos.parts import Part
from tests.chaos.sights import Sights
from tests.e2e.harness import DROVER, KUBEVIRT, environment

Document = dict[str, Any]
NODES = ("node0", "node1", "node2")
NAMESPACED = f"{KUBEVIRT}/namespaces/default"
ANSWER_S = 5.0
MERGE = {"content-type": "application/merge-patch+json"}
UNANSWERED = (httpx.TransportError,)


class Hosts:
    """A lab of either kind: as root in namespaces, where post-copy works, else in session mode."""

    def __init__(self, lab: NamespaceLab | LabHosts) -> None:
        self.lab = lab
        self.busy: set[str] = set()
        """Hosts whose libvirtd something was done to that is not over yet."""

    def __getitem__(self, name: str) -> NamespaceHost | LabHost:
        return self.lab[name]

    def node_of(self, pid: int, line: str) -> str | None:
        """Which host that QEMU is on."""
        if isinstance(self.lab, LabHosts):
            return next((host.name for host in self.lab if f"{host.directory}/" in line), None)
        network = _network(pid)
        return next((host.name for host in self.lab if _network(host.enclosure.pid) == network), None)

    def holders(self) -> Mapping[str, list[Holder]]:
        return {uuid: list(found) for uuid, found in holders(self.node_of).items()}

    def libvirtd(self, name: str) -> list[Process]:
        """It, and who waits for it: `nsenter` stops with its child, but does not wake with it."""
        host = self.lab[name]
        if isinstance(host, LabHost):
            pids = [host.pid] if host.pid is not None else []
        else:
            pids = [pid for one in host.enclosure.processes("libvirtd") for pid in (one.pid, _waiting_for(one.pid))]
        return [one for pid in pids if (one := processes.process(pid)) is not None]

    def manifests(self) -> list[Document]:
        if isinstance(self.lab, LabHosts):
            return [manifest(host, self.lab) for host in self.lab]
        return [
            {
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": host.name, "annotations": {
                    "kubevirt.io/peer-uri": host.peer_uri, "kubevirt.io/migration-uri": host.migration_uri,
                    "kubevirt.io/shared-paths": str(self.lab.directory), "kubevirt.io/allocatable-memory": "4Gi",
                }},
                "spec": {"providerID": host.uri},
            }
            for host in self.lab
        ]  # fmt: skip

    async def virsh(self, name: str, *words: str) -> str | None:
        """What it prints; None where the host does not answer."""
        running = await asyncio.create_subprocess_exec(
            "virsh", "-q", "-c", self.lab[name].uri, *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(10):
                said, _ = await running.communicate()
        except TimeoutError:
            running.kill()
            await running.wait()
            return None
        return said.decode() if running.returncode == 0 else None


@dataclass
class Database:
    """The embedded server's processes, and its log of changes."""

    data: Path
    url: str
    busy: bool = False

    def postmaster(self) -> Process | None:
        try:
            return processes.process(int((self.data / "postgres" / "postmaster.pid").read_text().split()[0]))
        except (OSError, IndexError):
            return None

    def processes(self) -> list[Process]:
        """The postmaster first, then its children."""
        master = self.postmaster()
        if master is None:
            return []
        try:
            words = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
        except OSError:
            return []
        return [master, *(one for pid in words if (one := processes.process(int(pid))) is not None)]

    async def changes(self, since: int) -> list[Change]:
        """The log after that revision."""
        connection = await asyncpg.connect(self.url, timeout=20)
        try:
            rows = await connection.fetch(
                "SELECT revision, type, resource, namespace, name, body FROM changes WHERE revision > $1 ORDER BY revision",
                since,
            )
        finally:
            await connection.close()
        return [
            Change(row["revision"], row["type"], row["resource"], f"{row['namespace']}/{row['name']}", orjson.loads(row["body"]))
            for row in rows
        ]  # fmt: skip


@dataclass
class Site:
    """All of it, and how its clients speak to it."""

    folder: Path
    hosts: Hosts
    database: Database
    apis: list[Part]
    workers: list[Part]
    servers: list[str]
    client: httpx.AsyncClient
    sights: Sights
    random: Random
    guests: dict[str, Guest] = field(default_factory=dict)
    """By name."""
    acknowledged: list[tuple[str, str, str, int]] = field(default_factory=list)
    """(resource, namespace/name, uid, revision) of creates that were answered with 201."""
    _images: dict[bool, Path] = field(default_factory=dict)
    _numbers: int = 0

    @property
    def parts(self) -> list[Part]:
        return [*self.apis, *self.workers]

    @property
    def post_copy(self) -> bool:
        return isinstance(self.hosts.lab, NamespaceLab)

    async def ask(self, method: str, path: str, body: Document | None = None) -> httpx.Response | None:
        """Of any API process; None where no answer came, so that nobody knows."""
        headers = MERGE if method == "PATCH" else {"content-type": "application/json"}
        content = None if body is None else json.dumps(body)
        server = self.random.choice(self.servers)
        try:
            return await self.client.request(method, server + path, content=content, headers=headers)
        except UNANSWERED:
            return None

    async def surely(
        self, method: str, path: str, body: Document | None = None, *, within_s: float = 240
    ) -> httpx.Response:
        """Again until somebody has answered it; 404 and 409 are answers. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while True:
                answer = await self.ask(method, path, body)
                if answer is not None and (answer.is_success or answer.status_code in (404, 409)):
                    return answer
                assert answer is None or answer.status_code in (429, 500, 503, 504), f"{method} {path}: {answer.text}"
                await asyncio.sleep(0.2)

    async def create(self, path: str, resource: str, body: Document) -> bool:
        """Whether it is there; a create whose answer was lost is repeated."""
        answer = await self.surely("POST", path, body)
        if answer.status_code == 201:
            metadata = answer.json()["metadata"]
            name = f"{metadata.get('namespace', '')}/{metadata['name']}"
            self.acknowledged.append((resource, name, metadata["uid"], int(metadata["resourceVersion"])))
        return answer.status_code in (201, 409)

    async def add_guest(self, *, hot: bool = False) -> Guest:
        """One more, running and heard of on return. Raises TimeoutError."""
        name = f"{'hot' if hot else 'vm'}{self._numbers}"
        self._numbers += 1
        if hot not in self._images:
            rate, size = (40, 24) if hot else (3, 20)
            self._images[hot] = build_boot_sector(
                self.hosts.lab.images / f"{'hot' if hot else 'calm'}.img", dirty_mib=size, mib_per_second=rate
            )
        console = self.hosts.lab.consoles / name
        xml = boot_sector_xml(name, "", self._images[hot], memory_mib=48, console=console)
        body = virtual_machine(name, xml, labels={"pace": "hot" if hot else "calm"}, terminationGracePeriodSeconds=0)
        await self.create(f"{NAMESPACED}/virtualmachines", "virtualmachines", body)
        path = f"{NAMESPACED}/virtualmachines/{name}"
        async with asyncio.timeout(90):
            while True:
                vm = (await self.surely("GET", path)).json()
                if (vm.get("status") or {}).get("phase") == "Running":
                    break
                await asyncio.sleep(0.2)
            guest = self.guests[name] = Guest(name, vm["metadata"]["uid"], console, hot)
            while guest.last is None:
                guest.listen()
                await asyncio.sleep(0.1)
        return guest

    async def remove_guest(self, guest: Guest) -> None:
        """The object of one that is dead."""
        del self.guests[guest.name]
        await self.surely("DELETE", f"{NAMESPACED}/virtualmachines/{guest.name}")


@asynccontextmanager
async def site(seed: int, *, guests: int, hot: int) -> AsyncIterator[Site]:
    """All of it up, its guests running. Everything is ended and removed on the way out."""
    folder = Path(tempfile.mkdtemp(prefix="drover-chaos-"))
    folder.chmod(0o711)  # noqa: ASYNC240  (before anything runs)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        lab = _lab(folder)
        stack.push_async_callback(asyncio.to_thread, lab.remove)
        await asyncio.to_thread(lab.start)
        embedded = EmbeddedPostgres(folder / "data")
        stack.push_async_callback(embedded.stop)
        url = await embedded.start()
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=ANSWER_S, trust_env=False))
        stood = _site(folder, Hosts(lab), Database(folder / "data", url), client, seed)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(tasks.create_task(stood.sights.run()).cancel)
        for part in stood.parts:
            stack.push_async_callback(part.end)
            await part.start()
            stood.sights.follow(part.name, part.log)
        await _up(stood, guests, hot if stood.post_copy else 0)
        yield stood


def _lab(folder: Path) -> NamespaceLab | LabHosts:
    if os.geteuid() == 0:
        return NamespaceLab(*NODES)
    return LabHosts(Path(tempfile.mkdtemp(prefix="dl-")), NODES)


def _site(folder: Path, hosts: Hosts, database: Database, client: httpx.AsyncClient, seed: int) -> Site:
    home, ports = folder / "home", [free_port(), free_port()]
    home.mkdir()
    told = environment(home) | {
        "DROVER_DATABASE_URL": database.url,
        "DROVER_DATA_DIR": str(folder / "own"),
        "DROVER_LAB_DIR": str(hosts.lab.directory),
        "DROVER_ALLOWED_PATHS": json.dumps([str(hosts.lab.directory)]),
        "DROVER_TLS": "false",
        "DROVER_TRUST_LOOPBACK": "true",
        "DROVER_LOG_FORMAT": "json",
        "DROVER_LOG_RETENTION_S": "86400",
        "DROVER_MIGRATIONS_KEPT_SUCCEEDED": "3",
        "DROVER_MIGRATIONS_KEPT_FAILED": "3",
        "DROVER_PAIR_FAILURES": "1000",
    }
    apis = [
        Part(f"api{n}", (*DROVER, "serve", "--no-workers", "--port", str(port)), told, folder)
        for n, port in enumerate(ports)
    ]
    workers = [Part(f"worker{n}", (*DROVER, "work"), told, folder) for n in range(2)]
    servers = [f"http://127.0.0.1:{port}" for port in ports]
    return Site(folder, hosts, database, apis, workers, servers, client, Sights(), Random(seed))


async def _up(stood: Site, guests: int, hot: int) -> None:
    for node in stood.hosts.manifests():
        await stood.create("/api/v1/nodes", "nodes", node)
    policy = {
        "apiVersion": "kubevirt.io/v1alpha1", "kind": "MigrationPolicy", "metadata": {"name": "hot"},
        "spec": {
            "selectors": {"virtualMachineInstanceSelector": {"pace": "hot"}},
            "allowPostCopy": True, "bandwidthPerMigration": "16Mi",
        },
    }  # fmt: skip
    await stood.create(f"{KUBEVIRT}/migrationpolicies", "migrationpolicies", policy)
    async with asyncio.TaskGroup() as tasks:
        for number in range(guests + hot):
            tasks.create_task(stood.add_guest(hot=number >= guests))


def _waiting_for(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def _network(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return None
