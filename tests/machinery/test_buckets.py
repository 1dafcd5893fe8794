"""Token buckets."""

from __future__ import annotations

from app.machinery.buckets import Buckets


def test_a_burst_and_then_so_many_a_second_for_each_key() -> None:
    buckets = Buckets(burst=3, per_s=2)

    at_once = [buckets.take("a", 0.0) for _ in range(4)]
    after_half_a_second = [buckets.take("a", 0.5) for _ in range(2)]

    assert at_once == [True, True, True, False]
    assert after_half_a_second == [True, False]
    assert buckets.take("b", 0.5)


def test_waiting_saves_no_more_than_a_burst() -> None:
    buckets = Buckets(burst=2, per_s=1)
    buckets.take("a", 0.0)

    assert [buckets.take("a", 1000.0) for _ in range(3)] == [True, True, False]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets = Buckets(burst=1, per_s=1)
    buckets.take("a", 10.0)

    assert [buckets.take("a", now) for now in (5.0, 10.5, 11.0)] == [False, False, True]


def test_what_was_longest_unused_is_forgotten() -> None:
    buckets = Buckets(burst=1, per_s=0.001, remembered=2)
    for key in ("a", "b", "a", "c"):
        buckets.take(key, 0.0)

    assert not buckets.take("a", 0.0)
    assert buckets.take("b", 0.0)
