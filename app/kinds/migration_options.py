"""How a guest is moved: what a Migration asks for, a MigrationPolicy grants, and what came of both."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.kinds import quantity
from app.kinds.shape import Shape
from app.machinery.errors import FieldError, invalid
from app.machinery.objects import Document

LEAST_BANDWIDTH = 2**20
LONGEST_DOWNTIME_MS = 2_000_000
"""The most that QEMU takes."""
_DAY_S = 86_400


class Compression(StrEnum):
    """How memory is packed on its way."""

    XBZRLE = "xbzrle"
    ZLIB = "zlib"
    ZSTD = "zstd"


class Tls(StrEnum):
    """Whether the stream between the two hosts is encrypted."""

    REQUIRED = "Required"
    """Yes, or nothing is moved: hosts without certificates are no targets."""
    PREFERRED = "Preferred"
    """Where both hosts have certificates."""
    OFF = "Off"
    """No."""


class CopyStorage(StrEnum):
    """What becomes of disks that only the guest's host can reach."""

    AUTO = "Auto"
    """They are copied while the guest runs; into new files, never over one that is there."""
    NEVER = "Never"
    """Only a host that shares them is chosen."""


Bandwidth = Annotated[str, Field(pattern=quantity.PATTERN)]
Milliseconds = Annotated[int, Field(ge=1, le=LONGEST_DOWNTIME_MS)]
Seconds = Annotated[int, Field(ge=1, le=_DAY_S)]
Connections = Annotated[int, Field(ge=0, le=255)]


class MigrationOptions(Shape):
    """How the guest is moved. What is not set here, the MigrationPolicy that fits best says, and then the settings."""

    bandwidth_per_migration: Bandwidth | None = None
    """At most so many bytes per second, such as 64Mi; rounded to whole MiB. It is lifted while a guest that is as good as
    moved is stopped and the rest is sent. Unset: no limit. May be changed while the Migration runs."""
    max_downtime_ms: Milliseconds | None = None
    """How long the guest may be stopped for the switch-over, in milliseconds; 300 if nothing says otherwise. May be changed
    while the Migration runs."""
    completion_timeout_per_gib: Seconds | None = Field(default=None, alias="completionTimeoutPerGiB")
    """How many seconds the copy may take for each GiB of the guest's memory and of its disks that are copied, and at least
    for two: then what is allowed is done so that it ends, or it is given up (NotConverging). 150 if nothing says otherwise."""
    progress_timeout: Seconds | None = None
    """How many seconds the copy may go on without leaving less than ever before: then the same is done. And how many seconds
    nothing at all may be sent: then it is given up (TransferStuck). 150 if nothing says otherwise."""
    allow_auto_converge: bool | None = None
    """The guest may be slowed down when it writes faster than its memory is sent."""
    allow_post_copy: bool | None = None
    """The guest may be moved before its memory has been, which then follows on demand. While it does, the guest depends on
    both hosts and on the way between them. Not together with parallelConnections, which then gives way. Where the hosts'
    QEMU may not do it, the migration goes on without."""
    allow_workload_disruption: bool | None = None
    """The guest may be stopped for longer than maxDowntimeMs when nothing else makes the copy end."""
    parallel_connections: Connections | None = None
    """Connections that carry memory side by side; 0 is one ordinary connection."""
    compression: Compression | None = None
    """How memory is packed on its way: xbzrle, or with parallelConnections zlib or zstd (which libvirt 9.4 and newer know).
    Unset: not at all."""
    tls: Tls | None = None
    """Whether the stream between the two hosts is encrypted: Required, Preferred or Off. Unset: as the policy or the settings
    say. It takes certificates on both hosts, which their Nodes declare by the annotation `kubevirt.io/migration-tls`."""
    arrive_paused: bool | None = None
    """The guest arrives stopped, and is started on the target once its copy on the source is gone: whatever is lost on the way,
    it never runs twice. Its stop lasts some tenths of a second longer. Not together with allowPostCopy, which then gives way.
    A guest that is paused before stays paused. Unset counts as false."""
    copy_storage: CopyStorage | None = None
    """Whether disks that only the guest's host can reach are copied: Auto or Never. Unset counts as Auto."""


class MigrationConfiguration(MigrationOptions):
    """The options as they were resolved when the migration started: its own, the policy's, the defaults. What may be changed
    on the way follows the spec."""


def option_problems(path: str, options: Document) -> Iterator[FieldError]:
    """What no schema can say."""
    bandwidth = options.get("bandwidthPerMigration")
    if bandwidth is not None:
        yield from _bandwidth_problems(f"{path}.bandwidthPerMigration", bandwidth)
    parallel, packed = options.get("parallelConnections") or 0, options.get("compression")
    if parallel and options.get("allowPostCopy"):
        yield invalid(
            f"{path}.parallelConnections", parallel, "must be 0 where allowPostCopy is true: choose one of them"
        )
    if options.get("arrivePaused") and options.get("allowPostCopy"):
        yield invalid(
            f"{path}.arrivePaused",
            True,
            "must be false where allowPostCopy is true: post-copy starts the guest at once",
        )
    if packed == Compression.XBZRLE and parallel:
        yield invalid(f"{path}.compression", packed, "must be zlib or zstd where memory travels side by side")
    if packed in (Compression.ZLIB, Compression.ZSTD) and not parallel:
        yield invalid(f"{path}.compression", packed, "needs parallelConnections of at least 1")


CHANGEABLE = ("bandwidthPerMigration", "maxDowntimeMs")
"""While it runs; the others are told to the hosts once, at the start."""


def fixed(options: Document | None) -> Document:
    """What of the options cannot be changed."""
    return {name: value for name, value in (options or {}).items() if name not in CHANGEABLE and value is not None}


def _bandwidth_problems(path: str, given: Any) -> Iterator[FieldError]:
    try:
        rate = quantity.whole(given)
    except quantity.NotAQuantity as wrong:
        yield invalid(path, given, str(wrong))
        return
    if rate < LEAST_BANDWIDTH:
        yield invalid(path, given, "must be at least 1Mi: libvirt counts whole MiB/s")
