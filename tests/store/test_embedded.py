"""The embedded server: shared, stopped by its last user, and found again whatever was killed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import pytest

from app.store import guardian
from app.store.address import Limits
from app.store.base import Scope, Stored, Unavailable
from app.store.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.store.postgres import PostgresStore
from tests.store.builders import WIDGETS, key, widget
from tests.store.processes import line, running


@pytest.fixture
def made() -> Iterator[Path]:
    """A folder that the server's user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="drover-pg-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def folder(made: Path) -> AsyncIterator[Path]:
    """The same; the server in its `data` has ended before it goes."""
    yield made
    if (made / "data").is_dir():
        await ended(made / "data")


@pytest.fixture
async def embedded(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Started, with fsync."""
    embedded = EmbeddedPostgres(folder / "data")
    await embedded.start()
    yield embedded
    await embedded.stop()


def is_free(path: Path) -> bool:
    lock = guardian.take(path, fcntl.LOCK_EX)
    if lock is not None:
        os.close(lock)
    return lock is not None


async def ended(data_dir: Path) -> None:
    """Wait until neither the guardian nor any process of the server is left."""
    async with asyncio.timeout(30):
        # The kernel has no event for a lock that another process lets go.
        while not (is_free(data_dir / "guardian.lock") and is_free(data_dir / "server.lock")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


async def another_server(data_dir: Path, killed: int) -> None:
    """Wait until a server with another pid is ready."""
    async with asyncio.timeout(30):
        while True:
            with suppress(FileNotFoundError):
                lines = (data_dir / "postgres" / "postmaster.pid").read_text().split("\n")
                if lines[0] != str(killed) and len(lines) > 7 and lines[7].strip() == "ready":
                    return
            await asyncio.sleep(0.02)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def answer(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        value: int = await connection.fetchval("SELECT 42")
    finally:
        await connection.close()
    return value


async def test_data_survives_a_restart(folder: Path) -> None:
    for i in range(3):
        embedded = EmbeddedPostgres(folder / "data")
        store = PostgresStore(await embedded.start())
        await store.open()
        await store.objects.create(key(str(i)), widget())
        assert len((await store.objects.list(Scope(WIDGETS))).items) == i + 1
        await store.close()
        await embedded.stop()
        await embedded.stop()
        assert not (folder / "data" / "postgres" / "postmaster.pid").exists()


async def test_it_is_stopped_by_the_last_that_uses_it(folder: Path) -> None:
    data = folder / "data"
    async with AsyncExitStack() as stack:
        # Started at once: one of them starts the server, both use it.
        one = await stack.enter_async_context(running("serve", str(data)))
        other = await stack.enter_async_context(running("serve", str(data)))
        url = await line(one)
        assert url == await line(other)

        one.stdin.write(b"\n")  # type: ignore[union-attr]  # running() pipes it
        assert await line(one) == "stopped"
        assert await answer(url) == 42
        other.stdin.write(b"\n")  # type: ignore[union-attr]
        assert await line(other) == "stopped"

    assert is_free(data / "server.lock")


async def test_a_killed_user_leaves_it_to_the_others(folder: Path) -> None:
    data = folder / "data"
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running("serve", str(data)))
        url = await line(first)
        second = await stack.enter_async_context(running("serve", str(data)))
        await line(second)

        first.kill()
        await first.wait()

        assert await answer(url) == 42


async def test_it_does_not_outlive_users_that_were_all_killed(folder: Path) -> None:
    data = folder / "data"
    async with running("serve", str(data)) as user:
        url = await line(user)
        user.kill()
        await user.wait()

    await ended(data)
    embedded = EmbeddedPostgres(data)
    assert url == await embedded.start()
    await embedded.stop()


async def test_ctrl_c_reaches_its_users_only(embedded: EmbeddedPostgres, folder: Path) -> None:
    server = server_pid(folder / "data")

    assert os.getpgid(server) != os.getpgid(0)
    assert os.getsid(server) != os.getsid(0)


async def test_a_killed_server_comes_back_with_all_that_was_acknowledged(
    embedded: EmbeddedPostgres, folder: Path
) -> None:
    async with running("create", embedded.url, "w") as writer:
        names = set()
        for _ in range(3):
            names |= {await line(writer) for _ in range(40)}
            killed = server_pid(folder / "data")
            os.kill(killed, signal.SIGKILL)
            await another_server(folder / "data", killed)
        names |= {await line(writer) for _ in range(40)}
        writer.kill()
        await writer.wait()
    store = PostgresStore(embedded.url)
    await store.open()

    stored = await store.objects.list(Scope(WIDGETS))
    assert names <= {item.key.name for item in stored.items}
    async with store.objects.watch(Scope(WIDGETS), 0) as watch:
        revisions = []
        while watch.revision < stored.revision:
            event = await watch.next(10)
            assert event is not None
            revisions += [one.revision for one in (event, *watch.ready())]
    assert list(range(1, stored.revision + 1)) == revisions
    await store.close()


async def test_a_watch_goes_on_after_the_server_was_killed(embedded: EmbeddedPostgres, folder: Path) -> None:
    store = PostgresStore(embedded.url)
    await store.open()

    async with store.objects.watch(Scope(WIDGETS), 0) as watch, running("create", embedded.url, "w") as writer:
        await line(writer)
        os.kill(server_pid(folder / "data"), signal.SIGKILL)
        for _ in range(20):
            await line(writer)
        events = [await watch.next(20) for _ in range(20)]

    assert list(range(1, 21)) == [event.revision for event in events if event]
    await store.close()


async def test_a_killed_guardian_takes_its_server_along_and_the_next_start_begins_anew(folder: Path) -> None:
    data = folder / "data"
    first = EmbeddedPostgres(data)
    await first.start()
    os.kill(parent_of(server_pid(data)), signal.SIGKILL)
    await ended(data)

    second = EmbeddedPostgres(data)
    assert await answer(await second.start()) == 42

    await first.stop()
    assert await answer(second.url) == 42
    await second.stop()
    assert is_free(data / "server.lock")


async def test_a_long_folder_still_has_a_socket(folder: Path) -> None:
    data = folder / ("long" * 25) / "data"
    embedded = EmbeddedPostgres(data)
    try:
        assert await answer(await embedded.start()) == 42
    finally:
        await embedded.stop()
        await ended(data)
        shutil.rmtree(embedded.url.partition("host=")[2])


async def test_files_of_another_version_are_refused_in_one_line(folder: Path) -> None:
    data = folder / "data"
    embedded = EmbeddedPostgres(data)
    await embedded.start()
    await embedded.stop()
    (data / "postgres" / "PG_VERSION").write_text("9\n")

    with pytest.raises(EmbeddedPostgresError, match="written by PostgreSQL 9") as refusal:
        await embedded.start()
    assert "\n" not in str(refusal.value)


async def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    data = folder / "data"
    embedded = EmbeddedPostgres(data)
    await embedded.start()
    await embedded.stop()
    (data / "postgres" / "global" / "pg_control").unlink()

    with pytest.raises(EmbeddedPostgresError, match="could not find the database system"):
        await embedded.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the server run as another user")
async def test_a_folder_that_the_server_cannot_pass_through_is_not_widened(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(EmbeddedPostgresError, match=f"cannot enter {closed}"):
        await EmbeddedPostgres(closed / "data").start()

    assert closed.stat().st_mode & 0o777 == 0o700


async def test_a_file_in_the_place_of_the_folder_is_told(folder: Path) -> None:
    (folder / "data").touch()

    with pytest.raises(EmbeddedPostgresError, match="cannot use the data folder"):
        await EmbeddedPostgres(folder / "data").start()


async def test_a_database_that_is_away_makes_the_store_unavailable_and_no_more(
    embedded: EmbeddedPostgres, folder: Path
) -> None:
    store = PostgresStore(embedded.url, Limits(connect_s=1))
    await store.open()
    await store.objects.create(key("before"), widget())

    killed = server_pid(folder / "data")
    os.kill(killed, signal.SIGKILL)
    outcomes = await asyncio.gather(
        *(store.objects.create(key(f"during-{i}"), widget()) for i in range(5)), return_exceptions=True
    )
    # Its orphaned processes may still answer; the next server is the one that counts.
    await another_server(folder / "data", killed)
    await store.objects.create(key("after"), widget())

    assert all(isinstance(outcome, Stored | Unavailable) for outcome in outcomes), outcomes
    stored = {item.key.name for item in (await store.objects.list(Scope(WIDGETS))).items}
    acknowledged = {outcome.key.name for outcome in outcomes if isinstance(outcome, Stored)}
    assert {"before", "after"} | acknowledged <= stored
    await store.close()
