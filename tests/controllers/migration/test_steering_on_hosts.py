"""Guests that write faster than their memory is sent, between real libvirtd: slowed down, stopped, moved before it, or left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from app.hypervisor.base import Hypervisor, Progress, Reason
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.hosts import LabHost, LabHosts
from app.lab.meter import Meter
from app.lab.namespaces import NamespaceHost, NamespaceLab
from app.machinery.objects import Document
from app.store.base import Store, edit
from app.store.postgres import PostgresStore
from tests.controllers.migration.test_on_hosts import controlled, copying, finished, log_of, worker_pods
from tests.controllers.migration.world import (
    create,
    document_at,
    migration_document,
    migration_key,
    node_document,
    phase_of,
    running_vm,
    until,
)
from tests.hypervisor.post_copy import break_post_copy
from tests.hypervisor.waiting import eventually

pytestmark = [pytest.mark.libvirt, pytest.mark.xdist_group("steering on hosts")]

MIB = 1 << 20
CAPPED = {"bandwidthPerMigration": "16Mi", "maxDowntimeMs": 30, "progressTimeout": 4}
"""Of a guest that keeps writing 32 MiB, which takes 2 s to send."""


@pytest.fixture(scope="module")
def standing() -> Iterator[LabHosts]:
    with LabHosts.temporary("node0", "node1") as hosts:
        yield hosts


@pytest.fixture(scope="module")
def namespace_lab() -> Iterator[NamespaceLab]:
    with NamespaceLab("node0", "node1") as lab:
        yield lab


async def a_writer(
    store: Store, hosts: LabHosts | NamespaceLab, *, dirty_mib: int = 32, mib_per_second: float = 64
) -> UUID:
    """Both nodes, and a guest on node0 that has written to its memory."""
    for host in hosts:
        await create(store, a_node(host))
    uid = UUID((await running_vm(store, "testvm", "node0"))["metadata"]["uid"])
    image = build_boot_sector(
        hosts.images / f"{dirty_mib}-{mib_per_second:g}.img", dirty_mib=dirty_mib, mib_per_second=mib_per_second
    )
    console = hosts.consoles / f"{uid}.log"
    source = await LibvirtHypervisors().connect(hosts["node0"].uri)
    with Meter(console) as meter:
        name = f"default_{uid.hex[:8]}"
        await source.define_and_start(boot_sector_xml(name, str(uid), image, memory_mib=160, console=console))
        ticks = 10 * round(2 + dirty_mib / mib_per_second)
        assert await asyncio.to_thread(meter.wait_for_ticks, ticks, 40)
    await source.close()
    return uid


def a_node(host: LabHost | NamespaceHost) -> Document:
    if isinstance(host, NamespaceHost):
        return node_document(host.name, host.uri, peer_uri=host.peer_uri, migration_uri=host.migration_uri)
    return node_document(host.name, host.uri, migration_uri=f"unix://{host.migration_sockets}/")


async def move(store: Store, options: Document) -> tuple[str, Document]:
    """The phase that it ended in and its migrationState; its log is printed."""
    async with controlled(store, "w1"):
        await create(store, migration_document("m1", options=options))
        migration = await until(store, migration_key("m1"), finished, 90)
    assert migration is not None
    (worker,) = await worker_pods(store, "m1")
    print(await log_of(store, worker))
    return phase_of(migration), migration["status"]["migrationState"]


async def where(hosts: LabHosts | NamespaceLab, uid: UUID) -> list[str]:
    """The hosts whose kernel has a QEMU of that guest."""
    return [host.name for host in hosts if any(str(uid) in " ".join(one.arguments()) for one in host.guests())]


async def test_where_nothing_is_allowed_it_stays_and_that_is_said(store: PostgresStore, standing: LabHosts) -> None:
    uid = await a_writer(store, standing)

    phase, state = await move(store, CAPPED)

    assert phase == "Failed"
    assert state["failureReason"].startswith("NotConverging")
    assert await where(standing, uid) == ["node0"]


async def test_slowed_down_it_moves(store: PostgresStore, standing: LabHosts) -> None:
    uid = await a_writer(store, standing, mib_per_second=24)

    phase, state = await move(store, CAPPED | {"allowAutoConverge": True, "progressTimeout": 60})

    assert (phase, state["mode"]) == ("Succeeded", "PreCopy")
    assert await where(standing, uid) == ["node1"]


async def test_stopped_it_moves(store: PostgresStore, standing: LabHosts) -> None:
    uid = await a_writer(store, standing)

    phase, state = await move(store, CAPPED | {"allowWorkloadDisruption": True})

    assert (phase, state["mode"]) == ("Succeeded", "Paused")
    assert state["downtimeMs"] > 0
    assert await where(standing, uid) == ["node1"]


@pytest.mark.slow
async def test_without_rights_post_copy_gives_way_to_what_else_is_allowed(
    store: PostgresStore, standing: LabHosts
) -> None:
    assert every_user_may_do_post_copy() is False
    uid = await a_writer(store, standing)

    phase, state = await move(store, CAPPED | {"allowPostCopy": True, "allowWorkloadDisruption": True})

    assert (phase, state["mode"]) == ("Succeeded", "Paused")
    assert await where(standing, uid) == ["node1"]


async def test_a_cap_holds_progress_says_so_and_both_may_be_changed_on_the_way(
    store: PostgresStore, standing: LabHosts
) -> None:
    uid = await a_writer(store, standing, dirty_mib=96, mib_per_second=200)
    options = {"bandwidthPerMigration": "8Mi", "maxDowntimeMs": 20}

    async with controlled(store, "w1"):
        await create(store, migration_document("m1", options=options))
        await until(store, migration_key("m1"), copying)
        source = await LibvirtHypervisors().connect(standing["node0"].uri)
        slow = await rate_of(source, uid)
        before, told, after = await around(store, source, uid)
        await patch(store, {"bandwidthPerMigration": "32Mi"})
        await until(store, migration_key("m1"), lambda m: configuration(m).get("bandwidthPerMigration") == "32Mi")
        fast = await rate_of(source, uid)
        await source.close()
        await patch(store, {"bandwidthPerMigration": "32Mi", "maxDowntimeMs": 5000})
        migration = await until(store, migration_key("m1"), finished, 60)

    (worker,) = await worker_pods(store, "m1")
    print(f"{slow / MIB:.1f} MiB/s under 8, {fast / MIB:.1f} MiB/s under 32\n{await log_of(store, worker)}")
    assert slow == pytest.approx(8 * MIB, rel=0.2)
    assert fast == pytest.approx(32 * MIB, rel=0.2)
    assert before.processed <= told["dataProcessedBytes"] <= after.processed
    assert told["dataTotalBytes"] == before.total
    assert before.elapsed_ms <= told["elapsedMs"] <= after.elapsed_ms
    assert before.iteration <= told["iteration"] <= after.iteration
    assert phase_of(migration) == "Succeeded"
    assert configuration(migration) | {"tls": ""} == {
        "bandwidthPerMigration": "32Mi", "maxDowntimeMs": 5000, "completionTimeoutPerGiB": 150, "progressTimeout": 150,
        "allowAutoConverge": False, "allowPostCopy": False, "allowWorkloadDisruption": False, "parallelConnections": 0,
        "tls": "",
    }  # fmt: skip


async def rate_of(source: Hypervisor, uid: UUID) -> float:
    """Bytes per second, over two seconds of libvirt's own counting; the first moments after a change are not counted."""
    await asyncio.sleep(0.5)
    first, last = await seen(source, uid), await seen(source, uid)
    while last.elapsed_ms - first.elapsed_ms < 2000:
        await asyncio.sleep(0.1)
        last = await seen(source, uid)
    return 1000 * (last.processed - first.processed) / (last.elapsed_ms - first.elapsed_ms)


