"""A document's bytes: encoded once, with room for the revision that only the write itself knows."""

from __future__ import annotations

import orjson

from app.machinery.objects import Document
from app.machinery.values import value
from app.store.base import Revision

ROOM = b'"metadata":{"resourceVersion":"'
"""Before the revision. Only apiVersion and kind come earlier, and inside their strings a quote is escaped: it is the first."""


@value()
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
    first: Document = {name: document[name] for name in ("apiVersion", "kind") if isinstance(document.get(name), str)}
    metadata = {"resourceVersion": "", **document.get("metadata", {})}
    metadata["resourceVersion"] = ""
    ordered = {**first, "metadata": metadata, **document}
    ordered["metadata"] = metadata
    text = orjson.dumps(ordered)
    room = text.index(ROOM) + len(ROOM)
    return Body(head=text[:room], tail=text[room:])


def split(body: bytes) -> Body:
    """A stored version without its revision."""
    start = body.index(ROOM) + len(ROOM)
    return Body(head=body[:start], tail=body[body.index(b'"', start) :])


def _sorted(body: Body) -> bytes:
    return orjson.dumps(orjson.loads(body.at(0)), option=orjson.OPT_SORT_KEYS)
