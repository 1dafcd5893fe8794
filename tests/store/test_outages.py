"""The database goes away, in every way: what was acknowledged stays, what is asked meanwhile is refused in time, and all
goes on by itself when it is back."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from app.store.address import Limits
from app.store.base import AlreadyExists, Conflict, Event, Gone, NotFound, Scope, Unavailable, Watch
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget
from tests.store.cutting_proxy import cutting_proxy
from tests.store.servers import Server, server

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("outages")]

ALL = Scope(WIDGETS)
HASTY = Limits(connect_s=1, look_s=1, statement_s=2, lock_s=1)
"""So that a test need not wait as long as a client would."""
BOUND_S = HASTY.answer_s + 2 * HASTY.connect_s + 2


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="drover-out-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def primary(folder: Path) -> Iterator[Server]:
    with server(folder, wal_level="replica") as running:
        yield running


@asynccontextmanager
async def opened(url: str, limits: Limits = HASTY) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url, limits)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def create_again_and_again(store: PostgresStore, name: str, within_s: float = 20) -> None:
    """As a client does that is told 503."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                await store.objects.create(key(name), widget(name))
            except AlreadyExists:
                return
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def told(watch: Watch, count: int) -> list[Event]:
    events: list[Event] = []
    while len(events) < count:
        event = await watch.next(20)
        assert event is not None
        events += [event, *watch.ready()]
    return events


@pytest.mark.parametrize("way", ["restart", "kill"])
async def test_a_server_that_comes_back_has_everything_and_watches_go_on(primary: Server, way: str) -> None:
    async with opened(primary.url) as store, store.objects.watch(ALL, 0) as watch:
        await store.objects.create(key("before"), widget("before"))

        primary.stop() if way == "restart" else primary.kill()
        with pytest.raises(Unavailable):
            await store.objects.create(key("during"), widget("during"))
        with pytest.raises(Unavailable):
            await store.objects.get(key("before"))
        primary.start()
        await create_again_and_again(store, "after")

        assert [event.object.key.name for event in await told(watch, 2)] == ["before", "after"]
        assert {"before", "after"} == {item.key.name for item in (await store.objects.list(ALL)).items}


async def test_while_it_is_silent_everything_is_refused_in_time_and_watches_end(primary: Server) -> None:
    async with opened(primary.url) as store, store.objects.watch(ALL, 0) as watch:
        store._feed._patience_s = 1.0
        first = await store.objects.create(key("before"), widget("before"))
        assert len(await told(watch, 1)) == 1
        primary.freeze()
        asked = time.monotonic()
        outcomes = await asyncio.gather(
            store.objects.create(key("during"), widget("during")),
            store.objects.get(key("before")),
            store.objects.list(ALL),
            store.objects.revision(),
            store.runs.unfinished(),
            store.leases.held(),
            read_serially(store),
            return_exceptions=True,
        )
        took_s = time.monotonic() - asked
        with pytest.raises(Unavailable):
            async with asyncio.timeout(15):
                await watch.next()
        primary.thaw()
        await create_again_and_again(store, "after")

        assert [Unavailable] * len(outcomes) == [
            Unavailable if isinstance(outcome, Unavailable) else type(outcome) for outcome in outcomes
        ]
        assert took_s < BOUND_S
        async with store.objects.watch(ALL, first.revision) as again:
            names = [event.object.key.name for event in await told(again, 1)]
            while names[-1] != "after":
                names += [event.object.key.name for event in await told(again, 1)]
        # What was sent to the silent server may have been done when it woke, and then once.
        assert names in (["after"], ["during", "after"])


async def read_serially(store: PostgresStore) -> None:
    async with store.transaction(serial=True) as tx:
        await tx.get(key("before"))


# Failing over.


def both(primary: Server, standby: Server) -> str:
    return f"postgresql://drover@/postgres?host=127.0.0.1:{primary.port}&host=127.0.0.1:{standby.port}"


@pytest.fixture
def standby(primary: Server) -> Iterator[Server]:
    following = primary.standby()
    try:
        following.start()
        yield following
    finally:
        following.stop()


