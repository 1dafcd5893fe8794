"""Processes that use the store from outside: `python -m tests.store.processes <what> <url> <word>`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from app.store import schema
from app.store.address import Limits, connect
from app.store.base import AlreadyExists, Scope, Unavailable, edit
from app.store.embedded import EmbeddedPostgres
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def running(what: str, where: str, word: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.processes", what, where, word,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line that it says."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def rest(process: asyncio.subprocess.Process) -> list[str]:
    """Everything else that it says, until it ends."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.read()).decode().split()


async def write(url: str, word: str) -> None:
    """Create, edit and delete objects from four tasks, for ever or `<name>:<rounds>`; says each acknowledged object."""
    name, _, rounds = word.partition(":")
    store = PostgresStore(url)
    await store.open()

    async def one(task: int) -> None:
        for i in range(int(rounds)) if rounds else count():
            mine = key(f"{name}-{task}-{i}")
            await store.objects.create(mine, widget(mine.name))
            print(mine.name)
            await edit(store.objects, mine, lambda document: document | {"spec": {"size": 1}})
            if i % 3 == 0:
                await store.objects.delete(mine)
                print(f"-{mine.name}")

    await asyncio.gather(*(one(task) for task in range(4)))
    await store.close()


async def create_through_restarts(url: str, word: str) -> None:
    """Create objects for ever; says each acknowledged one. An object whose outcome is unknown is tried again."""
    store = PostgresStore(url)
    await store.open()
    for i in count():
        name = f"{word}-{i}"
        while True:
            try:
                await store.objects.create(key(name), widget(name))
            except AlreadyExists:
                break
            except Unavailable:
                await asyncio.sleep(0.02)
            else:
                break
        print(name)


async def fill(url: str, word: str) -> None:
    """Create as long as there are fewer than the limit, with other processes doing the same; says how many it made."""
    limit = int(word)
    store = PostgresStore(url)
    await store.open()
    made = 0

    async def one(task: int) -> None:
        nonlocal made
        while True:
            async with store.transaction(serial=True) as tx:
                if len((await tx.list(Scope(WIDGETS))).items) >= limit:
                    return
                name = f"w-{os.getpid()}-{task}-{made}"
                tx.create(key(name), widget(name))
            made += 1

    await asyncio.gather(*(one(task) for task in range(4)))
    await store.close()
    print(made)


async def serve(data_dir: str, _: str) -> None:
    """Use an embedded server until a line comes in; says its URL."""
    embedded = EmbeddedPostgres(Path(data_dir))
    print(await embedded.start())
    await asyncio.to_thread(sys.stdin.readline)
    await embedded.stop()
    print("stopped")


async def migrate(url: str, _: str) -> None:
    """Bring the schema to this program's."""
    engine = connect(url, Limits())
    await schema.upgrade(engine)
    await engine.dispose()


if __name__ == "__main__":
    kinds = {"migrate": migrate, "write": write, "create": create_through_restarts, "fill": fill, "serve": serve}
    asyncio.run(kinds[sys.argv[1]](sys.argv[2], sys.argv[3]))
