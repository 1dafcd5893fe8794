"""Events that clients write: how many, and what they are told when there are too many."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.application import create_api
from app.api.eventrate import EventRate, Rate
from app.kinds import ALL, EVENT
from app.machinery.objects import Document
from app.store.base import Scope, Store
from tests.api.builders import make_namespace

EVENTS = "/api/v1/namespaces/default/events"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(store: Store, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    """Three of one object at once, and five of one user."""
    await make_namespace(store, "default")
    rate = EventRate(Rate(5, 1), Rate(3, 1), clock)
    api = create_api(store, ALL, version="v1.36.0+drover-test", write_guards={EVENT.name: rate})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as opened:
        yield opened


def event(name: str, of: str = "testvm") -> Document:
    involved = {"kind": "VirtualMachine", "name": of, "namespace": "default"}
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": involved,
        "reason": "Told", "message": "hello", "source": {"component": "operator"},
    }  # fmt: skip


async def written(store: Store) -> int:
    return len((await store.objects.list(Scope(EVENT.resource))).items)


async def test_one_source_tells_of_one_object_so_often_and_no_more(
    client: httpx.AsyncClient, store: Store, clock: Clock
) -> None:
    codes = [(await client.post(EVENTS, json=event(f"e{number}"))).status_code for number in range(3)]
    refused = await client.post(EVENTS, json=event("e3"))
    changed = await client.patch(
        f"{EVENTS}/e0", json={"count": 2}, headers={"content-type": "application/merge-patch+json"}
    )
    clock.now = 1.0
    later = await client.post(EVENTS, json=event("e4"))

    assert codes == [201] * 3
    assert (refused.status_code, changed.status_code, later.status_code) == (429, 429, 201)
    assert refused.json()["reason"] == "TooManyRequests"
    assert refused.json()["message"] == (
        "Too many requests: limit reached on type SourceAndObject for key operatorVirtualMachinedefaulttestvm"
    )
    assert await written(store) == 4


async def test_one_user_writes_so_many_about_whatever(client: httpx.AsyncClient, store: Store) -> None:
    answers = [await client.post(EVENTS, json=event(f"e{number}", of=f"vm{number}")) for number in range(6)]

    assert [answer.status_code for answer in answers] == [201] * 5 + [429]
    assert "limit reached on type User for key" in answers[-1].json()["message"]
    assert await written(store) == 5


async def test_a_dry_run_takes_nothing(client: httpx.AsyncClient) -> None:
    for _ in range(10):
        await client.post(EVENTS, params={"dryRun": "All"}, json=event("e"))

    assert (await client.post(EVENTS, json=event("e"))).status_code == 201
