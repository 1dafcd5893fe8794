"""The history checker finds what it is there to find: a true history passes, and each way to spoil it does not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from random import Random

import pytest

from tests.api.history import ALL, RED, Document, History, Joined, Outcome, Read, Selects, Write
from tests.api.judgement import Event, judge, told


def thing(name: str, tag: str, revision: int, color: str) -> Document:
    metadata = {
        "name": name,
        "uid": f"uid of {name}",
        "resourceVersion": str(revision),
        "labels": {"color": color, "write": tag},
    }
    return {"metadata": metadata, "spec": {}}


A2, A3, B4, A5 = (
    thing("a", "1", 2, "red"), thing("a", "2", 3, "blue"), thing("b", "3", 4, "red"), thing("a", "2", 5, "blue"),
)  # fmt: skip
LOG = [
    {"type": "ADDED", "object": A2},
    {"type": "MODIFIED", "object": A3},
    {"type": "ADDED", "object": B4},
    {"type": "DELETED", "object": A5},
]


@dataclass
class Case:
    """A history with two watchers, which may be spoilt."""

    history: History
    log: list[Event]
    streams: list[tuple[Selects, list[Event]]]

    def judge(self) -> None:
        judge(self.history, self.log, self.streams)


def true() -> Case:
    history = History(
        [],
        Random(0),
        writes=[
            Write(1, "ADDED", "a", "1", Outcome.DONE, A2),
            Write(2, "MODIFIED", "a", "2", Outcome.UNKNOWN),
            Write(3, "ADDED", "b", "3", Outcome.DONE, B4),
            Write(3, "MODIFIED", "c", "4", Outcome.REFUSED),
            Write(4, "DELETED", "a", "5", Outcome.DONE, {"details": {"uid": "uid of a"}}),
        ],
        reads=[
            Read(3, ALL, None, 4, {"a": A3, "b": B4}),
            Read(2, RED, None, 3, {}),
            Read(4, ALL, "a", None, {"a": A3}),
            Read(4, ALL, "a", None, {}),
        ],
        joins=[
            Joined(2, ALL, {"a": A3}, 3, LOG[2:]),
            Joined(2, RED, {}, None, [LOG[2]]),
            Joined(2, ALL, {}, None, [{"type": "ADDED", "object": A2}, LOG[1]]),
        ],
        start=1,
        acknowledged=5,
    )
    return Case(deepcopy(history), deepcopy(LOG), [(ALL, deepcopy(LOG)), (RED, told(LOG, RED, {}))])


def test_a_true_history_passes() -> None:
    case = true()

    case.judge()

    left = {"type": "DELETED", "object": thing("a", "1", 3, "red")}
    assert case.streams[1][1] == [LOG[0], left, LOG[2]]


def lost(case: Case) -> None:
    del case.streams[0][1][1]


def repeated(case: Case) -> None:
    case.streams[0][1].insert(1, case.streams[0][1][1])


def swapped(case: Case) -> None:
    stream = case.streams[0][1]
    stream[1], stream[2] = stream[2], stream[1]


def never_left(case: Case) -> None:
    del case.streams[1][1][1]


def left_as_it_became(case: Case) -> None:
    case.streams[1][1][1]["object"] = A3


def write_lost(case: Case) -> None:
    del case.log[2]
    case.streams = []


def written_otherwise(case: Case) -> None:
    case.history.writes[0] = replace(case.history.writes[0], document=thing("a", "1", 2, "green"))


def refused_but_done(case: Case) -> None:
    case.history.writes[1] = replace(case.history.writes[1], outcome=Outcome.REFUSED)


def into_the_past(case: Case) -> None:
    case.history.writes[2] = replace(case.history.writes[2], since=4)


def deleted_by_nobody(case: Case) -> None:
    del case.history.writes[4]


def done_twice(case: Case) -> None:
    case.log.append({"type": "ADDED", "object": thing("c", "3", 6, "red")})


def stale_list(case: Case) -> None:
    case.history.reads.append(Read(5, ALL, None, 4, {"a": A3, "b": B4}))


def torn_list(case: Case) -> None:
    case.history.reads.append(Read(3, ALL, None, 4, {"a": A2, "b": B4}))


def stale_get(case: Case) -> None:
    case.history.reads.append(Read(3, ALL, "a", None, {"a": A2}))


def gone_too_early(case: Case) -> None:
    case.history.reads.append(Read(5, ALL, "b", None, {}))


def joined_with_a_gap(case: Case) -> None:
    case.history.joins[0].events.pop(0)


def joined_in_the_past(case: Case) -> None:
    case.history.joins.append(Joined(4, ALL, {"a": A3}, 3, []))


def joined_half(case: Case) -> None:
    case.history.joins.append(Joined(3, ALL, {}, None, [{"type": "ADDED", "object": A3}, LOG[3]]))


SPOILT: tuple[Callable[[Case], None], ...] = (
    lost, repeated, swapped, never_left, left_as_it_became, write_lost, written_otherwise, refused_but_done, into_the_past,
    deleted_by_nobody, done_twice, stale_list, torn_list, stale_get, gone_too_early, joined_with_a_gap, joined_in_the_past,
    joined_half,
)  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_spoilt_history_is_found_out(spoil: Callable[[Case], None]) -> None:
    case = true()
    spoil(case)

    with pytest.raises(AssertionError):
        case.judge()
