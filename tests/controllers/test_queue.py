"""The queue of keys: no key twice, none lost, failures wait longer. Pure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.controllers.queue import Backoff, Queue


def test_a_key_that_is_added_twice_is_taken_once() -> None:
    queue: Queue[str] = Queue()
    queue.add("a", 1.0)
    queue.add("a", 2.0)

    taken = [queue.take(2.0), queue.take(2.0)]

    assert taken == ["a", None]


def test_a_key_is_not_due_before_its_time_and_an_earlier_time_wins() -> None:
    queue: Queue[str] = Queue()
    queue.add("a", 5.0)
    queue.add("a", 3.0)
    queue.add("a", 9.0)

    assert (queue.next_due(), queue.take(2.9), queue.take(3.0)) == (3.0, None, "a")


def test_a_key_that_is_added_while_in_hand_comes_back_when_it_is_put_down() -> None:
    queue: Queue[str] = Queue()
    queue.add("a", 0.0)
    queue.take(0.0)
    queue.add("a", 1.0)

    in_hand = queue.take(1.0)
    queue.done("a")

    assert in_hand is None
    assert queue.take(1.0) == "a"


def test_a_key_put_down_with_a_time_is_due_then() -> None:
    queue: Queue[str] = Queue()
    queue.add("a", 0.0)
    queue.take(0.0)
    queue.done("a", again_at=7.0)

    assert (queue.take(6.9), queue.take(7.0)) == (None, "a")


def test_failures_in_a_row_wait_twice_as_long_each_and_success_forgets_them() -> None:
    queue: Queue[str] = Queue(Backoff(first_s=1.0, longest_s=4.0))
    waits = []
    for _ in range(4):
        queue.add("a", 0.0)
        queue.take(1000.0)
        waits.append(queue.failed("a", 0.0))
    queue.take(1000.0)
    queue.done("a")
    queue.add("a", 0.0)
    queue.take(1000.0)

    assert waits == [1.0, 2.0, 4.0, 4.0]
    assert queue.failed("a", 0.0) == 1.0


def test_the_one_that_waited_longest_is_served_first() -> None:
    queue: Queue[str] = Queue()
    for key, at in (("b", 2.0), ("c", 3.0), ("a", 1.0)):
        queue.add(key, at)

    assert [queue.take(9.0) for _ in range(3)] == ["a", "b", "c"]


STEPS = st.lists(st.tuples(st.sampled_from(["add", "take", "done", "failed"]), st.sampled_from("abc")), max_size=60)


@given(STEPS)
def test_a_key_is_in_hand_once_and_what_was_added_is_handed_out_after_that(steps: list[tuple[str, str]]) -> None:
    queue: Queue[str] = Queue()
    in_hand: set[str] = set()
    owed: set[str] = set()
    now = 0.0
    for step, key in steps:
        now += 100.0
        if step == "add":
            queue.add(key, now)
            owed.add(key)
        elif step == "take":
            taken = queue.take(now)
            if taken is not None:
                assert taken not in in_hand
                in_hand.add(taken)
                owed.discard(taken)
        elif key in in_hand:
            in_hand.discard(key)
            if step == "done":
                queue.done(key)
            else:
                queue.failed(key, now)
                owed.add(key)

    for key in in_hand:
        queue.done(key)
    left = set()
    while (taken := queue.take(now + 1000.0)) is not None:
        left.add(taken)
        queue.done(taken)
    assert owed <= left
    assert len(queue) == 0
