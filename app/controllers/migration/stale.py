"""
While libvirt's call lasts: a source that never hears that the guest has arrived.

The target starts the guest and answers; the source then ends its own copy. When that answer is lost, libvirt on the source waits
until its connection to the target counts as dead, about 30 s, and resumes its copy: the guest would run twice. So that copy is
ended as soon as the answer is overdue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.controllers.migration.evidence import Verdict
from app.controllers.migration.judging import OVERDUE_S, act, judged
from app.controllers.migration.move import Move
from app.controllers.migration.steps import Step
from app.hypervisor.base import State

LOOK_S = 1.0


@asynccontextmanager
async def ending_stale_copies(move: Move) -> AsyncIterator[None]:
    """For as long as the block lasts. Raises what went wrong here, LeaseLapsed too, where the block raises nothing."""
    watching = asyncio.create_task(_watch(move))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    if not watching.cancelled():
        watching.result()


async def _watch(move: Move) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        if not move.has_reached(Step.SWITCHING):
            continue
        source, target = await move.look()
        if target is not None and target.state is State.RUNNING:
            move.arrive()
        if move.ran_for_s() < OVERDUE_S:
            continue
        ruling = await judged(move, source, target)
        if ruling.verdict is Verdict.STALE_SOURCE:
            await act(move, ruling)
