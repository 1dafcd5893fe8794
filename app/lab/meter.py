"""How long a guest was silent, by the host's clock: a guest's own stops with its CPUs and cannot show a gap."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_S = 0.001
TICK = re.compile(rb"tick (\d+)\r?\n")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A tick, and when its line's end arrived (time.monotonic())."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Silence:
    """What the arrivals say."""

    longest_s: float
    """The largest gap between two arrivals, less the interval at which the guest ticks."""
    ticks: int
    lost: int
    """Counters left out: the guest's memory jumped ahead."""
    repeated: int
    """Counters that came again: old memory was revived, or the guest began anew."""

    @property
    def unbroken(self) -> bool:
        return self.ticks > 0 and self.lost == self.repeated == 0


def silence(arrivals: list[Arrival], tick_s: float) -> Silence:
    """Pure: judged from the arrivals alone."""
    steps = list(pairwise(arrivals))
    longest_s = max((after.at - before.at for before, after in steps), default=0.0)
    return Silence(
        longest_s=max(0.0, longest_s - tick_s),
        ticks=len(arrivals),
        lost=sum(max(0, after.number - before.number - 1) for before, after in steps),
        repeated=sum(after.number <= before.number for before, after in steps),
    )


class Meter:
    """Follows a console's file, from its present end, in a thread of its own: a busy loop here delays no stamp there."""

    def __init__(self, console: Path, tick_s: float = 0.1) -> None:
        self._console = console
        self._tick_s = tick_s
        self._arrivals: list[Arrival] = []
        self._changed = threading.Condition()
        self._listening = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"meter of {console.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def wait_until_listening(self, timeout_s: float) -> bool:
        """Whether the console was there in time; what is written from now on is heard."""
        return self._listening.wait(timeout_s)

    def read(self) -> Silence:
        """So far."""
        with self._changed:
            return silence(list(self._arrivals), self._tick_s)

    def wait_for_ticks(self, more: int, timeout_s: float) -> bool:
        """Whether so many more arrived in time; not any longer when the meter is given up meanwhile."""
        with self._changed:
            wanted = len(self._arrivals) + more
            self._changed.wait_for(lambda: len(self._arrivals) >= wanted or self._over.is_set(), timeout_s)
            return len(self._arrivals) >= wanted

    def _follow(self) -> None:
        while not self._over.wait(POLL_S):
            if self._console.exists():
                break
        else:
            return
        descriptor = os.open(self._console, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.lseek(descriptor, 0, os.SEEK_END)
            self._listening.set()
            self._read(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int) -> None:
        rest = b""
        while not self._over.wait(POLL_S):
            arrived = os.read(descriptor, 1 << 16)
            if not arrived:
                continue
            at = time.monotonic()
            whole, _, rest = (rest + arrived).rpartition(b"\n")
            numbers = [int(number) for number in TICK.findall(whole + b"\n")]
            if numbers:
                with self._changed:
                    self._arrivals.extend(Arrival(number, at) for number in numbers)
                    self._changed.notify_all()
