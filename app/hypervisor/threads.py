"""Lanes of daemon threads for calls that block: one that hangs never holds up the loop, a close or the interpreter's exit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Lane:
    """At most `size` calls at a time, the others wait in order. asyncio's own executor joins its threads at exit: not this."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._threads: list[threading.Thread] = []
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    async def run(self, call: Callable[[], T]) -> T:
        """Cancelled while it waits, the call is never made; cancelled later, its thread goes on and its result is dropped."""
        if not self._threads:
            self._start()
        handed: Future[T] = Future()
        self._work.put((handed, call))
        return await asyncio.wrap_future(handed)

    def end(self) -> None:
        """The threads end after their current call, if it ever returns. Nobody waits for them."""
        for _ in self._threads:
            self._work.put(None)

    def wait(self) -> None:
        """Until they have, after `end`. Blocks: for a thread of its own."""
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        for number in range(self._size):
            thread = threading.Thread(target=_serve, args=(self._work,), name=f"{self._name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)


def _serve(work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]) -> None:
    while (item := work.get()) is not None:
        handed, call = item
        if handed.set_running_or_notify_cancel():
            _settle(handed, call)
        # A waiting thread must not keep the last result, and through it a connection, alive.
        del item, handed, call


def _settle(handed: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed over to whoever awaits, not swallowed
        handed.set_exception(error)
    else:
        handed.set_result(result)
