"""Answering over ASGI in a kube-apiserver's words."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.types import Receive, Send

Document = dict[str, Any]

JSON = "application/json"


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        body += chunk
        if not message.get("more_body", False):
            return body


async def answer(
    send: Send, code: int, content: bytes, type_: str = JSON, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    shown = [(b"content-type", type_.encode()), (b"content-length", str(len(content)).encode()), *headers]
    await send({"type": "http.response.start", "status": code, "headers": shown})
    await send({"type": "http.response.body", "body": content})


async def answer_with(send: Send, document: Document, code: int = 200) -> None:
    await answer(send, code, orjson.dumps(document))


async def refuse(send: Send, code: int, reason: str, message: str) -> None:
    status = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code, "details": {},
    }  # fmt: skip
    await answer_with(send, status, code)


async def say(send: Send, code: int, text: str) -> None:
    """As Go's http.Error: plain text."""
    await answer(
        send, code, f"{text}\n".encode(), "text/plain; charset=utf-8", ((b"x-content-type-options", b"nosniff"),)
    )


class Stream:
    """A watch that goes on until its client goes."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def begin(self) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", JSON.encode())]})
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})

    async def tell(self, type_: str, document: Document) -> None:
        frame = orjson.dumps({"type": type_, "object": document}) + b"\n"
        await self._send({"type": "http.response.body", "body": frame, "more_body": True})
