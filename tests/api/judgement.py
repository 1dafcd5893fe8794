"""Whether what clients saw can have been one log: pure, so that it is itself tested with histories that were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.api.history import Document, History, Joined, Outcome, Read, Selects, State, Write, name_of, revision_of

Event = Document


def judge(history: History, log: list[Event], streams: Iterable[tuple[Selects, list[Event]]]) -> None:
    """Raises AssertionError for what cannot have been. The log begins with nothing there."""
    check_order(log)
    check_writes(log, history.writes)
    found = states(history.start, log)
    for read in history.reads:
        check_read(read, found)
    for part, events in streams:
        assert events == told(log, part, {})
    for joined in history.joins:
        check_joined(joined, log, found)


def check_order(log: list[Event]) -> None:
    """Revisions grow, and each object could have lived so."""
    revisions = [revision_of(event["object"]) for event in log]
    assert revisions == sorted(set(revisions))
    alive: dict[str, str] = {}
    for event in log:
        name, uid = name_of(event["object"]), event["object"]["metadata"]["uid"]
        assert alive.get(name) == (None if event["type"] == "ADDED" else uid)
        if event["type"] == "DELETED":
            del alive[name]
        else:
            alive[name] = uid


def check_writes(log: list[Event], writes: list[Write]) -> None:
    """What was acknowledged is in the log once, as it was answered, after what its client knew; nothing that was refused is."""
    by_tag = {write.tag: write for write in writes}
    made = [event for event in log if event["type"] != "DELETED"]
    tags = Counter(event["object"]["metadata"]["labels"]["write"] for event in made)
    assert set(tags.values()) <= {1}
    for event in made:
        write = by_tag[event["object"]["metadata"]["labels"]["write"]]
        assert (write.type, write.name) == (event["type"], name_of(event["object"]))
        assert write.outcome is not Outcome.REFUSED
        assert revision_of(event["object"]) > write.since
        assert write.document in (None, event["object"])
    done = [write for write in writes if write.outcome is Outcome.DONE]
    assert {write.tag for write in done if write.type != "DELETED"} <= set(tags)
    check_deletions([event for event in log if event["type"] == "DELETED"], writes)


def check_deletions(deleted: list[Event], writes: list[Write]) -> None:
    """Each is an acknowledged one, or may be one that nobody knows of."""
    at = {event["object"]["metadata"]["uid"]: revision_of(event["object"]) for event in deleted}
    for write in writes:
        if write.type == "DELETED" and write.outcome is Outcome.DONE:
            assert write.document is not None
            assert at.pop(write.document["details"]["uid"]) > write.since
    unknown = Counter(w.name for w in writes if w.type == "DELETED" and w.outcome is Outcome.UNKNOWN)
    left = Counter(name_of(event["object"]) for event in deleted if event["object"]["metadata"]["uid"] in at)
    assert left <= unknown


def states(start: int, log: list[Event]) -> dict[int, State]:
    """What there was at each revision that changed something."""
    now: dict[str, Document] = {}
    found: dict[int, State] = {start: {}}
    for event in log:
        if event["type"] == "DELETED":
            del now[name_of(event["object"])]
        else:
            now[name_of(event["object"])] = event["object"]
        found[revision_of(event["object"])] = dict(now)
    return found


def selected(state: State, part: Selects) -> State:
    return {name: document for name, document in state.items() if part.holds(document)}


def at(found: dict[int, State], revision: int) -> State:
    return found[max(known for known in found if known <= revision)]


def check_read(read: Read, found: dict[int, State]) -> None:
    """It is the state of one revision, and of none before what had been acknowledged when it was asked."""
    if read.name is None:
        assert read.revision is not None
        assert read.revision >= read.since
        assert read.seen == selected(at(found, read.revision), read.part)
        return
    first = max(revision for revision in found if revision <= read.since)
    possible = [state for revision, state in found.items() if revision >= first]
    assert any(state.get(read.name) == read.seen.get(read.name) for state in possible)


def told(log: list[Event], part: Selects, inside: State) -> list[Event]:
    """What a watch of the part must tell, beginning with what is in it: it comes, changes, and leaves as it was."""
    events, now = [], dict(inside)
    for event in log:
        thing, name = event["object"], name_of(event["object"])
        before = now.pop(name, None)
        if event["type"] != "DELETED" and part.holds(thing):
            now[name] = thing
            events.append({"type": "MODIFIED" if before else "ADDED", "object": thing})
        elif before is not None:
            metadata = {**before["metadata"], "resourceVersion": thing["metadata"]["resourceVersion"]}
            events.append({"type": "DELETED", "object": {**before, "metadata": metadata}})
    return events


def check_joined(joined: Joined, log: list[Event], found: dict[int, State]) -> None:
    """The state of one moment, none before what was known, and from there on the log."""
    if joined.revision is not None:
        assert joined.revision >= joined.since
        assert joined.initial == selected(at(found, joined.revision), joined.part)
        assert joined.events == _following(joined.revision, joined, log, found)[: len(joined.events)]
        return
    # It did not say where its initial state ends: some moment must explain all of it.
    first = max(revision for revision in found if revision <= joined.since)
    assert any(_explains(moment, joined, log, found) for moment in found if moment >= first)


def _following(moment: int, joined: Joined, log: list[Event], found: dict[int, State]) -> list[Event]:
    later = [event for event in log if revision_of(event["object"]) > moment]
    return told(later, joined.part, selected(at(found, moment), joined.part))


def _explains(moment: int, joined: Joined, log: list[Event], found: dict[int, State]) -> bool:
    state = selected(at(found, moment), joined.part)
    if len(joined.events) < len(state):
        # Cut off within its initial state.
        return all(event["type"] == "ADDED" and event["object"] in state.values() for event in joined.events)
    initial, rest = joined.events[: len(state)], joined.events[len(state) :]
    if {name_of(event["object"]): event["object"] for event in initial} != state:
        return False
    return rest == _following(moment, joined, log, found)[: len(rest)]
