"""Seats are handed out fairly: laws of the queue, in virtual time, and random sequences that keep its promises."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.fairness.queue import FairQueue, Full, Size, State, Ticket

SMALL = Size(seats=10, share=0.5, waiting=20, waiting_of_flow=5)


def states(*tickets: Ticket) -> list[State]:
    return [ticket.state for ticket in tickets]


def test_what_fits_runs_at_once() -> None:
    queue = FairQueue(SMALL)

    one, other = queue.offer("a"), queue.offer("b", 5)

    assert states(one, other) == [State.RUNNING, State.RUNNING]
    assert queue.free == 4


def test_one_flow_never_holds_more_than_its_share() -> None:
    queue = FairQueue(SMALL)

    flood = [queue.offer("greedy") for _ in range(8)]

    assert Counter(states(*flood)) == {State.RUNNING: 5, State.WAITING: 3}
    assert queue.offer("other").state is State.RUNNING


def test_what_is_larger_than_a_share_takes_all_of_it() -> None:
    queue = FairQueue(SMALL)

    large = queue.offer("a", 1000)

    assert (large.state, large.seats) == (State.RUNNING, 5)
    assert queue.offer("a", 1000).state is State.WAITING


def test_the_flow_that_was_served_least_is_served_next() -> None:
    queue = FairQueue(Size(seats=2, share=1.0))
    running = [queue.offer("greedy"), queue.offer("greedy")]
    waiting = [queue.offer("greedy") for _ in range(5)]
    seldom = queue.offer("seldom")

    started = queue.done(running[0])

    assert started == [seldom]
    assert states(*waiting) == [State.WAITING] * 5


def test_within_a_flow_the_first_comes_first() -> None:
    queue = FairQueue(Size(seats=1))
    running = queue.offer("a")
    waiting = [queue.offer("a") for _ in range(3)]

    served: list[Ticket] = []
    under_way = [running]
    while under_way:
        under_way = queue.done(under_way[0])
        served += under_way

    assert served == waiting


def test_a_full_queue_refuses_and_keeps_what_waits() -> None:
    queue = FairQueue(SMALL)
    for _ in range(5 + 5):
        queue.offer("greedy")

    with pytest.raises(Full):
        queue.offer("greedy")

    assert queue.waiting == 5
    assert queue.offer("other").state is State.RUNNING


def test_a_large_one_is_not_passed_by_small_ones_for_ever() -> None:
    queue = FairQueue(Size(seats=4, share=1.0))
    running = [queue.offer(f"small{n}") for n in range(3)]
    large = queue.offer("large", 4)
    late = [queue.offer(f"late{n}") for n in range(4)]

    for ticket in running:
        queue.done(ticket)

    # The one free seat went to the first that came late; after it, the large one's turn had come.
    assert large.state is State.RUNNING or late[0].state is State.RUNNING
    queue.done(late[0])
    assert large.state is State.RUNNING


def test_who_gives_up_waiting_leaves_no_trace() -> None:
    queue = FairQueue(Size(seats=1))
    running, waiting = queue.offer("a"), queue.offer("b")

    assert queue.done(waiting) == []
    assert queue.done(waiting) == []
    assert queue.done(running) == []

    assert (queue.free, queue.waiting) == (1, 0)
    assert not queue._flows


@dataclass(frozen=True)
class Load:
    """A user who sends the next request as soon as one is answered."""

    name: str
    clients: int
    seats: int
    takes_s: float


def served(queue: FairQueue, loads: list[Load], until_s: float) -> Counter[str]:
    """Seat-seconds that each got, by a clock of its own."""
    got: Counter[str] = Counter()
    ends: list[tuple[float, int, Load, Ticket]] = []
    waiting: dict[int, Load] = {}
    now, number = 0.0, 0

    def begun(ticket: Ticket, load: Load) -> None:
        nonlocal number
        number += 1
        heapq.heappush(ends, (now + load.takes_s, number, load, ticket))
        got[load.name] += round(ticket.seats * load.takes_s * 1000)

    def offer(load: Load) -> None:
        ticket = queue.offer(load.name, load.seats)
        if ticket.state is State.RUNNING:
            begun(ticket, load)
        else:
            waiting[id(ticket)] = load

    for load in loads:
        for _ in range(load.clients):
            offer(load)
    while ends and now < until_s:
        now, _, load, ticket = heapq.heappop(ends)
        for started in queue.done(ticket):
            begun(started, waiting.pop(id(started)))
        offer(load)
    return got


def test_two_who_flood_share_evenly_however_many_connections_each_has() -> None:
    queue = FairQueue(Size(seats=10, share=1.0, waiting_of_flow=100))

    got = served(queue, [Load("many", 80, 1, 0.01), Load("few", 20, 1, 0.01)], 10)

    assert 0.9 < got["few"] / got["many"] < 1.1


def test_a_flood_of_large_lists_leaves_the_seats_of_others_free() -> None:
    """The reason for all this: small requests find a seat at once, whatever somebody else floods."""
    queue = FairQueue()
    for _ in range(64):
        queue.offer("greedy", 150)

    gets = [queue.offer(f"user{n}") for n in range(100)]

    assert all(get.state is State.RUNNING for get in gets)


Step = tuple[str, int, bool]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 8), st.booleans()), max_size=120))
def test_whatever_happens_seats_are_neither_lost_nor_made(steps: list[Step]) -> None:
    queue = FairQueue(SMALL)
    alive: list[Ticket] = []
    for name, seats, ends in steps:
        if ends and alive:
            queue.done(alive.pop(seats % len(alive)))
        else:
            try:
                alive.append(queue.offer(name, seats))
            except Full:
                continue
        running = [ticket for ticket in alive if ticket.state is State.RUNNING]
        held = Counter[str]()
        for ticket in running:
            held[ticket.flow.name] += ticket.seats
        assert queue.free == SMALL.seats - sum(held.values()) >= 0
        assert all(seats_ <= SMALL.seats_of_flow for seats_ in held.values())
        assert queue.waiting == len(alive) - len(running)

    for ticket in list(alive):
        queue.done(ticket)
    assert (queue.free, queue.waiting) == (SMALL.seats, 0)
    assert not queue._flows


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 8)), max_size=60))
def test_nobody_waits_while_there_is_room_for_the_first_in_line(steps: list[tuple[str, int]]) -> None:
    queue = FairQueue(SMALL)
    tickets = []
    for name, seats in steps:
        try:
            tickets.append(queue.offer(name, seats))
        except Full:
            continue
    while tickets:
        running = [ticket for ticket in tickets if ticket.state is State.RUNNING]
        assert running, "everybody waits and nobody runs"
        queue.done(running[0])
        tickets.remove(running[0])
