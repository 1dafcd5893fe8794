"""Whose turn it is: by urgency, then by age; and nobody starves. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.controllers.migration.turns import AGEING, Waiting, in_turn, urgency
from app.kinds.migration import MigrationSpec, Priority

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
CRITICAL, USER, MAINTENANCE = Priority.SYSTEM_CRITICAL, Priority.USER_TRIGGERED, Priority.SYSTEM_MAINTENANCE


def waiting(number: int, priority: Priority = USER, waited_s: float = 0) -> Waiting:
    return Waiting(number, priority, NOW - timedelta(seconds=waited_s))


CASES = {
    "the oldest first": ([waiting(0, waited_s=1), waiting(1, waited_s=3), waiting(2, waited_s=2)], [1, 2, 0]),
    "as committed within a second": ([waiting(1), waiting(0), waiting(2)], [0, 1, 2]),
    "urgency before age": (
        [waiting(0, MAINTENANCE, 30), waiting(1, USER, 20), waiting(2, CRITICAL, 10)], [2, 1, 0],
    ),
    "a long wait lifts by a step": ([waiting(0, USER, 5), waiting(1, MAINTENANCE, 600)], [1, 0]),
    "and not before": ([waiting(0, USER, 5), waiting(1, MAINTENANCE, 599)], [0, 1]),
    "a longer one by two": ([waiting(0, CRITICAL, 5), waiting(1, MAINTENANCE, 1200)], [1, 0]),
    "nobody is lifted above the most urgent": ([waiting(0, CRITICAL, 9000), waiting(1, USER, 8000)], [0, 1]),
    "a clock that went back lifts nobody": ([waiting(0, USER, -9000), waiting(1, CRITICAL)], [1, 0]),
}  # fmt: skip


def test_kubectl_explain_tells_how_fast_a_wait_lifts() -> None:
    told = " ".join(str(MigrationSpec.model_fields["priority"].description).split())

    assert f"Whoever has waited for {AGEING.total_seconds() / 60:g} minutes is served as if it were one step" in told


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_turns(case: tuple[list[Waiting], list[int]]) -> None:
    crowd, expected = case

    assert [one.number for one in in_turn(crowd, NOW)] == expected


PRIORITIES = st.sampled_from(list(Priority))


@given(PRIORITIES, st.lists(st.tuples(PRIORITIES, st.integers(0, 7200)), max_size=20))
def test_whoever_has_waited_for_two_steps_is_behind_older_ones_only(
    priority: Priority, crowd: list[tuple[Priority, int]]
) -> None:
    waited_s = 2 * AGEING.total_seconds()
    old = waiting(0, priority, waited_s)
    others = [waiting(number, p, age) for number, (p, age) in enumerate(crowd, start=1)]

    order = in_turn([*others, old], NOW)

    assert all(one.created <= old.created for one in order[: order.index(old)])


@given(PRIORITIES, st.integers(0, 7200), st.integers(0, 7200))
def test_urgency_never_falls_while_time_passes(priority: Priority, waited_s: int, more_s: int) -> None:
    one = waiting(0, priority, waited_s)

    assert urgency(one, NOW + timedelta(seconds=more_s)) <= urgency(one, NOW)
