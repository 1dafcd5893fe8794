"""A document's bytes: encoded once, with room for the revision that only the write itself knows."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from app.machinery.objects import Document
from app.store.base import Revision

ROOM = b'"metadata":{"resourceVersion":"'
"""Before the revision. Only apiVersion and kind come earlier, and inside their strings a quote is escaped: it is the first."""


@dataclass(frozen=True, slots=True)
class Body:
    """A document without its revision: what stands before the revision, and what stands after."""

    head: bytes
    tail: bytes

    def at(self, revision: Revision) -> bytes:
        return b"%b%d%b" % (self.head, revision, self.tail)

    def equals(self, other: Body) -> bool:
        """Whether both are the same JSON, in whatever order their fields are."""
        if self == other:
            return True
        same_length = len(self.head) + len(self.tail) == len(other.head) + len(other.tail)
        return same_length and _sorted(self) == _sorted(other)


def encoded(document: Document) -> Body:
    """Raises TypeError for what JSON cannot say."""
    first = {name: document[name] for name in ("apiVersion", "kind") if isinstance(document.get(name), str)}
    rest = {name: value for name, value in document.items() if name not in first and name != "metadata"}
    metadata = {name: value for name, value in document.get("metadata", {}).items() if name != "resourceVersion"}
    return Body(
        head=_open(first) + ROOM,
        tail=b'"' + _continued(metadata) + _continued(rest),
    )


def split(body: bytes) -> Body:
    """A stored version without its revision."""
    start = body.index(ROOM) + len(ROOM)
    return Body(head=body[:start], tail=body[body.index(b'"', start) :])


def _open(fields: Document) -> bytes:
    """The beginning of an object that goes on."""
    return orjson.dumps(fields)[:-1] + b"," if fields else b"{"


def _continued(fields: Document) -> bytes:
    """The end of an object that has a field already."""
    return b"," + orjson.dumps(fields)[1:] if fields else b"}"


def _sorted(body: Body) -> bytes:
    return orjson.dumps(orjson.loads(body.at(0)), option=orjson.OPT_SORT_KEYS)
