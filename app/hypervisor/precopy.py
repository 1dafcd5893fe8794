"""Pre-copy by arithmetic: what is sent in a pass, what the guest dirties meanwhile, and when the rest is small enough. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Load:
    """How a guest writes to its memory."""

    memory: int
    dirty_rate: float = 0.0
    """Bytes per second that differ from before."""
    working_set: int = 0
    """It never dirties more than this, however long a pass takes."""


@dataclass(frozen=True, slots=True)
class Copying:
    """A migration between two moments."""

    remaining: float
    """Of this pass."""
    sent: float = 0.0
    dirtied: float = 0.0
    """Since this pass began: what the next one has to send."""
    iteration: int = 1
    ready: bool = False
    """What remains can be sent within the allowed downtime: stop the guest now."""


def begun(load: Load) -> Copying:
    """The first pass sends everything."""
    return Copying(remaining=float(load.memory))


def advanced(copying: Copying, load: Load, rate: float, max_downtime_s: float, seconds: float) -> Copying:
    """After so many seconds at that rate (bytes per second), or when it is ready, whichever comes first."""
    while seconds > 0 and not copying.ready:
        spent = min(seconds, copying.remaining / rate)
        copying = _sent(copying, load, rate, spent)
        seconds -= spent
        if copying.remaining <= 0:
            copying = _next_pass(copying, rate, max_downtime_s)
    return copying


def stopped(copying: Copying) -> Copying:
    """The guest is stopped in the middle of a pass: what it has written meanwhile is sent too."""
    return replace(copying, remaining=copying.remaining + copying.dirtied, dirtied=0.0, ready=True)


def _sent(copying: Copying, load: Load, rate: float, seconds: float) -> Copying:
    dirtied = min(float(load.working_set), copying.dirtied + load.dirty_rate * seconds)
    amount = min(copying.remaining, rate * seconds)
    left = copying.remaining - amount
    # Below a byte is nothing: a rest that division left over would never be sent.
    return replace(copying, remaining=left if left >= 1 else 0.0, sent=copying.sent + amount, dirtied=dirtied)


def _next_pass(copying: Copying, rate: float, max_downtime_s: float) -> Copying:
    if copying.dirtied <= rate * max_downtime_s:
        return replace(copying, remaining=copying.dirtied, dirtied=0.0, ready=True)
    return replace(copying, remaining=copying.dirtied, dirtied=0.0, iteration=copying.iteration + 1)
