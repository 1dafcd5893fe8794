"""Telling other processes that there is more to read: after the commit, beside the writers' way, and not for every write.

A NOTIFY in a writer's own transaction doubled what a create cost: it takes a lock of the whole server until the commit is
on disk, and wakes every listener for each. A feed that hears nothing looks by itself, so a word that is lost with its
process costs a second and no change.
"""

from __future__ import annotations

import asyncio
import contextlib

from sqlalchemy import text

from app.store.base import Revision, Unavailable
from app.store.lines import Lines
from app.store.writing import CHANNEL

# It changes nothing that must be on disk before it is said.
TELL = text(f"""
SELECT set_config('synchronous_commit', 'off', true), pg_notify('{CHANNEL}', CAST(CAST(:revision AS bigint) AS text))
""")

REST_S = 0.005
"""After a word; what is written meanwhile is told with the next. The first of a burst is told at once."""


class Herald:
    """Tells the newest revision that this process has written."""

    def __init__(self, line: Lines, *, rest_s: float = REST_S) -> None:
        self._line = line
        self._rest_s = rest_s
        self._newest: Revision = 0
        self._news = asyncio.Event()

    def tell(self, revision: Revision) -> None:
        """It is committed."""
        self._newest = revision
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            # Whoever does not hear it finds it by looking, once the database is back.
            with contextlib.suppress(Unavailable):
                await self._line.at_once(lambda execute: execute(TELL, {"revision": self._newest}))
            await asyncio.sleep(self._rest_s)
