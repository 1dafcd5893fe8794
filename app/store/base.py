"""The store's port: objects with one ordered log of their changes, runs, leases and pod logs; and transactions over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Protocol
from uuid import UUID

import orjson

from app.machinery.objects import Document
from app.machinery.values import value

Revision = int
"""The store's one counter: a later commit has a larger one. It is every object's resourceVersion."""


class StoreError(Exception):
    """What the store says no with. The API's edge translates these; nobody reads their text to decide."""


class NotFound(StoreError):
    """No such object."""


class AlreadyExists(StoreError):
    """The key is taken."""


class Conflict(StoreError):
    """Somebody else wrote first: read again, then decide again."""


class Gone(StoreError):
    """The log no longer reaches back that far, or the watcher was too slow: list again."""


class TooNew(StoreError):
    """A revision that the store has not reached yet."""


class Closing(StoreError):
    """What the object was to be made in has gone or is being deleted."""


class LeaseLost(StoreError):
    """Somebody else holds it now: stop at once, write nothing."""


class Unavailable(StoreError):
    """PostgreSQL cannot be reached or refused for a reason that may pass. The write may or may not have happened."""


@value(order=True)
class Key:
    """Names one object. `resource` is the kind's own word (`migrations.kubevirt.io`); cluster-scoped: namespace ""."""

    resource: str
    namespace: str
    name: str


@value()
class Scope:
    """What is listed or watched: a resource, perhaps in one namespace. resource None watches everything."""

    resource: str | None
    namespace: str | None = None
    name: str | None = None


@value(slots=False)
class Stored:
    """One version of one object. `body` is its JSON, encoded once, with resourceVersion inside."""

    key: Key
    revision: Revision
    body: bytes

    @cached_property
    def document(self) -> Document:
        """Decoded once and shared by everybody: copy (`copy.deepcopy`) before changing."""
        decoded: Document = orjson.loads(self.body)
        return decoded


class EventType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@value()
class Event:
    """One change. For DELETED `object` is the last version under the revision of the deletion."""

    type: EventType
    revision: Revision
    object: Stored
    previous: Stored | None
    """The version before, for selectors that an object enters or leaves; None for ADDED."""


@value()
class Listing:
    """A consistent snapshot, in key order (namespace, then name, byte order)."""

    items: Sequence[Stored]
    revision: Revision
    remaining: int
    """How many more there are after a limit; 0 when this is all."""
    content: Hashable = None
    """Two listings of one store with the same content have the same items: what is made of them can be kept. None: unknown."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far somebody has read, in which server's history."""

    revision: Revision
    server: datetime
    """When it was started."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different from a mark, up to another one."""

    items: Mapping[Key, Stored | None]
    """What each object is now; None for one that is gone. In the order in which they changed first."""
    upto: Mark


Sink = Callable[[list["Event"]], bool]
"""Takes events at once, or says that it does not: then none of them."""