async def seen(source: Hypervisor, uid: UUID) -> Progress:
    found = await source.progress(uid)
    assert found is not None
    return found


async def around(store: Store, source: Hypervisor, uid: UUID) -> tuple[Progress, Document, Progress]:
    """What libvirt said, what the status said a moment later, and what libvirt said then."""
    before = await seen(source, uid)
    began = time.monotonic()
    migration = await until(
        store, migration_key("m1"), lambda m: m is not None and m["status"]["progress"]["elapsedMs"] > before.elapsed_ms
    )
    assert migration is not None
    assert time.monotonic() - began < 5
    return before, migration["status"]["progress"], await seen(source, uid)


async def patch(store: Store, options: Document) -> None:
    """spec.options, as the API stores it."""
    await edit(
        store.objects,
        migration_key("m1"),
        lambda document: {**document, "spec": {**document["spec"], "options": options}},
    )


def configuration(migration: Document | None) -> Document:
    state = ((migration or {}).get("status") or {}).get("migrationState") or {}
    found: Document = state.get("migrationConfiguration") or {}
    return found


def every_user_may_do_post_copy() -> bool:
    return Path("/proc/sys/vm/unprivileged_userfaultfd").read_text() != "0\n"


POST_COPY = CAPPED | {"allowPostCopy": True}