async def test_a_failover_to_a_synchronous_standby_loses_nothing(primary: Server, standby: Server) -> None:
    await primary.synchronous("*")
    async with opened(both(primary, standby)) as store, store.objects.watch(ALL, 0) as watch:
        for number in range(30):
            await store.objects.create(key(f"{number}"), widget(f"{number}"))
        seen = await told(watch, 30)

        primary.kill()
        standby.promote()
        await standby.sql("ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
        await create_again_and_again(store, "after")

        seen += await told(watch, 1)
        assert [*map(str, range(30)), "after"] == [event.object.key.name for event in seen]
        assert list(range(1, 32)) == [event.revision for event in seen]


async def test_a_primary_that_is_silent_hides_no_standby_that_was_promoted(primary: Server, standby: Server) -> None:
    await primary.synchronous("*")
    async with opened(both(primary, standby)) as store:
        await store.objects.create(key("before"), widget("before"))

        primary.freeze()
        standby.promote()
        await standby.sql("ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
        await create_again_and_again(store, "after")

        assert {"before", "after"} == {item.key.name for item in (await store.objects.list(ALL)).items}


async def test_what_no_standby_confirmed_is_not_acknowledged(primary: Server, standby: Server) -> None:
    """The server itself would say that it succeeded."""
    await primary.synchronous("*")
    async with opened(primary.url) as store:
        await store.objects.create(key("before"), widget("before"))

        standby.stop()
        created = store.objects.create(key("alone"), widget("alone"))
        with pytest.raises(Unavailable):
            async with asyncio.timeout(BOUND_S):
                await created
        with pytest.raises(Unavailable):
            async with asyncio.timeout(BOUND_S), store.transaction() as tx:
                tx.create(key("together"), widget("together"))


async def test_a_wait_for_a_standby_that_somebody_cancels_is_not_a_success(primary: Server, standby: Server) -> None:
    """PostgreSQL then says that it committed, and warns."""
    await primary.synchronous("*")
    async with opened(primary.url, Limits(connect_s=1, statement_s=20)) as store:
        await store.objects.create(key("before"), widget("before"))
        standby.stop()
        for way in (store.objects.create(key("alone"), widget("alone")), together(store)):
            committing = asyncio.create_task(way)
            await cancel_waits(primary)
            with pytest.raises(Unavailable, match="no standby"):
                await committing


async def together(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        tx.create(key("together"), widget("together"))


async def cancel_waits(primary: Server) -> None:
    """Of whoever waits for a standby, once somebody does."""
    connection = await asyncpg.connect(primary.url)
    try:
        async with asyncio.timeout(20):
            while not await connection.fetch(_CANCEL):  # noqa: ASYNC110  (no event)
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


async def test_after_a_failover_that_lost_writes_no_revision_is_given_twice(primary: Server, standby: Server) -> None:
    async with opened(both(primary, standby)) as store:
        await store.objects.create(key("kept"), widget("kept"))
        await caught_up(primary, standby)
        standby.stop()  # from here on it is behind
        lost = [await store.objects.create(key(f"lost-{n}"), widget(f"lost-{n}")) for n in range(3)]
        listed = await store.objects.list(ALL)
        assert len(listed.items) == 4

        async with store.objects.watch(ALL, lost[-1].revision) as watch:
            primary.kill()
            standby.start()
            standby.promote()
            with pytest.raises(Gone):
                async with asyncio.timeout(20):
                    await watch.next()
        await create_again_and_again(store, "after")

        assert {"kept", "after"} == {item.key.name for item in (await store.objects.list(ALL)).items}
        assert (await store.objects.get(key("after"))).revision > lost[-1].revision
        with pytest.raises(Gone):
            async with store.objects.watch(ALL, lost[0].revision) as late:
                await late.next(5)


_REPLAYED = "SELECT pg_last_wal_replay_lsn() >= CAST(CAST($1 AS text) AS pg_lsn)"


async def caught_up(primary: Server, standby: Server) -> None:
    one, other = await asyncpg.connect(primary.url), await asyncpg.connect(standby.url)
    try:
        wanted = await one.fetchval("SELECT pg_current_wal_lsn()::text")
        async with asyncio.timeout(20):
            while not await other.fetchval(_REPLAYED, wanted):  # noqa: ASYNC110  (no event)
                await asyncio.sleep(0.02)
    finally:
        await one.close()
        await other.close()


async def test_a_bump_sends_every_old_watcher_back_to_its_list(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        old = await store.objects.create(key("a"), widget("a"))
        async with store.objects.watch(ALL, old.revision) as watch:
            reached = await store.bump(by=1000)
            with pytest.raises(Gone):
                async with asyncio.timeout(10):
                    await watch.next()

        listed = await store.objects.list(ALL)
        assert (reached, ["a"]) == (listed.revision, [item.key.name for item in listed.items])
        with pytest.raises(Gone):
            async with store.objects.watch(ALL, old.revision) as late:
                await late.next(5)
        async with store.objects.watch(ALL, listed.revision) as fresh:
            new = await store.objects.create(key("b"), widget("b"))
            assert [new.revision] == [event.revision for event in await told(fresh, 1)]
        assert reached + 1 == new.revision == old.revision + 1001


# An answer that is lost.


async def test_a_create_whose_answer_was_lost_is_one_create(primary: Server) -> None:
    async with cutting_proxy(primary.port) as proxy, opened(primary.url) as direct:
        async with opened(f"postgresql://drover@127.0.0.1:{proxy.port}/postgres") as store:
            await store.objects.create(key("first"), widget("first"))

            proxy.cut_after(b"second")
            await store.objects.create(key("second"), widget("second", uid="x"))

        assert proxy.cuts == 1
        async with direct.objects.watch(ALL, 0) as watch:
            assert [event.object.key.name for event in await told(watch, 2)] == ["first", "second"]
        with pytest.raises(AlreadyExists):
            await direct.objects.create(key("second"), widget("second"))


async def test_another_write_whose_answer_was_lost_is_not_done_twice(primary: Server) -> None:
    async with cutting_proxy(primary.port) as proxy, opened(primary.url) as direct:
        async with opened(f"postgresql://drover@127.0.0.1:{proxy.port}/postgres") as store:
            stored = await store.objects.create(key("a"), widget("a"))
            proxy.cut_after(b"COMMIT")
            with pytest.raises(Unavailable):
                await store.objects.replace(key("a"), {**stored.document, "spec": {"size": 1}})
            proxy.cut_after(b"COMMIT")
            with pytest.raises(Unavailable):
                async with store.transaction() as tx:
                    tx.create(key("b"), widget("b"))

            # The same again says what became of it.
            with pytest.raises(Conflict):
                await store.objects.replace(key("a"), {**stored.document, "spec": {"size": 2}})
            with pytest.raises(AlreadyExists):
                async with store.transaction() as tx:
                    tx.create(key("b"), widget("b"))

        assert proxy.cuts == 2
        assert (await direct.objects.get(key("a"))).document["spec"] == {"size": 1}
        assert await direct.objects.revision() == 3


# No room.


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    place = folder / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=110m,mode=0711", "tmpfs", str(place)], check=True, timeout=10)
    yield place
    subprocess.run(["umount", str(place)], check=True, timeout=30)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
async def test_a_full_disk_refuses_writes_and_keeps_what_it_has(small_disk: Path) -> None:
    with server(small_disk, wal_level="replica", max_wal_size="48MB", min_wal_size="32MB") as full:
        async with opened(full.url) as store:
            await store.objects.create(key("before"), widget("before"))
            names = {"before"}
            with pytest.raises(Unavailable):
                for number in range(2000):
                    name = f"large-{number}"
                    await store.objects.create(key(name), widget(name, load=os.urandom(60_000).hex()))
                    names.add(name)
            # A server that could not write its log ends itself, and starts again when there is room.
            make_room(small_disk)
            if full.process is not None and full.process.poll() is not None:
                full.start()
            await create_again_and_again(store, "after", within_s=40)

            listed = await store.objects.list(ALL)
            assert names | {"after"} <= {item.key.name for item in listed.items}
            # At most the one write whose answer was an error.
            assert len(listed.items) <= len(names) + 2


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=220m", str(disk)], check=True, timeout=10)


async def test_a_missing_object_is_still_told_from_a_missing_database(primary: Server) -> None:
    async with opened(primary.url) as store:
        with pytest.raises(NotFound):
            await store.objects.get(key("nobody"))
        primary.stop()
        with pytest.raises(Unavailable):
            await store.objects.get(key("nobody"))
