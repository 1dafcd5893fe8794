"""`kubectl drain` against the evictions, without hosts: it waits or fails as it is told to, and says why."""

from __future__ import annotations

import asyncio

import pytest

from app.api.application import Api, create_api
from app.controllers.eviction import Evictions
from app.kinds import ALL, MIGRATION, NODE, POD, VIRTUAL_MACHINE
from app.store.base import Key, Scope, Store, edit
from tests.api.builders import make_namespace
from tests.api.kubectl import Kubectl
from tests.controllers.migration.world import create, node_document, pods_where, running_vm

pytestmark = pytest.mark.postgres

DRAIN = ("drain", "node0", "--ignore-daemonsets", "--delete-emptydir-data")


@pytest.fixture
async def api(store: Store) -> Api:
    """With evictions."""
    await make_namespace(store, "default")
    return create_api(
        store, ALL, version="v1.36.0+drover-test", handlers={(POD.name, "eviction"): Evictions(store).answer}
    )


@pytest.fixture
async def guest(store: Store) -> str:
    """A guest on node0; its pod's name."""
    await create(store, node_document("node0"), node_document("node1"))
    vm = await running_vm(store, "testvm", "node0")
    (pod,) = await pods_where(store, vmUID=vm["metadata"]["uid"])
    return str(pod["metadata"]["name"])


async def migrations(store: Store) -> list[str]:
    return [stored.key.name for stored in (await store.objects.list(Scope(MIGRATION.resource))).items]


async def test_a_drain_waits_until_the_guest_has_left(kubectl: Kubectl, store: Store, guest: str) -> None:
    drain = asyncio.create_task(kubectl(*DRAIN, "--timeout=25s"))
    async with asyncio.timeout(10):
        since = await store.objects.revision()
        async with store.objects.watch(Scope(MIGRATION.resource), since) as watch:
            while not await migrations(store):
                await watch.next()
    # As a migration that succeeded leaves it: the source's pod is gone.
    await store.objects.delete(Key(POD.resource, "default", guest))

    said = await drain

    assert "node/node0 drained" in said
    assert (await store.objects.get(Key(NODE.resource, "", "node0"))).document["spec"]["unschedulable"] is True


async def test_a_drain_fails_as_it_is_told_to_and_says_what_keeps_the_guest(
    kubectl: Kubectl, store: Store, guest: str
) -> None:
    condition = {"type": "LiveMigratable", "status": "False", "reason": "HostDevices", "message": "it holds 1 device"}
    key = Key(VIRTUAL_MACHINE.resource, "default", "testvm")
    await edit(store.objects, key, lambda vm: {**vm, "status": {**vm["status"], "conditions": [condition]}})

    said = await kubectl(*DRAIN, "--timeout=2s", code=1)

    assert "cannot be moved while it runs: HostDevices: it holds 1 device" in said
    assert await migrations(store) == []
    assert await store.objects.get(Key(POD.resource, "default", guest))


async def test_a_dry_run_of_a_drain_moves_nothing(kubectl: Kubectl, store: Store, guest: str) -> None:
    said = await kubectl(*DRAIN, "--dry-run=server")

    assert "node/node0 drained (server dry run)" in said
    assert await migrations(store) == []
