"""What the history says of a Migration that is over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.kinds.migration import ConditionType, MigrationStatus
from app.machinery.objects import Document
from app.store.base import Past, Run


def record(migration: Document, status: MigrationStatus, runs: Sequence[Run]) -> Past:
    """`status` is the one that is stored with it. Of the runs, the last may be ending in the same transaction."""
    metadata, state, progress = migration["metadata"], status.migration_state, status.progress
    outcome = next(
        (
            c
            for c in status.conditions
            if c.type in (ConditionType.FAILED, ConditionType.SUCCEEDED) and c.status == "True"
        ),
        None,
    )
    told: Document = {
        "uid": metadata["uid"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "vm": migration["spec"]["selector"]["name"],
        "vmUID": status.instance,
        "outcome": status.phase.value,
        "reason": outcome.reason if outcome else None,
        "message": outcome.message if outcome else None,
        "created": metadata["creationTimestamp"],
        "phases": [transition.dump() for transition in status.phase_transition_timestamps],
        "attempts": [_attempt(run) for run in runs],
        "spec": migration["spec"],
    }
    if state is not None:
        told |= {
            "source": state.source_node,
            "target": state.target_node,
            "started": state.start_timestamp,
            "ended": state.end_timestamp,
            "mode": state.mode.value if state.mode else None,
            "downtimeMs": state.downtime_ms,
            "configuration": state.migration_configuration.dump() if state.migration_configuration else None,
            "encrypted": state.encrypted,
            "failureClass": state.failure_class.value if state.failure_class else None,
            "failureReason": state.failure_reason,
            "libvirtCode": state.libvirt_code,
            "abortRequested": state.abort_requested or None,
        }
    if progress is not None:
        told |= {
            "bytesProcessed": progress.data_processed_bytes,
            "bytesTotal": progress.data_total_bytes,
            "dirtyBytesPerSecond": progress.dirty_bytes_per_second,
            "iterations": progress.iteration,
            "elapsedMs": progress.elapsed_ms,
        }
    said = {name: value for name, value in told.items() if value is not None}
    subject = migration["spec"]["selector"]["name"]
    return Past(UUID(metadata["uid"]), metadata["namespace"], metadata["name"], subject, status.phase.value, said)


def _attempt(run: Run) -> Document:
    told: Document = {
        "attempt": run.attempt,
        "source": run.source,
        "target": run.target,
        "worker": run.holder or None,
        "takeovers": max(0, run.token - 1),
        "exitCode": run.exit_code,
        "result": run.result or None,
        "cancelled": run.cancelled or None,
    }
    return {name: value for name, value in told.items() if value is not None}
