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


SCRIPTS = Path(__file__).parents[2] / "migrations_db"
"""Beside the app, in a checkout as in an installed package."""


class SchemaTooNew(Exception):
    """A newer program has changed the schema: this one must not write to it."""


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Migrate, in one transaction; returns at once where there is nothing to do. Raises SchemaTooNew."""
    async with engine.connect() as connection:
        if await connection.run_sync(found_revision) == (head() if revision == "head" else revision):
            return
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        await connection.run_sync(_upgrade, revision)


async def downgrade(engine: AsyncEngine, revision: str) -> None:
    """Migrate back, in one transaction; `base` removes everything."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        await connection.run_sync(lambda sync: command.downgrade(_config(sync), revision))


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
    """The database's; None where there are no tables. Raises SchemaTooNew."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found is not None and found not in _known():
        raise SchemaTooNew(f"the database's schema is at {found}, which this program does not know: run a newer Drover")
    return found


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _upgrade(connection: Connection, revision: str) -> None:
    found_revision(connection)
    command.upgrade(_config(connection), revision)
