"""The migrations lead to the tables, and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store import schema
from app.store.address import Limits, connect
from app.store.postgres import PostgresStore
from app.store.tables import metadata
from tests.conftest import PostgresServer


@pytest.fixture
async def empty(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The URL of a database without tables."""
    await postgres_server.execute("CREATE DATABASE empty")
    yield postgres_server.url_of("empty")
    await postgres_server.execute("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
async def engine(empty: str) -> AsyncIterator[AsyncEngine]:
    engine = connect(empty, Limits())
    yield engine
    await engine.dispose()


def differences(connection: Connection) -> list[object]:
    return list(
        compare_metadata(MigrationContext.configure(connection, opts={"compare_server_default": True}), metadata)
    )


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_an_empty_database_is_migrated_to_the_tables(engine: AsyncEngine) -> None:
    await schema.upgrade(engine)

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        assert set(metadata.tables) < await connection.run_sync(tables)


async def test_checks_and_collations_are_those_of_the_tables(engine: AsyncEngine, empty: str) -> None:
    """What Alembic's comparison leaves out."""
    described = text("""
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND conrelid::regclass::text <> 'alembic_version'
        UNION ALL
        SELECT table_name, column_name, collation_name FROM information_schema.columns
        WHERE table_schema = 'public' AND collation_name IS NOT NULL
        ORDER BY 1, 2, 3
    """)
    await schema.upgrade(engine)
    async with engine.connect() as connection:
        migrated = (await connection.execute(described)).all()
    await schema.downgrade(engine, "base")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with engine.connect() as connection:
        made = (await connection.execute(described)).all()

    assert made == migrated


async def test_every_revision_goes_back_and_forth(engine: AsyncEngine) -> None:
    await schema.upgrade(engine)
    await schema.downgrade(engine, "base")
    async with engine.connect() as connection:
        assert await connection.run_sync(tables) == {"alembic_version"}

    await schema.upgrade(engine)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_several_that_start_at_once_migrate_once(empty: str) -> None:
    stores = [PostgresStore(empty) for _ in range(4)]

    await asyncio.gather(*(store.open() for store in stores))

    assert len({store.id for store in stores}) == 1
    for store in stores:
        await store.close()


async def test_a_newer_schema_is_left_alone(engine: AsyncEngine) -> None:
    await schema.upgrade(engine)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '29991231_later'"))
        await connection.execute(
            text("UPDATE works_with SET head = '29991231_later' WHERE head = :head").bindparams(head=schema.head())
        )

    with pytest.raises(schema.SchemaTooNew, match="29991231_later"):
        await schema.upgrade(engine)


async def test_a_newer_schema_that_works_with_this_program_is_used_as_it_is(engine: AsyncEngine, empty: str) -> None:
    await schema.upgrade(engine)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '29991231_later'"))
        await connection.execute(text("DELETE FROM works_with WHERE head <> :head"), {"head": schema.head()})

    store = PostgresStore(empty)
    await store.open()
    await store.close()

    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == "29991231_later"


async def test_the_newest_schema_says_which_programs_it_works_with(engine: AsyncEngine) -> None:
    await schema.upgrade(engine)

    async with engine.connect() as connection:
        heads = set(await connection.scalars(text("SELECT head FROM works_with")))
    assert schema.head() in heads and len(heads) > 1


async def test_an_open_store_may_be_opened_and_closed_again(empty: str) -> None:
    store = PostgresStore(empty)
    await store.open()
    await store.open()
    await store.close()
    await store.close()
    await store.open()

    assert await store.objects.revision() == 0
    await store.close()
