"""An open watch, as a test reads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
MERGE = {"content-type": "application/merge-patch+json"}
PARTIAL = {"accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}


class Watched:
    """An open watch, read line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            event: dict[str, Any] = json.loads(await anext(self._lines))
        return event

    async def seen(self) -> tuple[str, str]:
        """The next event's type and its object's name."""
        event = await self.next()
        return event["type"], event["object"]["metadata"]["name"]

    async def rest(self) -> list[dict[str, Any]]:
        """What comes before the end."""
        async with asyncio.timeout(10):
            return [json.loads(line) async for line in self._lines]


@asynccontextmanager
async def watching(
    client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None, **parameters: str
) -> AsyncIterator[Watched]:
    query = {"watch": "1", **parameters}
    async with client.stream("GET", path, params=query, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        yield Watched(response)


async def changed(client: httpx.AsyncClient, path: str, patch: dict[str, Any]) -> dict[str, Any]:
    answer = await client.patch(path, content=json.dumps(patch), headers=MERGE)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document
