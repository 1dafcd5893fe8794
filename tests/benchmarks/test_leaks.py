"""Memory, open files and processes after many migrations and reconnects are what they were after the first of them."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.leaks.__main__ import Plan, measured
from benchmarks.leaks.footprint import Footprint

HELD = Footprint(memory_mb=100, files=20, below=2, threads=3, blocks=500_000, rows=500)


def test_what_stays_as_it_is_has_not_grown() -> None:
    assert HELD.grown(HELD) == []
    assert dataclasses.replace(HELD, memory_mb=105, files=22, blocks=510_000).grown(HELD) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"memory_mb": 130}, "memory 100 → 130 MB"),
        ({"files": 40}, "open files 20 → 40"),
        ({"below": 3}, "processes below 2 → 3"),
        ({"threads": 30}, "threads 3 → 30"),
        ({"blocks": 600_000}, "blocks 500000 → 600000"),
        ({"rows": 5_000}, "rows 500 → 5000"),
    ],
)
def test_whatever_grew_is_told(more: dict[str, int], said: str) -> None:
    assert dataclasses.replace(HELD, **more).grown(HELD) == [said]  # type: ignore[arg-type]  # ints for floats


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(1500)
def test_nothing_grows_with_migrations_and_reconnects() -> None:
    """A connection is broken after every third of them. After two hundred each process holds as many changes as it ever will."""
    found = measured(Plan(migrations=320, reconnects=110, first=200, hosts=4, guests=8, at_once=8, rest_s=2))

    print(found.table())
    assert found.outcomes.total() == 320
    assert found.cuts.keys() == {"watch", "host", "database"}
    # Rows and what they cost in memory go by age, which is not waited for here.
    assert [grown for grown in found.grown if "rows" not in grown] == []
