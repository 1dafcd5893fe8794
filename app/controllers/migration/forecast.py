"""How a move would go, from what earlier moves showed: time, bytes, downtime, and whether it would end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from app.hypervisor.precopy import Load, advanced, begun
from app.kinds.migration import MigrationForecast
from app.machinery.objects import Document

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
    """How fast it was gone through, empty pages too; 0 where a limit of the Migration's own slowed it."""
    dirty_rate: int | None = None
    """None where that was not noted."""
    downtime_ms: int = 0
    """How long the guest was stopped; 0 where that was not learned."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A disk that travels too."""

    target: str
    """As the guest sees it: vda."""
    size: int | None = None
    """Bytes; None where its host has not told."""


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
    """How long it may take, for its memory and the copied disks."""
    copied: tuple[Copied, ...] = ()
    """Before the memory."""


def measured(records: Iterable[Document]) -> Iterator[Measured]:
    """What the history's records of successful moves showed."""
    for record in records:
        elapsed_ms = record.get("elapsedMs")
        if not elapsed_ms:
            continue
        options = record.get("configuration")
        may_be_capped = options is None or "bandwidthPerMigration" in options
        yield Measured(
            source=record.get("source", ""),
            target=record.get("target", ""),
            guest=record.get("vmUID", ""),
            at=record.get("ended", ""),
            # Empty pages cost next to nothing: of a guest that has many, what was sent says little of the way.
            rate=0
            if may_be_capped
            else max(record.get("bytesProcessed", 0), record.get("bytesTotal", 0)) * 1000 // elapsed_ms,
            dirty_rate=record.get("dirtyBytesPerSecond"),
            downtime_ms=record.get("downtimeMs", 0),
        )


def forecast(move: Move, history: Iterable[Measured]) -> MigrationForecast:
    """What is not known is left out, and the basis says so."""
    latest = sorted(history, key=lambda one: one.at, reverse=True)
    rate, whence = _rate(move, [one for one in latest if one.rate])
    wrote = (one.dirty_rate for one in latest if one.guest == move.guest)
    dirty = next((told for told in wrote if told is not None), None)
    disks = sum(disk.size or 0 for disk in move.copied)
    sending = min(rate or move.cap, move.cap) if move.cap else rate
    if sending is None:
        unknown = "no move was measured yet: how long it takes is known after the first"
        return MigrationForecast(bytes=move.memory + disks, basis=f"{unknown}{_with_disks(move)}")
    allowed_s = move.seconds_per_gib * max(LEAST_GIB, (move.memory + disks) / _GIB)
    load = Load(move.memory, float(dirty or 0), move.memory)
    copied = advanced(
        begun(load), load, float(sending), move.max_downtime_ms / 1000, max(0.0, allowed_s - disks / sending)
    )
    sent = copied.sent + (copied.remaining if copied.ready else 0)
    total = round(sent + min(disks, sending * allowed_s))
    late = "" if copied.ready else f"; it would not be over after {allowed_s:.0f} s (completionTimeoutPerGiB)"
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
        basis=f"bandwidth of {whence}; dirty rate from {known}{_with_disks(move)}{late}",
    )


def _with_disks(move: Move) -> str:
    known = [disk for disk in move.copied if disk.size is not None]
    unknown = [disk.target for disk in move.copied if disk.size is None]
    size = sum(disk.size or 0 for disk in known) >> 20
    told = f"; its disks {', '.join(disk.target for disk in known)} are copied too, {size} MiB" if known else ""
    return told + (f"; its disks {', '.join(unknown)} are copied too, which is not counted" if unknown else "")


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
