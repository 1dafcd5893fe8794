"""Large answers go out in slices, and others have their turn between them."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from app.api.requests import Request
from app.api.responses import SLICE, Response, send


def request(method: str = "GET") -> Request:
    async def nothing() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": method, "path": "/x", "raw_path": b"/x", "query_string": b"", "headers": []}
    return Request.of(scope, nothing)


async def sent(body: bytes, method: str = "GET") -> list[Message]:
    messages: list[Message] = []

    async def sending(message: Message) -> None:
        messages.append(message)

    await send(request(method), Response(body, type="text/plain"), sending)
    return messages


@pytest.mark.parametrize("size", [0, 1, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE, 2 * SLICE + 1])
async def test_the_slices_are_the_whole_and_the_last_one_ends_it(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)

    head, *parts = await sent(body)

    assert b"".join(part["body"] for part in parts) == body
    assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]
    assert max(len(part["body"]) for part in parts) <= SLICE
    assert dict(head["headers"])[b"content-length"] == str(size).encode()


async def test_a_head_alone_has_no_body() -> None:
    assert [message.get("body") for message in await sent(bytes(3 * SLICE), "HEAD")] == [None, b""]


async def test_between_slices_others_have_their_turn() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await sent(bytes(10 * SLICE))
    other.cancel()

    assert turns >= 9
