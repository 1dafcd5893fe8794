"""Migrations of running guests between two libvirtd, through the store, the controller, a worker and its processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from app.controllers.lease import LeaseKeeper
from app.controllers.migration.reconcile import MigrationController
from app.controllers.migration.supervise import Tenure
from app.controllers.workers import WorkerConfig, Workers
from app.hypervisor.libvirt_driver.driver import connect_factory
from app.kinds import MIGRATION, VIRTUAL_MACHINE
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.hosts import LabHosts
from app.lab.meter import Meter, Silence
from app.machinery.lifecycle import prepare_delete
from app.machinery.objects import Document
from app.store.base import Key, Store, edit
from app.store.postgres import PostgresStore
from tests.controllers.migration.world import (
    BIRTH,
    NAMESPACE,
    create,
    document_at,
    migration_document,
    migration_key,
    node_document,
    phase_of,
    pods_where,
    running_vm,
    until,
)
from tests.lab.virsh import virsh

pytestmark = [pytest.mark.libvirt]

VM_KEY = Key(VIRTUAL_MACHINE.resource, NAMESPACE, "testvm")
FINISHED = ("Succeeded", "Failed")
WARM_TICKS = 20
TENURE = Tenure(lease=timedelta(seconds=6), settle_s=0.5)


def finished(document: Document | None) -> bool:
    return phase_of(document) in FINISHED


def copying(document: Document | None) -> bool:
    """Bytes move, and it is not over."""
    progress = (document or {}).get("status", {}).get("progress") or {}
    assert not finished(document), document
    return int(progress.get("dataProcessedBytes", 0)) > 0


@asynccontextmanager
async def running(*parts: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Parts of Drover; one that fails fails the test."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def worked(store: Store, *identities: str) -> AbstractAsyncContextManager[None]:
    """A worker for each identity."""
    config = WorkerConfig(tenure=TENURE)
    return running(*(Workers(store, connect_factory, name, config).run() for name in identities))


@asynccontextmanager
async def controlled(store: Store, *identities: str) -> AsyncIterator[None]:
    """A controller, and a worker for each identity."""
    keeper = LeaseKeeper(store.leases, "test", timedelta(seconds=15))
    async with running(keeper.run(), MigrationController(store, keeper).run()), worked(store, *identities):
        yield


async def delete(store: Store, name: str) -> None:
    """As the API does: marked, because of the finalizer."""
    now = BIRTH.stamp()
    await edit(store.objects, migration_key(name), lambda document: prepare_delete(MIGRATION, document, None, now=now))


def children() -> list[int]:
    """The processes of migrations that this test's own workers started: pids from the kernel."""
    pids = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    ours = [int(pid) for pid in pids if _parent(pid) == os.getpid()]
    return [int(pid) for pid in pids if _parent(pid) in ours and "forkserver" in _line(pid)]


