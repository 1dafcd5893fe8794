"""Waiting for a seat, and counting what lasts: 429 for who asks for more than there is, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from app.api.errors import too_many
from app.api.fairness.queue import FairQueue, Full, Size, State, Ticket
from app.machinery.access import MASTERS, User
from app.meter import Counts, Labels, Level, Levels, Times, as_it_is


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a server gives to whom."""

    size: Size = field(default_factory=Size)
    wait_s: float = 15.0
    """How long a request waits for a seat: a quarter of its minute, as kube-apiserver has it."""
    lasting: int = 10_000
    """Watches and followed logs of all together, for each holds memory."""
    lasting_of_user: int = 2_500
    """Of one user."""


class Fairness:
    """Of one server. Health and metrics never come here; administrators (system:masters) do not wait, as in Kubernetes."""

    def __init__(self, bounds: Bounds | None = None, registry: CollectorRegistry | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._queue = FairQueue(self._bounds.size)
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._lasting: dict[str, int] = {}
        self._open = 0
        registry = registry or CollectorRegistry()
        self._rejected: Counts[Labels] = Counts(
            registry,
            "apiserver_flowcontrol_rejected_requests_total",
            "Number of requests rejected by API Priority and Fairness subsystem",
            ("reason",),
            as_it_is,
        )
        self._waits: Times[Labels] = Times(
            registry,
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "Length of time a request spent waiting in its queue",
            ("execute",),
            as_it_is,
        )
        Levels(
            registry,
            "apiserver_flowcontrol_current_executing_seats",
            "Concurrency (number of seats) occupied by the currently executing requests in the API Priority and Fairness"
            " subsystem",
            (),
            self._executing,
        )
        Levels(
            registry,
            "apiserver_flowcontrol_current_inqueue_requests",
            "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
            (),
            lambda: [((), self._queue.waiting)],
        )

    async def enter(self, user: User, seats: int) -> Ticket | None:
        """A ticket to be given back with `leave`; None for whoever need not wait. Raises 429 where too many wait, or for
        too long."""
        if MASTERS in user.groups:
            return None
        try:
            ticket = self._queue.offer(user.name, seats)
        except Full:
            self._rejected.add(("queue-full",))
            raise too_many() from None
        if ticket.state is State.WAITING:
            await self._wait(ticket)
        return ticket

    def leave(self, ticket: Ticket | None) -> None:
        """Who waited longest for it goes on."""
        if ticket is None:
            return
        for started in self._queue.done(ticket):
            turn = self._turns.pop(started)
            if turn.done():  # it was given up at this moment: its seat goes to the next
                self.leave(started)
            else:
                turn.set_result(None)

    @contextmanager
    def lasting(self, user: User) -> Iterator[None]:
        """Around an answer that streams. Raises 429."""
        held = self._lasting.get(user.name, 0)
        if self._open >= self._bounds.lasting or held >= self._bounds.lasting_of_user:
            self._rejected.add(("too-many-watches",))
            raise too_many()
        self._lasting[user.name] = held + 1
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._lasting[user.name] -= 1
            if not self._lasting[user.name]:
                del self._lasting[user.name]

    async def _wait(self, ticket: Ticket) -> None:
        loop = asyncio.get_running_loop()
        began, turn = loop.time(), loop.create_future()
        self._turns[ticket] = turn
        try:
            async with asyncio.timeout(self._bounds.wait_s):
                await turn
        except TimeoutError:
            self._give_up(ticket)
            self._rejected.add(("time-out",))
            self._waits.observe(("false",), loop.time() - began)
            raise too_many() from None
        except asyncio.CancelledError:
            self._give_up(ticket)
            raise
        self._waits.observe(("true",), loop.time() - began)

    def _give_up(self, ticket: Ticket) -> None:
        self._turns.pop(ticket, None)
        self.leave(ticket)

    def _executing(self) -> list[Level]:
        return [((), self._bounds.size.seats - self._queue.free)]


SEAT_BYTES = 4096
"""So much of a list costs about what getting one object costs."""


class Sizes:
    """How many seats a list will want: as many as the last one of that kind was large."""

    def __init__(self, remembered: int = 1000) -> None:
        self._remembered = remembered
        self._bytes: dict[tuple[object, ...], int] = {}

    def seats(self, asked: tuple[object, ...]) -> int:
        return 1 + self._bytes.get(asked, 0) // SEAT_BYTES

    def note(self, asked: tuple[object, ...], size: int, *, whole: bool = True) -> None:
        """Of a list that shows a part alone it is known that there is at least so much."""
        if not whole:
            size = max(size, self._bytes.get(asked, 0))
        if size < SEAT_BYTES:
            self._bytes.pop(asked, None)
            return
        self._bytes[asked] = size
        while len(self._bytes) > self._remembered:
            del self._bytes[next(iter(self._bytes))]
