"""A live migration: begun, recovered, watched and steered. Runs in the driver's threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, assert_never
from uuid import UUID

import libvirt

from app.hypervisor.base import (
    Abort,
    Aborted,
    Busy,
    Completed,
    Compression,
    CopyPhase,
    Destination,
    Incompatible,
    Job,
    MigrationFailed,
    Progress,
    Reason,
    Refused,
    SetBandwidth,
    SetDowntime,
    State,
    Steer,
    StopAndCopy,
    SwitchToPostCopy,
    Unsafe,
)
from app.hypervisor.libvirt_driver.connection import Errors, port_error
from app.hypervisor.libvirt_driver.host import version_text
from app.hypervisor.libvirt_driver.looking import find, job_of, job_stats, state_of
from app.hypervisor.libvirt_driver.vocabulary import (
    JOBS,
    LONGEST_DOWNTIME_MS,
    MIB,
    PHASES,
    SWITCHOVER_SINCE,
    UNCAPPED_MIB,
    ZSTD_SINCE,
)

_MIGRATION_ERRORS: Errors = {
    libvirt.VIR_ERR_OPERATION_ABORTED: Aborted,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: Busy,
    libvirt.VIR_ERR_OPERATION_INVALID: Refused,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE: Incompatible,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: Incompatible,
    libvirt.VIR_ERR_MIGRATE_UNSAFE: Unsafe,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: Incompatible,
}


def migrate(domain: UUID, to: Destination, still: Callable[[], None] | None, connection: libvirt.virConnect) -> None:
    found, flags, parameters = find(connection, domain), _flags(to), _parameters(to, connection.getLibVersion())
    if still is not None:
        still()
    try:
        if to.max_downtime_ms is not None and found.isActive():
            found.migrateSetMaxDowntime(to.max_downtime_ms)
        found.migrateToURI3(to.peer_uri, parameters, flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID and _has_job(found):
            raise Busy(error.get_error_message() or str(error), error.get_error_code()) from error
        raise port_error(error, connection, _MIGRATION_ERRORS, MigrationFailed) from error


_WHERE = (libvirt.VIR_MIGRATE_PARAM_URI, libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION)
"""All that a recovery may be told."""


def recover(domain: UUID, to: Destination, still: Callable[[], None] | None, connection: libvirt.virConnect) -> None:
    """QEMU may not have noticed that the link broke: until its copy is stopped it refuses to begin another."""
    found = find(connection, domain)
    if state_of(found) != (State.PAUSED, Reason.POSTCOPY_FAILED):
        raise Refused(f"{found.name()} has no post-copy that broke")
    if still is not None:
        still()
    with contextlib.suppress(libvirt.libvirtError):  # it has stopped already
        found.abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY)
    resuming = _flags(to) | libvirt.VIR_MIGRATE_POSTCOPY | libvirt.VIR_MIGRATE_POSTCOPY_RESUME
    given = _parameters(to, connection.getLibVersion())
    where = {name: given[name] for name in _WHERE if name in given}
    try:
        found.migrateToURI3(to.peer_uri, where, resuming)
    except libvirt.libvirtError as error:
        raise port_error(error, connection, _MIGRATION_ERRORS, MigrationFailed) from error


def _flags(to: Destination) -> int:
    chosen = {
        libvirt.VIR_MIGRATE_UNSAFE: to.unsafe,
        libvirt.VIR_MIGRATE_NON_SHARED_DISK: bool(to.disks),
        libvirt.VIR_MIGRATE_TLS: to.tls,
        libvirt.VIR_MIGRATE_POSTCOPY: to.post_copy,
        libvirt.VIR_MIGRATE_PAUSED: to.paused,
        libvirt.VIR_MIGRATE_AUTO_CONVERGE: to.auto_converge is not None,
        libvirt.VIR_MIGRATE_PARALLEL: to.parallel_connections > 0,
        libvirt.VIR_MIGRATE_COMPRESSED: to.compression is not None,
    }
    flags: int = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_PERSIST_DEST
    for flag, wanted in chosen.items():
        flags |= flag if wanted else 0
    return flags


def _parameters(to: Destination, libvirt_version: int) -> dict[str, Any]:
    """Names that the binding knows only where it was built against a newer libvirt are spelled out."""
    if to.compression in (Compression.ZLIB, Compression.ZSTD) and libvirt_version < ZSTD_SINCE:
        raise Incompatible(
            f"libvirt {version_text(libvirt_version)} cannot compress with {to.compression}: 9.4 or newer can, and xbzrle always"
        )
    cap = None if to.bandwidth is None else _mib(to.bandwidth)
    chosen = {
        libvirt.VIR_MIGRATE_PARAM_URI: to.migration_uri,
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: to.domain_xml,
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: to.domain_xml,
        libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: list(to.disks) or None,
        libvirt.VIR_MIGRATE_PARAM_DISKS_URI: to.disks_uri if to.disks else None,
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: cap,
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY: cap if to.post_copy else None,
        "bandwidth.avail.switchover": to.switchover_bandwidth if libvirt_version >= SWITCHOVER_SINCE else None,
        libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL: to.auto_converge and to.auto_converge.initial,
        libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT: to.auto_converge and to.auto_converge.increment,
        libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS: to.parallel_connections or None,
        libvirt.VIR_MIGRATE_PARAM_COMPRESSION: to.compression and [to.compression.value],
        libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION: to.tls_name if to.tls else None,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _mib(bytes_per_second: int) -> int:
    """libvirt takes 0 for "no cap"."""
    return max(1, round(bytes_per_second / MIB))


def _has_job(found: Any) -> bool:
    try:
        return job_of(found) is not Job.NONE
    except libvirt.libvirtError:
        return False


def progress_of(domain: UUID, connection: libvirt.virConnect) -> Progress | None:
    found = find(connection, domain)
    stats = job_stats(found)
    if not stats or JOBS.get(stats.get("operation", 0)) is not Job.MIGRATION_OUT:
        return None
    return Progress(
        total=stats.get("data_total", 0),
        processed=stats.get("data_processed", 0),
        remaining=stats.get("data_remaining", 0),
        memory_rate=stats.get("memory_bps", 0),
        dirty_rate=stats.get("memory_dirty_rate", 0) * stats.get("memory_page_size", 4096),
        iteration=stats.get("memory_iteration", 0),
        elapsed_ms=stats.get("time_elapsed", 0),
        expected_downtime_ms=stats.get("downtime"),
        phase=PHASES.get(state_of(found), CopyPhase.LIVE),
        throttle=stats.get("auto_converge_throttle", 0),
        page_size=stats.get("memory_page_size", 4096),
        postcopy_requests=stats.get("memory_postcopy_requests", 0),
        disk_total=stats.get("disk_total", 0),
        disk_processed=stats.get("disk_processed", 0),
        disk_remaining=stats.get("disk_remaining", 0),
    )


def completed_of(domain: UUID, connection: libvirt.virConnect) -> Completed | None:
    flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    stats = find(connection, domain).jobStats(flags)
    if stats.get("type") != libvirt.VIR_DOMAIN_JOB_COMPLETED or stats.get("operation") not in JOBS:
        return None
    return Completed(
        downtime_ms=stats.get("downtime"),
        elapsed_ms=stats.get("time_elapsed", 0),
        total=stats.get("data_total", 0),
        processed=stats.get("data_processed", 0),
        iterations=stats.get("memory_iteration", 0),
    )


def apply_steer(domain: UUID, steer: Steer, connection: libvirt.virConnect) -> None:
    found = find(connection, domain)
    if job_of(found) is not Job.MIGRATION_OUT:
        raise Refused(f"{found.name()} is not migrating away from here")
    match steer:
        case SetDowntime(ms):
            found.migrateSetMaxDowntime(ms)
        case SetBandwidth(bytes_per_second):
            found.migrateSetMaxSpeed(UNCAPPED_MIB if bytes_per_second is None else _mib(bytes_per_second))
        case SwitchToPostCopy():
            found.migrateStartPostCopy()
        case StopAndCopy():
            found.migrateSetMaxDowntime(LONGEST_DOWNTIME_MS)
        case Abort():
            found.abortJob()
        case _:
            assert_never(steer)
