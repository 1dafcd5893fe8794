"""Clients that write, read and watch at random while API processes are killed, and what they did and were told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from random import Random
from typing import Any

import httpx

from tests.api.builders import NODES, labelled, node

Document = dict[str, Any]
State = Mapping[str, Document]
"""Objects by their name."""

NAMES = [f"node{number}" for number in range(6)]
COLORS = ("red", "green", "blue")
METHODS = ("POST", "POST", "PATCH", "PATCH", "PATCH", "PUT", "PUT", "DELETE")
MERGE = {"content-type": "application/merge-patch+json"}
PAUSE_S = 0.02
"""Between two looks: a process that starts anew must have its share of the machine."""
SLOWER_S = 0.2
"""Between two writes of one writer that has written enough: what is judged in the end must not grow without bound."""
BROKEN = (httpx.TransportError,)
"""The process was killed: what became of a request that had been sent, nobody knows."""


class Away(httpx.TransportError):
    """503: the database was killed. What became of the request, nobody knows."""


class Transport(httpx.AsyncHTTPTransport):
    """A connection whose other end is killed as it is made is told by the library below as a fault of its own."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:
            if error.name != "getpeername":
                raise
            raise httpx.ConnectError("the connection ended as it was made") from error


async def away(answer: httpx.Response) -> None:
    """A client's hook."""
    if answer.status_code == 503:
        await answer.aread()
        assert answer.headers["retry-after"] and answer.json()["reason"] == "ServiceUnavailable", answer.text
        raise Away(answer.text)


@dataclass(frozen=True)
class Selects:
    """A part of the collection: how it is asked for, and what belongs to it."""

    options: Mapping[str, str]
    holds: Callable[[Document], bool]


ALL = Selects({}, lambda _: True)
RED = Selects({"labelSelector": "color in (red)"}, lambda it: it["metadata"]["labels"].get("color") == "red")
CORDONED = Selects({"fieldSelector": "spec.unschedulable=true"}, lambda it: it["spec"].get("unschedulable") is True)
ONE = Selects({"fieldSelector": "metadata.name=node0"}, lambda it: name_of(it) == "node0")
PARTS = (ALL, RED, CORDONED, ONE)


class Outcome(Enum):
    """What a client knows of its write."""

    DONE = "done"
    REFUSED = "refused"
    """It must have left no trace."""
    UNKNOWN = "unknown"
    """The connection broke before the answer came."""


@dataclass(frozen=True)
class Write:
    """One write. Creates and changes put their own tag on the object; a moment is the newest revision acknowledged then."""

    since: int
    type: str
    name: str
    tag: str
    outcome: Outcome
    document: Document | None = None
    """As it was answered; of a deletion, its Status."""


@dataclass(frozen=True)
class Read:
    """What was answered to a question that was asked at a moment."""

    since: int
    part: Selects
    name: str | None
    """None: a list."""
    revision: int | None
    """That of the list."""
    seen: State


@dataclass(frozen=True)
class Joined:
    """A watch that began with what there was."""

    since: int
    part: Selects
    initial: State
    revision: int | None
    """Where the initial state ends, if that was said."""
    events: list[Document]


@dataclass
class History:
    """What the clients did and saw."""

    clients: list[httpx.AsyncClient]
    random: Random
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    joins: list[Joined] = field(default_factory=list)
    start: int = 0
    acknowledged: int = 0
    """The newest revision that a client was told of."""
    over: bool = False

    @property
    def client(self) -> httpx.AsyncClient:
        """Any process."""
        return self.random.choice(self.clients)

    def knows(self, revision: int) -> None:
        self.acknowledged = max(self.acknowledged, revision)


def revision_of(document: Document) -> int:
    return int(document["metadata"]["resourceVersion"])


def name_of(document: Document) -> str:
    name: str = document["metadata"]["name"]
    return name


def typed(item: Document) -> Document:
    """Items of a list of core objects do not say what they are."""
    return {"apiVersion": "v1", "kind": "Node", **item}


# -- writers ------------------------------------------------------------------------------------------------------


async def writer(history: History, who: int, steps: int, goes_on: Callable[[], bool] = lambda: False) -> None:
    """Whatever comes to mind; a refusal is fine. After so many steps slower, for as long as it `goes_on`."""
    for number in count():
        if number >= steps:
            if not goes_on():
                return
            await asyncio.sleep(SLOWER_S)
        name, tag = history.random.choice(NAMES), f"{who}-{number}"
        await write(history, history.random.choice(METHODS), name, tag)


