"""Migrations of running guests between two libvirtd, through the store, the controller, a worker and its processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest

from app.controllers.lease import LeaseKeeper
from app.controllers.migration.reconcile import MigrationController
from app.controllers.migration.supervise import Tenure
from app.controllers.workers import WorkerConfig, Workers
from app.hypervisor.libvirt_driver import connect_factory
from app.kinds import VIRTUAL_MACHINE
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.hosts import LabHosts
from app.machinery.objects import Document
from app.store.base import Key, Store
from app.store.postgres import PostgresStore
from tests.controllers.migration.world import (
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
TENURE = Tenure(lease=timedelta(seconds=6), settle_s=0.5)
SLOW = {"options": {"bandwidthPerMigration": "2Mi"}}


def finished(document: Document | None) -> bool:
    return phase_of(document) in FINISHED


@asynccontextmanager
async def controlled(store: Store, *identities: str) -> AsyncIterator[None]:
    """A controller, and a worker for each identity."""
    keeper = LeaseKeeper(store.leases, "test", timedelta(seconds=15))
    parts = [keeper.run(), MigrationController(store, keeper).run()]
    parts += [Workers(store, connect_factory, name, WorkerConfig(tenure=TENURE)).run() for name in identities]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        yield
        for task in tasks:
            task.cancel()


async def a_world(store: Store, hosts: LabHosts, *, dirty: float = 8) -> str:
    """Both nodes, and a guest that runs on node0; its UUID."""
    for host in hosts:
        await create(store, node_document(host.name, host.uri, migration_uri=f"unix://{host.migration_sockets}/"))
    vm = await running_vm(store, "testvm", "node0")
    uid = str(vm["metadata"]["uid"])
    image = build_boot_sector(hosts.images / "boot.img", mib_per_second=dirty)
    console = hosts.consoles / "testvm.log"
    virsh(hosts["node0"], "define", "/dev/stdin", given=boot_sector_xml("default_testvm", uid, image, console=console))
    virsh(hosts["node0"], "start", "default_testvm")
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
