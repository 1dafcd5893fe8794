"""The garbage collector's laws, on the real store, with everything that one process does for all running beside it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.controllers.ownership import Delete, Keep, Standing, Strip, judge
from app.kinds import EVENT, MIGRATION, NODE, POD, names
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.store.base import Event, Key, NotFound, Run, Scope, Store, edit
from tests.controllers.world import World, leading

SPEC: Document = {"selector": {"name": "testvm"}}
FOREGROUND: Document = {"propagationPolicy": "Foreground"}
ORPHAN: Document = {"propagationPolicy": "Orphan"}


def reference(owner: Document, *, blocks: bool = False, **changes: Any) -> Document:
    """To that object; `changes` make it a wrong one."""
    metadata = owner["metadata"]
    pointed = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {**pointed, **({"blockOwnerDeletion": True} if blocks else {}), **changes}


async def made(world: World, name: str, *owners: Document, **more: Any) -> Document:
    """A Migration, which nobody here looks after: it is whatever its metadata say."""
    return await world.make(MIGRATION, name, owners=owners, spec=SPEC, **more)


async def owners_of(world: World, name: str) -> list[str]:
    stored = await world.store.objects.get(Key(MIGRATION.resource, "default", name))
    return [owner["name"] for owner in stored.document["metadata"].get("ownerReferences", [])]


async def is_there(world: World, kind: Kind[Any, Any], name: str, namespace: str = "default") -> bool:
    try:
        await world.store.objects.get(Key(kind.resource, namespace if kind.namespaced else "", name))
    except NotFound:
        return False
    return True


async def deleted_since(store: Store, since: int, last: str) -> list[str]:
    """The names of what went, in order, up to that one."""
    gone: list[str] = []
    async with store.objects.watch(Scope(MIGRATION.resource), since) as watch:
        while last not in gone:
            event: Event | None = await watch.next(20)
            assert event is not None, f"{last} never went: {gone}"
            if event.type == "DELETED":
                gone.append(event.object.key.name)
    return gone


async def test_what_was_owned_goes_after_its_owner(store: Store) -> None:
    world = World(store)
    owner = await made(world, "owner")
    child = await made(world, "child", reference(owner))
    await made(world, "grandchild", reference(child))

    async with leading(store):
        since = await store.objects.revision()
        await world.delete(MIGRATION, "owner")

        assert await deleted_since(store, since, "grandchild") == ["owner", "child", "grandchild"]


async def test_what_was_orphaned_while_nobody_looked_goes_too(store: Store) -> None:
    world = World(store)
    owner = await made(world, "owner")
    await made(world, "child", reference(owner))
    await world.delete(MIGRATION, "owner")

    async with leading(store):
        await world.until_gone(MIGRATION, "child")


async def test_what_another_still_owns_only_loses_a_reference(store: Store) -> None:
    world = World(store)
    first, second = await made(world, "first"), await made(world, "second")
    await made(world, "child", reference(first), reference(second))

    async with leading(store):
        await world.delete(MIGRATION, "first")
        await world.settles(lambda: owners_of(world, "child"), ["second"])
        await world.delete(MIGRATION, "second")
        await world.until_gone(MIGRATION, "child")


async def test_in_the_foreground_the_owner_goes_last(store: Store) -> None:
    world = World(store)
    owner = await made(world, "owner")
    child = await made(world, "child", reference(owner, blocks=True), finalizers=["a.io/b"])
    await made(world, "grandchild", reference(child, blocks=True))

    async with leading(store):
        since = await store.objects.revision()
        await world.delete(MIGRATION, "owner", options=FOREGROUND)
        held = await world.until(MIGRATION, "child", lambda child: child["metadata"].get("finalizers") == ["a.io/b"]
                                 and "deletionTimestamp" in child["metadata"])  # fmt: skip
        assert await is_there(world, MIGRATION, "owner")
        await store.objects.delete(Key(MIGRATION.resource, "default", held["metadata"]["name"]))

        assert await deleted_since(store, since, "owner") == ["grandchild", "child", "owner"]


async def test_a_dependent_that_does_not_block_holds_up_nobody(store: Store) -> None:
    world = World(store)
    owner = await made(world, "owner")
    await made(world, "held", reference(owner), finalizers=["a.io/b"])

    async with leading(store):
        await world.delete(MIGRATION, "owner", options=FOREGROUND)
        await world.until_gone(MIGRATION, "owner")
        await world.until(MIGRATION, "held", lambda held: "deletionTimestamp" in held["metadata"])


async def test_orphans_stay_and_name_their_owner_no_more(store: Store) -> None:
    world = World(store)
    owner, other = await made(world, "owner"), await made(world, "other")
    await made(world, "child", reference(owner, blocks=True))
    await made(world, "shared", reference(owner), reference(other))

    async with leading(store):
        await world.delete(MIGRATION, "owner", options=ORPHAN)
        await world.until_gone(MIGRATION, "owner")

        assert (await owners_of(world, "child"), await owners_of(world, "shared")) == ([], ["other"])
        await made(world, "sign", reference(owner))
        await world.until_gone(MIGRATION, "sign")
        assert await is_there(world, MIGRATION, "child")


async def test_a_dependent_made_just_before_its_owner_is_orphaned_stays(store: Store) -> None:
    world = World(store)

    async with leading(store):
        for number in range(20):
            owner = await made(world, f"owner{number}")
            await made(world, f"child{number}", reference(owner))
            await world.delete(MIGRATION, f"owner{number}", options=ORPHAN)
        for number in range(20):
            await world.until_gone(MIGRATION, f"owner{number}")

    assert [await owners_of(world, f"child{number}") for number in range(20)] == [[]] * 20


async def test_another_object_under_the_owners_name_is_not_the_owner(store: Store) -> None:
    world = World(store)
    owner = await made(world, "owner")
    await made(world, "child", reference(owner, uid=str(uuid4())))

    async with leading(store):
        await world.until_gone(MIGRATION, "child")

    assert await is_there(world, MIGRATION, "owner")


async def test_a_reference_into_another_namespace_counts_for_nothing_and_is_told(store: Store) -> None:
    world = World(store)
    for name in ("default", "room"):
        await world.room(name)
    afar = await made(world, "afar", namespace="room")
    gone = await made(world, "gone")
    await made(world, "stays", reference(afar))
    await made(world, "goes", reference(afar), reference(gone))

    async with leading(store):
        await world.delete(MIGRATION, "gone")
        await world.until_gone(MIGRATION, "goes")
        (told, *_) = [event for event in await world.events("OwnerRefInvalidNamespace")
                      if event["involvedObject"]["name"] == "stays"]  # fmt: skip

    assert await owners_of(world, "stays") == ["afar"]
    assert told["type"] == "Warning"
    assert told["message"] == (
        f"ownerRef [kubevirt.io/v1alpha1/Migration, name: afar, uid: {afar['metadata']['uid']}] "
        'does not exist in namespace "default"'
    )


async def test_a_node_may_own_what_is_in_namespaces_and_nothing_there_owns_a_node(store: Store) -> None:
    world = World(store)
    node = await world.node("node0", "qemu:///session")
    await made(world, "of-node", reference(node))
    await made(world, "of-node-by-its-other-group", reference(node, apiVersion="kubevirt.io/v1alpha1"))
    owned = reference(await made(world, "owner"), uid=str(uuid4()))
    await world.make(NODE, "node1", owners=[owned], spec={"providerID": "qemu:///session"})

    async with leading(store):
        await world.settles(lambda: told_of(world), {"node1"})
        await world.delete(NODE, "node0")
        await world.until_gone(MIGRATION, "of-node")
        await world.until_gone(MIGRATION, "of-node-by-its-other-group")

    assert await is_there(world, NODE, "node1")


async def told_of(world: World) -> set[str]:
    return {event["involvedObject"]["name"] for event in await world.events("OwnerRefInvalidNamespace")}


async def test_an_owner_of_a_kind_that_is_not_kept_here_is_not_judged(store: Store) -> None:
    world = World(store)
    foreign = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": str(uuid4())}
    gone = await made(world, "gone")
    await made(world, "foreign", foreign)
    await made(world, "both", foreign, reference(gone))

    async with leading(store):
        await world.delete(MIGRATION, "gone")
        await world.settles(lambda: owners_of(world, "both"), ["d"])

    assert await owners_of(world, "foreign") == ["d"]


async def test_two_that_own_each_other_go_in_the_foreground(store: Store) -> None:
    world = World(store)
    first = await made(world, "first")
    second = await made(world, "second", reference(first, blocks=True))

    def ring(document: Document) -> Document:
        metadata = {**document["metadata"], "ownerReferences": [reference(second, blocks=True)]}
        return {**document, "metadata": metadata}

    await edit(store.objects, Key(MIGRATION.resource, "default", "first"), ring)

    async with leading(store):
        await world.delete(MIGRATION, "first", options=FOREGROUND)
        await world.until_gone(MIGRATION, "first")
        await world.until_gone(MIGRATION, "second")


async def test_the_pod_of_a_running_guest_outlives_whoever_owned_it(store: Store) -> None:
    world = World(store)
    # Not a VirtualMachine: its own controller may take its pods.
    owner = await made(world, "owner")
    for name, phase in (("running", "Running"), ("over", "Succeeded")):
        labels = {names.APP: names.APP_LAUNCHER}
        owners = [reference(owner, blocks=True, controller=True)]
        await world.make(POD, name, labels=labels, owners=owners, spec={"nodeName": "node0"}, status={"phase": phase})

    async with leading(store):
        await world.delete(MIGRATION, "owner", options=FOREGROUND)
        await world.until_gone(POD, "over")
        kept = await world.until(POD, "running", lambda _: True)
        assert "deletionTimestamp" not in kept["metadata"]
        assert await is_there(world, MIGRATION, "owner")

        await edit(store.objects, Key(POD.resource, "default", "running"),
                   lambda pod: {**pod, "status": {"phase": "Succeeded"}})  # fmt: skip
        await world.until_gone(POD, "running")
        await world.until_gone(MIGRATION, "owner")


async def test_the_pod_of_a_running_process_outlives_its_migration(store: Store) -> None:
    world = World(store)
    migration = await made(world, "move")
    uid = migration["metadata"]["uid"]
    run = Run(uuid4(), Key(MIGRATION.resource, "default", "move"), UUID(uid), uuid4(), "node0", "node1", 1, {})
    async with store.transaction() as tx:
        tx.start_run(run)
    for name, of in (("moves", uid), ("idle", str(uuid4()))):
        labels = {names.APP: names.APP_MIGRATION, names.MIGRATION_UID: of}
        await world.make(POD, name, labels=labels, owners=[reference(migration)], spec={}, status={"phase": "Running"})

    async with leading(store):
        await world.delete(MIGRATION, "move")
        await world.until_gone(POD, "idle")
        kept = await world.until(POD, "moves", lambda _: True)

    assert "deletionTimestamp" not in kept["metadata"]


async def test_events_are_no_garbage(store: Store) -> None:
    """They name what they are about, and do not belong to it."""
    world = World(store)
    owner = await made(world, "owner")
    await world.make(
        EVENT, "told", involvedObject={"namespace": "default", "uid": owner["metadata"]["uid"]}, reason="R"
    )
    await made(world, "child", reference(owner))

    async with leading(store):
        await world.delete(MIGRATION, "owner")
        await world.until_gone(MIGRATION, "child")

    assert await is_there(world, EVENT, "told")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_deleted_exactly_what_nobody_owns_goes(store: Store, seed: int) -> None:
    """Forty objects with up to three owners each; ten are deleted by any policy, some of them at once."""
    chance, world = random.Random(seed), World(store)
    owners: dict[str, list[str]] = {}
    documents: dict[str, Document] = {}
    for number in range(40):
        chosen = chance.sample(sorted(documents), min(len(documents), chance.choice((0, 0, 1, 1, 2, 3))))
        named = [reference(documents[name], blocks=chance.random() < 0.5) for name in chosen]
        owners[f"m{number}"] = chosen
        documents[f"m{number}"] = await made(world, f"m{number}", *named)
    victims = {name: chance.choice(({}, FOREGROUND)) for name in chance.sample(sorted(documents), 10)}

    async with leading(store):
        for name, options in victims.items():
            if await is_there(world, MIGRATION, name):
                await delete_if_there(world, name, options)
        await world.settles(lambda: present(world), left(owners, set(victims)))


async def delete_if_there(world: World, name: str, options: Document) -> None:
    """It may go by itself at this moment."""
    try:
        await world.delete(MIGRATION, name, options=options)
    except NotFound:
        return


async def present(world: World) -> dict[str, list[str]]:
    """What is there, with the owners that it names."""
    listing = await world.store.objects.list(Scope(MIGRATION.resource))
    return {
        stored.key.name: sorted(owner["name"] for owner in stored.document["metadata"].get("ownerReferences", []))
        for stored in listing.items
    }


def left(owners: Mapping[str, Sequence[str]], victims: set[str]) -> dict[str, list[str]]:
    """The model: whoever had owners and has none that is left goes, again and again."""
    there = set(owners) - victims
    while lost := {name for name in there if owners[name] and not there & set(owners[name])}:
        there -= lost
    return {name: sorted(there & set(owners[name])) for name in there}


JUDGED: list[tuple[list[Standing], list[str], bool, object]] = [
    ([], [], False, Keep()),
    ([Standing.SOLID], [], False, Keep()),
    ([Standing.ELSEWHERE], [], False, Keep()),
    ([Standing.ELSEWHERE, Standing.SOLID], [], False, Keep()),
    ([Standing.GONE], [], True, Delete("Background")),
    ([Standing.GONE, Standing.ELSEWHERE], [], False, Delete("Background")),
    ([Standing.GONE], ["orphan"], False, Delete("Orphan")),
    ([Standing.GONE], ["foregroundDeletion"], False, Delete("Foreground")),
    ([Standing.WAITING], [], False, Delete("Background")),
    ([Standing.WAITING], [], True, Delete("Foreground")),
    ([Standing.GONE, Standing.SOLID], [], True, Strip(frozenset("0"))),
    ([Standing.WAITING, Standing.SOLID, Standing.GONE], [], True, Strip(frozenset("02"))),
]


@pytest.mark.parametrize(("standings", "finalizers", "has_dependents", "expected"), JUDGED)
def test_owners_decide(
    standings: list[Standing], finalizers: list[str], has_dependents: bool, expected: object
) -> None:
    by_uid = {str(number): standing for number, standing in enumerate(standings)}

    assert expected == judge({"metadata": {"finalizers": finalizers}}, by_uid, has_dependents=has_dependents)
