"""The benchmark's own check, on a fleet small enough for every run of the tests."""

from __future__ import annotations

import pytest

from benchmarks.placement import measured


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_overbooked_and_every_migration_is_decided(seed: int) -> None:
    figures = measured(nodes=80, guests=600, waiting=120, seed=seed)

    assert figures.placed + figures.unschedulable + figures.waiting_for_slot == 120
    assert figures.placed > 0
    assert figures.unschedulable > 0
