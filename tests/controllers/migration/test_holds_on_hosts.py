"""A host dies while a guest switches over to it, between two libvirtd: the operator's word, and his taint, end the hold."""

from __future__ import annotations

import asyncio
import signal
from uuid import UUID

import pytest

from app.kinds import NODE, names
from app.lab import processes
from app.lab.hosts import LabHosts
from app.lab.meter import Meter
from app.machinery.objects import Document
from app.store.base import Key, edit
from app.store.postgres import PostgresStore
from tests.controllers.migration.test_on_hosts import (
    VM_KEY,
    a_world,
    controlled,
    copying,
    finished,
    log_of,
    where,
    worker_pods,
)
from tests.controllers.migration.world import create, document_at, migration_document, migration_key, phase_of, until
from tests.lab.virsh import virsh

pytestmark = [pytest.mark.libvirt]

PAUSED = "paused (migrating)"
SWITCHED_S = 2.0
"""By then a guest that was paused for it has been sent, and the source's libvirtd waits for the target's answer."""


def condition(migration: Document | None, type_: str) -> Document | None:
    conditions: list[Document] = ((migration or {}).get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == type_), None)


async def held_at_the_switch_over(store: PostgresStore, hosts: LabHosts) -> Document | None:
    """Both libvirtd die while the source waits for the target to say that the guest runs there; the target's host for good."""
    await create(store, migration_document("m1", options={"bandwidthPerMigration": "8Mi"}))
    await until(store, migration_key("m1"), copying)
    target = hosts["node1"].pid
    assert target is not None
    daemon = processes.process(target)
    assert daemon is not None
    daemon.send(signal.SIGSTOP)
    assert await asyncio.to_thread(processes.wait_until, lambda: is_paused(hosts), 30)
    await asyncio.sleep(SWITCHED_S)  # no event tells that it waits
    hosts["node0"].kill()
    hosts["node1"].kill()
    for guest in hosts["node1"].guests():
        guest.send(signal.SIGKILL)
    hosts["node0"].start()
    return await until(store, migration_key("m1"), lambda found: condition(found, "Held") is not None, 60)


def is_paused(hosts: LabHosts) -> bool:
    return virsh(hosts["node0"], "domstate", "--reason", "default_testvm").strip() == PAUSED


async def annotate(store: PostgresStore, word: str) -> None:
    def said(migration: Document) -> Document:
        migration["metadata"].setdefault("annotations", {})[names.RESOLVE] = word
        return migration

    await edit(store.objects, migration_key("m1"), said)


async def test_a_guest_whose_target_died_goes_on_where_the_operator_says(store: PostgresStore, hosts: LabHosts) -> None:
    await a_world(store, hosts, dirty=1)

    async with controlled(store, "w1"):
        held = await held_at_the_switch_over(store, hosts)
        stopped = is_paused(hosts)
        await annotate(store, "lost")
        refused = await until(store, migration_key("m1"), lambda found: condition(found, "Resolved") is not None)
        await annotate(store, "source")
        migration = await until(store, migration_key("m1"), finished)
        with Meter(hosts.consoles / "testvm.log") as meter:
            assert await asyncio.to_thread(meter.wait_for_ticks, 10, 20)

    (worker,) = await worker_pods(store, "m1")
    print(await log_of(store, worker))
    told, against = condition(held, "Held"), condition(refused, "Resolved")
    assert told is not None and against is not None
    assert (phase_of(held), told["status"], stopped) == ("Running", "True", True)
    assert (against["reason"], phase_of(refused)) == ("AgainstEvidence", "Running")
    assert "the source says paused/migration" in against["message"]
    assert (phase_of(migration), where(hosts)) == ("Failed", ["node0"])
    vm = await document_at(store, VM_KEY)
    assert vm is not None and (vm["status"]["phase"], vm["status"]["nodeName"]) == ("Running", "node0")


@pytest.mark.slow
async def test_a_target_that_is_declared_to_be_off_ends_the_hold(store: PostgresStore, hosts: LabHosts) -> None:
    uid = await a_world(store, hosts, dirty=1)

    async with controlled(store, "w1"):
        await held_at_the_switch_over(store, hosts)

        def off(node: Document) -> Document:
            node["spec"]["taints"] = [{"key": names.OUT_OF_SERVICE, "effect": "NoExecute"}]
            return node

        await edit(store.objects, Key(NODE.resource, "", "node1"), off)
        migration = await until(store, migration_key("m1"), finished)

    assert (phase_of(migration), where(hosts)) == ("Failed", ["node0"])
    assert is_paused(hosts)
    assert all(run.exit_code is not None for run in await store.runs.of(UUID((migration or {})["metadata"]["uid"])))
    assert uid in virsh(hosts["node0"], "list", "--uuid", "--all")
