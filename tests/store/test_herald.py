"""The herald: other processes hear of the newest write, soon and not of every one."""

from __future__ import annotations

import asyncio
from functools import partial

import asyncpg
import pytest

from app.store.address import Limits, connect, dedicated
from app.store.herald import Herald
from app.store.lines import Lines
from app.store.writing import CHANNEL

pytestmark = pytest.mark.postgres


async def test_the_newest_of_a_burst_is_told_and_not_each(postgres_url: str) -> None:
    engine = connect(postgres_url, Limits())
    line = Lines(partial(dedicated, engine, Limits(), 5))
    herald = Herald(line, rest_s=0.05)
    told: asyncio.Queue[int] = asyncio.Queue()
    listener = await asyncpg.connect(postgres_url)
    await listener.add_listener(CHANNEL, lambda _c, _p, _n, newest: told.put_nowait(int(str(newest))))
    running = asyncio.create_task(herald.run())
    heard: list[int] = []

    async with asyncio.timeout(10):
        for revision in range(1, 101):
            herald.tell(revision)
            await asyncio.sleep(0)
        while not heard or heard[-1] != 100:
            heard.append(await told.get())
    running.cancel()
    line.close()
    await listener.close()
    await engine.dispose()

    assert heard == sorted(set(heard))
    assert len(heard) < 20
