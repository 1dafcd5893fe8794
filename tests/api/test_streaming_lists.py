"""Streaming lists: a watch that tells everything there is, says when that is complete, and goes on from there."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.kinds import ALL
from app.machinery.kind import Kind
from app.store.base import Store
from tests.api.builders import KV, MACHINES, NODES, annotated, labelled, machine, node
from tests.api.watched import PARTIAL, TABLE, Watched, watching

END = {"k8s.io/initial-events-end": "true"}
STREAMED: dict[str, Any] = {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}


async def make_nodes(client: httpx.AsyncClient, *names: str) -> str:
    """Their last resourceVersion."""
    for name in names:
        made = await client.post(NODES, json=labelled(node(name), name=name))
    version: str = made.json()["metadata"]["resourceVersion"]
    return version


async def listed(watched: Watched) -> tuple[list[str], str]:
    """The names that the list tells, and the revision of the bookmark that ends it."""
    names = []
    while (event := await watched.next())["type"] == "ADDED":
        names.append(event["object"]["metadata"]["name"])
    assert event["type"] == "BOOKMARK"
    assert event["object"]["metadata"]["annotations"] == END
    return names, event["object"]["metadata"]["resourceVersion"]


async def test_a_streaming_list_tells_all_then_its_end_then_every_change(
    remote: httpx.AsyncClient, store: Store
) -> None:
    await make_nodes(remote, "node0", "node1")

    async with watching(remote, NODES, **STREAMED) as watched:
        names, version = await listed(watched)
        await make_nodes(remote, "node2")
        seen = await watched.seen()

    assert names == ["node0", "node1"]
    assert seen == ("ADDED", "node2")
    assert int(version) == await store.objects.revision() - 1


async def test_the_end_of_a_custom_list_carries_nothing_but_its_metadata(remote: httpx.AsyncClient) -> None:
    made = (await remote.post(MACHINES, json=machine())).json()

    async with watching(remote, MACHINES, **STREAMED) as watched:
        added, end = await watched.next(), await watched.next()

    assert added == {"type": "ADDED", "object": made}
    assert end == {
        "type": "BOOKMARK",
        "object": {
            "apiVersion": "kubevirt.io/v1alpha1",
            "kind": "VirtualMachine",
            "metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "annotations": END},
        },
    }


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
@pytest.mark.parametrize("headers", [{}, TABLE, PARTIAL], ids=["objects", "table", "metadata"])
async def test_every_kind_can_be_listed_so_in_every_form(
    remote: httpx.AsyncClient, kind: Kind[Any, Any], headers: dict[str, str]
) -> None:
    """A table's end is a row, because only an object has annotations."""
    async with watching(remote, f"{kind.group_version.path}/{kind.plural}", headers, **STREAMED) as watched:
        while (event := await watched.next())["type"] == "ADDED":
            assert kind.name == "Namespace"

    end = event["object"]["rows"][0]["object"] if headers is TABLE else event["object"]
    assert event["type"] == "BOOKMARK"
    assert end["metadata"]["annotations"] == END
    assert end["kind"] == ("PartialObjectMetadata" if headers else kind.name)


async def test_a_streamed_table_tells_its_columns_once(remote: httpx.AsyncClient) -> None:
    await make_nodes(remote, "node0")

    async with watching(remote, NODES, TABLE, **STREAMED) as watched:
        first, end = await watched.next(), await watched.next()

    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
    assert first["object"]["rows"][0]["cells"][0] == "node0"
    assert end["object"]["columnDefinitions"] is None
    assert end["object"]["metadata"]["resourceVersion"] == first["object"]["metadata"]["resourceVersion"]


async def test_a_streaming_list_keeps_to_its_selectors(remote: httpx.AsyncClient) -> None:
    await make_nodes(remote, "node0", "node1", "node2")

    async with watching(remote, NODES, labelSelector="name in (node1,node3)", **STREAMED) as watched:
        names, _ = await listed(watched)
        await make_nodes(remote, "node4", "node3")
        seen = await watched.seen()

    assert names == ["node1"]
    assert seen == ("ADDED", "node3")


