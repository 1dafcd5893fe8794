"""What the benchmark starts and stops itself: the embedded PostgreSQL with fsync on, Drovers over it, the yardstick beside."""

from __future__ import annotations

import asyncio
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from app.store.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Process:
    """One that serves, and where."""

    url: str
    pid: int
    ca: Path

    def memory_mb(self) -> float:
        """The resident memory of the largest process below it, itself included: PostgreSQL's are not below it."""
        return max(_resident_kb(pid) for pid in (self.pid, *children(self.pid))) / 1024


@dataclass(frozen=True)
class Bench:
    """A folder of its own, and the PostgreSQL in it."""

    folder: Path
    postgres: str

    @contextmanager
    def drover(self, database: str = "") -> Iterator[Process]:
        """`drover serve` over TLS with the embedded PostgreSQL, or with another database of the same server. The API alone:
        controllers and workers write too, and would be measured with it."""
        own = self.folder / database
        own.mkdir(mode=0o711, exist_ok=True)
        command = [
            sys.executable, "-m", "app.main", "serve", "--tls", "--trust-loopback", "--no-workers", "--port", "0",
            "--data-dir", str(own),
        ]  # fmt: skip
        variables = {"DROVER_DATABASE_URL": self.url_of(database)} if database else {}
        with self.serving(command, variables) as (url, pid):
            yield Process(url, pid, own / "tls" / "ca.crt")

    @contextmanager
    def yardstick(self, pem: Path) -> Iterator[Process]:
        """The yardstick, with a database of its own on the same server and the same certificate."""
        self.create_database("yardstick")
        command = [sys.executable, "-m", "benchmarks.yardstick", self.url_of("yardstick"), str(pem)]
        with self.serving(command, {}) as (url, pid):
            yield Process(url, pid, pem.with_name("ca.crt"))

    def url_of(self, database: str) -> str:
        return self.postgres.replace("@/postgres?", f"@/{database}?")

    def create_database(self, name: str) -> None:
        self.execute("postgres", f"CREATE DATABASE {name}")

    def execute(self, database: str, *statements: str, timeout_s: float = 600) -> None:
        """SQL, each statement in a transaction of its own."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url_of(database))
            try:
                for statement in statements:
                    await connection.execute(statement, timeout=timeout_s)
            finally:
                await connection.close()

        asyncio.run(run())

    @contextmanager
    def serving(self, command: Sequence[str], variables: dict[str, str]) -> Iterator[tuple[str, int]]:
        """A process that says where it serves: its URL and its pid, until the block ends."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
        with ExitStack() as stack:
            said = stack.enter_context((self.folder / f"{time.monotonic_ns()}.log").open("w+"))
            process = subprocess.Popen(
                command, cwd=ROOT, env=clean | variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True
            )  # fmt: skip
            stack.callback(_ended, process)
            yield _url_said_by(process, Path(said.name)), process.pid


@contextmanager
def bench() -> Iterator[Bench]:
    """In a folder that goes away."""
    folder = Path(tempfile.mkdtemp(prefix="drover-bench-"))
    folder.chmod(0o711)
    embedded = EmbeddedPostgres(folder)
    try:
        yield Bench(folder, asyncio.run(embedded.start()))
    finally:
        asyncio.run(embedded.stop())
        shutil.rmtree(folder, ignore_errors=True)


def _url_said_by(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + START_S
    with selectors.DefaultSelector() as readable:
        readable.register(process.stdout, selectors.EVENT_READ)
        while readable.select(max(0.0, deadline - time.monotonic())):
            line = process.stdout.readline()
            found = re.search(r"https?://\S+", line)
            if found:
                return found.group()
            if not line:
                break
    raise RuntimeError(f"{' '.join(process.args)} did not start: {log.read_text()[-2000:]}")  # type: ignore[arg-type]


def _ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def computed_s(pid: int) -> float:
    """Processor time that a process has taken, in seconds; of 0 none."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Every process below, whichever thread started it."""
    own = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            own += [int(word) for word in (thread / "children").read_text().split()]
    except OSError:
        return []
    return [below for child in own for below in (child, *children(child))]


def _resident_kb(pid: int) -> int:
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0  # it ended while we looked
    return int(found.group(1)) if found else 0
