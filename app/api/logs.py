"""The log subresource: what an object's process said, as text, perhaps followed until the process has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.types import Receive, Send

from app.api.context import Context
from app.api.reading import Reading
from app.api.requests import Request, flag, integer
from app.api.responses import stream_headers
from app.api.routes import Target
from app.api.streams import Streams
from app.machinery.errors import FieldError, bad_request, forbidden, invalid, invalid_object
from app.machinery.go_time import time_error
from app.machinery.objects import Document
from app.store.base import EventType, LogLine, Logs, Scope, Stored

TEXT = "text/plain"

LOOK_S = 0.2
"""How often a followed log is looked at; a change of its object is noticed at once."""

PIECE = 1000
"""Lines that are read in one go."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which lines, and how they are shown."""

    container: str
    follow: bool
    previous: bool
    timestamps: bool
    tail: int | None
    since: datetime | None
    limit_bytes: int | None

    @classmethod
    def read(cls, parameters: Mapping[str, str], pod: str, now: datetime) -> LogOptions:
        """Raises 400 and 422."""
        tail, limit = integer(parameters, "tailLines"), integer(parameters, "limitBytes")
        seconds, time = integer(parameters, "sinceSeconds"), parameters.get("sinceTime")
        if time and (why := time_error(time)):
            raise bad_request(why)
        wrong = list(_wrong(tail, limit, seconds, time))
        if wrong:
            raise invalid_object("PodLogOptions", "", pod, wrong)
        return cls(
            container=parameters.get("container", ""),
            follow=flag(parameters, "follow"),
            previous=flag(parameters, "previous"),
            timestamps=flag(parameters, "timestamps"),
            tail=tail,
            since=now - timedelta(seconds=seconds) if seconds else datetime.fromisoformat(time) if time else None,
            limit_bytes=limit,
        )

    def text(self, line: LogLine) -> str:
        if not self.timestamps:
            return line.text + "\n"
        return f"{line.at.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')} {line.text}\n"


def _wrong(tail: int | None, limit: int | None, seconds: int | None, time: str | None) -> Iterator[FieldError]:
    if tail is not None and tail < 0:
        yield invalid("tailLines", tail, "must be greater than or equal to 0")
    if limit is not None and limit < 1:
        yield invalid("limitBytes", limit, "must be greater than 0")
    if seconds is not None and time:
        yield forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified")
    elif seconds is not None and seconds < 1:
        yield invalid("sinceSeconds", seconds, "must be greater than 0")


@dataclass(frozen=True, slots=True)
class Log:
    """A judged request for the log of one object."""

    request: Request
    stored: Stored
    container: str
    options: LogOptions

    @property
    def uid(self) -> UUID:
        """Lines are kept by it, so that a namesake's are not mixed in."""
        return UUID(self.stored.document["metadata"]["uid"])


class Following:
    """Answers log requests."""

    def __init__(self, context: Context, reading: Reading, streams: Streams) -> None:
        self._streams = streams
        self._clock = context.clock
        self._logs: Logs = context.store.logs
        self._objects = context.store.objects
        self._reading = reading

    async def asked(self, target: Target, request: Request) -> Log:
        """Raises 404 for a missing object, 400 for a container that it does not have."""
        options = LogOptions.read(request.parameters, target.name, self._clock())
        stored = await self._reading.stored(target)
        container = _container(target, stored.document, options)
        return Log(request, stored, container, options)

    async def stream(self, log: Log, receive: Receive, send: Send) -> None:
        """Answers 200 with the lines that there are; followed, with each further one until the process has ended."""
        headers = stream_headers(log.request, TEXT)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await self._streams.run(self._write(log, send), receive)
        await send({"type": "http.response.body", "body": b""})

    async def _write(self, log: Log, send: Send) -> None:
        left = log.options.limit_bytes
        async for lines in self._lines(log):
            since = log.options.since
            shown = "".join(log.options.text(line) for line in lines if since is None or line.at >= since).encode()
            if shown:
                await send({"type": "http.response.body", "body": shown[:left], "more_body": True})
            if left is not None:
                left -= len(shown)
                if left <= 0:
                    return

    async def _lines(self, log: Log) -> AsyncIterator[Sequence[LogLine]]:
        last = 0
        tail = log.options.tail
        if tail is not None:
            lines = await self._logs.read(log.uid, tail=max(tail, 1), limit=max(tail, 1))
            last = lines[-1].seq if lines else 0
            yield lines[len(lines) - tail :] if tail < len(lines) else lines
        async for ended in self._turns(log):
            while lines := await self._logs.read(log.uid, after=last, limit=PIECE):
                last = lines[-1].seq
                yield lines
            if ended:
                return

    async def _turns(self, log: Log) -> AsyncIterator[bool]:
        """When to look for lines; True with the last look, after the process has ended."""
        if not log.options.follow or _has_ended(log.stored.document, log.container):
            yield True
            return
        key = log.stored.key
        scope = Scope(key.resource, key.namespace, key.name)
        async with self._objects.watch(scope, log.stored.revision) as changes:
            while True:
                yield False
                event = await changes.next(LOOK_S)
                if event is None:
                    continue
                if event.type is EventType.DELETED or _has_ended(event.object.document, log.container):
                    yield True
                    return


def _container(target: Target, document: Document, options: LogOptions) -> str:
    """The container that is meant; the only one need not be named. Raises 400."""
    names = [container.get("name", "") for container in (document.get("spec") or {}).get("containers") or ()]
    chosen = options.container or (names[0] if names else "")
    if options.container and options.container not in names:
        raise bad_request(f"container {options.container} is not valid for {target.kind.singular} {target.name}")
    if not options.container and len(names) > 1:
        choices = " ".join(names)
        raise bad_request(
            f"a container name must be specified for {target.kind.singular} {target.name}, choose one of: [{choices}]"
        )
    last = (_status(document, chosen).get("lastState") or {}).get("terminated")
    if options.previous and last is None:
        raise bad_request(
            f'previous terminated container "{chosen}" in {target.kind.singular} "{target.name}" not found'
        )
    return chosen


def _status(document: Document, container: str) -> dict[str, Any]:
    statuses = (document.get("status") or {}).get("containerStatuses") or ()
    return next((status for status in statuses if status.get("name") == container), {})


def _has_ended(document: Document, container: str) -> bool:
    state = _status(document, container).get("state") or {}
    return "terminated" in state or (document.get("status") or {}).get("phase") in ("Succeeded", "Failed")
