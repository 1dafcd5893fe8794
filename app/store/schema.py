"""The schema: brought to this program's revision, by one process at a time."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

LOCK = 0x64726F766572
"""The advisory lock of whoever changes the schema: "drover" in ASCII."""


NEWER = "newer"
"""A schema of a later release that works with this program."""

SCRIPTS = Path(__file__).parents[2] / "migrations_db"
"""Beside the app, in a checkout as in an installed package."""


class SchemaTooNew(Exception):
    """A newer program has changed the schema: this one must not write to it."""


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Migrate, in one transaction; returns at once where there is nothing to do, or where a newer release has been here
    whose schema this program can work with. Raises SchemaTooNew."""
    async with engine.connect() as connection:
        wanted = head() if revision == "head" else revision
        if await connection.run_sync(found_revision) in (wanted, NEWER):
            return
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        await connection.run_sync(_upgrade, revision)


async def downgrade(engine: AsyncEngine, revision: str) -> None:
    """Migrate back, in one transaction; `base` removes everything."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        await connection.run_sync(_downgrade, revision)


@cache
def head() -> str:
    """The revision that this program works with."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise AssertionError("BUG: migrations_db has no revision")
    return found


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def found_revision(connection: Connection) -> str | None:
    """The database's; None where there are no tables, NEWER for a later one that works with this program. Raises SchemaTooNew."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found is not None and found not in _known():
        if head() in _works_with(connection):
            return NEWER
        raise SchemaTooNew(f"the database's schema is at {found}, which this program does not know: run a newer Drover")
    return found


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _upgrade(connection: Connection, revision: str) -> None:
    if found_revision(connection) == NEWER:
        return
    command.upgrade(_config(connection), revision)
    _note(connection)


def _works_with(connection: Connection) -> frozenset[str]:
    """The heads of the programs that can work with what is there, as the release that made it said."""
    if connection.scalar(text("SELECT to_regclass('works_with')")) is None:
        return frozenset()
    return frozenset(connection.scalars(text("SELECT head FROM works_with")))


def _note(connection: Connection) -> None:
    """For the release before, which does not know this schema: it may start on it, so that both run side by side while one
    takes the other's place."""
    if connection.scalar(text("SELECT to_regclass('works_with')")) is None:
        return
    script = ScriptDirectory.from_config(_config())
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    heads = [found, *getattr(script.get_revision(found).module, "WORKS_WITH", ())]
    connection.execute(text("DELETE FROM works_with"))
    connection.execute(text("INSERT INTO works_with (head) SELECT unnest(CAST(:heads AS text[]))"), {"heads": heads})


def _downgrade(connection: Connection, revision: str) -> None:
    command.downgrade(_config(connection), revision)
    if revision != "base":
        _note(connection)
