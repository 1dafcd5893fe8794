"""How a move would go, from what earlier moves showed: time, bytes, downtime, and whether it would end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from app.hypervisor.precopy import Load, advanced, begun
from app.kinds.migration import MigrationForecast, MigrationStatus, Phase

RECENT = 5
"""So many of the latest moves count: links and loads change."""
SECONDS_PER_GIB = 150
LEAST_GIB = 2
"""For how long a move may take: a small guest has the time of one of so many GiB."""
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Measured:
    """What one earlier move showed. Bytes per second."""

    source: str
    target: str
    guest: str
    """The VirtualMachine's uid."""
    at: str
    """When it ended: later ones count more."""
    rate: int
    """How fast memory was sent; 0 where a limit of the Migration's own slowed it."""
    dirty_rate: int
    downtime_ms: int = 0
    """How long the guest was stopped; 0 where that was not learned."""


@dataclass(frozen=True, slots=True)
class Move:
    """What is to be moved, and how."""

    guest: str
    source: str
    target: str
    memory: int
    """Bytes."""
    cap: int | None = None
    """Bytes per second."""
    max_downtime_ms: int = 300
    seconds_per_gib: int = SECONDS_PER_GIB
    """How long it may take."""
    copied: tuple[str, ...] = ()
    """Disks that travel too. How large they are the hosts know."""


def measured(statuses: Iterable[MigrationStatus]) -> Iterator[Measured]:
    """What the finished ones among them showed."""
    for status in statuses:
        state, progress = status.migration_state, status.progress
        if status.phase is not Phase.SUCCEEDED or state is None or progress is None or not progress.elapsed_ms:
            continue
        options = state.migration_configuration
        capped = options is not None and options.bandwidth_per_migration is not None
        yield Measured(
            source=state.source_node or "",
            target=state.target_node or "",
            guest=status.instance or "",
            at=state.end_timestamp or "",
            rate=0 if capped else progress.data_processed_bytes * 1000 // progress.elapsed_ms,
            dirty_rate=progress.dirty_bytes_per_second,
            downtime_ms=state.downtime_ms or 0,
        )


def forecast(move: Move, history: Iterable[Measured]) -> MigrationForecast:
    """What is not known is left out, and the basis says so."""
    latest = sorted(history, key=lambda one: one.at, reverse=True)
    rate, whence = _rate(move, [one for one in latest if one.rate])
    dirty = next((one.dirty_rate for one in latest if one.guest == move.guest), None)
    also = f"; its disks {', '.join(move.copied)} are copied too, which is not counted" if move.copied else ""
    sending = min(rate or move.cap, move.cap) if move.cap else rate
    if sending is None:
        unknown = "no move was measured yet: how long it takes is known after the first"
        return MigrationForecast(bytes=move.memory, basis=f"{unknown}{also}")
    allowed_s = move.seconds_per_gib * max(LEAST_GIB, move.memory / _GIB)
    load = Load(move.memory, float(dirty or 0), move.memory)
    copied = advanced(begun(load), load, float(sending), move.max_downtime_ms / 1000, allowed_s)
    total = round(copied.sent + (copied.remaining if copied.ready else 0))
    known = "the guest's last move" if dirty is not None else "nothing yet, so the guest is taken to write nothing"
    return MigrationForecast(
        bytes=total,
        bytes_per_second=sending,
        dirty_bytes_per_second=dirty,
        seconds=-(-total // sending),
        # The rest is sent without the cap; and no switch-over is quicker than those that were measured.
        downtime_ms=max(int(1000 * copied.remaining / rate), _usual_downtime(latest))
        if copied.ready and rate
        else None,
        converges=copied.ready,
        basis=f"bandwidth of {whence}; dirty rate from {known}{also}",
    )


def _usual_downtime(latest: Sequence[Measured]) -> int:
    """Milliseconds."""
    known = [one.downtime_ms for one in latest if one.downtime_ms][:RECENT]
    return int(median(known)) if known else 0


def _rate(move: Move, history: Sequence[Measured]) -> tuple[int | None, str]:
    """Of the moves that tell most about this one."""
    pair = [one for one in history if (one.source, one.target) == (move.source, move.target)]
    ends = [one for one in history if one.source == move.source or one.target == move.target]
    for found, whence in (
        (pair, f"{move.source} to {move.target}"),
        (ends, f"moves from {move.source} or to {move.target}"),
        (history, "moves between other nodes"),
    ):
        if found:
            recent = [one.rate for one in found[:RECENT]]
            return int(median(recent)), f"the last {len(recent)} of {whence}" if len(recent) > 1 else whence
    return None, "bandwidthPerMigration, for no move was measured yet"