def _parent(pid: str) -> int | None:
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _line(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def worker_pods(store: Store, migration: str) -> list[Document]:
    pods = await pods_where(store, migration=migration)
    return [pod for pod in pods if pod["metadata"]["labels"]["kubevirt.io"] == "migration"]


async def a_world(store: Store, hosts: LabHosts, *, dirty: float = 8) -> str:
    """Both nodes, and a guest that runs on node0; its UUID."""
    for host in hosts:
        await create(store, node_document(host.name, host.uri, migration_uri=f"unix://{host.migration_sockets}/"))
    vm = await running_vm(store, "testvm", "node0")
    uid = str(vm["metadata"]["uid"])
    image = build_boot_sector(hosts.images / "boot.img", mib_per_second=dirty)
    console = hosts.consoles / "testvm.log"
    virsh(hosts["node0"], "define", "/dev/stdin", given=boot_sector_xml("default_testvm", uid, image, console=console))
    with Meter(console) as meter:
        virsh(hosts["node0"], "start", "default_testvm")
        # Zero pages cost nothing to copy: it must have written some before a copy can be interrupted.
        assert await asyncio.to_thread(meter.wait_for_ticks, WARM_TICKS, 20)
    return uid


def where(hosts: LabHosts) -> list[str]:
    """The hosts with a QEMU process: asked of the kernel, never of Drover."""
    return [host.name for host in hosts if host.guests()]


async def log_of(store: Store, pod: Document) -> str:
    return "\n".join(line.text for line in await store.logs.read(UUID(pod["metadata"]["uid"])))


async def test_a_guest_moves_and_every_object_says_so(store: PostgresStore, hosts: LabHosts) -> None:
    await a_world(store, hosts)

    async with controlled(store, "w1"):
        began = time.monotonic()
        await create(store, migration_document("m1"))
        migration = await until(store, migration_key("m1"), finished)
        took_s = time.monotonic() - began

    assert migration is not None
    (worker,) = await pods_where(store, migration="m1", domain="testvm") and [
        pod
        for pod in await pods_where(store, migration="m1")
        if pod["metadata"]["labels"]["kubevirt.io"] == "migration"
    ]
    log = await log_of(store, worker)
    print(f"took {took_s:.2f} s\n{log}\n{migration['status']}")
    assert phase_of(migration) == "Succeeded"
    assert where(hosts) == ["node1"]
    vm = await document_at(store, VM_KEY)
    assert vm is not None
    assert vm["status"] == {"phase": "Running", "nodeName": "node1"}
    assert vm["metadata"]["labels"]["kubevirt.io/nodeName"] == "node1"
    assert worker["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert [p["phase"] for p in migration["status"]["phaseTransitionTimestamps"]] == [
        "Pending",
        "Scheduling",
        "Running",
        "Succeeded",
    ]


async def test_a_guest_that_arrives_stopped_loses_nothing(store: PostgresStore, hosts: LabHosts) -> None:
    await a_world(store, hosts)

    async with controlled(store, "w1"):
        silent = await silence_of(store, hosts, "m1", arrivePaused=True)
        migration = await document_at(store, migration_key("m1"))

    assert where(hosts) == ["node1"]
    assert silent.unbroken, silent
    assert migration is not None
    state = migration["status"]["migrationState"]
    assert state["migrationConfiguration"]["arrivePaused"] is True
    assert state["downtimeMs"] > 0


async def silence_of(store: Store, hosts: LabHosts, name: str, **options: object) -> Silence:
    """Of a move that succeeds."""
    with Meter(hosts.consoles / "testvm.log") as meter:
        assert await asyncio.to_thread(meter.wait_for_ticks, 3, 20)
        await create(store, migration_document(name, options=options))
        migration = await until(store, migration_key(name), finished)
        assert await asyncio.to_thread(meter.wait_for_ticks, 3, 20)
        assert phase_of(migration) == "Succeeded", migration
        return meter.read()


async def test_a_deleted_migration_leaves_the_guest_where_it_was(store: PostgresStore, hosts: LabHosts) -> None:
    await a_world(store, hosts)

    async with controlled(store, "w1"):
        await create(store, migration_document("m1", options={"bandwidthPerMigration": "2Mi"}))
        await until(store, migration_key("m1"), copying)
        began = time.monotonic()
        await delete(store, "m1")
        await until(store, migration_key("m1"), lambda document: document is None, 10)
        took_s = time.monotonic() - began
        await create(store, migration_document("m2"))
        again = await until(store, migration_key("m2"), finished)

    print(f"gone after {took_s:.2f} s")
    assert phase_of(again) == "Succeeded"
    assert where(hosts) == ["node1"]


async def test_a_killed_process_is_seen_as_137_and_the_hosts_decide(store: PostgresStore, hosts: LabHosts) -> None:
    await a_world(store, hosts)

    async with controlled(store, "w1"):
        await create(store, migration_document("m1", options={"bandwidthPerMigration": "16Mi"}))
        await until(store, migration_key("m1"), copying)
        for child in children():
            os.kill(child, signal.SIGKILL)
        migration = await until(store, migration_key("m1"), finished)

    (worker,) = await worker_pods(store, "m1")
    (container,) = worker["status"]["containerStatuses"]
    print(await log_of(store, worker))
    assert container["lastState"]["terminated"]["exitCode"] == 137
    assert container["restartCount"] == 1
    assert (phase_of(migration), where(hosts)) in (("Succeeded", ["node1"]), ("Failed", ["node0"]))


async def test_the_run_of_a_killed_worker_is_taken_over(
    store: PostgresStore, hosts: LabHosts, postgres_url: str
) -> None:
    await a_world(store, hosts, dirty=1)

    async with controlled(store):
        other = subprocess.Popen(  # noqa: ASYNC220  (it is killed before anything waits)
            [sys.executable, "-m", "tests.controllers.migration.lone_worker", postgres_url]
        )
        try:
            await create(store, migration_document("m1", options={"bandwidthPerMigration": "8Mi"}))
            await until(store, migration_key("m1"), copying)
        finally:
            other.kill()
            other.wait()
        async with worked(store, "w2"):
            migration = await until(store, migration_key("m1"), finished, 60)

    (worker,) = await worker_pods(store, "m1")
    print(await log_of(store, worker))
    runs = await store.runs.of(UUID(migration["metadata"]["uid"])) if migration else []
    assert [run.token for run in runs] == [2]
    assert (phase_of(migration), where(hosts)) in (("Succeeded", ["node1"]), ("Failed", ["node0"]))


async def test_a_worker_that_stops_hands_over_at_once_and_leaves_no_process(
    store: PostgresStore, hosts: LabHosts
) -> None:
    await a_world(store, hosts, dirty=1)

    async with controlled(store):
        async with worked(store, "w1"):
            await create(store, migration_document("m1", options={"bandwidthPerMigration": "8Mi"}))
            await until(store, migration_key("m1"), copying)
        left = children()
        (run,) = await store.runs.unfinished()
        async with worked(store, "w2"):
            migration = await until(store, migration_key("m1"), finished)

    assert left == []
    assert run.token == 1
    assert (phase_of(migration), where(hosts)) == ("Succeeded", ["node1"])


async def test_a_process_that_hangs_is_ended_and_the_hosts_are_asked(store: PostgresStore, hosts: LabHosts) -> None:
    await a_world(store, hosts, dirty=1)
    impatient = WorkerConfig(tenure=Tenure(lease=timedelta(seconds=6), silence_s=3))

    async with controlled(store), running(Workers(store, connect_factory, "w1", impatient).run()):
        await create(store, migration_document("m1", options={"bandwidthPerMigration": "8Mi"}))
        await until(store, migration_key("m1"), copying)
        for child in children():
            os.kill(child, signal.SIGSTOP)
        migration = await until(store, migration_key("m1"), finished)

    (worker,) = await worker_pods(store, "m1")
    assert worker["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    assert (phase_of(migration), where(hosts)) == ("Succeeded", ["node1"])
