"""Where the state is kept: which PostgreSQL the settings name, and what must be in it before anybody is served."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from app.access import ServiceAccounts
from app.api.auth.roles import Roles
from app.controllers.defaults import made_at_start
from app.controllers.guards import DEFAULT_NAMESPACE
from app.controllers.roles import ensure_default_roles
from app.kinds import NAMESPACE
from app.settings import Settings
from app.store.address import place_of
from app.store.base import AlreadyExists, Key, Unavailable
from app.store.postgres import PostgresStore
from app.store.schema import SchemaTooNew
from app.wiring.errors import DatabaseAway, Misconfigured


def database_url(settings: Settings) -> str | None:
    """The URL that the settings name, or None for the embedded server."""
    if settings.database_url and settings.database_url_file:
        raise Misconfigured("set DROVER_DATABASE_URL or DROVER_DATABASE_URL_FILE, not both")
    if settings.database_url:
        return _postgresql(settings.database_url.get_secret_value(), "DROVER_DATABASE_URL")
    if settings.database_url_file:
        try:
            return _postgresql(settings.database_url_file.read_text().strip(), "DROVER_DATABASE_URL_FILE")
        except OSError as error:
            raise Misconfigured(f"DROVER_DATABASE_URL_FILE: {error}") from error
    return None


def _postgresql(url: str, variable: str) -> str:
    if not url.startswith(("postgresql://", "postgres://", "postgresql+asyncpg://")):
        raise Misconfigured(f"{variable} must begin with postgresql:// (Drover keeps its state in PostgreSQL only)")
    try:
        urlsplit(url)
    except ValueError as error:
        raise Misconfigured(f"{variable} is no URL: {error}") from None
    return url.replace("postgres://", "postgresql://", 1)


async def open_store(store: PostgresStore, url: str, wait_s: float) -> None:
    """Waits for it. Raises Misconfigured for one that a newer release has changed, DatabaseAway for none."""
    try:
        await store.open()
    except SchemaTooNew as error:
        raise Misconfigured(str(error)) from error
    except Unavailable as error:
        raise DatabaseAway(f"no PostgreSQL at {place_of(url)} after {wait_s:g} s: {error}") from error


async def unless_dead(store: PostgresStore) -> None:
    """Runs until the store died; raises RuntimeError then."""
    await store.died()
    raise RuntimeError("BUG: a part of the store died; every request would be answered 503 from now on")


async def answers(store: PostgresStore) -> None:
    """Raises StoreError where it does not."""
    await store.objects.revision()


async def prepare(store: PostgresStore, roles: Roles, accounts: ServiceAccounts) -> None:
    """What is there from the start. Twice is harmless. Raises Unavailable, also while somebody who stands still holds the
    counter of revisions."""
    await _ensure_default_namespace(store)
    await ensure_default_roles(store)
    await roles.load()
    await accounts.load()


async def _ensure_default_namespace(store: PostgresStore) -> None:
    """It exists from the start; whoever of several processes comes first makes it."""
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": DEFAULT_NAMESPACE}}
    with suppress(AlreadyExists):
        await store.objects.create(Key(NAMESPACE.resource, "", DEFAULT_NAMESPACE), made_at_start(NAMESPACE, document))
