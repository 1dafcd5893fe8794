"""What a migration's process may do: until when, after when, and whether it was called off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.controllers.migration.messages import Cancel, Order, Renewed, Retuned, Told

Clock = Callable[[], float]


def boottime() -> float:
    """Seconds that go on while the process, or the machine, sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseLapsed(Exception):
    """The worker stopped renewing: somebody else may hold the run by now. Send nothing more and exit."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The times that an order keeps. All on CLOCK_BOOTTIME."""

    deadline_s: float
    """The end of the lease, until it is renewed."""
    quiet_until_s: float = 0.0
    """Before then a former holder's call may still be obeyed: follow and steer, but start, resume and end nothing."""
    margin_s: float = 5.0
    """How much of the lease a verb needs, so that it is over before somebody else may act."""


class Orders:
    """The worker's word, as the process heard it last."""

    def __init__(self, bounds: Bounds, clock: Clock = boottime) -> None:
        self.cancelled = asyncio.Event()
        self.retuned: Retuned | None = None
        """What was changed on the way; None is as planned."""
        self.told = Told()
        """What the operator says of the guest and its hosts."""
        self._bounds = bounds
        self._deadline_s = bounds.deadline_s
        self._renewed = asyncio.Event()
        self._clock = clock

    def take(self, order: Order) -> None:
        match order:
            case Renewed():
                self._deadline_s = max(self._deadline_s, order.deadline_s)
                self._renewed.set()
            case Cancel():
                self.cancelled.set()
            case Retuned():
                self.retuned = order
            case Told():
                self.told = order

    def require(self) -> None:
        """Raises LeaseLapsed unless enough of the lease is left for one verb, now."""
        if self._deadline_s - self._clock() < self._bounds.margin_s:
            raise LeaseLapsed

    async def leave_to_steer(self) -> None:
        """Returns with enough of the lease left for one verb. Raises LeaseLapsed."""
        while (left_s := self._deadline_s - self._clock()) < self._bounds.margin_s:
            if left_s <= 0:
                raise LeaseLapsed
            self._renewed.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._renewed.wait()
            except TimeoutError:
                continue

    async def leave_to_act(self) -> None:
        """As `leave_to_steer`, for a verb that starts, resumes or ends a guest. Raises LeaseLapsed."""
        while (wait_s := self._bounds.quiet_until_s - self._clock()) > 0:
            await self.leave_to_steer()
            await asyncio.sleep(min(wait_s, 1.0))
        await self.leave_to_steer()
