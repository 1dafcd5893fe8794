"""Watches over a real connection: every change once, in order, in the asked form, and a clean end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest

from app.api.application import Api, create_api
from app.api.watch import moments
from app.kinds import ALL
from app.machinery.protobuf import of_protobuf
from app.store.base import Store, Unavailable
from app.store.feed import Feed
from app.store.postgres import PostgresStore
from tests.api.builders import KV, MACHINES, MIGRATIONS, NODES, labelled, machine, migration, node
from tests.api.watched import PARTIAL, TABLE, Watched, changed, watching


async def test_a_watch_tells_the_state_then_every_change(remote: httpx.AsyncClient) -> None:
    await remote.post(NODES, json=node("node0"))

    async with watching(remote, NODES) as watched:
        seen = [await watched.seen()]
        await remote.post(NODES, json=node("node1"))
        await changed(remote, f"{NODES}/node0", {"spec": {"unschedulable": True}})
        await remote.delete(f"{NODES}/node1")
        seen += [await watched.seen() for _ in range(3)]

    assert seen == [("ADDED", "node0"), ("ADDED", "node1"), ("MODIFIED", "node0"), ("DELETED", "node1")]
    assert watched.response.headers["content-type"] == "application/json"
    assert watched.response.headers["transfer-encoding"] == "chunked"


async def test_a_watch_from_a_revision_tells_only_what_came_later(remote: httpx.AsyncClient) -> None:
    first = (await remote.post(NODES, json=node("node0"))).json()
    second = (await remote.post(NODES, json=node("node1"))).json()

    async with watching(remote, NODES, resourceVersion=first["metadata"]["resourceVersion"]) as watched:
        event = await watched.next()

    assert event == {"type": "ADDED", "object": second}


async def test_a_deletion_is_told_under_its_own_revision(remote: httpx.AsyncClient) -> None:
    made = (await remote.post(NODES, json=node("node0"))).json()

    async with watching(remote, NODES, resourceVersion=made["metadata"]["resourceVersion"]) as watched:
        await remote.delete(f"{NODES}/node0")
        event = await watched.next()

    assert event["type"] == "DELETED"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_objects_enter_and_leave_a_selector(remote: httpx.AsyncClient) -> None:
    await remote.post(NODES, json=labelled(node("node0"), disk="hdd"))

    async with watching(remote, NODES, labelSelector="disk=ssd") as watched:
        await changed(remote, f"{NODES}/node0", {"metadata": {"labels": {"disk": "ssd"}}})
        entered = await watched.seen()
        left = await changed(remote, f"{NODES}/node0", {"metadata": {"labels": {"disk": "tape"}}})
        event = await watched.next()

    assert entered == ("ADDED", "node0")
    assert event["type"] == "DELETED"
    assert event["object"]["metadata"]["labels"]["disk"] == "ssd"
    assert event["object"]["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]


async def test_one_object_is_watched_by_its_name(remote: httpx.AsyncClient) -> None:
    async with watching(remote, NODES, fieldSelector="metadata.name=node1") as watched:
        await remote.post(NODES, json=node("node0"))
        await remote.post(NODES, json=node("node1"))
        seen = await watched.seen()

    assert seen == ("ADDED", "node1")


async def test_the_old_watch_path_still_watches(remote: httpx.AsyncClient) -> None:
    await remote.post(MIGRATIONS, json=migration())

    async with remote.stream("GET", f"{KV}/watch/namespaces/default/migrations") as response:
        seen = await Watched(response).seen()

    assert seen == ("ADDED", "testvm-migration")


async def test_a_write_that_changes_nothing_is_not_told(remote: httpx.AsyncClient) -> None:
    made = (await remote.post(NODES, json=node("node0"))).json()

    async with watching(remote, NODES, resourceVersion=made["metadata"]["resourceVersion"]) as watched:
        same = await changed(remote, f"{NODES}/node0", {"spec": {"providerID": made["spec"]["providerID"]}})
        await changed(remote, f"{NODES}/node0", {"metadata": {"labels": {"a": "b"}}})
        event = await watched.next()

    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert event["object"]["metadata"]["labels"]["a"] == "b"


async def test_finalizers_make_a_deletion_two_changes(remote: httpx.AsyncClient) -> None:
    made = (await remote.post(MACHINES, json=machine())).json()

    async with watching(remote, MACHINES, resourceVersion=made["metadata"]["resourceVersion"]) as watched:
        await remote.delete(f"{MACHINES}/testvm")
        marked = await watched.next()
        await changed(remote, f"{MACHINES}/testvm", {"metadata": {"finalizers": None}})
        gone = await watched.next()

    assert (marked["type"], gone["type"]) == ("MODIFIED", "DELETED")
    assert "deletionTimestamp" in marked["object"]["metadata"]


async def test_a_second_group_is_watched_in_its_own_words(remote: httpx.AsyncClient) -> None:
    await remote.post(NODES, json=node("node0"))

    async with watching(remote, f"{KV}/nodes") as watched:
        event = await watched.next()

    assert event["object"]["apiVersion"] == "kubevirt.io/v1alpha1"
    assert event["object"]["metadata"]["selfLink"] == f"{KV}/nodes/node0"


async def test_a_table_watch_tells_its_columns_once(remote: httpx.AsyncClient) -> None:
    await remote.post(NODES, json=node("node0"))

    async with watching(remote, NODES, TABLE) as watched:
        first = await watched.next()
        await remote.post(NODES, json=node("node1"))
        second = await watched.next()

    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "node1"
    assert second["object"]["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_metadata_alone_is_watched(remote: httpx.AsyncClient) -> None:
    await remote.post(NODES, json=node("node0"))

    async with watching(remote, NODES, PARTIAL) as watched:
        event = await watched.next()

    assert set(event["object"]) == {"kind", "apiVersion", "metadata"}
    assert event["object"]["kind"] == "PartialObjectMetadata"


async def test_a_watch_ends_when_its_time_is_over(remote: httpx.AsyncClient) -> None:
    async with watching(remote, NODES, timeoutSeconds="1") as watched:
        rest = await watched.rest()

    assert rest == []


@pytest.mark.parametrize(
    ("ends", "bookmarks", "expected"),
    [
        (150.0, True, [(60.0, True), (120.0, True), (148.0, True), (150.0, False)]),
        (122.0, True, [(60.0, True), (120.0, True), (122.0, False)]),
        (3.0, True, [(1.0, True), (3.0, False)]),
        (1.0, True, [(1.0, False)]),
        (150.0, False, [(150.0, False)]),
    ],
)
def test_bookmarks_come_every_minute_and_before_the_end(
    ends: float, bookmarks: bool, expected: list[tuple[float, bool]]
) -> None:
    assert list(moments(0.0, ends, bookmarks=bookmarks)) == expected


async def test_a_bookmark_comes_shortly_before_the_end(remote: httpx.AsyncClient, store: Store) -> None:
    await remote.post(NODES, json=node("node0"))
    revision = await store.objects.revision()
    before = str(revision - 1)

    async with watching(
        remote, NODES, resourceVersion=before, timeoutSeconds="3", allowWatchBookmarks="true"
    ) as watched:
        events = await watched.rest()

    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    # An empty Node, as Go writes it.
    status = events[1]["object"].pop("status")
    assert (status["daemonEndpoints"], status["nodeInfo"]["machineID"]) == ({"kubeletEndpoint": {"Port": 0}}, "")
    assert events[1]["object"] == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"resourceVersion": str(revision)},
        "spec": {},
    }


async def test_a_compacted_revision_is_an_error_frame(
    client: httpx.AsyncClient, store: Store, postgres_url: str
) -> None:
    for name in ("node0", "node1", "node2"):
        await client.post(NODES, json=node(name))
    await store.compact(older_than=timedelta(0), keep=1)

    # Another process, which remembers nothing of what is gone from the log.
    async with another_process(postgres_url) as other:
        answer = await other.get(NODES, params={"watch": "1", "resourceVersion": "1"})

    events = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.status_code == 200
    assert [event["type"] for event in events] == ["ERROR"]
    assert events[0]["object"]["code"] == 410
    assert events[0]["object"]["reason"] == "Expired"
    assert events[0]["object"]["message"].startswith("too old resource version: 1 (")


@asynccontextmanager
async def another_process(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """An API over a store of its own on the same database."""
    store = PostgresStore(postgres_url)
    await store.open()
    try:
        transport = httpx.ASGITransport(app=create_api(store, ALL, version="v1.36.0+drover-test"))
        async with httpx.AsyncClient(transport=transport, base_url="http://drover") as opened:
            yield opened
    finally:
        await store.close()


async def test_a_revision_that_is_to_come_is_waited_for(remote: httpx.AsyncClient, store: Store) -> None:
    ahead = await store.objects.revision() + 1

    async with watching(remote, NODES, resourceVersion=str(ahead)) as watched:
        await remote.post(NODES, json=node("node0"))
        await remote.post(NODES, json=node("node1"))
        seen = await watched.seen()

    assert seen == ("ADDED", "node1")


async def test_many_watchers_see_the_same_changes_in_order(remote: httpx.AsyncClient) -> None:
    names = [f"node{number}" for number in range(20)]

    async def watch() -> list[str]:
        async with watching(remote, NODES, timeoutSeconds="20") as watched:
            ready.release()
            return [(await watched.seen())[1] for _ in names]

    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(watch()) for _ in range(5)]
        for _ in watchers:
            await ready.acquire()
        for name in names:
            await remote.post(NODES, json=node(name))

    assert [task.result() for task in watchers] == [names] * 5


async def test_ending_the_streams_closes_watches_cleanly(remote: httpx.AsyncClient, api: Api) -> None:
    await remote.post(NODES, json=node("node0"))

    async with watching(remote, NODES) as watched:
        await watched.seen()
        api.end_streams()
        rest = await watched.rest()
    async with watching(remote, NODES) as late:
        nothing = await late.rest()

    assert (rest, nothing) == ([], [])


PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize("path, accept, kind", [
    (NODES, PROTOBUF, "Node"),
    (MACHINES, f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "PartialObjectMetadata"),
])  # fmt: skip
async def test_a_watch_in_protobuf_is_told_in_frames(
    remote: httpx.AsyncClient, path: str, accept: str, kind: str
) -> None:
    await remote.post(path, json=node("it") if kind == "Node" else machine("it"))
    query = {"watch": "1", "timeoutSeconds": "3", "allowWatchBookmarks": "true"}

    answer = await remote.get(path, params=query, headers={"accept": accept})

    assert answer.headers["content-type"] == f"{PROTOBUF};stream=watch"
    first, told = framed(answer.content), []
    for event in first:
        document = of_protobuf(event.partition(b"k8s\0")[1] + event.partition(b"k8s\0")[2])
        told.append((document["kind"], document["metadata"].get("name"), document["metadata"]["resourceVersion"] != ""))
    # What there is, that this was all of it, and a last bookmark.
    assert told == [(kind, "it", True), (kind, None, True), (kind, None, True)]


def framed(content: bytes) -> list[bytes]:
    """The frames, each of which says how long it is."""
    frames = []
    while content:
        length = int.from_bytes(content[:4])
        frames.append(content[4 : 4 + length])
        content = content[4 + length :]
    return frames


async def test_while_the_log_is_not_read_a_watch_is_503_before_it_begins(
    store: PostgresStore, remote: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As just after an outage: the database answers again, and nobody has read on yet. An ERROR in a watch would make a client
    list anew; 503 lets it come back with its revision."""
    made = (await remote.post(NODES, json=node("node0"))).json()
    asked = {"watch": "1", "resourceVersion": made["metadata"]["resourceVersion"], "timeoutSeconds": "1"}
    feed = store.objects._feed

    async def away(_: Feed) -> None:
        raise Unavailable("PostgreSQL: TimeoutError")

    with monkeypatch.context() as outage:
        outage.setattr(feed, "_patience_s", 0.0)
        outage.setattr(Feed, "_read_on", away)
        async with asyncio.timeout(10):
            while not feed.lost:  # noqa: ASYNC110  (it sends no event)
                await asyncio.sleep(0.05)
        listed = await remote.get(NODES)
        refused = await remote.get(NODES, params=asked)
    async with asyncio.timeout(10):
        while (later := await remote.get(NODES, params=asked)).status_code == 503:  # noqa: ASYNC110  (a client)
            await asyncio.sleep(0.2)

    assert listed.status_code == 200
    assert (refused.status_code, refused.json()["reason"]) == (503, "ServiceUnavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert (later.status_code, later.content) == (200, b"")
