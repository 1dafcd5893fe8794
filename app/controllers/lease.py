"""Holding leases: renew early, stop the work before a lease can lapse, never after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import structlog

from app.controllers.metrics import LeaseMetrics, kind_of
from app.hypervisor.base import Unreachable
from app.store.base import Lease, LeaseLost, Leases, Unavailable

log = structlog.get_logger()

VERB_MARGIN_S = 5.0
"""What must be left of a lease for a verb that starts, stops or removes a guest: a call's deadline fits into it."""


LOOSE_S = 90.0
"""How long a verb whose end was not waited for may go on at its host: the driver's longest deadline."""


def boottime() -> float:
    """Seconds that go on while the machine sleeps: a lease does not wait for a suspended laptop."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Held:
    """A lease that is held now. It is counted from before the call that renewed it, so it ends here before it ends there."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.token = 0
        self._lapsed_s: float | None = None
        self._loose_s: float | None = None
        self._clock = clock
        self._until = 0.0
        self._stop_s = 0.0
        self._blocks = 0
        self._limits: list[asyncio.Timeout] = []

    def remaining_s(self) -> float:
        """Seconds left; 0 when it was lost."""
        return max(0.0, self._until - self._clock())

    def quiet_s(self, after_lapse_s: float) -> float:
        """
        How long from now somebody's earlier calls may still be obeyed, `after_lapse_s` after the lease lapsed; 0 where it
        never did. A holder before the former one counts too, and so does an earlier life of this process.
        """
        return 0.0 if self._lapsed_s is None else max(0.0, self._lapsed_s + after_lapse_s - self._clock())

    def require(self, left_s: float = VERB_MARGIN_S) -> None:
        """Raises LeaseLost unless that much of it is left: called just before each verb that could do harm."""
        if self.remaining_s() < left_s:
            raise LeaseLost(self.name)

    @contextmanager
    def call(self, left_s: float = VERB_MARGIN_S) -> Iterator[None]:
        """Around a verb that starts, stops or removes a guest; raises LeaseLost as `require`. After a verb whose end was
        not waited for the lease is not given back: it lapses, so that who takes it next waits."""
        self.require(left_s)
        try:
            yield
        except (asyncio.CancelledError, Unreachable):
            self._loose_s = self._clock()
            raise

    def _renewed(self, lease: Lease, until: float, stop_s: float, ttl: timedelta) -> None:
        self.token, self._until, self._stop_s = lease.token, until, stop_s
        if lease.former_until is not None:
            # The database's times, so that no two clocks are compared; from the answer on, which comes after its "now".
            lapsed_s = self._clock() - (lease.until - ttl - lease.former_until).total_seconds()
            self._lapsed_s = max(lapsed_s, self._lapsed_s or lapsed_s)
        for limit in self._limits:
            self._limit(limit)

    def _lost(self) -> None:
        self._until = 0.0
        for limit in self._limits:
            self._limit(limit)

    def _limit(self, limit: asyncio.Timeout) -> None:
        """Let the block under that limit be cancelled `stop_s` before the lease ends."""
        if not limit.expired():
            limit.reschedule(asyncio.get_running_loop().time() + self.remaining_s() - self._stop_s)

    @asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limits.append(limit)
                self._limit(limit)
                try:
                    yield
                finally:
                    self._limits.remove(limit)
        except TimeoutError:
            if limit.expired():
                raise LeaseLost(self.name) from None
            raise


