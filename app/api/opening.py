"""What is answered before the database is there: that the process lives and is not ready, and to all else 503."""

from __future__ import annotations

import orjson
from starlette.types import Receive, Scope, Send

from app.api.errors import unavailable

_PLAIN = "text/plain; charset=utf-8"
_NOT_READY = b"[+]ping ok\n[-]postgresql failed: reason withheld\n%b check failed\n"


async def opening(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application."""
    if scope["type"] != "http":
        return
    match scope["path"].strip("/"):
        case "livez":
            await _answer(send, 200, b"ok", _PLAIN)
        case "readyz" | "healthz" as name:
            await _answer(send, 500, _NOT_READY % name.encode(), _PLAIN)
        case _:
            refusal = unavailable("waiting for the database")
            await _answer(send, refusal.code, orjson.dumps(refusal.status()), "application/json", **refusal.headers)


async def _answer(send: Send, code: int, body: bytes, kind: str, **more: str) -> None:
    headers = {"content-type": kind, "content-length": str(len(body)), "cache-control": "no-cache, private", **more}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": code, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
