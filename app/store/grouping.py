"""What waits together goes together: many callers, one round of work after another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.store.base import StoreError, Unavailable

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class Grouping(Generic[ItemT, AnswerT]):
    """Collects items while a round is under way. A single caller never waits for others."""

    def __init__(
        self,
        work: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT | StoreError]]],
        *,
        at_most: int,
        alone: bool = False,
    ) -> None:
        self._work = work
        self._at_most = at_most
        self._alone = alone
        """A caller who finds nothing under way does its round itself, which spares two switches of tasks. Only for work
        that may be cut off with its caller."""
        self._under_way = False
        self._waiting: deque[tuple[ItemT, asyncio.Future[AnswerT]]] = deque()
        self._arrived = asyncio.Event()
        self._closed = True

    async def submit(self, item: ItemT) -> AnswerT:
        """The item's own answer, or its own error. A caller that is cancelled while it waits takes its item back."""
        if self._closed:
            raise Unavailable("the store is closed")
        if self._alone and not self._under_way and not self._waiting:
            return await self._done_alone(item)
        answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while not self._under_way and (group := self._next_group()):
                self._under_way = True
                try:
                    await self._round(group)
                finally:
                    self._under_way = False

    async def _done_alone(self, item: ItemT) -> AnswerT:
        """Whoever comes meanwhile waits, and goes together afterwards."""
        self._under_way = True
        try:
            (answer,) = await self._work([item])
        finally:
            self._under_way = False
            if self._waiting:
                self._arrived.set()
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def open(self) -> None:
        self._closed = False

    def close(self) -> None:
        """Whoever still waits hears Unavailable."""
        self._closed = True
        self._refuse(list(self._waiting), Unavailable("the store is closed"))
        self._waiting.clear()

    def _next_group(self) -> list[tuple[ItemT, asyncio.Future[AnswerT]]]:
        group: list[tuple[ItemT, asyncio.Future[AnswerT]]] = []
        while self._waiting and len(group) < self._at_most:
            item, answer = self._waiting.popleft()
            if not answer.done():
                group.append((item, answer))
        return group

    async def _round(self, group: list[tuple[ItemT, asyncio.Future[AnswerT]]]) -> None:
        try:
            answers = await self._work([item for item, _ in group])
        except StoreError as error:
            self._refuse(group, error)
        except BaseException:
            self._refuse(group, Unavailable("the store was closed, or failed, in the middle of the write"))
            raise
        else:
            for (_, future), answer in zip(group, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, StoreError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _refuse(self, group: list[tuple[ItemT, asyncio.Future[AnswerT]]], error: StoreError) -> None:
        for _, future in group:
            if not future.done():
                future.set_exception(type(error)(*error.args))
