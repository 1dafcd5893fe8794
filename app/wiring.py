"""The composition root: settings → store → hosts → controllers → API. The only place that chooses adapters."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.application import create_api
from app.hypervisor import domain_xml
from app.kinds import ALL, VIRTUAL_MACHINE
from app.machinery.kind import Kind
from app.settings import Settings
from app.store.embedded import EmbeddedPostgres
from app.store.postgres import PostgresStore
from app.telemetry import configure_logging

log = structlog.get_logger()

Part = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs until it is cancelled, and cleans up then."""


class Misconfigured(Exception):
    """The settings contradict one another; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running Drover."""

    api: ASGIApp
    failed: asyncio.Event
    """Set when a background part ended by itself: that is a bug, and the process must end too."""
    end_watches: Callable[[], None]
    """Ends every open watch cleanly, so that the listener can close."""


def version_of_drover() -> str:
    """`v1.36.0+drover-0.1.0`: clients read a Kubernetes version out of it."""
    return f"v1.36.0+drover-{version('drover')}"


def served_kinds(settings: Settings) -> tuple[Kind[Any, Any], ...]:
    """The declared kinds, with the checks that need the operator's settings."""
    policy = domain_xml.Policy(
        paths=(*settings.allowed_paths, str(settings.lab_dir)),
        bridges=settings.allowed_bridges,
        emulators=settings.allowed_emulators,
    )
    return tuple(_with_domain_rules(kind, policy) if kind is VIRTUAL_MACHINE else kind for kind in ALL)


def _with_domain_rules(kind: Kind[Any, Any], policy: domain_xml.Policy) -> Kind[Any, Any]:
    declared = kind.check_create

    def check(document: dict[str, Any]) -> Any:
        yield from declared(document)
        yield from domain_xml.problems(document.get("spec") or {}, policy)

    return replace(kind, check_create=check)


def database_url(settings: Settings) -> str | None:
    """The URL that the settings name, or None for the embedded server."""
    if settings.database_url and settings.database_url_file:
        raise Misconfigured("set DROVER_DATABASE_URL or DROVER_DATABASE_URL_FILE, not both")
    if settings.database_url:
        return settings.database_url.get_secret_value()
    if settings.database_url_file:
        try:
            return settings.database_url_file.read_text().strip()
        except OSError as error:
            raise Misconfigured(f"DROVER_DATABASE_URL_FILE: {error}") from error
    return None


@asynccontextmanager
async def running(settings: Settings, *, workers: bool) -> AsyncIterator[Service]:
    """Everything started, in order; everything stopped, in the opposite order."""
    async with AsyncExitStack() as stack:
        url = database_url(settings)
        if url is None:
            embedded = EmbeddedPostgres(settings.data_dir)
            stack.push_async_callback(embedded.stop)
            url = await embedded.start()
        store = PostgresStore(url)
        stack.push_async_callback(store.close)
        await store.open()
        yield Service(api=None, failed=asyncio.Event(), end_watches=lambda: None)  # type: ignore[arg-type]


class Application:
    """The ASGI application whose lifespan starts and stops the whole service."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._service: Service | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._service is not None:
            await self._service.api(scope, receive, send)
        else:
            raise RuntimeError("BUG: a request before the start; run the server with its lifespan on")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        configure_logging(self._settings.log_format)
        await receive()
        async with running(self._settings, workers=self._settings.workers) as self._service:
            await send({"type": "lifespan.startup.complete"})
            message: Message = await receive()
            assert message["type"] == "lifespan.shutdown"
            self._service.end_watches()
        await send({"type": "lifespan.shutdown.complete"})
