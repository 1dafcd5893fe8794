"""The newest events of a process, for watches that were away for a moment."""

from __future__ import annotations

from app.store.base import Event, EventType, Stored
from app.store.feed import Recent
from tests.store.builders import key


def event(revision: int) -> Event:
    before = Stored(key("a"), revision - 1, b'{"spec":{"size":1}}')
    return Event(EventType.MODIFIED, revision, Stored(key("a"), revision, b'{"spec":{"size":2}}'), before)


def test_what_is_held_is_what_was_told_and_takes_up_its_bytes_alone() -> None:
    recent, told = Recent(0, 10, 1 << 20), event(2)
    assert told.previous is not None
    recent.add(told)

    assert (told.object.document, told.previous.document) == ({"spec": {"size": 2}}, {"spec": {"size": 1}})

    (held,) = recent.after(1)
    assert held == told and held.previous is not None
    assert "document" not in vars(held.object) and "document" not in vars(held.previous)


def test_the_oldest_go_when_there_are_too_many_or_they_are_too_large() -> None:
    many, large = Recent(0, 2, 1 << 20), Recent(0, 10, 100)
    for revision in (2, 3, 4, 5):
        many.add(event(revision))
        large.add(event(revision))

    assert (many.start, [one.revision for one in many.after(3)]) == (3, [4, 5])
    assert (large.start, [one.revision for one in large.after(large.start)]) == (3, [4, 5])
