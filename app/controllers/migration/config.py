"""What the settings say about Migrations: limits, patience, when a pair of hosts is avoided, and options that nobody names."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.controllers.migration.avoid import Breaker
from app.controllers.migration.deadlines import Patience
from app.controllers.migration.options import DEFAULTS
from app.controllers.migration.slots import Limits
from app.kinds.migration_options import MigrationOptions


@dataclass(frozen=True, slots=True)
class MigrationConfig:
    """Limits and patience, from the settings."""

    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    breaker: Breaker = field(default_factory=Breaker)
    defaults: MigrationOptions = DEFAULTS
    """Options of Migrations that neither they nor a policy name."""
