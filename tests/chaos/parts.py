"""Processes that are killed, stopped and started again, each the only one of its name; none outlives this one."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from app.lab import processes
from app.lab.processes import Process
from app.lab.programs import program

MIGRATION = "drover-migrate"


class Part:
    """One process of Drover's, in a session of its own, in which its migrations' processes are too."""

    def __init__(self, name: str, command: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._folder = folder
        self._running: asyncio.subprocess.Process | None = None
        self.life = 0
        self.busy = False
        """Something was done to it that is not over yet."""
        self.killed_at: float | None = None

    @property
    def log(self) -> Path:
        return self._folder / f"{self.name}.{self.life}.log"

    @property
    def pid(self) -> int:
        assert self._running is not None, f"BUG: {self.name} was not started"
        return self._running.pid

    @property
    def lives(self) -> bool:
        return self._running is not None and self._running.returncode is None

    async def start(self) -> None:
        """Returns at once; it ends with this process, also where that one is killed."""
        self.life += 1
        with self.log.open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                program("setpriv"), "--pdeathsig", "KILL", "--", *self._command,
                cwd="/", env=dict(self._environment), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def send(self, number: signal.Signals) -> None:
        """To the process alone. Nothing happens if it has ended."""
        if number is signal.SIGKILL:
            self.killed_at = time.monotonic()
        if self._running is not None and self._running.returncode is None:
            self._running.send_signal(number)

    async def ended(self) -> None:
        assert self._running is not None
        await self._running.wait()

    def migrations(self) -> list[Process]:
        """The processes of its migrations."""
        found = [processes.process(pid) for pid in _in_session(self.pid)]
        return [one for one in found if one is not None]

    async def end(self) -> None:
        """SIGKILL, and everything else of its session."""
        if self._running is None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        await self._running.wait()
        for one in self.migrations():
            one.send(signal.SIGCONT)
            one.send(signal.SIGKILL)


def _in_session(session: int) -> list[int]:
    return [
        int(entry.name)
        for entry in processes.PROC.iterdir()
        if entry.name.isdigit() and _comm(entry).startswith(MIGRATION) and _session(entry) == session
    ]


def _comm(entry: Path) -> str:
    try:
        return (entry / "comm").read_text().strip()
    except OSError:
        return ""


def _session(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
    except OSError:
        return -1
