"""A history checker: writers and cut watchers on two API processes; what everybody saw must be one and the same log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

import httpx
import pytest

from app.store.postgres import PostgresStore
from tests.api.builders import NODES, labelled, make_namespace, node
from tests.api.informer import Informer
from tests.api.processes import line, running

Document = dict[str, Any]
State = Mapping[str, Document]
"""Objects by their name."""

NAMES = [f"node{number}" for number in range(6)]
COLORS = ("red", "green", "blue")
MERGE = {"content-type": "application/merge-patch+json"}
RED = {"labelSelector": "color=red"}


@dataclass(frozen=True)
class Write:
    """An acknowledged write: what the log must have of it, exactly once."""

    type: str
    uid: str
    document: Document | None
    """As it was answered; a deletion's answer does not have it."""


@dataclass(frozen=True)
class Read:
    """What was answered between two moments; a moment is the newest revision that was acknowledged by then."""

    since: int
    name: str | None
    """None: a list."""
    revision: int | None
    seen: State


@dataclass
class History:
    """What the clients did and saw."""

    clients: list[httpx.AsyncClient]
    random: Random
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    acknowledged: int = 0
    """The newest revision that a client was told of."""
    over: bool = False

    @property
    def client(self) -> httpx.AsyncClient:
        """Any process."""
        return self.random.choice(self.clients)

    def wrote(self, type_: str, document: Document) -> None:
        self.writes.append(Write(type_, document["metadata"]["uid"], document))
        self.acknowledged = max(self.acknowledged, revision_of(document))


def revision_of(document: Document) -> int:
    return int(document["metadata"]["resourceVersion"])


def name_of(document: Document) -> str:
    name: str = document["metadata"]["name"]
    return name


def color_of(document: Document) -> str:
    color: str = document["metadata"]["labels"]["color"]
    return color


# -- the clients --------------------------------------------------------------------------------------------------


async def writer(history: History, steps: int) -> None:
    """Whatever comes to mind; a refusal is fine, and leaves no trace."""
    for number in range(steps):
        name, color = history.random.choice(NAMES), history.random.choice(COLORS)
        match history.random.choice(["create", "patch", "patch", "replace", "delete"]):
            case "create":
                answer = await history.client.post(NODES, json=labelled(node(name), color=color))
                if refused(answer, 409):
                    continue
                history.wrote("ADDED", answer.json())
            case "patch":
                patch = {
                    "metadata": {"labels": {"color": color, "n": str(number), "by": str(id(asyncio.current_task()))}}
                }
                answer = await history.client.patch(f"{NODES}/{name}", content=json.dumps(patch), headers=MERGE)
                if not refused(answer, 404):
                    history.wrote("MODIFIED", answer.json())
            case "replace":
                await replace(history, name, color, number)
            case _:
                answer = await history.client.delete(f"{NODES}/{name}")
                if not refused(answer, 404):
                    history.writes.append(Write("DELETED", answer.json()["details"]["uid"], None))


async def replace(history: History, name: str, color: str, number: int) -> None:
    got = await history.client.get(f"{NODES}/{name}")
    if refused(got, 404):
        return
    document = got.json()
    labels = {"color": color, "n": str(number), "by": str(id(asyncio.current_task()))}
    document["metadata"]["labels"] = labels
    answer = await history.client.put(f"{NODES}/{name}", json=document)
    if not refused(answer, 404, 409):
        history.wrote("MODIFIED", answer.json())


def refused(answer: httpx.Response, *codes: int) -> bool:
    """Raises for what is neither done nor refused so."""
    if answer.status_code in codes:
        return True
    assert answer.is_success, answer.text
    return False


async def reader(history: History) -> None:
    """Lists and gets, in turn, until it is over."""
    while not history.over:
        since = history.acknowledged
        answer = await history.client.get(NODES)
        listed = answer.json()
        items = {name_of(item): item for item in listed["items"]}
        history.reads.append(Read(since, None, revision_of(listed), items))
        since, name = history.acknowledged, history.random.choice(NAMES)
        answer = await history.client.get(f"{NODES}/{name}")
        got = {} if refused(answer, 404) else {name: answer.json()}
        history.reads.append(Read(since, name, None, got))