async def write(history: History, method: str, name: str, tag: str) -> None:
    """One write, and what the client knows of it then."""
    type_ = {"POST": "ADDED", "DELETE": "DELETED"}.get(method, "MODIFIED")
    client, since = history.client, history.acknowledged
    outcome, answered = Outcome.UNKNOWN, None
    try:
        answer = await _sent(history, client, method, name, tag)
    except httpx.ConnectError:
        await asyncio.sleep(PAUSE_S)
        await write(history, method, name, tag)
        return
    except BROKEN:
        pass
    else:
        assert answer is None or answer.is_success or answer.status_code in (404, 409), answer.text
        outcome = Outcome.DONE if answer is not None and answer.is_success else Outcome.REFUSED
        answered = answer.json() if answer is not None and answer.is_success else None
    history.writes.append(Write(since, type_, name, tag, outcome, answered))
    if answered is not None and type_ != "DELETED":
        history.knows(revision_of(answered))


async def _sent(history: History, client: httpx.AsyncClient, method: str, name: str, tag: str) -> httpx.Response | None:
    """None: there was nothing to replace."""
    labels = {"color": history.random.choice(COLORS), "write": tag}
    unschedulable = history.random.random() < 0.5
    match method:
        case "POST":
            return await client.post(NODES, json=labelled(node(name, unschedulable=unschedulable), **labels))
        case "PATCH":
            patch = {"metadata": {"labels": labels}, "spec": {"unschedulable": unschedulable}}
            return await client.patch(f"{NODES}/{name}", content=json.dumps(patch), headers=MERGE)
        case "PUT":
            try:
                got = await client.get(f"{NODES}/{name}")
            except BROKEN:
                return None
            if got.status_code == 404:
                return None
            document = got.json()
            document["metadata"]["labels"] = labels
            return await client.put(f"{NODES}/{name}", json=document)
        case _:
            return await client.delete(f"{NODES}/{name}")


# -- readers ------------------------------------------------------------------------------------------------------


async def reader(history: History) -> None:
    """Every kind of read, in turn, until it is over."""
    kinds = (_get, _get_not_older, _list, _pages, _exact, _not_older)
    while not history.over:
        with contextlib.suppress(*BROKEN):  # then another process answers
            await history.random.choice(kinds)(history, history.random.choice(PARTS))
        await asyncio.sleep(PAUSE_S)


async def _get(history: History, _: Selects) -> None:
    await _got(history, {})


async def _get_not_older(history: History, _: Selects) -> None:
    await _got(history, {"resourceVersion": str(history.acknowledged)})


async def _got(history: History, options: Mapping[str, str]) -> None:
    since, name = history.acknowledged, history.random.choice(NAMES)
    answer = await history.client.get(f"{NODES}/{name}", params=options)
    assert answer.status_code in (200, 404), answer.text
    seen = {name: answer.json()} if answer.is_success else {}
    history.reads.append(Read(since, ALL, name, None, seen))


async def _list(history: History, part: Selects) -> None:
    since = history.acknowledged
    _listed(history, since, part, [await _page(history, part.options)])


async def _pages(history: History, part: Selects) -> None:
    """Each page of another process, and all of one snapshot."""
    since = history.acknowledged
    pages = [await _page(history, {**part.options, "limit": "2"})]
    while token := pages[-1]["metadata"].get("continue"):
        pages.append(await _page(history, {**part.options, "limit": "2", "continue": token}))
    assert len({revision_of(page) for page in pages}) == 1
    _listed(history, since, part, pages)


async def _exact(history: History, part: Selects) -> None:
    """As it was at some moment that a client knows of."""
    wanted = history.random.randint(history.start, history.acknowledged)
    options = {**part.options, "resourceVersion": str(wanted), "resourceVersionMatch": "Exact"}
    page = await _page(history, options)
    assert revision_of(page) == wanted
    _listed(history, wanted, part, [page])


async def _not_older(history: History, part: Selects) -> None:
    since = history.acknowledged
    options = {**part.options, "resourceVersion": str(since), "resourceVersionMatch": "NotOlderThan"}
    _listed(history, since, part, [await _page(history, options)])


async def _page(history: History, options: Mapping[str, str]) -> Document:
    answer = await history.client.get(NODES, params=options)
    assert answer.status_code == 200, answer.text
    page: Document = answer.json()
    return page


