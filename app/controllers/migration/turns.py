"""Whose turn it is: the most urgent first, of those the oldest; a long wait makes urgent, so that nobody starves. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.kinds.migration import Priority

AGEING = timedelta(minutes=10)
"""A Migration that has waited for so long is served as if it were one step more urgent; for twice as long, two steps."""

_STEPS = {Priority.SYSTEM_CRITICAL: 0, Priority.USER_TRIGGERED: 1, Priority.SYSTEM_MAINTENANCE: 2}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One that waits, as far as its turn depends on it."""

    number: int
    """Its place in the order of commits, which decides among those that were created in one second."""
    priority: Priority
    created: datetime
    """In whole seconds, as metadata tells it."""


def in_turn(waiting: Iterable[Waiting], now: datetime, ageing: timedelta = AGEING) -> list[Waiting]:
    """Who is served first comes first."""
    return sorted(waiting, key=lambda one: (urgency(one, now, ageing), one.created, one.number))


def urgency(one: Waiting, now: datetime, ageing: timedelta = AGEING) -> int:
    """0 is the most urgent. Never grows while time passes."""
    lifted = max(0, (now - one.created) // ageing)
    return max(0, _STEPS[one.priority] - lifted)
