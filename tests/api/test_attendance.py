"""Writes that only a worker acts on say when there is none, and are silent when there is one or nobody can know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.api.application import create_api
from app.api.attendance import Attendance, Presence, Tenure
from app.kinds import ALL, MIGRATION, VIRTUAL_MACHINE
from app.store.base import Lease, Unavailable
from app.store.postgres import PostgresStore
from tests.api.builders import MACHINES, MIGRATIONS, NODES, labelled, machine, make_namespace, migration, node

NOBODY: frozenset[Tenure] = frozenset()
START = datetime(2026, 1, 1, tzinfo=UTC)


def held(until_s: float, name: str = "a") -> frozenset[Tenure]:
    return frozenset({(f"agents/{name}", START + timedelta(seconds=until_s))})


def test_it_is_said_when_nobody_was_seen_for_so_long_and_no_earlier() -> None:
    presence = Presence(40)

    said = [presence.looked(NOBODY, now_s) for now_s in (100, 120, 139.9, 140, 145)]

    assert said == [False, False, False, True, True]


def test_the_time_counts_from_the_last_renewal_of_a_worker_that_died() -> None:
    presence = Presence(40)
    for now_s in (0, 5, 10):
        assert not presence.looked(held(now_s + 15), now_s)

    said = [presence.looked(held(25), 20), *(presence.looked(NOBODY, now_s) for now_s in (30, 49.9, 50))]

    assert said == [False, False, False, True]


def test_a_lease_that_has_not_lapsed_is_somebodys_however_long_ago_it_was_renewed() -> None:
    presence = Presence(40)

    assert [presence.looked(held(300), now_s) for now_s in (0, 100, 299)] == [False, False, False]


def test_who_comes_back_is_there_at_once_and_counts_anew() -> None:
    presence = Presence(40)
    assert [presence.looked(NOBODY, now_s) for now_s in (0, 40)] == [False, True]

    said = [presence.looked(held(56, "b"), 41), presence.looked(NOBODY, 80), presence.looked(NOBODY, 81)]

    assert said == [False, False, True]


def test_what_was_not_seen_while_nobody_could_look_is_not_held_against_workers() -> None:
    presence = Presence(40)
    presence.looked(held(15), 0)
    presence.unknown()

    said = [presence.looked(NOBODY, now_s) for now_s in (100, 139, 140)]

    assert said == [False, False, True]


class Moody:
    """Leases of which this test says what is held; None: the database is away, or, when it hangs, does not answer."""

    def __init__(self) -> None:
        self.now: Sequence[Lease] | None = ()
        self.hangs = False

    async def acquire(self, names: Sequence[str], holder: str, ttl: timedelta) -> Sequence[Lease]:
        raise NotImplementedError

    async def release(self, names: Sequence[str], holder: str) -> None:
        raise NotImplementedError

    async def held(self) -> Sequence[Lease]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.now is None:
            raise Unavailable("away")
        return self.now


async def until(attendance: Attendance, *, said: bool) -> None:
    async with asyncio.timeout(10):
        while bool(attendance.warning) is not said:  # noqa: ASYNC110  (the attribute is all that there is)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("hangs", [False, True])
async def test_while_the_database_is_away_nothing_is_claimed(hangs: bool) -> None:
    leases = Moody()
    attendance = Attendance(leases, lambda _: True, 0.4)
    running = asyncio.create_task(attendance.run())
    await until(attendance, said=True)

    leases.now, leases.hangs = None, hangs
    await until(attendance, said=False)
    await asyncio.sleep(0.8)  # twice the time after which it would be said
    assert not attendance.warning
    leases.now, leases.hangs = (), False
    await until(attendance, said=True)

    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def attendance(store: PostgresStore) -> AsyncIterator[Attendance]:
    """Looking into a real store, with half a second of patience."""
    made = Attendance(store.leases, lambda lease: lease.name.startswith("agents/"), 0.5)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.fixture
async def client(store: PostgresStore, attendance: Attendance) -> AsyncIterator[httpx.AsyncClient]:
    await make_namespace(store, "default")
    attended = {MIGRATION.name: attendance, VIRTUAL_MACHINE.name: attendance}
    api = create_api(store, ALL, version="v1.36.0+drover-test", attended=attended)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as opened:
        yield opened


async def writes(client: httpx.AsyncClient, name: str) -> list[tuple[str, int, str | None]]:
    """One of each, with what it was answered: its code and its Warning."""
    item, merge = f"{MACHINES}/{name}", {"content-type": "application/merge-patch+json"}
    done = {
        "dry run": await client.post(MACHINES, params={"dryRun": "All"}, json=machine(name)),
        "create": await client.post(MACHINES, json=machine(name)),
        "patch": await client.patch(item, json={"metadata": {"labels": {"a": "b"}}}, headers=merge),
        "update": await client.put(item, json=labelled((await client.get(item)).json(), a="c")),
        "migrate": await client.post(MIGRATIONS, json=migration(name)),
        "delete": await client.delete(f"{MIGRATIONS}/{name}"),
        "delete all": await client.delete(MACHINES),
    }
    return [(what, answer.status_code, answer.headers.get("warning")) for what, answer in done.items()]


@pytest.mark.postgres
async def test_every_write_of_what_workers_act_on_says_that_there_is_none_until_there_is(
    store: PostgresStore, attendance: Attendance, client: httpx.AsyncClient
) -> None:
    codes = {
        "dry run": 201,
        "create": 201,
        "patch": 200,
        "update": 200,
        "migrate": 201,
        "delete": 200,
        "delete all": 200,
    }
    await until(attendance, said=True)

    alone = await writes(client, "a")
    await store.leases.acquire(["agents/w"], "w", timedelta(seconds=60))
    await until(attendance, said=False)
    attended = await writes(client, "b")

    said = '299 - "no worker has run for 0.5 s: nothing acts on this until one does (`drover work`)"'
    assert alone == [(what, code, said) for what, code in codes.items()]
    assert attended == [(what, code, None) for what, code in codes.items()]


@pytest.mark.postgres
async def test_reads_and_what_no_worker_waits_for_are_answered_without(
    attendance: Attendance, client: httpx.AsyncClient
) -> None:
    await until(attendance, said=True)

    answers = [await client.get(MACHINES), await client.post(NODES, json=node("node9"))]

    assert [answer.status_code for answer in answers] == [200, 201]
    assert [answer for answer in answers if "warning" in answer.headers] == []


@pytest.mark.postgres
async def test_leases_of_others_are_no_workers(store: PostgresStore, attendance: Attendance) -> None:
    await store.leases.acquire(["aggregation"], "api", timedelta(seconds=60))

    await until(attendance, said=True)