class Watch(Protocol):
    """An open watch: `async for event in watch`; leaving the `async with` ends it."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def next(self, timeout_s: float | None = None) -> Event | None:
        """The next event, or None when the timeout passes first. Raises Gone for a watcher that fell too far behind, and
        Unavailable where the log cannot be read; then the watch is over."""

    def ready(self) -> list[Event]:
        """What has arrived and not been taken, without waiting: lets a stream be flushed once for many events."""

    def hand_to(self, sink: Sink) -> None:
        """From now on what arrives while somebody waits in `next` goes to `sink`, and nobody is woken for it. What that
        does not take waits for `next`, as ever."""

    @property
    def revision(self) -> Revision:
        """Every change up to here has been handed out or does not concern this watch: what a bookmark says."""


class Reader(Protocol):
    """Reads. Each method raises Unavailable."""

    async def get(self, key: Key) -> Stored:
        """Raises NotFound."""

    async def list(
        self,
        scope: Scope,
        *,
        limit: int = 0,
        after: Key | None = None,
        at: Revision | None = None,
        left: int | None = None,
    ) -> Listing:
        """At the newest revision, or exactly `at`. Raises Gone when `at` is compacted, TooNew when it is not reached.
        `left` is what remained after the page before, at the same revision: without it what lies behind is counted."""


class Objects(Reader, Protocol):
    """Documents under optimistic concurrency, and the one ordered log of their changes.

    Every write fills metadata.resourceVersion (and nothing else), is grouped with what else waits, and is durable on
    return. A replace whose document equals the stored one, resourceVersion aside, writes nothing and returns the stored.
    """

    async def create(self, key: Key, document: Document, *, within: Key | None = None) -> Stored:
        """Raises AlreadyExists, Unavailable; Closing unless the object `within`, judged by the write itself, is there
        and not being deleted: so nothing is made in a namespace after its deletion began."""

    async def replace(self, key: Key, document: Document) -> Stored:
        """Raises NotFound; Conflict unless the document carries the stored resourceVersion; Unavailable."""

    async def delete(self, key: Key, *, revision: Revision | None = None, document: Document | None = None) -> Stored:
        """The last version under the deletion's revision. Raises NotFound; Conflict when a revision is given and is
        not the stored one; Unavailable. `document` is the last version to tell watchers, if it differs from the stored."""

    async def revision(self) -> Revision:
        """The newest committed revision."""

    async def ensure_watchable(self) -> None:
        """Raises Unavailable while no change could be told: just after an outage the database answers before its log is read."""

    def watch(self, scope: Scope, since: Revision) -> AbstractAsyncContextManager[Watch]:
        """Every later change in the scope, once, in revision order. Entering raises Gone where the log is compacted,
        TooNew for a revision that is not reached, Unavailable."""


class RunState(StrEnum):
    """WAITING for a worker; HELD by one under a lease (which may have lapsed); FINISHED with an exit code."""

    WAITING = "waiting"
    HELD = "held"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of a migration: its row and, while held, its process. Holds a slot until it is finished."""

    id: UUID
    migration: Key
    migration_uid: UUID
    domain: UUID
    """libvirt's UUID of the guest."""
    source: str
    target: str
    attempt: int
    plan: Document
    """What the process needs and does not change: URIs, destination XML, options, pods. Resolved when it was started."""
    state: RunState = RunState.WAITING
    holder: str = ""
    token: int = 0
    """Grows with each claim: 1 is the first holder, more means that it was taken over."""
    lease_until: datetime | None = None
    former_lease_until: datetime | None = None
    """When the lease of the holder before this one ended: verbs that start or end a guest wait 40 s from there."""
    cancelled: bool = False
    exit_code: int | None = None
    result: Document = field(default_factory=dict)
    """What the process learned: error code and text, downtime, who has the guest and the evidence."""
    memory: int = 0
    """Bytes of the guest, reserved on the target while unfinished."""


class Runs(Protocol):
    """Runs are rows, and the table is the queue. All times are the database's clock."""

    async def claim(self, holder: str, lease: timedelta, limit: int) -> Sequence[Run]:
        """Take up to `limit` runs that wait or whose lease has lapsed, oldest first, in one statement (SKIP LOCKED)."""

    async def extend(self, run: UUID, token: int, lease: timedelta) -> Run:
        """Renew early; the answer says whether it was cancelled meanwhile. Raises LeaseLost."""

    async def of(self, migration_uid: UUID) -> Sequence[Run]:
        """Every run of a migration, by attempt."""

    async def unfinished(self, domain: UUID | None = None) -> Sequence[Run]:
        """All runs that hold a slot, or that of one guest; without their plans."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may act for something that must have one owner, such as a host."""

    name: str
    holder: str
    token: int
    until: datetime
    former_until: datetime | None = None
    """When the last tenure that lapsed ended; None if none ever did. One that was given back leaves no calls behind."""


class Leases(Protocol):
    """Named leases. All times are the database's clock."""

    async def acquire(self, names: Sequence[str], holder: str, ttl: timedelta) -> Sequence[Lease]:
        """Take or renew each of the names that is free, lapsed or ours; the answer has those that we hold now.
        The token grows when the holder changes."""

    async def release(self, names: Sequence[str], holder: str) -> None: ...

    async def held(self) -> Sequence[Lease]:
        """Every lease that has not lapsed."""


@dataclass(frozen=True, slots=True)
class LogLine:
    seq: int
    at: datetime
    text: str


class Logs(Protocol):
    """What the processes of pods said, by the pod's uid. Lines outlive the process and go with the pod."""

    async def append(self, pod: UUID, lines: Sequence[tuple[datetime, str]]) -> None:
        """In order, after what is there. Raises Unavailable."""

    async def read(
        self, pod: UUID, *, after: int = 0, tail: int | None = None, limit: int = 1000
    ) -> Sequence[LogLine]: ...


@dataclass(frozen=True, slots=True)
class Past:
    """A record of something that is over; it outlives its object."""

    uid: UUID
    namespace: str
    name: str
    subject: str
    """What it was about: a VirtualMachine's name."""
    outcome: str
    record: Document
    ended_at: datetime | None = None
    """By the database's clock; None before it is stored."""


@value()
class Asked:
    """One request for a change of an object: who, from where, and the code that it was answered."""

    audit_id: str
    object_uid: str
    at: datetime
    verb: str
    username: str
    groups: tuple[str, ...]
    address: str
    agent: str
    code: int


