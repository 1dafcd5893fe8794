"""What a decision about a Migration rests on: values that were read, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.controllers.migration.deadlines import Patience
from app.controllers.placement.pipeline import Placement
from app.kinds.migration import MigrationStatus
from app.kinds.migration_options import MigrationConfiguration
from app.kinds.virtualmachine import Phase as VMPhase


@dataclass(frozen=True, slots=True)
class VMSeen:
    """The VirtualMachine that is to be moved."""

    uid: str
    phase: VMPhase
    node: str
    leaving: bool = False
    """Its deletion has begun."""
    bound: str | None = None
    """What keeps its guest where it is, if anything is known to."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where the guest may go now, when everybody who waits for longer has been served."""

    placement: Placement
    full: str = ""
    """Why nobody more may leave the guest's node now, and where that limit is set; empty where somebody may."""
    targets_full: Mapping[str, str] = field(default_factory=dict)
    """The best of the nodes that fit, as far as nobody more may come there now, and why."""

    @property
    def target(self) -> str | None:
        """The best of the nodes that fit and have a slot."""
        return next((node for node in self.placement.fitting if node not in self.targets_full), None)


@dataclass(frozen=True, slots=True)
class RunSeen:
    """The latest attempt."""

    id: UUID
    source: str
    target: str
    cancelled: bool = False
    exit_code: int | None = None
    """None while it is not finished."""
    result: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1
    claimed: bool = True
    """A worker has, or had, it. One that nobody claimed has done nothing, and can be taken back."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What its spec says of its own end."""

    cancel: bool = False
    deadline: timedelta | None = None
    """From its first Running."""
    further_attempts: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a decision rests on."""

    now: datetime
    vm_name: str
    status: MigrationStatus
    deleted: bool = False
    vm: VMSeen | None = None
    rival: str | None = None
    """Another unfinished Migration of the VirtualMachine, which came first."""
    contradiction: str | None = None
    """Both selectors name one key with different values."""
    room: Room | None = None
    """Judged only for a VirtualMachine that can be moved."""
    run: RunSeen | None = None
    patience: Patience = field(default_factory=Patience)
    terms: Terms = field(default_factory=Terms)
    held_told: datetime | None = None
    """When an Event last said that it is held, as far as this process knows."""
    wished: MigrationConfiguration | None = None
    """The options of what runs, as they would be now."""
