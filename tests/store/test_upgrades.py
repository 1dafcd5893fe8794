"""The release before and this one at work on one database, while its schema goes forward and back; and the tests of the release
before on this one's schema.

The release before is what the newest tag `v…` names; without one, what was there before the newest schema revision. Both are
taken out of git's history: a tree without it cannot run these tests, and they say so.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.store import schema
from app.store.address import Limits, connect
from app.store.base import EventType, Scope
from app.store.postgres import PostgresStore
from tests.conftest import PostgresServer
from tests.store.builders import WIDGETS
from tests.store.processes import line, rest, running

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("upgrades")]

ROOT = Path(__file__).parents[2]
VERSIONS = "migrations_db/versions"


SCHEMAS_OWN = ("test_schema.py", "test_upgrades.py")
"""What the release before tests of its own schema alone."""
SERVERS_OWN = ("test_embedded.py", "test_outages.py")
"""What starts servers of its own, and brings them to its own schema."""
ON_THIS_SCHEMA = '''"""Every test's database is cloned from one at the schema of the release that comes after."""

import asyncio
import subprocess

import pytest

from app.store import schema


@pytest.fixture(scope="session")
def postgres_template(postgres_template, postgres_server):
    subprocess.run({command!r} + [postgres_server.url_of(postgres_template), ""], cwd={root!r}, env={env!r}, check=True)
    if not hasattr(schema, "NEWER"):
        # It is from before releases said which later schemas they work with, and would not start: it is told nothing.
        own = "UPDATE alembic_version SET version_num = '" + schema.head() + "'"
        asyncio.run(postgres_server.execute(own, database=postgres_template))
    return postgres_template
'''
"""A conftest of the release before's store tests."""


def git(*words: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=True, timeout=120).stdout
    except FileNotFoundError:
        pytest.skip("git is not installed: the release before cannot be taken out of the history")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this tree has no history that holds the release before (clone it whole): {error.stderr.decode()}")


def release_before() -> str:
    """A commit."""
    tags = git("tag", "--merged", "HEAD", "--sort=-creatordate", "--list", "v*").decode().split()
    if tags:
        return tags[0]
    newest = f"{VERSIONS}/{schema.head()}.py"
    added = git("log", "--diff-filter=A", "--format=%H", "--", newest).decode().split()
    return f"{added[-1]}^" if added else "HEAD"


@pytest.fixture(scope="module")
def before() -> Iterator[Path]:
    """Its tree: program, tests and migrations."""
    folder = Path(tempfile.mkdtemp(prefix="drover-before-"))
    try:
        packed = git("archive", release_before(), "app", "tests", "migrations_db", "pyproject.toml")
        subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True, timeout=60)
        yield folder
    finally:
        shutil.rmtree(folder)


def head_of(tree: Path) -> str:
    """The schema that the program in that tree works with."""
    told = subprocess.run(
        [sys.executable, "-c", "from app.store.schema import head; print(head())"],
        cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return told.stdout.strip()


@asynccontextmanager
async def writer_of(tree: Path, url: str, word: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The release before, at work: it says each object that it was acknowledged."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.processes", "create", url, word,
        cwd=tree, stdin=PIPE, stdout=PIPE, env=os.environ | {"PYTHONPATH": str(tree), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines(process: asyncio.subprocess.Process, count: int) -> set[str]:
    return {await line(process) for _ in range(count)}


async def test_both_work_while_the_schema_goes_forward_and_back(before: Path, postgres_server: PostgresServer) -> None:
    await postgres_server.execute("CREATE DATABASE upgrades")
    url = postgres_server.url_of("upgrades")
    engine = connect(url, Limits())
    try:
        old_head = head_of(before)
        await schema.upgrade(engine, old_head)
        async with writer_of(before, url, "old") as old:
            acknowledged = await lines(old, 30)
            await schema.upgrade(engine)
            acknowledged |= await lines(old, 30)
            async with running("create", url, "new") as new:
                acknowledged |= await lines(new, 30)
                acknowledged |= await lines(old, 30)
                new.kill()
                acknowledged |= set(await rest(new))
            await schema.downgrade(engine, old_head)
            acknowledged |= await lines(old, 30)
            await schema.upgrade(engine)
            acknowledged |= await lines(old, 30)
            old.kill()
            acknowledged |= set(await rest(old))

        store = PostgresStore(url)
        await store.open()
        stored = await store.objects.list(Scope(WIDGETS))
        async with store.objects.watch(Scope(WIDGETS), 0) as watch:
            events = []
            while watch.revision < stored.revision:
                event = await watch.next(10)
                assert event is not None
                events += [event, *watch.ready()]
        await store.close()
    finally:
        await engine.dispose()
        await postgres_server.execute("DROP DATABASE upgrades WITH (FORCE)")

    assert acknowledged <= {item.key.name for item in stored.items}
    assert [event.revision for event in events] == list(range(1, stored.revision + 1))
    assert {event.type for event in events} == {EventType.ADDED}


async def test_the_tests_of_the_release_before_pass_on_this_ones_schema(before: Path) -> None:
    """Those of the store, each on a database at the new head: what the release before needs of it is still there."""
    there = before / "tests" / "store"
    if head_of(before) == schema.head():
        pytest.skip("the release before has the same schema")
    own = there / "conftest.py"
    assert not own.exists(), "BUG: the release before has fixtures there: add to them instead of replacing them"
    own.write_text(
        ON_THIS_SCHEMA.format(
            command=[sys.executable, "-m", "tests.store.processes", "migrate"],
            root=str(ROOT),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        )
    )
    tests = [f"tests/store/{path.name}" for path in sorted(there.glob("test_*.py"))]
    left_out = {f"tests/store/{name}" for name in (*SCHEMAS_OWN, *SERVERS_OWN)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist",
        *(test for test in tests if test not in left_out),
        cwd=before, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=os.environ | {"PYTHONPATH": str(before)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(800):
            said = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    passed = re.search(r"(\d+) passed", said)
    assert process.returncode == 0, said[-6000:]
    assert passed is not None and int(passed.group(1)) >= 90, said[-1000:]
