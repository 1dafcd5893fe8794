"""What a step concluded: look again after a while, or leave the key alone until something changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Again:
    """Something is under way that no watch will tell of: look again."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing to do until the object, or something that it depends on, changes."""


SETTLED = Settled()

Outcome = Again | Settled
