"""Nobody is kept from the server by what another user asks of it."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.api.application import create_api
from app.api.auth.base import Credentials
from app.api.auth.gate import Gate
from app.api.errors import TooMany
from app.api.fairness.gate import Bounds, Fairness, Sizes
from app.api.fairness.queue import Size
from app.kinds import ALL
from app.machinery.access import ADMINISTRATOR, ALLOWED, AUTHENTICATED, Attributes, User, Verdict
from app.store.base import Store
from tests.api.builders import make_namespace
from tests.monitoring.scraped import Scrape

GREEDY, OTHER = User("greedy", (AUTHENTICATED,)), User("other", (AUTHENTICATED,))
NARROW = Bounds(Size(seats=4, share=0.5, waiting=3, waiting_of_flow=2), wait_s=0.2, lasting=3, lasting_of_user=2)


async def test_who_asks_for_too_much_waits_and_nobody_else_does() -> None:
    fairness = Fairness(NARROW)
    held = [await fairness.enter(GREEDY, 1), await fairness.enter(GREEDY, 1)]
    waiting = asyncio.create_task(fairness.enter(GREEDY, 1))
    await asyncio.sleep(0)

    other = await fairness.enter(OTHER, 1)
    assert not waiting.done()
    fairness.leave(held[0])

    assert await waiting is not None
    assert other is not None


async def test_who_waits_for_too_long_is_refused() -> None:
    registry = CollectorRegistry()
    fairness = Fairness(NARROW, registry)
    held = [await fairness.enter(GREEDY, 1), await fairness.enter(GREEDY, 1)]

    with pytest.raises(TooMany):
        await fairness.enter(GREEDY, 1)

    told = Scrape.of(generate_latest(registry).decode())
    assert told.value("apiserver_flowcontrol_rejected_requests_total", reason="time-out") == 1
    assert told.value("apiserver_flowcontrol_current_inqueue_requests") == 0
    assert told.value("apiserver_flowcontrol_current_executing_seats") == len(held)


async def test_a_full_queue_refuses_at_once() -> None:
    fairness = Fairness(NARROW)
    for _ in range(2):
        await fairness.enter(GREEDY, 1)
    waiting = [asyncio.create_task(fairness.enter(GREEDY, 1)) for _ in range(2)]
    await asyncio.sleep(0)
    began = time.monotonic()

    with pytest.raises(TooMany) as refused:
        await fairness.enter(GREEDY, 1)

    assert time.monotonic() - began < NARROW.wait_s
    assert refused.value.headers == {"Retry-After": "1"}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_hangs_up_while_waiting_gives_the_place_back() -> None:
    fairness = Fairness(NARROW)
    held = [await fairness.enter(GREEDY, 1), await fairness.enter(GREEDY, 1)]
    gone = asyncio.create_task(fairness.enter(GREEDY, 1))
    stays = asyncio.create_task(fairness.enter(GREEDY, 1))
    await asyncio.sleep(0)

    fairness.leave(held[0])  # its turn has come, and at this moment
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)

    assert await stays is not None


async def test_administrators_never_wait() -> None:
    fairness = Fairness(NARROW)

    assert [await fairness.enter(ADMINISTRATOR, 400) for _ in range(50)] == [None] * 50


async def test_what_lasts_is_counted_by_user_and_in_all() -> None:
    fairness = Fairness(NARROW)
    with fairness.lasting(GREEDY), fairness.lasting(GREEDY):
        with pytest.raises(TooMany), fairness.lasting(GREEDY):
            pass
        with fairness.lasting(OTHER), pytest.raises(TooMany), fairness.lasting(OTHER):
            pass

    with fairness.lasting(GREEDY):
        pass


def test_a_list_takes_as_many_seats_as_the_last_one_was_large() -> None:
    sizes = Sizes()

    assert sizes.seats(("pods",)) == 1
    sizes.note(("pods",), 40_960)
    assert sizes.seats(("pods",)) == 11
    sizes.note(("pods",), 100, whole=False)
    assert sizes.seats(("pods",)) == 11, "what a selector left out was read all the same"
    sizes.note(("pods",), 100)
    assert sizes.seats(("pods",)) == 1


class Named:
    """Whoever a header names."""

    async def authenticate(self, credentials: Credentials) -> User | None:
        return User(credentials.headers[b"x-user"].decode(), (AUTHENTICATED,))


class Everything:
    """Everybody may do everything, and is no administrator."""

    async def authorize(self, _user: User, _asked: Attributes) -> Verdict:
        return ALLOWED


@pytest.mark.postgres
async def test_a_flood_of_lists_is_refused_and_another_users_get_is_answered(store: Store) -> None:
    await make_namespace(store, "default")
    bounds = Bounds(Size(seats=2, share=0.5, waiting_of_flow=3), wait_s=5)
    api = create_api(store, ALL, version="v1.36.0+test", gate=Gate(Named(), Everything()), bounds=bounds)
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(transport=transport, base_url="http://drover") as client:

        async def ask(user: str, path: str) -> httpx.Response:
            return await client.get(path, headers={"x-user": user})

        flood = [asyncio.create_task(ask("greedy", "/api/v1/pods")) for _ in range(20)]
        await asyncio.sleep(0)
        other = await ask("other", "/api/v1/namespaces/default")
        answers = await asyncio.gather(*flood)
        health = await ask("greedy", "/livez")

    assert other.status_code == 200
    assert health.status_code == 200
    codes = sorted({answer.status_code for answer in answers})
    assert codes == [200, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.text == "Too many requests, please try again later.\n"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "text/plain; charset=utf-8"