async def test_the_list_is_at_least_as_new_as_the_revision_asked_for(remote: httpx.AsyncClient) -> None:
    old = await make_nodes(remote, "node0")
    newest = await make_nodes(remote, "node1")

    async with watching(remote, NODES, resourceVersion=old, **STREAMED) as watched:
        names, version = await listed(watched)
    async with watching(remote, NODES, resourceVersion="0", **STREAMED) as watched:
        any_names, _ = await listed(watched)

    assert (names, any_names) == (["node0", "node1"], ["node0", "node1"])
    assert version == newest


async def test_a_revision_that_comes_soon_is_waited_for(remote: httpx.AsyncClient, store: Store) -> None:
    ahead = await store.objects.revision() + 1

    async with watching(remote, NODES, resourceVersion=str(ahead), **STREAMED) as watched:
        await make_nodes(remote, "node0")
        names, _ = await listed(watched)

    assert names == ["node0"]


async def test_a_revision_far_ahead_is_an_error_frame(remote: httpx.AsyncClient, store: Store) -> None:
    current = await store.objects.revision()

    async with watching(remote, NODES, resourceVersion="99999999", **STREAMED) as watched:
        events = await watched.rest()

    assert [event["type"] for event in events] == ["ERROR"]
    assert events[0]["object"]["code"] == 504
    assert events[0]["object"]["reason"] == "Timeout"
    assert events[0]["object"]["message"] == f"Timeout: Too large resource version: 99999999, current: {current}"
    assert events[0]["object"]["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert events[0]["object"]["details"]["retryAfterSeconds"] == 1


async def test_without_bookmarks_the_end_is_not_told(remote: httpx.AsyncClient) -> None:
    await make_nodes(remote, "node0")

    async with watching(remote, NODES, **STREAMED | {"allowWatchBookmarks": "false"}) as watched:
        seen = [await watched.seen()]
        await make_nodes(remote, "node1")
        seen.append(await watched.seen())

    assert seen == [("ADDED", "node0"), ("ADDED", "node1")]


@pytest.mark.parametrize("start", [{}, {"resourceVersion": "0"}], ids=["unset", "zero"])
async def test_no_initial_events_means_from_now_on(remote: httpx.AsyncClient, start: dict[str, str]) -> None:
    await make_nodes(remote, "node0")
    options: dict[str, Any] = STREAMED | {"sendInitialEvents": "false"} | start

    async with watching(remote, NODES, timeoutSeconds="3", **options) as watched:
        events = await watched.rest()

    assert [event["type"] for event in events] == ["BOOKMARK"]
    assert "annotations" not in events[0]["object"]["metadata"]


async def test_no_initial_events_from_a_revision_tells_what_came_later(remote: httpx.AsyncClient) -> None:
    old = await make_nodes(remote, "node0")
    await make_nodes(remote, "node1")
    options: dict[str, Any] = STREAMED | {"sendInitialEvents": "false", "resourceVersion": old}

    async with watching(remote, NODES, **options) as watched:
        seen = await watched.seen()

    assert seen == ("ADDED", "node1")


async def test_nothing_is_lost_or_told_twice_between_the_list_and_the_changes(remote: httpx.AsyncClient) -> None:
    """Whenever it begins: twenty streaming lists are opened while forty changes are made."""

    async def write() -> None:
        for number in range(40):
            await make_nodes(remote, f"node{number}")

    async def read() -> list[str]:
        async with watching(remote, NODES, **STREAMED) as watched:
            names, _ = await listed(watched)
            while len(names) < 40:
                names.append((await watched.seen())[1])
        return names

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        readers = [group.create_task(read()) for _ in range(20)]

    assert [sorted(reader.result()) for reader in readers] == [sorted(f"node{n}" for n in range(40))] * 20


async def test_a_streaming_list_ends_in_time_with_a_bookmark(remote: httpx.AsyncClient) -> None:
    await make_nodes(remote, "node0")

    async with watching(remote, NODES, timeoutSeconds="3", **STREAMED) as watched:
        events = await watched.rest()

    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "BOOKMARK"]
    assert "annotations" not in events[2]["object"]["metadata"]


async def test_large_lists_are_streamed_whole(remote: httpx.AsyncClient) -> None:
    for number in range(5):
        await remote.post(NODES, json=annotated(node(f"node{number}"), large="x" * 200_000))

    async with watching(remote, f"{KV}/nodes", **STREAMED) as watched:
        names, _ = await listed(watched)

    assert names == [f"node{number}" for number in range(5)]