def _listed(history: History, since: int, part: Selects, pages: list[Document]) -> None:
    items = [typed(item) for page in pages for item in page["items"]]
    assert [name_of(item) for item in items] == sorted({name_of(item) for item in items})
    history.reads.append(Read(since, part, None, revision_of(pages[0]), {name_of(item): item for item in items}))


# -- watchers -----------------------------------------------------------------------------------------------------


@dataclass
class Watcher:
    """Comes back with the last revision that it was told, to any process, however it was cut off."""

    history: History
    part: Selects
    revision: int
    events: list[Document] = field(default_factory=list)
    cuts: int = 0
    bookmarks: int = 0

    async def run(self, last: asyncio.Future[int]) -> None:
        """Until it has been told of the last revision, by an event or by a bookmark."""
        random = self.history.random
        while not (last.done() and self.revision >= last.result()):
            try:
                async with asyncio.timeout(random.choice((random.uniform(0.02, 0.5), random.uniform(1, 3)))):
                    async for event in self.once(random.randint(1, 40_000)):
                        self.told(event)
            except TimeoutError:
                self.cuts += 1
            except BROKEN:
                self.cuts += 1
                await asyncio.sleep(PAUSE_S)

    def told(self, event: Document) -> None:
        assert event["type"] != "ERROR", event
        revision = revision_of(event["object"])
        if event["type"] == "BOOKMARK":
            assert revision >= self.revision
            self.bookmarks += 1
        else:
            assert revision > self.revision
            self.events.append(event)
        self.revision = revision

    async def once(self, size: int) -> AsyncIterator[Document]:
        """The connection breaks after so many bytes, in the middle of whatever is there."""
        # Two seconds before the end, that is after one, a bookmark is due.
        options = {"resourceVersion": str(self.revision), "allowWatchBookmarks": "1", "timeoutSeconds": "3"}
        async for event in watched(self.history.client, {**self.part.options, **options}, size):
            yield event


async def watched(client: httpx.AsyncClient, options: Mapping[str, str], size: int) -> AsyncIterator[Document]:
    """The events of one watch that breaks after so many bytes."""
    async with client.stream("GET", NODES, params={"watch": "1", **options}) as response:
        assert response.status_code == 200, await response.aread()
        read = b""
        async for piece in response.aiter_raw():
            read, size = read + piece[:size], size - len(piece)
            *lines, read = read.split(b"\n")
            for text in lines:
                event = json.loads(text)
                if event["type"] == "ERROR" and event["object"]["code"] == 503:
                    raise Away(text.decode())
                yield event
            if size <= 0:
                return


async def joiner(history: History) -> None:
    """Begins watches with what there is, by a streaming list or the old way, and leaves them again."""
    while not history.over:
        part, streaming = history.random.choice(PARTS), history.random.random() < 0.7
        with contextlib.suppress(*BROKEN):  # then another process answers
            await _join(history, part, streaming=streaming)
        await asyncio.sleep(PAUSE_S)


async def _join(history: History, part: Selects, *, streaming: bool) -> None:
    since, options = history.acknowledged, dict(part.options)
    if streaming:
        options |= {"sendInitialEvents": "1", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "1"}
    seen: list[Document] = []
    try:
        async with asyncio.timeout(history.random.uniform(0.1, 0.8)):
            async for event in watched(history.client, options, 1 << 30):
                seen.append(event)
    except TimeoutError:
        pass
    _joined(history, since, part, seen, streaming=streaming)


def _joined(history: History, since: int, part: Selects, seen: list[Document], *, streaming: bool) -> None:
    """The initial state of a streaming list ends with its bookmark; otherwise where the revisions begin to grow."""
    if streaming:
        ends = [number for number, event in enumerate(seen) if _ends_initial(event)]
        if not ends:
            return  # it was cut off before
        first, after = seen[: ends[0]], [event for event in seen[ends[0] + 1 :] if event["type"] != "BOOKMARK"]
        initial = {name_of(event["object"]): event["object"] for event in first}
        history.joins.append(Joined(since, part, initial, revision_of(seen[ends[0]]["object"]), after))
    else:
        history.joins.append(Joined(since, part, {}, None, seen))


def _ends_initial(event: Document) -> bool:
    annotations = event["object"]["metadata"].get("annotations", {})
    return (event["type"], annotations.get("k8s.io/initial-events-end")) == ("BOOKMARK", "true")
