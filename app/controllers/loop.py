"""A controller's loop: what changes is queued by key, and each key is reconciled, again and again, until it is settled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from app.controllers.metrics import LoopMetrics
from app.controllers.outcome import Again, Outcome
from app.controllers.queue import Backoff, Queue
from app.store.base import (
    Conflict,
    EventType,
    Gone,
    Key,
    LeaseLost,
    NotFound,
    Revision,
    Scope,
    Store,
    Stored,
    StoreError,
    Unavailable,
)

log = structlog.get_logger()

PAGE = 500
"""Objects that are read at once at a start."""

Reconcile = Callable[[Key], Awaitable[Outcome]]
Clock = Callable[[], float]


def itself(changed: Stored) -> Iterable[Key]:
    """The mapping of a loop that reconciles what it watches."""
    return (changed.key,)


@dataclass(frozen=True, slots=True)
class Source:
    """What to watch, and which keys to look at again when an object of it appears, changes or goes."""

    scope: Scope
    keys: Callable[[Stored], Iterable[Key]] = itself
    deletions_only: bool = False
    """Only an object's end matters, not what is there and not what changes."""
    at_start: Callable[[Stored], Iterable[Key]] | None = None
    """As `keys`, for what is there when the loop begins: what ended long ago need not be looked at again. None: the same."""


class Loop:
    """
    Lists, then watches; lists again when the log no longer reaches back. Level-based: the queue holds names, and
    `reconcile` reads the world anew, so a repeated or merged change does no harm. The same key is never reconciled
    twice at once. An error costs its key a growing wait, and nobody else anything.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        sources: Sequence[Source],
        reconcile: Reconcile,
        *,
        concurrency: int = 4,
        backoff: Backoff | None = None,
        clock: Clock = time.monotonic,
        page: int = PAGE,
        metrics: LoopMetrics | None = None,
    ) -> None:
        self._page = page
        self._name = name
        self._metrics = metrics or LoopMetrics()
        self._store = store
        self._sources = sources
        self._reconcile = reconcile
        self._slots = asyncio.Semaphore(concurrency)
        self._clock = clock
        self._queue: Queue[Key] = Queue(backoff or Backoff())
        self._changed = asyncio.Event()

    def enqueue(self, key: Key, after_s: float = 0.0) -> None:
        """Look at that key, for a reason that the store does not tell, such as an event of a host."""
        self._queue.add(key, self._clock() + after_s)
        self._metrics.adds.add((self._name,))
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled; reconciles that are under way are cancelled with it."""
        with self._metrics.queue(self._name, self._queue):
            await self._turn()

    async def _turn(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(self._follow(source))
            while True:
                await self._slots.acquire()
                key = await self._next()
                tasks.create_task(self._work(key))

    async def _next(self) -> Key:
        while True:
            self._changed.clear()
            now, due = self._clock(), self._queue.next_due()
            key = self._queue.take(now)
            if key is not None:
                self._metrics.waits.observe((self._name,), now - (now if due is None else due))
                return key
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - now)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _work(self, key: Key) -> None:
        """This side catches everything in this file alone: what a reconcile raises becomes a log line and a wait."""
        try:
            with self._metrics.work(self._name):
                outcome = await self._reconcile(key)
        except Exception as error:  # noqa: BLE001  (this edge; the other is the API's)
            wait_s = self._queue.failed(key, self._clock())
            self._metrics.retries.add((self._name,))
            self._tell(key, error, wait_s)
        else:
            self._queue.done(key, self._clock() + outcome.after_s if isinstance(outcome, Again) else None)
        finally:
            self._slots.release()
            self._changed.set()

    def _tell(self, key: Key, error: Exception, wait_s: float) -> None:
        told = log.bind(loop=self._name, namespace=key.namespace, name=key.name, again_after_s=round(wait_s, 3))
        match error:
            case Conflict() | NotFound():
                told.debug("somebody wrote, or deleted, first")
            case LeaseLost():
                told.info("lease lost")
            case Unavailable():
                told.warning("store unavailable", error=str(error))
            case _:
                told.error("reconcile failed", exc_info=error)

    async def _follow(self, source: Source) -> None:
        backoff, failures = Backoff(), 0
        while True:
            try:
                since = await self._list(source)
                failures = 0
                await self._watch(source, since)
            except Gone:
                log.info("listing anew", loop=self._name, resource=source.scope.resource)
            except StoreError as error:
                failures += 1
                log.warning("watch broken", loop=self._name, resource=source.scope.resource, error=str(error))
                await asyncio.sleep(backoff.after(failures))

    async def _list(self, source: Source) -> Revision:
        """Where to watch from. Page by page, so that no collection is ever held whole. What changes after the first page is
        told by the watch, so the others need not be of the same moment."""
        since = await self._store.objects.revision()
        after: Key | None = None
        while not source.deletions_only:
            page = await self._store.objects.list(source.scope, limit=self._page, after=after, left=0)
            for stored in page.items:
                self._queue_for(source.at_start or source.keys, stored)
            if len(page.items) < self._page:
                break
            after = page.items[-1].key
        return since

    async def _watch(self, source: Source, since: int) -> None:
        async with self._store.objects.watch(source.scope, since) as watch:
            async for event in watch:
                if source.deletions_only and event.type is not EventType.DELETED:
                    continue
                self._queue_for(source.keys, event.object)
                if event.previous is not None:
                    self._queue_for(source.keys, event.previous)

    def _queue_for(self, keys: Callable[[Stored], Iterable[Key]], stored: Stored) -> None:
        """An object that cannot be understood is left out, and ends nothing."""
        try:
            concerned = tuple(keys(stored))
        except Exception as error:  # noqa: BLE001  (as in `_work`: one bad object would end the loop, and its process)
            told = log.bind(loop=self._name, namespace=stored.key.namespace, name=stored.key.name)
            told.error("change not understood", resource=stored.key.resource, exc_info=error)
            return
        for key in concerned:
            self.enqueue(key)
