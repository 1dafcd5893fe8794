"""Watchers that come back with the last revision that they were told, to any API process, however they were cut off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx

Document = dict[str, Any]
PAUSE_S = 0.1
FIRST_WORD_S = 5.0
"""How long a connection may take to be made and answered; a watch itself may be silent for as long as it lasts."""
LASTS_S = 20


class Watcher:
    """One collection, from a revision on. What it was told is kept as (type, revision, namespace/name)."""

    def __init__(self, servers: Sequence[str], path: str, resource: str, revision: int) -> None:
        self.resource = resource
        self.revision = revision
        self.told: list[tuple[str, int, str]] = []
        self.now: dict[str, Document] = {}
        """What there is, by namespace/name."""
        self.faults: list[str] = []
        self.cuts = 0
        self._servers = list(servers)
        self._path = path

    async def run(self) -> None:
        """Until cancelled."""
        timeout = httpx.Timeout(FIRST_WORD_S, read=LASTS_S + 10)
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
            while True:
                with suppress(httpx.TransportError):
                    await self._once(client, self._servers[self.cuts % len(self._servers)])
                self.cuts += 1
                await asyncio.sleep(PAUSE_S)

    async def _once(self, client: httpx.AsyncClient, server: str) -> None:
        options = {
            "watch": "1", "resourceVersion": str(self.revision), "timeoutSeconds": str(LASTS_S), "allowWatchBookmarks": "1"
        }  # fmt: skip
        async with client.stream("GET", server + self._path, params=options) as answer:
            if answer.status_code != 200:
                text = (await answer.aread()).decode(errors="replace")
                if answer.status_code not in (429, 500, 503, 504):
                    self.faults.append(f"watch of {self.resource}: {answer.status_code} {text[:300]}")
                return
            async for line in answer.aiter_lines():
                if line:
                    self._take(json.loads(line))

    def _take(self, event: Document) -> None:
        if event["type"] == "ERROR":
            if event["object"].get("code") not in (500, 503, 504):
                self.faults.append(f"watch of {self.resource} since {self.revision}: {event['object']}")
            return
        metadata = event["object"]["metadata"]
        revision = int(metadata["resourceVersion"])
        if event["type"] == "BOOKMARK":
            self.revision = max(self.revision, revision)
            return
        if revision <= self.revision:
            self.faults.append(f"watch of {self.resource}: told {revision} after {self.revision}")
        name = f"{metadata.get('namespace', '')}/{metadata['name']}"
        self.told.append((event["type"], revision, name))
        self.revision = revision
        if event["type"] == "DELETED":
            self.now.pop(name, None)
        else:
            self.now[name] = event["object"]