@dataclass
class Watcher:
    """Comes back with the last revision that it was told, to any process, however it was cut off."""

    history: History
    options: Mapping[str, str]
    revision: int
    events: list[Document] = field(default_factory=list)
    cuts: int = 0

    async def run(self, last: asyncio.Future[int]) -> None:
        """Until it has been told of the last revision."""
        while not (last.done() and self.revision >= last.result()):
            try:
                async with asyncio.timeout(self.history.random.uniform(0.05, 0.6)):
                    async for event in self._once(self.history.random.randint(1, 20_000)):
                        self._told(event)
            except TimeoutError:
                self.cuts += 1

    def _told(self, event: Document) -> None:
        assert event["type"] != "ERROR", event
        self.revision = revision_of(event["object"])
        if event["type"] != "BOOKMARK":
            self.events.append(event)

    async def _once(self, size: int) -> AsyncIterator[Document]:
        """The connection breaks after so many bytes, in the middle of whatever is there."""
        options = {
            "watch": "1", "resourceVersion": str(self.revision),
            "allowWatchBookmarks": "1", "timeoutSeconds": "3", **self.options,
        }  # fmt: skip
        async with self.history.client.stream("GET", NODES, params=options) as response:
            assert response.status_code == 200
            read = b""
            async for piece in response.aiter_raw():
                read, size = read + piece[:size], size - len(piece)
                *lines, read = read.split(b"\n")
                for text in lines:
                    yield json.loads(text)
                if size <= 0:
                    self.cuts += 1
                    return


# -- the judgement ------------------------------------------------------------------------------------------------


def check_log(log: list[Document], writes: list[Write]) -> None:
    """The log has every acknowledged write once and nothing else, in an order that each object could have lived in."""
    revisions = [revision_of(event["object"]) for event in log]
    assert revisions == sorted(set(revisions))
    told = {revision_of(event["object"]): event for event in log}
    for write in writes:
        if write.document is not None:
            # A write that changed nothing is answered with what was there, whoever wrote that.
            assert told[revision_of(write.document)]["object"] == write.document
    assert sum(event["type"] == "ADDED" for event in log) == sum(write.type == "ADDED" for write in writes)
    deleted = [event["object"]["metadata"]["uid"] for event in log if event["type"] == "DELETED"]
    assert sorted(deleted) == sorted(write.uid for write in writes if write.type == "DELETED")
    acknowledged = {revision_of(write.document) for write in writes if write.document is not None}
    assert {revision for revision, event in told.items() if event["type"] != "DELETED"} == acknowledged
    alive: dict[str, str] = {}
    for event in log:
        name, uid = name_of(event["object"]), event["object"]["metadata"]["uid"]
        assert alive.get(name) == (None if event["type"] == "ADDED" else uid)
        if event["type"] == "DELETED":
            del alive[name]
        else:
            alive[name] = uid


def states(start: int, log: list[Document]) -> dict[int, State]:
    """What there was at each revision that changed something."""
    now: dict[str, Document] = {}
    found: dict[int, State] = {start: {}}
    for event in log:
        if event["type"] == "DELETED":
            del now[name_of(event["object"])]
        else:
            now[name_of(event["object"])] = event["object"]
        found[revision_of(event["object"])] = dict(now)
    return found


def check_read(read: Read, found: dict[int, State]) -> None:
    """It is the state of one revision, and of none before what had been acknowledged when it was asked."""
    if read.name is None:
        assert read.revision is not None
        assert read.revision >= read.since
        at = max(revision for revision in found if revision <= read.revision)
        assert {name: typed(item) for name, item in read.seen.items()} == found[at]
        return
    first = max(revision for revision in found if revision <= read.since)
    possible = [state for revision, state in found.items() if revision >= first]
    assert any(state.get(read.name) == read.seen.get(read.name) for state in possible)


def typed(item: Document) -> Document:
    """Items of a list of core objects do not say what they are."""
    return {"apiVersion": "v1", "kind": "Node", **item}


