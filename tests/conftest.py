"""PostgreSQL for the tests: one embedded server for each test process, one cloned database for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import hypothesis
import pytest
from hypothesis import settings

from app.store import schema
from app.store.address import Limits, connect
from app.store.embedded import EmbeddedPostgres
from app.store.postgres import PostgresStore

settings.register_profile("drover", deadline=None)  # how fast a loaded machine is, is not what is tested
settings.load_profile("drover")

TEMPLATE = "template_drover"

# How long an example takes says how busy the machine is, and nothing about the code.
hypothesis.settings.register_profile("drover", deadline=None)
hypothesis.settings.load_profile("drover")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only root may make network namespaces: for others those tests are left out, and said to be. As root they fail where
    they cannot run."""
    if os.geteuid() == 0:
        return
    left_out = [item for item in items if item.get_closest_marker("namespaces")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A server whose databases come and go."""

    url: str

    def url_of(self, database: str) -> str:
        return self.url.replace("@/postgres?", f"@/{database}?")

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(self.url_of(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """A folder that the server's user may pass through also when root runs the tests; pytest's own are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="drover-pg-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server(postgres_folder: Path) -> Iterator[PostgresServer]:
    """Without fsync: what is tested for durability starts its own."""
    embedded = EmbeddedPostgres(postgres_folder / "data", durable=False)
    url = asyncio.run(embedded.start())
    yield PostgresServer(url)
    asyncio.run(embedded.stop())


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a migrated, empty database to clone."""

    async def prepare() -> None:
        await postgres_server.execute(f"CREATE DATABASE {TEMPLATE}")
        engine = connect(postgres_server.url_of(TEMPLATE), Limits())
        await schema.upgrade(engine)
        await engine.dispose()

    asyncio.run(prepare())
    return TEMPLATE


NUMBERS = count(1)


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{next(NUMBERS)}"
    await postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    await postgres_server.execute("UPDATE store_identity SET id = gen_random_uuid()", database=name)
    yield postgres_server.url_of(name)
    await postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """An open store, empty."""
    opened = PostgresStore(postgres_url)
    await opened.open()
    yield opened
    await opened.close()
