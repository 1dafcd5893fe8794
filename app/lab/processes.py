"""Processes of a lab, held by pid and start time, and ended without ever hitting a stranger."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A pid alone may be somebody else's tomorrow; with its start time (in clock ticks since boot) it may not."""

    pid: int
    start: int

    @property
    def alive(self) -> bool:
        """A zombie is over: its parent may take its time to reap it."""
        return _stat(self.pid) == (self.start, True)

    def arguments(self) -> tuple[str, ...]:
        """Empty once it has ended."""
        return _arguments(self.pid)

    def send(self, number: signal.Signals) -> None:
        """Nothing happens if it has ended."""
        with self._handle() as handle:
            if handle is not None:
                signal.pidfd_send_signal(handle, number)

    @contextmanager
    def _handle(self) -> Iterator[int | None]:
        """A pidfd, checked after it was opened: from then on the pid cannot change hands. None if it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            yield handle if self.alive else None
        finally:
            os.close(handle)


def process(pid: int) -> Process | None:
    """None if there is no such process."""
    seen = _stat(pid)
    return Process(pid, seen[0]) if seen and seen[1] else None


def find(program: str, folder: Path) -> list[Process]:
    """Every process of a program whose command line names something below the folder."""
    below = re.compile(rf"(?<![\w./-]){re.escape(str(folder))}/")
    pids = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    named = (process(pid) for pid in pids if _is(program, below, _arguments(pid)))
    return [found for found in named if found is not None]


def inside(program: str, pid: int) -> list[Process]:
    """Every process of a program in the network namespace of that one."""
    network = _network(pid)
    pids = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    named = (process(one) for one in pids if _runs(program, one) and network is not None and _network(one) == network)
    return [found for found in named if found is not None]


def innermost(pid: int) -> Process:
    """The end of a chain of processes, each the only child of the one before. Raises LookupError once it has ended."""
    while children := _children(pid):
        pid = children[0]
    if (found := process(pid)) is None:
        raise LookupError(f"process {pid} has ended")
    return found


def end(processes: Iterable[Process], grace_s: float = 5) -> None:
    """SIGTERM, and SIGKILL after the grace; returns when all of them are over. Twice is harmless."""
    with ExitStack() as stack:
        held = [(one, stack.enter_context(one._handle())) for one in processes]
        left = {handle: one for one, handle in held if handle is not None}
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 30.0)):
            for one in left.values():
                one.send(number)
            left = _outlasting(left, patience_s)
    if left:
        raise TimeoutError(f"processes {sorted(one.pid for one in left.values())} survived SIGKILL for 30 s")


def wait_until(condition: Callable[[], bool], timeout_s: float, interval_s: float = 0.01) -> bool:
    """For what the kernel has no event for; whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_s)
    return True


def _outlasting(held: dict[int, Process], timeout_s: float) -> dict[int, Process]:
    """Those that have not ended in time. A pidfd becomes readable when its process ends."""
    left = dict(held)
    poll = select.poll()
    for handle in left:
        poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + timeout_s
    while left and (rest_s := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(rest_s * 1000):
            poll.unregister(handle)
            del left[handle]
    return left


def _is(program: str, below: re.Pattern[str], arguments: tuple[str, ...]) -> bool:
    return bool(arguments) and Path(arguments[0]).name == program and any(map(below.search, arguments[1:]))


def _runs(program: str, pid: int) -> bool:
    arguments = _arguments(pid)
    return bool(arguments) and Path(arguments[0]).name == program


def _network(pid: int) -> str | None:
    try:
        return str((PROC / str(pid) / "ns/net").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _arguments(pid: int) -> tuple[str, ...]:
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(part.decode(errors="replace") for part in raw.split(b"\0"))[:-1]


def _stat(pid: int) -> tuple[int, bool] | None:
    """Start time, and whether it still runs."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name is in brackets and may hold anything: fields are counted from the last one.
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[19]), fields[0] not in "ZX"
