"""The audit: who asked for what, from where, and what came of it, as Events of audit.k8s.io/v1 at the level Metadata."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import orjson
import structlog

from app.api.requests import Request
from app.api.responses import Response
from app.machinery.objects import Document
from app.machinery.values import value

log = structlog.get_logger()

READS = frozenset(("get", "list", "watch"))


@value()
class Audited:
    """One request that was answered."""

    request: Request
    code: int
    received: datetime
    answered: datetime
    object: Document
    """metadata of what was answered, or of what a Status names; empty where it says neither."""
    status: Document
    """Of a refusal: the Status."""


class Sink(Protocol):
    """Takes what was audited; called on the way of each request, so it must not wait."""

    def take(self, audited: Audited) -> None: ...


class Audit:
    """Judges what is worth telling: every write, and reads if they are wanted."""

    def __init__(self, sinks: Sequence[Sink] = (), *, reads: bool = False) -> None:
        self._sinks = sinks
        self._reads = reads

    def wants(self, request: Request) -> bool:
        return bool(self._sinks) and (self._reads or request.method not in ("GET", "HEAD", "OPTIONS"))

    def answered(self, request: Request, code: int, answer: Response | None, received: datetime) -> None:
        """Once the answer is on its way. Of a write that was cut off nobody knows the code: 0."""
        if not self.wants(request):
            return
        named, refused = _told(code, answer) if answer is not None else ({}, {})
        audited = Audited(request, code, received, datetime.now(UTC), named, refused)
        for sink in self._sinks:
            sink.take(audited)


def _told(code: int, answer: Response) -> tuple[Document, Document]:
    """What an answer names, and the Status that it is where it refuses."""
    if answer.about is not None:
        return answer.about, {}
    said = _document(answer)
    is_status = said.get("kind") == "Status"
    # A deletion is answered by a Status whose details name what has gone.
    named = said.get("details" if is_status else "metadata") if code < 400 else None
    return named or {}, said if is_status and code >= 400 else {}


def _document(answer: Response) -> Document:
    """What a write is answered is small; a table or YAML says nothing here that its request does not."""
    if not answer.type.startswith("application/json") or not answer.body.startswith(b"{"):
        return {}
    found: Document = orjson.loads(answer.body)
    return found


def event_of(audited: Audited) -> Document:
    """audit.k8s.io/v1 Event, level Metadata, stage ResponseComplete."""
    request, asked = audited.request, audited.request.attributes
    event: Document = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": request.audit_id.decode("latin-1"),
        "stage": "ResponseComplete",
        "requestURI": _uri(request),
        "verb": asked.verb or request.method.lower(),
        "user": (request.impersonator or request.user).info(),
        "sourceIPs": list(source_ips(request)),
        "userAgent": request.header(b"user-agent"),
        "responseStatus": _status(audited),
        "requestReceivedTimestamp": _micro(audited.received),
        "stageTimestamp": _micro(audited.answered),
    }
    if request.impersonator is not None:
        event["impersonatedUser"] = request.user.info()
    if asked.resource:
        event["objectRef"] = _reference(audited)
    return event


def _reference(audited: Audited) -> Document:
    """The object: of one that was made under a made-up name, that name."""
    asked, found = audited.request.attributes, audited.object
    told = {
        "resource": asked.resource,
        "namespace": asked.namespace,
        "name": asked.name or found.get("name", ""),
        "uid": found.get("uid", ""),
        "apiGroup": asked.group,
        "apiVersion": asked.version,
        "resourceVersion": found.get("resourceVersion", ""),
        "subresource": asked.subresource,
    }
    return {name: value for name, value in told.items() if value}


def _status(audited: Audited) -> Document:
    told: Document = {"metadata": {}, "code": audited.code}
    for name in ("status", "reason", "message"):
        if name in audited.status:
            told[name] = audited.status[name]
    return told


def source_ips(request: Request) -> Sequence[str]:
    """The connection's other end. What a header says of it, anybody may say."""
    client = request.scope.get("client")
    return (client[0],) if client else ()


def _uri(request: Request) -> str:
    query = request.scope.get("query_string", b"").decode("latin-1")
    return quote(request.path) + (f"?{query}" if query else "")


def _micro(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class JsonLines:
    """One line each, appended to a file in one write, so that several processes may share it; `-` is standard output.

    A line that cannot be written is told in the log, and does not stop the API: whoever must rather have no API than no
    audit watches for that.
    """

    def __init__(self, place: str, *, opened: Callable[[str], int] | None = None) -> None:
        self._place = place
        self._open = opened or _opened
        self._descriptor = self._open(place)
        self.failures = 0

    def take(self, audited: Audited) -> None:
        line = orjson.dumps(event_of(audited), option=orjson.OPT_APPEND_NEWLINE)
        try:
            self._reopen_if_moved()
            os.write(self._descriptor, line)
        except OSError as error:
            self.failures += 1
            log.error("audit line not written", place=self._place, error=str(error), failures=self.failures)

    def _reopen_if_moved(self) -> None:
        """After a rotation by another program the name means another file, or none."""
        if self._place == "-":
            return
        try:
            found = Path(self._place).stat()
        except FileNotFoundError:
            found = None
        held = os.fstat(self._descriptor)
        if found is None or (found.st_ino, found.st_dev) != (held.st_ino, held.st_dev):
            os.close(self._descriptor)
            self._descriptor = self._open(self._place)

    def close(self) -> None:
        if self._place != "-":
            os.close(self._descriptor)


def _opened(place: str) -> int:
    if place == "-":
        return 1
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
