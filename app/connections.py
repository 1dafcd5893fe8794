"""A client's connection: nobody may hold one for ever by sending too slowly, too much, or by never reading.

    idle ──first byte──▶ request coming ──complete──▶ answer going out ──▶ idle
                              │ too slow                     │ nothing read
                              ▼                              ▼
                            aborted                        aborted

uvicorn bounds neither the head of a request nor the time that a peer takes, and its close waits for a peer that reads.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.api.auth.base import NOBODY, Peer
from app.api.requests import PEER, PUSH, WHOLE, Headers

log = structlog.get_logger()

HEAD_LIMIT = 1024 * 1024
"""Bytes of request line and headers; Go's default, so that the longest selector is the same as Kubernetes'."""

CONTINUE = b"HTTP/1.1 100"
TOO_LONG = b"431 Request Header Fields Too Large"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a peer may take."""

    head_s: float = 32
    """For the head of a request, and for the first byte of a new connection; kube-apiserver's bound."""
    request_s: float = 65
    """For a whole request: a moment longer than the deadline that is answered with a Status."""
    stalled_s: float = 30
    """For reading what was sent; more than the few seconds of a network that is changing its route."""
    look_s: float = 5
    """How often a connection is looked at."""
    goodbye_s: float = 1
    """For answering the end of TLS when the listener closes; a client that keeps the connection for later does not."""


TOGETHER_BYTES = 16 * 1024
"""What is not larger is copied, to be sent with the head before it: a record of TLS holds no more."""


class Joining(asyncio.Transport):
    """A connection as one answer sees it: its head waits for what follows, and both go out at once."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""
        self._begun = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._begun and data[:12] != CONTINUE:
            self._begun = True
            self._head = bytes(data)
        elif self._head and len(data) <= TOGETHER_BYTES:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self.flush()
            self._transport.write(data)

    def flush(self) -> None:
        """Nothing follows the head."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


_NOT_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def _answered_whole(cycle: RequestResponseCycle, code: int, headers: Headers, body: bytes) -> bool:
    """What the cycle does in two turns, and with a look at each header, if its client reads what it is sent."""
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    if _NOT_IN_VALUES.search(b" ".join([value for _, value in headers])):
        raise RuntimeError("BUG: a header of an answer with control characters")
    lines = [STATUS_LINE[code]]
    for name, value in (*cycle.default_headers, *headers):
        lines += (name, b": ", value, b"\r\n")
    lines += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(lines))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def _pushed(cycle: RequestResponseCycle, data: bytes) -> bool:
    """One more chunk of an answer that has begun and is not over, if its client reads what it is sent."""
    if not cycle.chunked_encoding or cycle.response_complete or cycle.disconnected or cycle.flow.write_paused:
        return False
    cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
    return True


class Connection(HttpToolsProtocol):
    """uvicorn's connection, cut off when its peer has used up our patience."""

    patience = Patience()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._peer = NOBODY
        self._head_since: float | None = None
        """Since when the head of a request is awaited; None when it is complete, and between requests."""
        self._request_since: float | None = None
        self._stalled_since: float | None = None
        """Since when the peer has not read what was sent, although the buffer is full."""
        self._closing_since: float | None = None
        self._head_size = 0
        self._in_body = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._peer = self._met(transport)
        self._head_since = self.loop.time()
        self._look_later()

    def _met(self, transport: asyncio.Transport) -> Peer:
        """Who is at the other end, as far as the connection itself tells."""
        tls = transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        here = self.server[0] if self.server else ""
        return Peer(certificate, address=self.client[0] if self.client else "", local=here)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._head_size += len(data)
            if self._head_size > HEAD_LIMIT:
                self._refuse()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._head_since = self._request_since = self.loop.time()
        super().on_message_begin()
        self.scope[PEER] = self._peer  # type: ignore[literal-required]  # servers may add keys with a dot

    def on_headers_complete(self) -> None:
        self._head_since = None
        self._in_body = True
        super().on_headers_complete()
        if self.cycle is not None and not isinstance(self.cycle.transport, Joining):
            self.cycle.transport = joining = Joining(self.transport)
            self.cycle.on_response = partial(self._answered, joining)
            self.cycle.scope[WHOLE] = partial(_answered_whole, self.cycle)  # type: ignore[literal-required]
            self.cycle.scope[PUSH] = partial(_pushed, self.cycle)  # type: ignore[literal-required]

    def _answered(self, answer: Joining) -> None:
        answer.flush()
        self.on_response_complete()

    def on_message_complete(self) -> None:
        self._request_since = None
        self._head_size = 0
        self._in_body = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled_since = None
        super().resume_writing()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(self.patience.goodbye_s, self._hang_up)

    def _hang_up(self) -> None:
        if not self.transport.get_write_buffer_size():
            self.transport.abort()

    def _refuse(self) -> None:
        """In Go's words; what else comes is not looked at."""
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n%b"
            % (TOO_LONG, TOO_LONG)
        )
        self.transport.close()

    def _look_later(self) -> None:
        self._timer = self.loop.call_later(self.patience.look_s, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        if self._closing_since is None and self.transport.is_closing():
            self._closing_since = now
        why = self._overdue(now)
        if why:
            log.info("connection cut off", why=why, client=self.client)
            self._break()
        else:
            self._look_later()

    def _break(self) -> None:
        """At once, and with what the kernel still holds for a peer that does not read."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _overdue(self, now: float) -> str:
        """What the peer has not done in time; "" while there is nothing to complain about."""
        patience = self.patience
        for since, limit_s, why in (
            (self._head_since, patience.head_s, "no complete head of a request"),
            (self._request_since, patience.request_s, "no complete request"),
            (self._stalled_since, patience.stalled_s, "does not read"),
            (self._closing_since, patience.stalled_s, "does not read the last of it"),
        ):
            if since is not None and now - since > limit_s:
                return why
        return ""
