"""What may go wrong in the midst of a simulated migration, and at which of its steps."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """How far a migration is."""

    PREPARED = "prepared"
    """The target holds a copy that waits for memory."""
    COPYING = "copying"
    """Bytes move; met once a tick."""
    STOPPED = "stopped"
    """The guest is stopped on the source for the switch-over, and does not run on the target yet."""
    ARRIVED = "arrived"
    """It runs on the target, or waits there, and the source does not know it yet."""


class Strike(StrEnum):
    """What happens then."""

    FAILS = "fails"
    """libvirt ends the migration with an error; too late once the guest has arrived, unless it has arrived stopped: the source
    does not hear of it, and goes on."""
    SOURCE_DAEMON = "source daemon dies"
    """And is back at once. Before the guest was stopped this ends the migration; after that it leaves the source stopped, and
    nobody but the two hosts together can tell what became of the guest."""
    TARGET_DAEMON = "target daemon dies"
    SOURCE_CUT = "source is cut off"
    TARGET_CUT = "target is cut off"


Strikes = Callable[[Step, str, str], Strike | None]
"""(step, source, target) → what strikes now."""


def no_strike(_step: Step, _source: str, _target: str) -> Strike | None:
    return None
