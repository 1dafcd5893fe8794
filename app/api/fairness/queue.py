"""
Who is served next: start-time fair queuing over one queue for each flow. Pure; knows no task and no clock.

    offered ──seats are free──▶ running ──done──▶ gone
       │                          ▲
       └──────▶ waiting ──────────┘   taken back, or refused when its queue is full

Every request has a start tag in virtual time: where its flow's last one ended, but not before now. The smallest tag is served
first, so a flow that asks for much is as far ahead of the others as it has been served, and one that comes seldom is served
at once. Kubernetes shares queues among users by shuffle sharding, to bound their number; here only flows that wait or run
have any, so each gets its own and none can be hit by chance.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

REMEMBERED = 1000
"""So many flows are kept before those that the others have caught up with are looked for."""


class State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    GONE = "gone"


class Full(Exception):
    """Too many wait already."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to share."""

    seats: int = 400
    """Of all together. A get takes one, a list as many as it is large: kube-apiserver's --max-requests-inflight."""
    share: float = 0.5
    """Of those, what one flow may hold at once: however much it asks for, somebody else finds a seat free."""
    waiting: int = 1000
    """Of all together."""
    waiting_of_flow: int = 100
    """Of one flow; what is more is refused at once rather than kept until its client has given up."""

    @property
    def seats_of_flow(self) -> int:
        return max(1, int(self.seats * self.share))


@dataclass(slots=True, eq=False)
class Ticket:
    """One request's place."""

    flow: Flow
    seats: int
    start: float
    state: State = State.WAITING


@dataclass(slots=True, eq=False)
class Flow:
    """One user's requests."""

    name: str
    seats: int = 0
    """Held now."""
    finish: float = 0.0
    """Where its last request ends, in virtual time."""
    waiting: deque[Ticket] = field(default_factory=deque)


class FairQueue:
    """Hands out seats."""

    def __init__(self, size: Size | None = None) -> None:
        self.size = size or Size()
        self.free = self.size.seats
        self.waiting = 0
        self._now = 0.0
        """Virtual time: the start tag of what was served last."""
        self._flows: dict[str, Flow] = {}
        self._queued: dict[str, Flow] = {}
        """Those with something waiting."""

    def offer(self, name: str, seats: int = 1) -> Ticket:
        """A ticket that runs already, or waits. Raises Full."""
        flow = self._flows.get(name)
        if flow is None:
            flow = self._flows[name] = Flow(name, finish=self._now)
        seats = min(seats, self.size.seats_of_flow)
        ticket = Ticket(flow, seats, max(self._now, flow.finish))
        if not flow.waiting and self._fits(ticket):
            flow.finish = ticket.start + seats
            self._run(ticket)
            return ticket
        if self.waiting >= self.size.waiting or len(flow.waiting) >= self.size.waiting_of_flow:
            self._forget(flow)
            raise Full
        flow.finish = ticket.start + seats
        flow.waiting.append(ticket)
        self._queued[name] = flow
        self.waiting += 1
        return ticket

    def done(self, ticket: Ticket) -> list[Ticket]:
        """Gives the seats back, or the place in the queue, whichever it has; who runs now because of it. Twice is harmless."""
        flow = ticket.flow
        if ticket.state is State.RUNNING:
            self.free += ticket.seats
            flow.seats -= ticket.seats
        elif ticket.state is State.WAITING:
            flow.waiting.remove(ticket)
            self._left_the_queue(flow)
        else:
            return []
        ticket.state = State.GONE
        started = self._start() if self.waiting else []
        self._forget(flow)
        return started

    def _start(self) -> list[Ticket]:
        started = []
        while (ticket := self._next()) is not None:
            ticket.flow.waiting.popleft()
            self._left_the_queue(ticket.flow)
            self._run(ticket)
            started.append(ticket)
        return started

    def _next(self) -> Ticket | None:
        """The smallest start tag of those flows that may have another; None when it does not fit yet. What is behind it
        waits with it, or the large ones would never find room."""
        heads = (flow.waiting[0] for flow in self._queued.values())
        first = min((head for head in heads if self._may(head)), key=lambda ticket: ticket.start, default=None)
        return first if first is not None and first.seats <= self.free else None

    def _may(self, ticket: Ticket) -> bool:
        """Has its flow room in its share? What is larger than what is left of it waits until the flow holds nothing."""
        return ticket.flow.seats + ticket.seats <= self.size.seats_of_flow

    def _fits(self, ticket: Ticket) -> bool:
        return ticket.seats <= self.free and self._may(ticket)

    def _run(self, ticket: Ticket) -> None:
        ticket.state = State.RUNNING
        self.free -= ticket.seats
        ticket.flow.seats += ticket.seats
        self._now = max(self._now, ticket.start)

    def _left_the_queue(self, flow: Flow) -> None:
        self.waiting -= 1
        if not flow.waiting:
            del self._queued[flow.name]

    def _forget(self, flow: Flow) -> None:
        """A flow that is idle, and whose work the others have caught up with, needs no memory."""
        if self._is_over(flow):
            self._flows.pop(flow.name, None)
        if not self.waiting and self.free == self.size.seats:
            # Nobody is there any more: virtual time begins anew.
            self._flows.clear()
            self._now = 0.0
        elif len(self._flows) > REMEMBERED:
            self._flows = {name: one for name, one in self._flows.items() if not self._is_over(one)}

    def _is_over(self, flow: Flow) -> bool:
        return not flow.waiting and not flow.seats and flow.finish <= self._now
