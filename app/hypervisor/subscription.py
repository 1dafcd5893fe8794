"""One listener's events of one connection, ending with DISCONNECTED."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from uuid import UUID

from app.hypervisor.base import Change, Lifecycle


class Subscription(AsyncIterator[Lifecycle]):
    """Events from its making on."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Lifecycle] = asyncio.Queue()
        self._over = False

    def put(self, event: Lifecycle) -> None:
        self._events.put_nowait(event)

    async def __anext__(self) -> Lifecycle:
        if self._over:
            raise StopAsyncIteration
        event = await self._events.get()
        self._over = event.change is Change.DISCONNECTED
        return event


class Subscriptions:
    """Those of one connection. A listener that is dropped is forgotten."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[Subscription] = weakref.WeakSet()

    def open(self) -> Subscription:
        subscription = Subscription()
        self._all.add(subscription)
        return subscription

    def tell(self, event: Lifecycle) -> None:
        for subscription in tuple(self._all):
            subscription.put(event)


def disconnected(at: float) -> Lifecycle:
    """It concerns no domain: its UUID is zero."""
    return Lifecycle(UUID(int=0), Change.DISCONNECTED, at=at)
