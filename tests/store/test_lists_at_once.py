"""Many who ask for the whole of one collection at once: it is read once, and nobody gets an old one."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.store.base import Scope
from app.store.metrics import StoreMetrics
from app.store.postgres import PostgresStore
from tests.monitoring.scraped import Scrape
from tests.store.builders import WIDGETS, key, widget

pytestmark = pytest.mark.postgres
COLLECTION = Scope(WIDGETS, "default")


async def test_one_reads_for_all_that_wait(postgres_url: str) -> None:
    registry = CollectorRegistry()
    store = PostgresStore(postgres_url, metrics=StoreMetrics(registry))
    await store.open()
    await asyncio.gather(*(store.objects.create(key(f"w{number}"), widget(f"w{number}")) for number in range(20)))

    lists = await asyncio.gather(*(store.objects.list(COLLECTION) for _ in range(30)))
    await store.close()

    told = Scrape.of(generate_latest(registry).decode())
    assert {len(listing.items) for listing in lists} == {20}
    assert told.value("drover_database_statement_duration_seconds_count", operation="list") == 1


async def test_who_asks_after_a_write_gets_it_whoever_reads_meanwhile(store: PostgresStore) -> None:
    for number in range(30):
        before = [asyncio.create_task(store.objects.list(COLLECTION)) for _ in range(4)]
        await store.objects.create(key(f"w{number}"), widget(f"w{number}"))
        after = await asyncio.gather(*(store.objects.list(COLLECTION) for _ in range(4)))
        await asyncio.gather(*before)

        assert {len(listing.items) for listing in after} == {number + 1}


async def test_one_who_leaves_while_it_reads_leaves_the_turn_to_the_next(store: PostgresStore) -> None:
    await store.objects.create(key("w"), widget("w"))
    reading = asyncio.create_task(store.objects.list(COLLECTION))
    waiting = asyncio.create_task(store.objects.list(COLLECTION))
    await asyncio.sleep(0)
    reading.cancel()

    async with asyncio.timeout(10):
        assert len((await waiting).items) == 1
