"""A Migration that is over, as a trace: the whole of it, and each of its phases. What was done in them others tell."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from app import tracing
from app.kinds.migration import MigrationStatus, Phase
from app.machinery.objects import Document


def trace(migration: Document, status: MigrationStatus) -> None:
    """By the times that its status has: whole seconds."""
    metadata = migration["metadata"]
    entered = [
        (transition.phase.value, datetime.fromisoformat(transition.phase_transition_timestamp))
        for transition in status.phase_transition_timestamps
    ]
    over = entered[-1][1]
    phases = [tracing.Stretch(name, begin, end) for (name, begin), (_, end) in pairwise(entered)]
    state = status.migration_state
    failure = ((state and state.failure_reason) or "failed") if status.phase is Phase.FAILED else ""
    whole = tracing.Stretch(
        f"migration {metadata['namespace']}/{metadata['name']}",
        datetime.fromisoformat(metadata["creationTimestamp"]),
        over,
    )
    tracing.past(
        metadata["uid"],
        whole,
        phases,
        failure,
        drover__vm=str((migration["spec"].get("selector") or {}).get("name") or ""),
        drover__source=(state and state.source_node) or "",
        drover__target=(state and state.target_node) or "",
        drover__phase=status.phase.value,
    )
