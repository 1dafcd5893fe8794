"""What a way of steering is, for a simulation that knows nothing else of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.hypervisor.base import Progress, Steer


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a migration may do: the same for every rule."""

    memory: int
    """Bytes."""
    max_downtime_ms: int = 300
    post_copy: bool = False
    disruption: bool = False
    bandwidth: int | None = None
    """Bytes per second; None is no cap."""


class Rule(Protocol):
    """One copy's. `poll_s` is how often it looks; those that hear of passes look then, too."""

    poll_s: float
    hears_passes: bool
    first_downtime_ms: int

    def take(self, seen: Progress, *, boundary: bool) -> list[Steer]:
        """What is said to the host now; Abort gives the copy up."""
