"""What the worker hands to a migration's process: the plan, and what the worker knows of processes before it."""

from __future__ import annotations

from dataclasses import dataclass

from app.controllers.migration.messages import Told
from app.controllers.migration.plan import Place, Plan


@dataclass(frozen=True, slots=True)
class Job:
    """One process's task."""

    plan: Plan
    fresh: bool
    """No process of this run was started before: nothing can have been begun. Otherwise both hosts are asked first."""
    cancelled: bool = False
    others: tuple[Place, ...] = ()
    """Every other host: asked whether it knows the guest before a paused source is resumed, or the guest called lost."""
    told: Told | None = None
    """What the operator has said, to a process that is not the run's first: one before it may have acted by that."""