def seen_in_red(log: list[Document]) -> list[tuple[str, int, str]]:
    """What a watch of red ones must tell: type, revision, and the colour that is shown."""
    told = []
    red: dict[str, Document] = {}
    for event in log:
        name, revision = name_of(event["object"]), revision_of(event["object"])
        before = red.pop(name, None)
        if event["type"] != "DELETED" and color_of(event["object"]) == "red":
            red[name] = event["object"]
            told.append(("MODIFIED" if before else "ADDED", revision, "red"))
        elif before is not None:
            told.append(("DELETED", revision, "red"))
    return told


# -- the laws -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_watcher_sees_the_log_and_every_read_is_explained(
    postgres_url: str, store: PostgresStore, seed: int
) -> None:
    await make_namespace(store, "default")
    async with AsyncExitStack() as stack:
        history = History([await client_of(stack, postgres_url) for _ in range(2)], Random(seed))
        start = revision_of((await history.client.get(NODES)).json())
        history.acknowledged = start
        watchers = [Watcher(history, {}, start) for _ in range(4)]
        reds = [Watcher(history, RED, start) for _ in range(2)]
        uncut = Watcher(history, {}, start)

        last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            for watcher in (*watchers, *reds):
                group.create_task(watcher.run(last))
            readers = [group.create_task(reader(history)) for _ in range(2)]
            await asyncio.gather(*(writer(history, 80) for _ in range(4)))
            history.over = True
            await asyncio.gather(*readers)
            history.wrote("ADDED", (await history.client.post(NODES, json=labelled(node("last"), color="red"))).json())
            last.set_result(history.acknowledged)
        log = await told_until(uncut, last.result())

    check_log(log, history.writes)
    found = states(start, log)
    for read in history.reads:
        check_read(read, found)
    for watcher in watchers:
        assert watcher.events == log
    for watcher in reds:
        assert [(e["type"], revision_of(e["object"]), color_of(e["object"])) for e in watcher.events] == seen_in_red(
            log
        )
    assert min(watcher.cuts for watcher in watchers) > 5
    assert len(log) > 100


async def client_of(stack: AsyncExitStack, url: str) -> httpx.AsyncClient:
    """A process of its own, and a client that opens as many connections as it likes."""
    server = await stack.enter_async_context(running("serve", url))
    limits = httpx.Limits(max_connections=None)
    return await stack.enter_async_context(httpx.AsyncClient(base_url=await line(server), timeout=30, limits=limits))


async def told_until(watcher: Watcher, last: int) -> list[Document]:
    """The whole log, read in one go."""
    async with asyncio.timeout(30):
        async for event in watcher._once(1 << 30):
            watcher._told(event)
            if watcher.revision >= last:
                break
    return watcher.events


async def test_an_informer_survives_a_restart_and_a_compaction(postgres_url: str, store: PostgresStore) -> None:
    """It lists, watches, comes back where it was, lists again when it is too late for that: and ends up with the truth."""
    async with AsyncExitStack() as stack:
        other = await client_of(stack, postgres_url)
        history = History([other], Random(3))
        informer = Informer(NODES)

        async with running("serve", postgres_url) as first:
            informing = asyncio.create_task(informer.run(await line(first)))
            await writer(history, 40)
            await informer.reached(await newest(other))
        async with asyncio.timeout(20):
            await informing
        await writer(history, 40)
        await store.compact(older_than=timedelta(0), keep=1)

        later = await client_of(stack, postgres_url)
        informing = asyncio.create_task(informer.run(str(later.base_url)))
        await writer(history, 40)
        await informer.reached(await newest(other))
        informing.cancel()
        await asyncio.wait([informing])
        listed = (await other.get(NODES)).json()["items"]

    assert informer.objects == {name_of(item): typed(item) for item in listed}
    assert informer.expired == 1
    assert informer.lists == 2


async def newest(client: httpx.AsyncClient) -> int:
    """Of a list: everything up to it is there to be told."""
    items = (await client.get(NODES)).json()["items"]
    return max(revision_of(item) for item in items)
