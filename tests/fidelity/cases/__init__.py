"""What both are asked, by subject. Most cases are made by combination; their names say of what."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fidelity.case import Case
from tests.fidelity.cases import (
    access,
    applies,
    combined,
    core,
    creates,
    deletes,
    discovery,
    everykind,
    handling,
    metadata,
    patches,
    reads,
    shapes,
    updates,
    watches,
)

ALL: Sequence[Case] = [
    *discovery.CASES,
    *handling.CASES,
    *reads.CASES,
    *shapes.CASES,
    *watches.CASES,
    *creates.CASES,
    *metadata.CASES,
    *updates.CASES,
    *patches.CASES,
    *applies.CASES,
    *deletes.CASES,
    *core.CASES,
    *access.CASES,
    *combined.CASES,
    *everykind.CASES,
]
