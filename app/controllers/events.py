"""Recording Events: what happened to an object, for people; the same again is counted, not repeated."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from typing import Literal

import structlog

from app.controllers.birth import Birth
from app.controllers.correlate import COMBINED, Correlator, Subject, Way
from app.kinds import EVENT
from app.machinery.objects import Document
from app.store.base import AlreadyExists, Conflict, Key, NotFound, Store, Transaction

log = structlog.get_logger()

ATTEMPTS = 3
"""How often an Event by itself is recorded again when somebody else writes it at once, such as who tells a cluster of it."""

EventKind = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes core v1 Events. `component` says who saw it."""

    component: str = "drover"
    birth: Birth = field(default_factory=Birth)
    correlator: Correlator = field(default_factory=Correlator)

    async def record(
        self, tx: Transaction, involved: Document, reason: str, message: str, type: EventKind = "Normal"
    ) -> None:
        """Part of that transaction: told when, and only when, the rest of it happened. Once per reason and message; where
        there are many of an object, the further ones together, or not at all."""
        subject = Subject(self.component, involved["metadata"]["uid"], type, reason)
        way = self.correlator.way(subject, message, self.birth.now())
        if way is Way.NOT:
            log.info("event not told: many are of this object", uid=subject.uid, reason=reason, message=message)
            return
        together = way is Way.TOGETHER
        key = Key(
            EVENT.resource, _namespace(involved), _name(involved, reason, COMBINED if together else message, type)
        )
        told = COMBINED + message if together else message
        try:
            stored = await tx.get(key)
        except NotFound:
            tx.create(key, self._first(key, involved, reason, told, type))
        else:
            tx.replace(key, self._again(stored.document, told))

    async def record_alone(
        self, store: Store, involved: Document, reason: str, message: str, type: EventKind = "Normal"
    ) -> None:
        """In a transaction of its own. If others keep writing the same, one count is lost: they are for people."""
        for _ in range(ATTEMPTS):
            try:
                async with store.transaction() as tx:
                    await self.record(tx, involved, reason, message, type)
            except (Conflict, AlreadyExists, NotFound):
                continue
            return

    def _first(self, key: Key, involved: Document, reason: str, message: str, type: EventKind) -> Document:
        now = self.birth.stamp()
        return self.birth.document(
            EVENT,
            key.namespace,
            key.name,
            involvedObject=_reference(involved),
            reason=reason,
            message=message,
            type=type,
            source={"component": self.component},
            reportingComponent=self.component,
            reportingInstance="",
            firstTimestamp=now,
            lastTimestamp=now,
            eventTime=None,
            count=1,
        )

    def _again(self, event: Document, message: str) -> Document:
        repeated = copy.deepcopy(event)
        repeated["message"] = message
        repeated["count"] = int(event.get("count") or 1) + 1
        repeated["lastTimestamp"] = self.birth.stamp()
        return repeated


def _reference(involved: Document) -> Document:
    metadata = involved["metadata"]
    reference = {
        "apiVersion": involved["apiVersion"],
        "kind": involved["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    if metadata.get("namespace"):
        reference["namespace"] = metadata["namespace"]
    if metadata.get("resourceVersion"):
        reference["resourceVersion"] = metadata["resourceVersion"]
    return reference


def _namespace(involved: Document) -> str:
    """Events of objects without a namespace are kept in `default`, as in Kubernetes."""
    return involved["metadata"].get("namespace") or "default"


def _name(involved: Document, reason: str, message: str, type: EventKind) -> str:
    """The same event has the same name, so the second one finds the first."""
    metadata = involved["metadata"]
    told = "\0".join((metadata["uid"], type, reason, message))
    return f"{metadata['name']}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"
