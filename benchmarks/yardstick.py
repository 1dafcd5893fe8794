"""What a machine can do at all: uvicorn, uvloop, httptools, asyncpg and TLS around one table and one counter.

`python -m benchmarks.yardstick POSTGRESQL_URL PEM` serves POST and GET /objects, /objects/NAME and /objects?watch=1, and
says its URL. Nothing is validated, defaulted, owned, selected or kept for later: what Drover's figures are divided by.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import asyncpg
import orjson
import uvicorn
import uvloop

TABLES = """CREATE TABLE IF NOT EXISTS counter (revision bigint NOT NULL);
CREATE TABLE IF NOT EXISTS objects (name text PRIMARY KEY, revision bigint NOT NULL, body bytea NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT FROM counter);"""
COUNT = "UPDATE counter SET revision = revision + $1 RETURNING revision"
PUT = "INSERT INTO objects SELECT name, $1, body FROM unnest($2::text[], $3::bytea[]) AS o(name, body)"


class Yardstick:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.waiting: list[tuple[str, bytes, asyncio.Future[None]]] = []
        self.arrived = asyncio.Event()
        self.watches: set[asyncio.Queue[bytes]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            body = (await receive())["body"]
            stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append((orjson.loads(body)["metadata"]["name"], body, stored))
            self.arrived.set()
            await stored
            await answer(send, 201, body)
        elif scope["query_string"]:
            await self.watch(send)
        else:
            name = scope["path"].rpartition("/")[2]
            found = await self.pool.fetchval("SELECT body FROM objects WHERE name = $1", name)
            await answer(send, 404 if found is None else 200, found or b"{}")

    async def watch(self, send: Any) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.watches.add(queue)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        while True:
            await send({"type": "http.response.body", "body": await queue.get(), "more_body": True})

    async def write(self) -> None:
        """All that waits in one durable transaction, then the next."""
        while await self.arrived.wait():
            self.arrived.clear()
            group, self.waiting = self.waiting, []
            async with self.pool.acquire() as connection, connection.transaction():
                revision = await connection.fetchval(COUNT, len(group))
                await connection.execute(PUT, revision, [name for name, _, _ in group], [body for _, body, _ in group])
            for _, body, stored in group:
                stored.set_result(None)
                frame = b'{"type":"ADDED","object":%b}\n' % body
                for queue in self.watches:
                    queue.put_nowait(frame)


async def answer(send: Any, code: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def main(url: str, pem: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    async with asyncpg.create_pool(url) as pool, asyncio.TaskGroup() as tasks:
        await pool.execute(TABLES)
        yardstick = Yardstick(pool)
        config = uvicorn.Config(yardstick, http="httptools", lifespan="off", log_level="warning", ssl_certfile=pem)
        writing = tasks.create_task(yardstick.write())
        print(f"https://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        await uvicorn.Server(config).serve(sockets=[listener])
        writing.cancel()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
