"""A client that keeps a copy of a collection as client-go's informers do: list, watch, again from there, list on 410."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

Document = dict[str, Any]


class Informer:
    """The copy, and how it came about."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._changed = asyncio.Condition()
        self.objects: dict[str, Document] = {}
        self.revision = ""
        """Up to here the copy is complete; "" before the first list, and when the place is lost."""
        self.lists = 0
        self.expired = 0

    async def run(self, url: str) -> None:
        """Until the server is gone."""
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            try:
                while True:
                    async for event in self._watch(client):
                        await self._apply(event)
            except httpx.TransportError:
                return

    async def reached(self, revision: int) -> None:
        """Returns when the copy is at least as new."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: int(self.revision or 0) >= revision)

    async def until(self, holds: Callable[[dict[str, Document]], object]) -> dict[str, Document]:
        """The first copy of which that holds."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: self.revision and holds(self.objects))
            return dict(self.objects)

    async def _watch(self, client: httpx.AsyncClient) -> AsyncIterator[Document]:
        """One watch: from where it was, or beginning with a streaming list."""
        options = {"watch": "true", "allowWatchBookmarks": "true"}
        if self.revision:
            options |= {"resourceVersion": self.revision}
        else:
            self.lists += 1
            self.objects = {}
            options |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async with client.stream("GET", self._path, params=options) as response:
            assert response.status_code == 200, await response.aread()
            async for text in response.aiter_lines():
                yield json.loads(text)

    async def _apply(self, event: Document) -> None:
        thing = event["object"]
        match event["type"]:
            case "ERROR":
                assert thing["code"] == 410, thing
                self.expired += 1
                self.revision = ""
                return
            case "DELETED":
                del self.objects[thing["metadata"]["name"]]
            case "ADDED" | "MODIFIED":
                self.objects[thing["metadata"]["name"]] = thing
            case _:
                assert event["type"] == "BOOKMARK"
        if self.revision or event["type"] == "BOOKMARK":
            async with self._changed:
                self.revision = thing["metadata"]["resourceVersion"]
                self._changed.notify_all()
