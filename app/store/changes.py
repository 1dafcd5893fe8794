"""What a group of writes does: judged against the stored versions, one revision for each change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.machinery.objects import Document
from app.machinery.values import value
from app.store.base import (
    AlreadyExists,
    Closing,
    Conflict,
    EventType,
    Key,
    NotFound,
    Revision,
    Stored,
    StoreError,
)
from app.store.body import Body, encoded, split


@value()
class Create:
    key: Key
    uid: str
    body: Body
    within: Key | None = None
    """What must be there and stay."""


@value()
class Replace:
    key: Key
    uid: str
    body: Body
    revision: Revision | None
    """What the document says it was read at; None (nothing that can be a revision) never matches."""


@value()
class Delete:
    key: Key
    revision: Revision | None
    """None deletes whichever version there is."""
    body: Body | None
    """The last version, if it differs from the stored one."""


Write = Create | Replace | Delete


@value()
class Change:
    """One entry of the log."""

    type: EventType
    stored: Stored
    previous: Stored | None
    uid: str = ""


Outcome = Stored | StoreError


def creation(key: Key, document: Document, within: Key | None = None) -> Create:
    return Create(_storable(key), _uid(document), encoded(document), within)


def replacement(key: Key, document: Document) -> Replace:
    claimed = document.get("metadata", {}).get("resourceVersion")
    revision = int(claimed) if isinstance(claimed, str) and claimed.isascii() and claimed.isdigit() else None
    return Replace(_storable(key), _uid(document), encoded(document), revision)


def deletion(key: Key, revision: Revision | None, document: Document | None) -> Delete:
    return Delete(_storable(key), revision, None if document is None else encoded(document))


def keys_of(writes: Sequence[Write]) -> set[Key]:
    """Whatever the writes are judged by."""
    keys = {write.key for write in writes}
    return keys | {write.within for write in writes if isinstance(write, Create) and write.within is not None}


class Judge:
    """Takes writes one after another, each on top of what those before it did."""

    def __init__(self, current: Mapping[Key, Stored], revision: Revision) -> None:
        self._current = dict(current)
        self.revision = revision
        self.changes: list[Change] = []

    def take(self, write: Write) -> Outcome:
        """What the write answers; its change, if it makes one, is appended."""
        current = self._current.get(write.key)
        match write:
            case Create():
                if current is not None:
                    return AlreadyExists(_named(write.key))
                if write.within is not None and _is_closing(self._current.get(write.within)):
                    return Closing(_named(write.within))
                return self._changed(EventType.ADDED, write.key, write.body, None, write.uid)
            case Replace():
                if current is None:
                    return NotFound(_named(write.key))
                if write.revision != current.revision:
                    return Conflict(_named(write.key))
                if write.body.equals(split(current.body)):
                    return current
                return self._changed(EventType.MODIFIED, write.key, write.body, current, write.uid)
            case Delete():
                if current is None:
                    return NotFound(_named(write.key))
                if write.revision not in (None, current.revision):
                    return Conflict(_named(write.key))
                return self._changed(EventType.DELETED, write.key, write.body or split(current.body), current, "")

    def _changed(self, type_: EventType, key: Key, body: Body, previous: Stored | None, uid: str) -> Stored:
        self.revision += 1
        stored = Stored(key, self.revision, body.at(self.revision))
        self.changes.append(Change(type_, stored, previous, uid))
        if type_ is EventType.DELETED:
            del self._current[key]
        else:
            self._current[key] = stored
        return stored


def _is_closing(room: Stored | None) -> bool:
    """Gone, or going. Its body is only decoded when it may say so."""
    if room is None:
        return True
    return b'"deletionTimestamp"' in room.body and "deletionTimestamp" in room.document["metadata"]


def last_of_each(changes: Iterable[Change]) -> Sequence[Change]:
    """Where several changes are of one object, only the last says what is stored."""
    return list({change.stored.key: change for change in changes}.values())


def is_storable(key: Key) -> bool:
    """PostgreSQL's text holds neither NUL nor half a surrogate pair; one such key would fail a whole group."""
    text = key.resource + key.namespace + key.name
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def _storable(key: Key) -> Key:
    if not is_storable(key):
        raise ValueError(f"{key!r} cannot be stored")
    return key


def _uid(document: Document) -> str:
    uid = document.get("metadata", {}).get("uid", "")
    return uid if isinstance(uid, str) else ""


def _named(key: Key) -> str:
    return "/".join(part for part in (key.resource, key.namespace, key.name) if part)
