"""Random sequences on simulated hosts: no limit exceeded, no guest on two or none, nothing stuck, phases true."""

from __future__ import annotations

import secrets

import pytest

from app.store.postgres import PostgresStore
from tests.controllers.migration.simulation import Simulation, lead

SHORT, LONG, SEQUENCES = 25, 50, 100
SEEDS = (1, 2)


async def simulated(store: PostgresStore, seed: int, steps: int, guests: int) -> Simulation:
    """All of it; the laws are checked on the way."""
    async with lead(store, seed) as simulation:
        await simulation.build(guests)
        for _ in range(steps):
            await simulation.step()
        await simulation.heal()
        await simulation.ensure_nothing_is_left()
    print(
        f"seed {seed}: {simulation.count} migrations, {simulation.looks} looks, "
        f"at rest {simulation.healed_s:.0f} s after all was mended,"
        f" {dict(sorted(simulation.done.items()))}"
    )
    return simulation


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_sequence_breaks_a_law(store: PostgresStore, seed: int) -> None:
    simulation = await simulated(store, seed, SHORT, guests=7)

    assert simulation.done["exit MOVED"] > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("_number", range(SEQUENCES))
async def test_thousands_of_steps_break_no_law(store: PostgresStore, _number: int) -> None:
    """Many worlds, each of its own seed, drawn now and told by what fails: together thousands of steps."""
    simulation = await simulated(store, secrets.randbelow(10**6), LONG, guests=9)

    assert simulation.done["exit MOVED"] > 0
