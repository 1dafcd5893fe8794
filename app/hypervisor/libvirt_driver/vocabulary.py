"""libvirt's numbers, and the port's words for them. What is not named here counts as the mildest of its kind."""

from __future__ import annotations

from collections.abc import Mapping

import libvirt

from app.hypervisor.base import Change, CopyPhase, Job, Reason, State

MIB = 1 << 20
KIB = 1 << 10
UNCAPPED_MIB = 1 << 20
"""A TiB per second."""
LONGEST_DOWNTIME_MS = 2_000_000
"""The most that QEMU takes. It stops the guest as soon as what is left can be sent in that time: at once."""
ZSTD_SINCE, SWITCHOVER_SINCE = 9_004_000, 11_001_000
"""libvirt's versions, as it counts them."""


STATES: Mapping[int, State] = {
    libvirt.VIR_DOMAIN_NOSTATE: State.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: State.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: State.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: State.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: State.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: State.SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED: State.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: State.RUNNING,
}
"""What may run counts as RUNNING: a guest that sleeps by its own choice wakes up by itself."""

REASONS: Mapping[tuple[State, int], Reason] = {
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED): Reason.BOOTED,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED): Reason.MIGRATED,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED): Reason.MIGRATION_CANCELED,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED): Reason.USER,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): Reason.POSTCOPY,
    (State.RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED): Reason.POSTCOPY_FAILED,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): Reason.MIGRATION,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): Reason.STARTING_UP,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER): Reason.USER,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): Reason.POSTCOPY,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): Reason.POSTCOPY_FAILED,
    (State.PAUSED, libvirt.VIR_DOMAIN_PAUSED_CRASHED): Reason.CRASHED,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN): Reason.SHUTDOWN,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED): Reason.DESTROYED,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED): Reason.CRASHED,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED): Reason.MIGRATED,
    (State.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED): Reason.FAILED,
    (State.CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED): Reason.CRASHED,
}

JOBS: Mapping[int, Job] = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: Job.MIGRATION_OUT,
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: Job.MIGRATION_IN,
}

PHASES: Mapping[tuple[State, Reason], CopyPhase] = {
    (State.PAUSED, Reason.MIGRATION): CopyPhase.SWITCHING,
    (State.PAUSED, Reason.POSTCOPY): CopyPhase.POST_COPY,
    (State.PAUSED, Reason.POSTCOPY_FAILED): CopyPhase.POST_COPY,
}

CHANGES: Mapping[int, Change] = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: Change.DEFINED,
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: Change.UNDEFINED,
    libvirt.VIR_DOMAIN_EVENT_STARTED: Change.STARTED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: Change.SUSPENDED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: Change.RESUMED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: Change.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: Change.SHUTDOWN,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: Change.SUSPENDED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: Change.CRASHED,
}

DETAILS: Mapping[tuple[Change, int], str] = {
    (Change.STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED): "booted",
    (Change.STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED): "migrated",
    (Change.SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED): "paused",
    (Change.SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED): "migrated",
    (Change.SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY): "postcopy",
    (Change.SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED): "postcopy-failed",
    (Change.RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED): "unpaused",
    (Change.RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED): "migrated",
    (Change.RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY): "postcopy",
    (Change.RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED): "postcopy-failed",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN): "shutdown",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED): "destroyed",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): "crashed",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED): "migrated",
    (Change.STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): "failed",
    (Change.CRASHED, libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED): "panicked",
}
