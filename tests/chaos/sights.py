"""What Drover's processes write into their logs: steps of migrations, as they happen, and what they complain of."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import Moment

POLL_S = 0.004
PHASES = {
    "Pending": Moment.PENDING, "Running": Moment.RESERVED, "Succeeded": Moment.CONCLUDED, "Failed": Moment.CONCLUDED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sight:
    """One line of a worker's log: a migration is there now. Hosts and pid are known of steps, not of phases."""

    moment: Moment
    migration: str
    part: str
    """Whose log it is."""
    at: float
    source: str = ""
    target: str = ""
    token: int = 0
    attempt: int = 0
    pid: int | None = None


class Sights:
    """Follows the logs. Whoever waits for a moment acts as soon as its line is read."""

    def __init__(self) -> None:
        self._logs: dict[str, tuple[Path, int, bytes]] = {}
        self._waiting: list[tuple[Callable[[Sight], bool], Callable[[Sight], None]]] = []
        self.seen: list[Sight] = []
        self.latest: dict[str, Sight] = {}
        """By the migration's name."""
        self.bugs: list[str] = []

    def follow(self, part: str, log: Path) -> None:
        """From now on; the former one of that part is read to its end first."""
        self._read(part)
        self._logs[part] = (log, 0, b"")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for part in list(self._logs):
                self._read(part)
            await asyncio.sleep(POLL_S)

    async def strike(self, wanted: Callable[[Sight], bool], act: Callable[[Sight], None], within_s: float) -> bool:
        """Whether such a line came in time; `act` was called in the same turn then."""
        came = asyncio.get_running_loop().create_future()

        def now(sight: Sight) -> None:
            if not came.done():  # the deadline may have passed in this very turn
                act(sight)
                came.set_result(None)

        entry = (wanted, now)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(within_s):
                await came
        except TimeoutError:
            return False
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        return True

    def _read(self, part: str) -> None:
        if part not in self._logs:
            return
        path, offset, rest = self._logs[part]
        if not path.exists() or path.stat().st_size <= offset:
            return
        with path.open("rb") as log:
            log.seek(offset)
            text = log.read()
        *lines, left = (rest + text).split(b"\n")
        self._logs[part] = (path, offset + len(text), left)
        for line in lines:
            self._take(part, line)

    def _take(self, part: str, line: bytes) -> None:
        if b"BUG" in line:
            self.bugs.append(f"{part}: {line.decode(errors='replace')[:600]}")
        if not line.startswith(b"{"):
            return
        try:
            said = json.loads(line)
        except ValueError:
            return  # half a line of a process that was killed
        sight = _sight(part, said)
        if sight is None:
            return
        self.seen.append(sight)
        self.latest[sight.migration] = sight
        for entry in list(self._waiting):
            if entry in self._waiting and entry[0](sight):
                self._waiting.remove(entry)
                entry[1](sight)


def _sight(part: str, said: dict[str, object]) -> Sight | None:
    now = time.monotonic()
    if said.get("event") == "migration step":
        return Sight(
            Moment(str(said["step"])), str(said["migration"]), part, now, str(said["source"]), str(said["target"]),
            int(str(said["token"])), int(str(said["attempt"])), _pid(said.get("pid")),
        )  # fmt: skip
    if said.get("event") == "migration" and said.get("phase") in PHASES:
        return Sight(PHASES[str(said["phase"])], str(said["migration"]), part, now)
    return None


def _pid(said: object) -> int | None:
    return said if isinstance(said, int) else None
