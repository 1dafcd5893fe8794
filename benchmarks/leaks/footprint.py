"""What a process holds: memory, open files, threads, processes below it; of PostgreSQL its connections and rows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.services import children

TELL_S = 60.0
BLOCKS = 1.05
MEMORY = 1.10
SPARE_MB, SPARE_BLOCKS, SPARE_FILES, SPARE_ROWS = 8.0, 20_000, 12, 2_000
"""What may differ beside that: a pool that is fuller, a cache that was not warm."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one process; after it has freed what it can, where it can be asked to."""

    memory_mb: float
    files: int
    below: int = 0
    """Processes below it."""
    threads: int = 0
    blocks: int = 0
    """Of Python's allocator: what counts is in them, whatever the kernel says."""
    rows: int = 0
    """PostgreSQL's, in every table."""
    types: Mapping[str, int] | None = None

    def grown(self, first: Footprint) -> list[str]:
        """What is more than it was, beyond what may differ."""
        grown = []
        if self.memory_mb > first.memory_mb * MEMORY + SPARE_MB:
            grown.append(f"memory {first.memory_mb:.0f} → {self.memory_mb:.0f} MB")
        if self.blocks > first.blocks * BLOCKS + SPARE_BLOCKS:
            grown.append(f"blocks {first.blocks} → {self.blocks}")
        if self.files > first.files + SPARE_FILES:
            grown.append(f"open files {first.files} → {self.files}")
        if self.below > first.below:
            grown.append(f"processes below {first.below} → {self.below}")
        if self.threads > first.threads + SPARE_FILES:
            grown.append(f"threads {first.threads} → {self.threads}")
        if self.rows > first.rows * MEMORY + SPARE_ROWS:
            grown.append(f"rows {first.rows} → {self.rows}")
        return grown

    def document(self) -> dict[str, Any]:
        return asdict(self)


async def of_process(pid: int, folder: Path) -> Footprint:
    """One of ours, which is asked to free what it can and tells of it in the folder."""
    told = folder / f"{pid}.json"
    told.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    deadline = time.monotonic() + TELL_S
    while not told.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"process {pid} told nothing within {TELL_S:g} s")
        await asyncio.sleep(0.05)
    return Footprint(resident_mb(pid), files_of(pid), len(children(pid)), **json.loads(told.read_text()))


async def of_postgres(url: str, postmaster: int) -> Footprint:
    """Memory that its processes share with nobody; the connections to that database in place of open files."""
    connection = await asyncpg.connect(url)
    try:
        tables = [
            row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        rows = {table: await connection.fetchval(f'SELECT count(*) FROM "{table}"') for table in tables}
        connections = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
    memory = sum(_kb(pid, "RssAnon") for pid in (postmaster, *children(postmaster))) / 1024
    return Footprint(memory, connections, rows=sum(rows.values()), types=rows)


async def transactions(url: str) -> int:
    """How many that database has ended, as far as its processes have said by now."""
    connection = await asyncpg.connect(url)
    try:
        ended = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return int(await connection.fetchval(ended))
    finally:
        await connection.close()


def resident_mb(pid: int) -> float:
    return _kb(pid, "VmRSS") / 1024


def files_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def computed_below_s(pid: int) -> float:
    """Processor time of that process, of those below it that live, and of those that have ended and were waited for."""
    return sum(_computed_s(one) for one in (pid, *children(pid)))


def _computed_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it ended while we looked
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _kb(pid: int, what: str) -> int:
    try:
        found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) if found else 0
