"""How many Events clients may write: as kube-apiserver's admission plugin EventRateLimit, in its words. One process's bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.api.context import Written
from app.machinery.buckets import Buckets
from app.machinery.errors import ApiError
from app.machinery.objects import Document


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and then so many a second."""

    burst: int
    per_s: float


class EventRate:
    """Each write of an Event, but for those in dry run, takes a token of its user and one of its source and object."""

    def __init__(self, user: Rate, subject: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._users = Buckets(user.burst, user.per_s)
        self._subjects = Buckets(subject.burst, subject.per_s)
        self._clock = clock

    async def __call__(self, written: Written) -> None:
        """Raises ApiError: 429."""
        if written.dry_run:
            return
        now = self._clock()
        if not self._users.take(written.user.name, now):
            raise _too_many("User", written.user.name)
        subject = _subject(written.new)
        if not self._subjects.take(subject, now):
            raise _too_many("SourceAndObject", subject)


def _subject(event: Document) -> str:
    """The plugin's own key: who told it, and of what."""
    source, involved = event.get("source") or {}, event.get("involvedObject") or {}
    told = (source.get("component"), source.get("host"))
    of = (involved.get(part) for part in ("kind", "namespace", "name", "uid", "apiVersion"))
    return "".join(str(part or "") for part in (*told, *of))


def _too_many(kind: str, key: str) -> ApiError:
    return ApiError(429, "TooManyRequests", f"Too many requests: limit reached on type {kind} for key {key}")