class LeaseKeeper:
    """
    The leases of one process, renewed together at a third of their time. `run` must be running while any is held.
    Several blocks may hold the same name: it is released when the last one ends.
    """

    def __init__(
        self,
        leases: Leases,
        holder: str,
        ttl: timedelta,
        *,
        clock: Callable[[], float] = boottime,
        metrics: LeaseMetrics | None = None,
    ) -> None:
        self._metrics = metrics or LeaseMetrics()
        self._leases = leases
        self.holder = holder
        self._ttl = ttl
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._loose_s: dict[str, float] = {}
        """When, under a lease that was left to lapse, the last verb was sent whose end nobody saw."""

    @property
    def renew_s(self) -> float:
        return self._ttl.total_seconds() / 3

    @property
    def held(self) -> frozenset[str]:
        """The names held now."""
        return frozenset(name for name, held in self._held.items() if held.remaining_s() > 0)

    def token(self, name: str) -> int:
        """What `Transaction.fence_lease` takes. Raises LeaseLost when it is not held."""
        held = self._held.get(name)
        if held is None or held.remaining_s() <= 0:
            raise LeaseLost(name)
        return held.token

    async def run(self) -> None:
        """Renews what is held until cancelled. What cannot be renewed ends by its own deadline."""
        wait_s = self.renew_s
        while True:
            await asyncio.sleep(wait_s)
            wait_s = self.renew_s
            try:
                if self._held:
                    await self._renew()
            except Unavailable as error:
                self._metrics.unrenewed.add(())
                log.warning("leases not renewed", holder=self.holder, error=str(error))
                wait_s = self.renew_s / 5

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Held]:
        """Waits for the lease. When it is lost, or nearly (a sixth of its time is left), the block is cancelled and
        LeaseLost raised; it is released when the block ends otherwise."""
        while (held := await self.try_acquire(name)) is None:  # noqa: ASYNC110  (another process releases it)
            await asyncio.sleep(self.renew_s / 2)
        async with self.holding(held):
            yield held

    async def try_acquire(self, name: str) -> Held | None:
        """Take it if it is free, for a block under `holding`. Raises nothing while the store is away: None."""
        held = self._held.get(name)
        if held is not None and held.remaining_s() > 0:
            return held
        try:
            asked, answer = await self._ask([name])
        except Unavailable as error:
            log.warning("lease not acquired", lease=name, error=str(error))
            return None
        return self._noted(name, answer.get(name), asked)

    @asynccontextmanager
    async def holding(self, held: Held) -> AsyncIterator[Held]:
        """A block under a lease that `try_acquire` gave: ends like the block of `hold`."""
        held._blocks += 1
        try:
            async with held._limited():
                yield held
        finally:
            held._blocks -= 1
            if not held._blocks:
                await self._release(held)

    async def _renew(self) -> None:
        """What was given back before the answer came stays given back, and what was lost, and is ours again, stays lost: nobody
        would give it back."""
        before = dict(self._held)
        asked, answer = await self._ask(list(before))
        for name, held in before.items():
            lease = answer.get(name)
            if self._held.get(name) is held:
                self._noted(name, lease if lease is not None and lease.token == held.token else None, asked)

    async def _ask(self, names: list[str]) -> tuple[float, dict[str, Lease]]:
        """When it was asked, and which of them are ours now. Raises Unavailable."""
        asked = self._clock()
        try:
            async with asyncio.timeout(self.renew_s):
                return asked, {lease.name: lease for lease in await self._leases.acquire(names, self.holder, self._ttl)}
        except TimeoutError:
            raise Unavailable(f"no answer within {self.renew_s:g} s") from None

    def _noted(self, name: str, lease: Lease | None, asked: float) -> Held | None:
        held = self._held.get(name)
        if lease is None:
            if held is not None:
                log.warning("lease lost", lease=name, holder=self.holder)
                self._metrics.lost.add((kind_of(name),))
                held._lost()
            return None
        # Lost and taken again within one renewal: the work that began under the former token must not go on under this one.
        if held is not None and held.token != lease.token:
            held._lost()
            held = None
        if held is None:
            held = self._held[name] = Held(name, self._clock)
            held._lapsed_s = self._loose_s.pop(name, None)
        held._renewed(lease, asked + self._ttl.total_seconds(), self._ttl.total_seconds() / 6, self._ttl)
        return held

    async def _release(self, held: Held) -> None:
        if self._held.get(held.name) is held:
            del self._held[held.name]
        sent_s = held._loose_s
        loose = sent_s is not None and self._clock() - sent_s < LOOSE_S
        if sent_s is not None and loose:
            self._loose_s[held.name] = sent_s
        lost = held.remaining_s() <= 0
        held._lost()
        if lost or loose:
            return
        try:
            async with asyncio.timeout(self.renew_s):
                await self._leases.release([held.name], self.holder)
        except (Unavailable, TimeoutError) as error:
            log.warning("lease not released; it will lapse", lease=held.name, error=str(error))
