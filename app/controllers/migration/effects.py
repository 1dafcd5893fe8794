"""What a decision about a Migration asks for: rows and Events, committed together with its status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.controllers.migration.exit_codes import ExitCode, Where
from app.controllers.outcome import SETTLED, Outcome
from app.kinds.migration import MigrationStatus
from app.kinds.migration_options import MigrationConfiguration


@dataclass(frozen=True, slots=True)
class StartRun:
    """Reserve the target and order the process: target pod, migration pod and run, together."""

    target: str


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Let the process abort, if it is not too late."""

    run: UUID


@dataclass(frozen=True, slots=True)
class Retune:
    """Let the process go on with what was changed on the way."""

    run: UUID
    configuration: MigrationConfiguration


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Finish a run that no worker has claimed. A worker that is quicker wins, and then nothing of the step happens."""

    run: UUID
    code: ExitCode
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Conclude:
    """Let the VirtualMachine and the pods say where the guest is now."""

    where: Where
    source: str
    target: str
    message: str
    target_free: bool = True
    """The target's host said that it holds no copy: the reservation there may go if the guest is elsewhere."""


@dataclass(frozen=True, slots=True)
class Tell:
    """An Event on the Migration and one on the VirtualMachine."""

    reason: str
    message: str
    warning: bool = False


Effect = StartRun | CancelRun | Retune | Withdraw | Conclude | Tell


@dataclass(frozen=True, slots=True)
class Decision:
    """The status as it is to be, and what is committed with it."""

    status: MigrationStatus
    effects: tuple[Effect, ...] = ()
    again: Outcome = SETTLED
