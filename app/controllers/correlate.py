"""
Which Events are told singly, which together, and which not: as Kubernetes' own event correlator does it, with its numbers.

An object of which one component says the same reason with ten different messages within ten minutes gets one Event for the
further ones. After 25 Events of one component about one object there is one more every five minutes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.machinery.buckets import Buckets

SIMILAR = 10
"""So many messages of one reason are told singly, but for the last of them."""
FORGOTTEN_AFTER = timedelta(minutes=10)
BURST = 25
PER_S = 1 / 300
REMEMBERED = 4096
COMBINED = "(combined from similar events): "
"""Before the message of an Event that stands for several."""


class Way(StrEnum):
    """How an Event is told."""

    SINGLY = "singly"
    TOGETHER = "together"
    """One Event for all of that reason; its message is the last one's."""
    NOT = "not"
    """Too many are told of that object."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who tells, of which object, and what."""

    component: str
    uid: str
    type: str
    reason: str


@dataclass(slots=True)
class _Similar:
    last: datetime
    messages: set[str] = field(default_factory=set)


class Correlator:
    """One process's memory of what one component told."""

    def __init__(self) -> None:
        self._similar: OrderedDict[Subject, _Similar] = OrderedDict()
        self._buckets = Buckets(BURST, PER_S, REMEMBERED)

    def way(self, subject: Subject, message: str, now: datetime) -> Way:
        together = self._is_one_of_many(subject, message, now)
        if not self._buckets.take((subject.component, subject.uid), now.timestamp()):
            return Way.NOT
        return Way.TOGETHER if together else Way.SINGLY

    def _is_one_of_many(self, subject: Subject, message: str, now: datetime) -> bool:
        seen = self._similar.get(subject)
        if seen is None or now - seen.last > FORGOTTEN_AFTER:
            seen = self._similar[subject] = _Similar(now)
        self._similar.move_to_end(subject)
        seen.last = now
        self._forget(now)
        seen.messages.add(message)
        if len(seen.messages) < SIMILAR:
            return False
        seen.messages.discard(message)  # there are never more of them
        return True

    def _forget(self, now: datetime) -> None:
        """Those that were longest untold come first."""
        while len(self._similar) > REMEMBERED or now - next(iter(self._similar.values())).last > FORGOTTEN_AFTER:
            self._similar.popitem(last=False)