def in_post_copy(migration: Document | None) -> bool:
    assert not finished(migration), migration
    return (((migration or {}).get("status") or {}).get("migrationState") or {}).get("mode") == "PostCopy"


def held(migration: Document | None) -> bool:
    assert not finished(migration), migration
    conditions = ((migration or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Held" and one["status"] == "True" for one in conditions)


@pytest.mark.namespaces
@pytest.mark.parametrize("broken", [False, True], ids=["", "and recovered when it breaks"])
async def test_moved_before_its_memory(store: PostgresStore, namespace_lab: NamespaceLab, broken: bool) -> None:
    uid = await a_writer(store, namespace_lab)

    async with controlled(store, "w1"):
        await create(store, migration_document("m1", options=POST_COPY))
        await until(store, migration_key("m1"), in_post_copy)
        if broken:
            # Before the guest runs on the target nothing there could be recovered: such a Migration is held.
            target = await LibvirtHypervisors().connect(namespace_lab["node1"].uri)
            await eventually(lambda: target.look(uid), lambda seen: seen.reason is Reason.POSTCOPY)
            await break_post_copy(namespace_lab["node0"].uri, uid)
        migration = await until(store, migration_key("m1"), finished, 60)

    (worker,) = await worker_pods(store, "m1")
    log = await log_of(store, worker)
    print(log)
    assert (phase_of(migration), await where(namespace_lab, uid)) == ("Succeeded", ["node1"])
    assert ("recovering" in log) is broken


@pytest.mark.namespaces
@pytest.mark.slow
@pytest.mark.parametrize("taken_over", [False, True], ids=["", "by who takes over"])
async def test_a_post_copy_whose_link_is_cut_is_recovered_when_it_is_healed(
    store: PostgresStore, namespace_lab: NamespaceLab, taken_over: bool
) -> None:
    uid = await a_writer(store, namespace_lab)
    first, second = ("w1", "w2") if taken_over else ("w1", "w1")

    async with controlled(store, first):
        await create(store, migration_document("m1", options=POST_COPY))
        await until(store, migration_key("m1"), in_post_copy)
        namespace_lab.cut("node1")
        try:
            await until(store, migration_key("m1"), held, 60)
            source = await LibvirtHypervisors().connect(namespace_lab["node0"].uri)
            here = await source.look(uid)
            await source.close()
        finally:
            if not taken_over:
                namespace_lab.heal("node1")
        if not taken_over:
            migration = await until(store, migration_key("m1"), finished, 90)
    if taken_over:
        namespace_lab.heal("node1")
        async with controlled(store, second):
            migration = await until(store, migration_key("m1"), finished, 90)

    (worker,) = await worker_pods(store, "m1")
    print(await log_of(store, worker))
    assert here.reason is Reason.POSTCOPY_FAILED
    assert (phase_of(migration), await where(namespace_lab, uid)) == ("Succeeded", ["node1"])
    assert await document_at(store, migration_key("m1")) == migration
