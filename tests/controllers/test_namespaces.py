"""Namespaces terminate with what is in them: on the real store, with simulated hosts where guests run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.api.application import create_api
from app.controllers.events import Recorder
from app.controllers.finalize import Finalize
from app.controllers.guards import namespace_guard
from app.hypervisor.base import State
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.kinds import ALL, EVENT, MIGRATION, NAMESPACE, NODE, POD, VIRTUAL_MACHINE, names
from app.machinery.objects import Document
from app.store.base import Key, Scope, Store, edit
from tests.controllers.world import SMALL, World, condition, is_ready, leading, running

ROOM = "/api/v1/namespaces/room"
MIGRATIONS = "/apis/kubevirt.io/v1alpha1/namespaces/room/migrations"
MERGE = {"content-type": "application/merge-patch+json"}


def migration(name: str) -> Document:
    spec = {"selector": {"name": "testvm"}}
    return {"apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
async def world(store: Store) -> World:
    made = World(store)
    await made.room("default")
    await made.room("room")
    return made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    handlers = {(NAMESPACE.name, "finalize"): Finalize(world.store)}
    api = create_api(world.store, ALL, version="v1.36.0", handlers=handlers, guards={NAMESPACE.name: namespace_guard})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as opened:
        yield opened


async def left_in(store: Store, namespace: str) -> list[Key]:
    listings = [await store.objects.list(Scope(kind.resource, namespace)) for kind in ALL if kind.namespaced]
    return [stored.key for listing in listings for stored in listing.items]


async def test_a_namespace_goes_with_all_that_is_in_it(world: World, client: httpx.AsyncClient) -> None:
    for number in range(250):
        await world.make(MIGRATION, f"m{number}", namespace="room", spec={"selector": {"name": "testvm"}})
    await world.make(POD, "pod0", namespace="room", spec={}, status={"phase": "Succeeded"})
    await world.make(MIGRATION, "elsewhere", spec={"selector": {"name": "testvm"}})
    rights = {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": []}
    made: dict[str, Document] = {
        "/api/v1/namespaces/room/serviceaccounts": {},
        "/apis/rbac.authorization.k8s.io/v1/namespaces/room/roles": {"rules": []},
        "/apis/rbac.authorization.k8s.io/v1/namespaces/room/rolebindings": rights,
    }
    for path, body in made.items():
        assert (await client.post(path, json={"metadata": {"name": "r"}, **body})).status_code == 201
    vm = world.birth.document(VIRTUAL_MACHINE, "room", "testvm", spec={})
    await Recorder().record_alone(world.store, vm, "Told", "told")

    async with leading(world.store):
        answer = await client.delete(ROOM)
        await world.until_gone(NAMESPACE, "room")

    assert (answer.status_code, answer.json()["status"]["phase"]) == (200, "Terminating")
    assert await left_in(world.store, "room") == []
    assert [key.name for key in await left_in(world.store, "default")] == ["elsewhere"]


async def test_its_conditions_say_what_it_waits_for(world: World, client: httpx.AsyncClient) -> None:
    held: Any = {"namespace": "room", "finalizers": ["a.io/b"], "spec": {"selector": {"name": "testvm"}}}
    for name in ("one", "two"):
        await world.make(MIGRATION, name, **held)

    async with leading(world.store):
        await client.delete(ROOM)
        told = await world.until(NAMESPACE, "room", lambda room: bool(condition(room, "NamespaceContentRemaining")))
        for name in ("one", "two"):
            await client.patch(f"{MIGRATIONS}/{name}", content=b'{"metadata":{"finalizers":null}}', headers=MERGE)
        await world.until_gone(NAMESPACE, "room")

    shown = {c["type"]: (c["status"], c["reason"], c["message"]) for c in told["status"]["conditions"]}
    assert shown == {
        "NamespaceDeletionDiscoveryFailure": ("False", "ResourcesDiscovered", "All resources successfully discovered"),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False", "ParsedGroupVersions", "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            "True", "SomeResourcesRemain",
            "Some resources are remaining: migrations.kubevirt.io has 2 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True", "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: a.io/b in 2 resource instances",
        ),
    }  # fmt: skip


async def test_an_empty_namespace_that_others_finalize_is_empty_and_stays(
    world: World, client: httpx.AsyncClient
) -> None:
    await client.patch(ROOM, content=b'{"metadata":{"finalizers":["a.io/b"]}}', headers=MERGE)

    async with leading(world.store):
        await client.delete(ROOM)
        empty = await world.until(NAMESPACE, "room", lambda room: not room["spec"]["finalizers"])
        await client.patch(ROOM, content=b'{"metadata":{"finalizers":null}}', headers=MERGE)
        await world.until_gone(NAMESPACE, "room")

    assert condition(empty, "NamespaceContentRemaining")["status"] == "False"
    assert condition(empty, "NamespaceFinalizersRemaining")["reason"] == "ContentHasNoFinalizers"


async def test_nothing_is_made_in_it_from_the_first_moment(world: World, client: httpx.AsyncClient) -> None:
    await client.delete(ROOM)

    answer = await client.post(MIGRATIONS, json=migration("late"))

    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'migrations.kubevirt.io "late" is forbidden: unable to create new content in namespace room because it is being '
        "terminated"
    )
    assert answer.json()["details"]["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace room is being terminated",
            "field": "metadata.namespace",
        }
    ]


@pytest.mark.parametrize("others", [0, 3])
async def test_a_create_that_races_with_the_end_leaves_nothing_behind(
    world: World, client: httpx.AsyncClient, others: int
) -> None:
    """Writers go on until they are refused; the end comes in the middle of them."""
    answers: list[httpx.Response] = []

    async def write(writer: int) -> None:
        for number in range(1000):
            answer = await client.post(MIGRATIONS, json=migration(f"w{writer}-{number}"))
            if answer.status_code != 201:
                answers.append(answer)
                return
            body = b'{"metadata":{"finalizers":null}}'
            await client.patch(f"{MIGRATIONS}/w{writer}-{number}", content=body, headers=MERGE)

    async def end() -> None:
        await world.until(MIGRATION, "w0-5", bool, namespace="room")
        await client.delete(ROOM)

    async with leading(world.store):
        await asyncio.gather(end(), *(write(writer) for writer in range(1 + others)))
        # What was made in the last moment may have been marked before its finalizer came off: both ends are fine.
        listing = await world.store.objects.list(Scope(MIGRATION.resource, "room"))
        for stored in listing.items:
            body = b'{"metadata":{"finalizers":null}}'
            await client.patch(f"{MIGRATIONS}/{stored.key.name}", content=body, headers=MERGE)
        await world.until_gone(NAMESPACE, "room")

    assert await left_in(world.store, "room") == []
    assert len(answers) == 1 + others
    assert {answer.status_code for answer in answers} <= {403, 404}


async def test_the_guests_in_it_are_shut_down_first(world: World) -> None:
    cloud = FakeCloud("node0")
    await world.node("node0", cloud["node0"].uri)
    spec = {"domain": SMALL, "terminationGracePeriodSeconds": 0}
    finalizers = [names.VIRTUAL_MACHINE_FINALIZER]

    async with running(world.store, FakeHypervisors(cloud)):
        await world.until(NODE, "node0", is_ready)
        await world.make(VIRTUAL_MACHINE, "testvm", namespace="room", finalizers=finalizers, spec=spec)
        await world.until(
            VIRTUAL_MACHINE, "testvm", lambda vm: vm["status"]["phase"] == "Running" if "status" in vm else False,
            namespace="room",
        )  # fmt: skip
        assert [guest.domain.state for guest in cloud["node0"].guests.values()] == [State.RUNNING]
        await world.delete(NAMESPACE, "room")
        await world.until_gone(NAMESPACE, "room")

    assert list(cloud["node0"].guests) == []
    assert await left_in(world.store, "room") == []
    await cloud.close()


async def test_the_pod_of_a_running_guest_holds_the_namespace(world: World) -> None:
    labels = {names.APP: names.APP_LAUNCHER}
    await world.make(POD, "running", namespace="room", labels=labels, spec={}, status={"phase": "Running"})

    async with leading(world.store):
        await world.delete(NAMESPACE, "room")
        told = await world.until(NAMESPACE, "room", lambda room: bool(condition(room, "NamespaceContentRemaining")))
        pod = await world.until(POD, "running", bool, namespace="room")
        await edit(world.store.objects, Key(POD.resource, "room", "running"),
                   lambda pod: {**pod, "status": {"phase": "Succeeded"}})  # fmt: skip
        await world.until_gone(NAMESPACE, "room")

    assert "pods. has 1 resource instances" in condition(told, "NamespaceContentRemaining")["message"]
    assert "deletionTimestamp" not in pod["metadata"]


async def test_finalize_changes_the_finalizers_of_the_content_and_metadata_beside_them(
    world: World, client: httpx.AsyncClient
) -> None:
    room = (await client.get(ROOM)).json()
    room["metadata"]["labels"] = {"a": "b"}
    room["spec"]["finalizers"].append("a.io/b")

    changed = await client.put(f"{ROOM}/finalize", json=room)
    replaced = await client.put(ROOM, json={**changed.json(), "spec": {"finalizers": []}})
    bad = await client.put(f"{ROOM}/finalize", json={**replaced.json(), "spec": {"finalizers": ["bad"]}})
    stale = await client.put(f"{ROOM}/finalize", json=room)
    missing = await client.put("/api/v1/namespaces/nope/finalize", json=room)

    assert changed.json()["spec"]["finalizers"] == ["kubernetes", "a.io/b"]
    assert changed.json()["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": room["metadata"]["name"]}
    assert replaced.json()["spec"]["finalizers"] == ["kubernetes", "a.io/b"]
    assert (bad.status_code, stale.status_code, missing.status_code) == (422, 409, 404)


async def test_finalize_ends_a_namespace_whatever_is_in_it(world: World, client: httpx.AsyncClient) -> None:
    """As in Kubernetes: the last resort of who knows better."""
    await client.delete(ROOM)
    room = (await client.get(ROOM)).json()

    dry = await client.put(f"{ROOM}/finalize?dryRun=All", json={**room, "spec": {}})
    still = await client.get(ROOM)
    answer = await client.put(f"{ROOM}/finalize", json={**room, "spec": {}})

    assert (dry.status_code, still.status_code, answer.status_code) == (200, 200, 200)
    assert (await client.get(ROOM)).status_code == 404


async def test_a_namespace_from_before_it_had_finalizers_is_emptied_too(world: World) -> None:
    await world.make(NAMESPACE, "old", status={"phase": "Active"})
    await world.make(MIGRATION, "in-old", namespace="old", spec={"selector": {"name": "testvm"}})

    async with leading(world.store):
        await world.delete(NAMESPACE, "old")
        await world.until_gone(NAMESPACE, "old")

    assert await left_in(world.store, "old") == []


async def test_a_new_namespace_of_the_name_is_empty(world: World, client: httpx.AsyncClient) -> None:
    async with leading(world.store):
        for _ in range(3):
            await world.make(MIGRATION, "m", namespace="room", spec={"selector": {"name": "testvm"}})
            await client.delete(ROOM)
            await world.until_gone(NAMESPACE, "room")
            await world.room("room")

    assert await left_in(world.store, "room") == []
    assert (await world.store.objects.list(Scope(EVENT.resource, "room"))).items == []
