"""What an eviction does: it ends no guest, moves one that can be moved, and takes a pod that is over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.controllers.eviction import Evictions
from app.kinds import EVENT, MIGRATION, POD, VIRTUAL_MACHINE
from app.machinery.errors import ApiError
from app.machinery.objects import Document
from app.store.base import Key, NotFound, Scope, Store, edit
from tests.controllers.migration.world import BIRTH, create, migration_document, node_document, pods_where, running_vm
from tests.controllers.world import World

pytestmark = pytest.mark.postgres

KEY = Key(POD.resource, "default", "virt-launcher-x")


async def a_pod(store: Store, phase: str, **labels: str) -> str:
    """Its uid."""
    pod = BIRTH.document(
        POD, "default", KEY.name, labels={"kubevirt.io": "virt-launcher"} | labels, spec={}, status={"phase": phase}
    )
    await store.objects.create(KEY, pod)
    return str(pod["metadata"]["uid"])


async def evict(store: Store, key: Key = KEY, dry_run: bool = False, **delete_options: Any) -> dict[str, Any]:
    return await Evictions(store).answer("create", key, {"deleteOptions": delete_options}, dry_run)


async def refusal(store: Store, key: Key, **more: Any) -> str:
    """The words of the 429."""
    with pytest.raises(ApiError) as refused:
        await evict(store, key, **more)
    error = refused.value
    assert (error.code, error.reason, error.headers) == (429, "TooManyRequests", {})
    assert "retryAfterSeconds" not in (error.details or {})
    return error.message


async def is_there(store: Store) -> bool:
    try:
        await store.objects.get(KEY)
    except NotFound:
        return False
    return True


async def migrations(store: Store) -> list[Document]:
    return [stored.document for stored in (await store.objects.list(Scope(MIGRATION.resource))).items]


async def guest_on(store: Store, node: str = "node0", name: str = "testvm", *, cordoned: bool = True) -> Key:
    """A running guest on that node; its pod."""
    document = node_document(node)
    document["spec"]["unschedulable"] = cordoned
    await create(store, document)
    vm = await running_vm(store, name, node)
    (pod,) = await pods_where(store, vmUID=vm["metadata"]["uid"])
    return Key(POD.resource, "default", pod["metadata"]["name"])


async def test_the_eviction_of_a_guests_pod_makes_one_migration(store: Store) -> None:
    pod = await guest_on(store)

    first, second = await refusal(store, pod), await refusal(store, pod)

    (migration,) = await migrations(store)
    name = migration["metadata"]["name"]
    assert name.startswith("testvm-evacuation-") and len(name) == len("testvm-evacuation-") + 5
    assert migration["spec"] == {"selector": {"name": "testvm"}, "priority": "system-critical"}
    assert migration["metadata"]["labels"] == {"kubevirt.io/evacuationMigration": "node0"}
    assert migration["metadata"]["annotations"] == {"kubevirt.io/drain": "true"}
    assert migration["metadata"]["finalizers"] == ["kubevirt.io/migration"]
    assert first.startswith('Eviction triggered evacuation of VMI "default/testvm"')
    assert second == f'Eviction triggered evacuation of VMI "default/testvm": Migration {name} was made'
    events = [stored.document for stored in (await store.objects.list(Scope(EVENT.resource))).items]
    assert [event["reason"] for event in events] == ["Evacuating"]


async def test_evictions_at_once_make_one_migration(store: Store) -> None:
    pod = await guest_on(store)

    await asyncio.gather(*(refusal(store, pod) for _ in range(8)))

    assert len(await migrations(store)) == 1


async def test_a_long_name_leaves_room_for_the_suffix(store: Store) -> None:
    pod = await guest_on(store, name="a" * 63)

    await refusal(store, pod)

    (migration,) = await migrations(store)
    assert len(migration["metadata"]["name"]) == 63
    assert migration["spec"]["selector"]["name"] == "a" * 63


async def test_an_eviction_from_a_node_that_takes_guests_is_not_of_a_drain(store: Store) -> None:
    pod = await guest_on(store, cordoned=False)

    await refusal(store, pod)

    (migration,) = await migrations(store)
    assert "annotations" not in migration["metadata"]


async def test_the_users_own_migration_is_waited_for(store: Store) -> None:
    pod = await guest_on(store)
    await create(store, migration_document("mine"))

    assert (await refusal(store, pod)).endswith("Migration mine (not of an eviction) was made")
    assert len(await migrations(store)) == 1


async def test_after_a_failure_the_next_waits_and_counts(store: Store) -> None:
    pod = await guest_on(store)
    await refusal(store, pod)
    (first,) = await migrations(store)

    async def fail(ended: str) -> None:
        key = Key(MIGRATION.resource, "default", first["metadata"]["name"])
        state = {"endTimestamp": ended, "failureReason": "TargetUnreachable: no answer"}
        await edit(store.objects, key, lambda m: {**m, "status": {"phase": "Failed", "migrationState": state}})

    await fail(BIRTH.stamp_micro())
    soon = await refusal(store, pod)
    still = len(await migrations(store))
    await fail("2020-01-01T00:00:00Z")
    await refusal(store, pod)

    assert "failed: TargetUnreachable: no answer; the next in" in soon
    assert still == 1
    (second,) = [m for m in await migrations(store) if m["metadata"]["name"] != first["metadata"]["name"]]
    assert second["metadata"]["annotations"]["kubevirt.io/evacuation-failures"] == "1"


async def test_a_guest_that_cannot_move_says_why_and_nothing_is_made(store: Store) -> None:
    pod = await guest_on(store)
    condition = {"type": "LiveMigratable", "status": "False", "reason": "HostDevices", "message": "it holds 1 device"}
    key = Key(VIRTUAL_MACHINE.resource, "default", "testvm")
    await edit(store.objects, key, lambda vm: {**vm, "status": {**vm["status"], "conditions": [condition]}})

    message = "Cannot evict pod: VirtualMachine testvm cannot be moved while it runs: HostDevices: it holds 1 device"
    assert await refusal(store, pod) == message
    assert await refusal(store, pod, dry_run=True) == message
    assert await migrations(store) == []


@pytest.mark.parametrize("asked", [{"dry_run": True}, {"dryRun": ["All"]}], ids=["in the query", "in the body"])
async def test_a_dry_run_makes_nothing(store: Store, asked: dict[str, Any]) -> None:
    pod = await guest_on(store)

    status = await evict(store, pod, **asked)

    assert status["status"] == "Success"
    assert await migrations(store) == []


async def test_a_reservation_is_not_evicted(store: Store) -> None:
    await guest_on(store)
    labels = {"kubevirt.io/domain": "testvm", "kubevirt.io/migration": "m1", "kubevirt.io/migrationUID": "u"}
    await a_pod(store, "Pending", **labels)

    assert (await refusal(store, KEY)).startswith('Cannot evict a reservation: Migration "m1" brings')
    assert await migrations(store) == []


async def test_the_pod_that_a_guest_came_in_and_has_just_left_is_no_reservation(store: Store) -> None:
    """Its guest runs on node1 already, and the Migration that moved it there has yet to end."""
    vm = await running_vm(store, "testvm", "node1")
    labels = {"kubevirt.io/domain": "testvm", "kubevirt.io/migration": "m1", "kubevirt.io/migrationUID": "u"}
    await a_pod(store, "Running", **labels)
    migration = migration_document("m2")
    migration["status"] = {"phase": "Running", "instance": vm["metadata"]["uid"]}
    migration["status"]["migrationState"] = {"sourceNode": "node0", "targetNode": "node1"}
    await create(store, migration)

    assert (await refusal(store, KEY)).endswith("Migration m2 (not of an eviction) is Running to node1, 0 %")


async def test_a_process_that_moves_a_guest_is_not_evicted(store: Store) -> None:
    await a_pod(store, "Running", **{"kubevirt.io": "migration", "kubevirt.io/migration": "m1"})

    assert 'Migration "m1" ends' in await refusal(store, KEY)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_pod_that_is_over_goes(store: Store, phase: str) -> None:
    await a_pod(store, phase)

    status = await evict(store)

    assert (status["kind"], status["status"], status["code"]) == ("Status", "Success", 201)
    assert not await is_there(store)


@pytest.mark.parametrize("asked", [{"dry_run": True}, {"dryRun": ["All"]}], ids=["in the query", "in the body"])
async def test_a_dry_run_takes_nothing(store: Store, asked: dict[str, Any]) -> None:
    await a_pod(store, "Succeeded")

    status = await evict(store, **asked)

    assert status["status"] == "Success"
    assert await is_there(store)


async def test_only_the_pod_that_was_meant_is_evicted(store: Store) -> None:
    uid = await a_pod(store, "Succeeded")

    with pytest.raises(ApiError) as refused:
        await evict(store, preconditions={"uid": "another"})
    assert await is_there(store)
    await evict(store, preconditions={"uid": uid})

    assert refused.value.code == 409
    assert not await is_there(store)


async def test_a_pod_that_is_gone_is_not_found(store: Store) -> None:
    with pytest.raises(ApiError) as refused:
        await evict(store)

    assert refused.value.code == 404


async def test_a_guest_without_its_virtual_machine_stays(store: Store) -> None:
    await a_pod(store, "Running", **{"kubevirt.io/domain": "nobody"})

    assert '"nobody" is not there' in await refusal(store, KEY)
    assert await World(store).pods() != []


WRONG: list[tuple[Document, str]] = [
    ({"metadata": {"name": "other"}}, "name in URL does not match name in Eviction object"),
    (
        {"metadata": {"name": KEY.name, "namespace": "other"}},
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    (
        {"kind": "Pod", "apiVersion": "v1"},
        'Pod in version "v1" cannot be handled as a Eviction: no kind "Pod" is registered for version "v1" in scheme '
        '"pkg/api/legacyscheme/scheme.go:30"',
    ),
    (
        {"deleteOptions": 5},
        'Eviction in version "v1" cannot be handled as a Eviction: json: cannot unmarshal number into Go struct field '
        "Eviction.deleteOptions of type v1.DeleteOptions",
    ),
    (
        {"deleteOptions": {"preconditions": "x"}},
        'Eviction in version "v1" cannot be handled as a Eviction: json: cannot unmarshal string into Go struct field '
        "DeleteOptions.deleteOptions.preconditions of type v1.Preconditions",
    ),
]


@pytest.mark.parametrize(("eviction", "says"), WRONG)
async def test_an_eviction_that_means_something_else_takes_no_pod(store: Store, eviction: Document, says: str) -> None:
    await a_pod(store, "Succeeded")

    with pytest.raises(ApiError) as refused:
        await Evictions(store).answer("create", KEY, eviction, False)

    assert (refused.value.code, refused.value.message) == (400, says)
    assert await is_there(store)


async def test_an_eviction_may_name_its_pod(store: Store) -> None:
    await a_pod(store, "Succeeded")
    named = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": KEY.name, "namespace": "default"}}

    await Evictions(store).answer("create", KEY, named, False)

    assert not await is_there(store)
