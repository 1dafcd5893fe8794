"""Where guests are, by the processes of the machine, and whether they live, by their consoles. Drover is not asked."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.lab import processes
from app.lab.processes import Process

TICK = re.compile(rb"tick (\d+)\r?\n")
GAP_S = 4.0
UUID = re.compile(r"(?:^|\0)-uuid\0([0-9a-f-]{36})\0")


@dataclass(frozen=True, slots=True)
class Holder:
    """A QEMU process, and the host that it is on."""

    node: str
    process: Process


def holders(node_of: Callable[[int, str], str | None]) -> Mapping[str, Sequence[Holder]]:
    """By the guest's UUID."""
    found: dict[str, list[Holder]] = {}
    for entry in processes.PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if not (entry / "comm").read_text().startswith("qemu-system"):
                continue
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        named, pid = UUID.search(line), int(entry.name)
        node, process = node_of(pid, line), processes.process(pid)
        if named and node and process:
            found.setdefault(named.group(1), []).append(Holder(node, process))
    return found


@dataclass
class Guest:
    """One guest: its heartbeat, and whether it may be dead."""

    name: str
    uuid: str
    console: Path
    hot: bool = False
    """It writes faster than it may be sent: only post-copy moves it."""
    may_die: str = ""
    """Why its own QEMU may have been killed, if it was."""
    last: int | None = None
    heard_at: float = 0.0
    silent_s: float = 0.0
    """The longest time between two ticks."""
    broken: list[str] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """Silences of more than GAP_S: when they ended, and how long they were."""
    _offset: int = 0
    _rest: bytes = b""

    def listen(self) -> None:
        """Reads what has arrived; each tick must be the one after the last. Two QEMUs that run would both count here."""
        if not self.console.exists():
            return
        with self.console.open("rb") as console:
            console.seek(self._offset)
            arrived = console.read()
        if not arrived:
            return
        self._offset += len(arrived)
        whole, _, self._rest = (self._rest + arrived).rpartition(b"\n")
        now = time.monotonic()
        for number in map(int, TICK.findall(whole + b"\n")):
            if self.last is not None:
                self.silent_s = max(self.silent_s, now - self.heard_at)
                if now - self.heard_at > GAP_S:
                    self.gaps.append((now, now - self.heard_at))
                if number != self.last + 1:
                    self.broken.append(f"{self.name}: tick {number} after tick {self.last}")
            self.last, self.heard_at = number, now

    def ticks(self, within_s: float) -> bool:
        """Whether it was heard lately."""
        return self.last is not None and time.monotonic() - self.heard_at < within_s
