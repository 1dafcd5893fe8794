"""How PostgreSQL is reached: a URL becomes an engine, or one connection of its own, each with deadlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import URL, make_url
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

DRIVER = "postgresql+asyncpg"
NOT_ASYNCPG = ("prepared_statement_cache_size", "prepared_statement_name_func", "async_creator_fn")
"""What SQLAlchemy's dialect takes out of a URL for itself."""
PROCESS = "drover/"
"""How connections are named in pg_stat_activity; what follows is the process's identity."""
DOOR = "door"
"""An engine's own Door, among its options: connections beside the pool go through it too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much the store may take of PostgreSQL."""

    connections: int = 10
    """Per process, beside those that listen and serve the API's reads and writes. Writes are grouped, so few are busy."""
    connect_s: float = 5
    """For all the hosts that the URL names together."""
    look_s: float = 5
    """A look at a few rows by their keys: a server that takes longer has gone silent."""
    statement_s: float = 15
    """Above any statement of ours, below what a client waits."""
    lock_s: float = 10
    """How long a writer waits for the revision counter."""
    idle_in_transaction_s: float = 10
    """A process that freezes while it holds the counter must not stop the others for longer."""

    @property
    def answer_s(self) -> float:
        """The client's own deadline, for a server that has gone silent: the server's comes first."""
        return self.statement_s + 1


class Connection(asyncpg.Connection):
    """One that remembers whether the server warned of anything.

    A server whose wait for a synchronous standby is cancelled by an operator says that the commit succeeded, with a warning
    that a failover may lose it. Nothing else that we ask for makes one warn.
    """

    warned = False

    def hear(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        """A log listener. What is said before an answer is heard before whoever waits for the answer goes on."""
        self.warned = self.warned or getattr(message, "severity_en", "") == "WARNING"


def parsed(url: str) -> URL:
    """With our driver, whichever the URL names."""
    return make_url(url).set(drivername=DRIVER)


def servers(url: str) -> list[str]:
    """Those that the URL names, for a person to read."""
    _, options = dialect.dialect().create_connect_args(parsed(url))  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
    return [f"{host or 'localhost'}:{port or 5432}" for host, port in _places(options)]


def place_of(url: str) -> str:
    """Servers and database, for a person to read: never the password."""
    return f"{','.join(servers(url))}/{parsed(url).database or ''}"


def connect(url: str, limits: Limits, identity: str = "") -> AsyncEngine:
    """An engine; nothing is connected yet. Connections bear the identity for people to see."""
    door = Door(identity)
    return create_async_engine(
        parsed(url),
        execution_options={DOOR: door},
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.connect_s,
        connect_args={
            "async_creator_fn": door.open,
            "timeout": limits.connect_s,
            "command_timeout": limits.answer_s,
            "server_settings": _session(limits) | door.name,
        },
    )


class Door:
    """Opens connections to the one of several servers that takes writes, beginning with the one that did so last."""

    def __init__(self, identity: str = "") -> None:
        self._last: object = None
        self.name = {"application_name": PROCESS + identity if identity else "drover"}

    async def open(self, **options: Any) -> Connection:
        """`options` are asyncpg's. Raises what the last of the servers said, or TimeoutError.

        asyncpg asks one server after the other too, but a silent one would use up the time of all.
        """
        places = sorted(_places(options), key=lambda place: place != self._last)
        attributes = {"target_session_attrs": "read-write"} if len(places) > 1 else {}
        timeout_s = options["timeout"] / len(places)
        for host, port in places[:-1]:
            try:
                found = await _opened(attributes | options | _place(host, port) | {"timeout": timeout_s})
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                continue
            self._last = (host, port)
            return found
        host, port = places[-1]
        found = await _opened(attributes | options | _place(host, port) | {"timeout": timeout_s})
        self._last = (host, port)
        return found


async def _opened(options: dict[str, Any]) -> Connection:
    connection: Connection = await asyncpg.connect(**options, connection_class=Connection)
    connection.add_log_listener(connection.hear)
    return connection


def _places(options: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Host and port of each server; None for what is left to asyncpg."""
    found, ports = options.get("host"), options.get("port")
    if not isinstance(found, list):
        return [(found, ports)]
    return list(zip(found, ports if isinstance(ports, list) else [ports] * len(found), strict=True))


def _place(host: object, port: object) -> dict[str, object]:
    return {name: value for name, value in (("host", host), ("port", port)) if value is not None}


def _session(limits: Limits) -> dict[str, str]:
    return {
        # Tables that nobody has analysed yet look so large to it that it compiles, half a second each time, what runs in 0.1 ms.
        "jit": "off",
        "default_transaction_isolation": "read committed",
        "statement_timeout": _milliseconds(limits.statement_s),
        "lock_timeout": _milliseconds(limits.lock_s),
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction_s),
    }


async def listen(engine: AsyncEngine, limits: Limits) -> Connection:
    """A connection outside the pool, for LISTEN."""
    return await _connected(engine, limits, limits.look_s, {})


async def pooled(engine: AsyncEngine, limits: Limits) -> Connection:
    """A connection outside the engine's pool, for whatever statements."""
    return await _connected(engine, limits, limits.answer_s, _session(limits))


async def dedicated(engine: AsyncEngine, limits: Limits, answer_s: float) -> Connection:
    """The same, for a few statements that are said again and again: each is planned once."""
    session = _session(limits) | {"plan_cache_mode": "force_generic_plan"}
    return await _connected(engine, limits, answer_s, session)


async def _connected(engine: AsyncEngine, limits: Limits, command_s: float, session: dict[str, str]) -> Connection:
    _, options = engine.dialect.create_connect_args(engine.url)
    door: Door = engine.get_execution_options()[DOOR]
    return await door.open(
        **{name: value for name, value in options.items() if name not in NOT_ASYNCPG},
        timeout=limits.connect_s,
        command_timeout=command_s,
        server_settings=session | door.name,
    )


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