class History(Protocol):
    """What is remembered of what is over. Each method raises Unavailable."""

    async def read(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        name: str | None = None,
        outcome: str | None = None,
        limit: int = 100,
    ) -> Sequence[Past]:
        """The newest first."""

    async def requests(self, uids: Sequence[UUID]) -> Sequence[Asked]:
        """Who asked for these, or for a change of them; the oldest first."""

    async def asked(self, requests: Sequence[Asked]) -> None: ...

    async def forget(self, older_than: timedelta) -> None: ...


class Transaction(Reader, Protocol):
    """One reconcile's writes: all of them or none. Reads are immediate; writes are applied at the end, in order.

    Leaving the block raises AlreadyExists, NotFound or Conflict where a write lost, LeaseLost where a fence did, and
    then nothing has been written.
    """

    def create(self, key: Key, document: Document) -> None: ...

    def replace(self, key: Key, document: Document) -> None: ...

    def delete(self, key: Key, *, revision: Revision | None = None, document: Document | None = None) -> None: ...

    def start_run(self, run: Run) -> None: ...

    def cancel_run(self, run: UUID) -> None: ...

    def replan_run(self, run: UUID, plan: Document) -> None:
        """What its process is to do from now on; who holds it hears of it when it extends its lease. A finished run stays as
        it is. Raises NotFound."""

    def finish_run(self, run: UUID, token: int, exit_code: int, result: Document) -> None:
        """Conditional on the token. Frees the slot."""

    def remember(self, past: Past) -> None:
        """A record for the history. A second one of the same uid changes nothing."""

    def fence_run(self, run: UUID, token: int) -> None:
        """Nothing of this transaction happens unless that run is still held under that token."""

    def fence_lease(self, name: str, token: int) -> None:
        """Nothing of this transaction happens unless that lease is still held under that token."""

    async def several(self, keys: Collection[Key]) -> Mapping[Key, Stored]:
        """Those of them that are there. Raises Unavailable."""

    async def changed(self, resources: Sequence[str], since: Mark | None) -> Changes:
        """The objects of these resources that changed after the mark; all that there are without one. Of a serial transaction
        this is exact until its commit. Raises Gone where the log does not say (then ask without a mark); Unavailable."""

    async def runs_of(self, migration_uid: UUID) -> Sequence[Run]: ...

    async def unfinished_runs(self, domain: UUID | None = None) -> Sequence[Run]:
        """All runs that hold a slot, or that of one guest; without their plans."""

    async def failed_runs(self, within: timedelta) -> Sequence[Run]:
        """Those that ended with another exit code than 0 so short a time ago, by the database's clock."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the store is, for metrics."""

    revision: Revision
    log_entries: int
    """Changes that the log still holds."""
    log_bytes: int
    log_oldest_s: float
    """Age of the oldest of them."""
    database_bytes: int
    runs_waiting: int
    runs_held: int
    runs_lapsed: int
    """Held under a lease that has lapsed: nobody has taken them over yet."""
    leases_held: int
    leases_lapsed: int
    objects: Mapping[str, int]
    """How many there are, by resource."""


class Store(Protocol):
    """Everything that is kept. Opened and closed by wiring; both may be called twice."""

    @property
    def id(self) -> UUID:
        """Tells this store from others: it stands in the metadata of the guests that this store manages."""

    @property
    def objects(self) -> Objects: ...

    @property
    def runs(self) -> Runs: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def logs(self) -> Logs: ...

    @property
    def history(self) -> History: ...

    def transaction(self, *, serial: bool = False) -> AbstractAsyncContextManager[Transaction]:
        """`serial` takes the revision counter first: what is read then cannot change before the commit. For limits."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def vitals(self) -> Vitals:
        """Costs a few milliseconds, however much is stored. Raises Unavailable."""

    async def compact(self, *, older_than: timedelta, keep: int) -> int:
        """Drop log entries older than that but for the newest `keep`; how many went. Finished runs of migrations that
        are gone, and lines of pods that are gone, go too."""


async def edit(
    objects: Objects,
    key: Key,
    change: Callable[[Document], Document | Awaitable[Document | None] | None],
    *,
    attempts: int = 10,
) -> Stored:
    """Read, change, replace; again from a fresh copy when somebody else wins. `change` gets a copy of its own; None
    leaves the object alone. Raises NotFound, and Conflict after the last attempt."""
    for attempt in range(attempts):
        stored = await objects.get(key)
        changed = change(orjson.loads(stored.body))
        if isinstance(changed, Awaitable):
            changed = await changed
        if changed is None:
            return stored
        try:
            return await objects.replace(key, changed)
        except Conflict:
            if attempt == attempts - 1:
                raise
    raise AssertionError("BUG: edit with no attempts")
