"""A dry run tells what would become of a Migration, and writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.application import create_api
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.preview import Preview
from app.controllers.migration.records import record
from app.controllers.migration.slots import Limits
from app.kinds import ALL, MIGRATION, MIGRATION_POLICY, NAMESPACE, VIRTUAL_MACHINE
from app.kinds.migration import MigrationProgress, MigrationState, MigrationStatus, Phase
from app.kinds.migration_options import MigrationConfiguration
from app.machinery.kind import CORE
from app.machinery.lifecycle import prepare_create
from app.machinery.objects import Document
from app.store.base import Key, edit
from app.store.postgres import PostgresStore
from tests.controllers.migration.world import (
    BIRTH,
    create,
    migration_document,
    node_document,
    pod_document,
    vm_document,
)

PATH = "/apis/kubevirt.io/v1alpha1/namespaces/default/migrations"
SMALL: Document = {"memory": {"value": 256, "unit": "MiB"}, "devices": {}, "os": {"type": {"os": "hvm"}}}


@pytest.fixture
async def client(store: PostgresStore) -> AsyncIterator[httpx.AsyncClient]:
    """An API over three nodes and testvm on node0."""
    room = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    default = prepare_create(NAMESPACE, CORE, room, namespace="", now=BIRTH.stamp(), uid=BIRTH.uid(), suffix="")
    await store.objects.create(Key("namespaces", "", "default"), default)
    vm = vm_document("testvm", "node0", domain=SMALL)
    await create(store, *(node_document(f"node{n}") for n in range(3)), vm, pod_document(vm, "node0"))
    preview = Preview(store, MigrationConfig(limits=Limits(cluster=1)))
    api = create_api(store, ALL, version="v1.36.0", previews={MIGRATION.name: preview.answer})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as opened:
        yield opened


async def tried(client: httpx.AsyncClient, vm: str = "testvm", **spec: object) -> Document:
    """The status that a dry run answers."""
    body = {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": {"name": "m1"},
        "spec": {"selector": {"name": vm}, **spec},
    }
    answer = await client.post(PATH, json=body, params={"dryRun": "All"})
    assert answer.status_code == 201, answer.text
    status: Document = answer.json()["status"]
    return status


def scheduled(status: Document) -> Document:
    (found,) = [c for c in status["conditions"] if c["type"] == "Scheduled"]
    return dict(found)


async def test_it_names_the_node_and_every_verdict_and_writes_nothing(
    client: httpx.AsyncClient, store: PostgresStore
) -> None:
    before = await store.objects.revision()

    status = await tried(client, nodeSelector={"kubernetes.io/hostname": "node2"})

    assert (status["phase"], status["migrationState"]["targetNode"]) == ("Running", "node2")
    assert "1/3 nodes are available: 1 node is the source" in scheduled(status)["message"]
    assert "node1: node(s) didn't match the merged node selector" in scheduled(status)["message"]
    assert status["forecast"]["bytes"] == 256 * 2**20
    assert "no move was measured" in status["forecast"]["basis"]
    assert await store.objects.revision() == before
    assert await store.runs.unfinished() == []
    assert (await client.get(f"{PATH}/m1")).status_code == 404


async def test_it_tells_the_options_the_policy_and_whether_it_would_be_encrypted(
    client: httpx.AsyncClient, store: PostgresStore
) -> None:
    spec = {"selectors": {}, "bandwidthPerMigration": "32Mi", "tls": "Off"}
    policy = BIRTH.document(MIGRATION_POLICY, "", "everyone", spec=spec)
    await store.objects.create(Key(MIGRATION_POLICY.resource, "", "everyone"), policy)

    state = (await tried(client, options={"maxDowntimeMs": 500}))["migrationState"]

    assert (state["migrationPolicyName"], state["encrypted"]) == ("everyone", False)
    told = state["migrationConfiguration"]
    assert (told["bandwidthPerMigration"], told["maxDowntimeMs"], told["progressTimeout"]) == ("32Mi", 500, 150)


async def test_without_an_earlier_move_the_limit_tells_how_long_it_takes_at_least(client: httpx.AsyncClient) -> None:
    forecast = (await tried(client, options={"bandwidthPerMigration": "16Mi"}))["forecast"]

    assert (forecast["bytesPerSecond"], forecast["seconds"]) == (16 * 2**20, 16)
    assert "downtimeMs" not in forecast
    assert forecast["basis"].startswith("bandwidth of bandwidthPerMigration, for no move was measured yet")


async def test_disks_that_are_copied_are_named(client: httpx.AsyncClient, store: PostgresStore) -> None:
    disk = {"target": "vda", "type": "file", "path": "/srv/local/a.img", "format": "raw", "copyable": True}
    disks = [disk | {"size": 768 * 2**20}, disk | {"target": "vdb", "path": "/srv/local/b.img"}]
    key = Key(VIRTUAL_MACHINE.resource, "default", "testvm")
    await edit(store.objects, key, lambda vm: {**vm, "status": vm["status"] | {"hostRequirements": {"disks": disks}}})

    forecast = (await tried(client))["forecast"]

    assert forecast["bytes"] == 1024 * 2**20
    assert "its disks vda are copied too, 768 MiB; its disks vdb are copied too" in forecast["basis"]
    assert (await tried(client, options={"copyStorage": "Never"}))["phase"] == "Scheduling"


async def test_it_forecasts_from_earlier_moves_also_of_migrations_that_are_gone(
    client: httpx.AsyncClient, store: PostgresStore
) -> None:
    earlier = MigrationStatus(
        phase=Phase.SUCCEEDED,
        migration_state=MigrationState(
            source_node="node0",
            target_node="node1",
            end_timestamp="2026-01-01T00:00:00Z",
            migration_configuration=MigrationConfiguration(),
        ),
        progress=MigrationProgress(data_processed_bytes=640 * 2**20, elapsed_ms=10000),
    )
    async with store.transaction() as tx:
        tx.remember(record(migration_document("m0"), earlier, ()))

    forecast = (await tried(client, options={"bandwidthPerMigration": "32Mi"}))["forecast"]

    assert (forecast["bytesPerSecond"], forecast["seconds"], forecast["converges"]) == (32 * 2**20, 8, True)
    assert "node0" in forecast["basis"]

    hurried = (await tried(client, options={"completionTimeoutPerGiB": 1}))["forecast"]

    assert (hurried["bytesPerSecond"], hurried["converges"]) == (64 * 2**20, False)


async def test_it_tells_what_would_fail_and_what_would_wait(client: httpx.AsyncClient, store: PostgresStore) -> None:
    other = vm_document("other", "node1")
    bound = vm_document("bound", "node1")
    told = {
        "type": "LiveMigratable",
        "status": "False",
        "reason": "Snapshots",
        "message": "libvirt keeps 1 snapshot(s)",
    }
    bound["status"]["conditions"] = [told]
    twice = vm_document("twice", "node1")
    message = "twice runs on node1 and on node2 at once: destroy one of the two by hand"
    twice["status"]["conditions"] = [{**told, "status": "True", "reason": "Migratable", "message": ""}]
    twice["status"]["conditions"] += [
        {"type": "Duplicate", "status": "True", "reason": "RunsTwice", "message": message}
    ]
    await create(
        store,
        other,
        pod_document(other, "node1"),
        bound,
        pod_document(bound, "node1"),
        twice,
        pod_document(twice, "node1"),
    )

    nobody, kept, double = [await tried(client, name) for name in ("nobody", "bound", "twice")]
    nowhere = await tried(client, nodeSelector={"disktype": "ssd"})

    assert (nobody["phase"], nobody["conditions"][0]["reason"]) == ("Failed", "VMNotFound")
    assert (kept["phase"], kept["conditions"][0]["reason"]) == ("Failed", "VMNotMigratable")
    assert "libvirt keeps 1 snapshot(s) (Snapshots)" in kept["conditions"][0]["message"]
    assert (double["phase"], double["conditions"][0]["reason"]) == ("Failed", "VMNotMigratable")
    assert "runs on node1 and on node2 at once" in double["conditions"][0]["message"]
    assert (nowhere["phase"], scheduled(nowhere)["reason"]) == ("Scheduling", "Unschedulable")
    assert "forecast" not in nowhere


async def test_those_that_wait_for_longer_come_first(client: httpx.AsyncClient, store: PostgresStore) -> None:
    other = vm_document("other", "node1")
    await create(store, other, pod_document(other, "node1"), migration_document("m0", "other"))

    assert (await tried(client))["phase"] == "Pending"
    assert (await tried(client, priority="system-critical"))["phase"] == "Running"
