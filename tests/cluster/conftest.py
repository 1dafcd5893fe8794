"""A real cluster's part, played by a small kube-apiserver of the tests' own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.store.postgres import PostgresStore
from tests.cluster.scene import Cluster, cluster
from tests.conftest import NUMBERS, PostgresServer


@pytest.fixture
async def core_store(postgres_server: PostgresServer, postgres_template: str) -> AsyncIterator[PostgresStore]:
    """What the cluster keeps: apart from what Drover keeps."""
    name = f"test_{next(NUMBERS)}"
    await postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    await postgres_server.execute("UPDATE store_identity SET id = gen_random_uuid()", database=name)
    opened = PostgresStore(postgres_server.url_of(name))
    await opened.open()
    yield opened
    await opened.close()
    await postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def behind(core_store: PostgresStore, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster that runs, and knows of no Drover yet."""
    async with cluster(core_store, tmp_path) as made:
        yield made
