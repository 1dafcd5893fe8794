"""Which nodes an attempt keeps away from: those that failed it, that may hold a copy, or that fail everybody. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from app.controllers.migration.causes import cause_of_run, is_the_nodes
from app.controllers.migration.exit_codes import ExitCode, known
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import Need
from app.controllers.placement.pipeline import Placement, place
from app.store.base import Run

FAILED_BEFORE = "node(s) failed an earlier attempt"
MAY_HOLD_A_COPY = "node(s) may still hold a copy of the guest"

Excluded = Mapping[str, str]
"""Nodes that are out, and why, in the words of the placement's message."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a pair of hosts is avoided by every Migration."""

    failures: int = 3
    """So many, of the classes Host and Path, in one direction: one may be chance, and a second one bad luck."""
    window: timedelta = timedelta(minutes=10)
    """Counted so far back: after that the pair is tried again."""


BREAKER = Breaker()


def broken_pairs(failed: Iterable[Run], breaker: Breaker) -> Mapping[str, Excluded]:
    """By source: the targets that failed too often of late. `failed` are the runs that ended so within the window."""
    counted = Counter((run.source, run.target) for run in failed if is_against_its_nodes(run))
    broken: dict[str, dict[str, str]] = {}
    for (source, target), count in counted.items():
        if count >= breaker.failures:
            minutes = breaker.window.total_seconds() / 60
            words = f"node(s) failed {count} moves from {source} within {minutes:g} min"
            broken.setdefault(source, {})[target] = words
    return broken


def is_against_its_nodes(run: Run) -> bool:
    """It failed because of its target or the way there. A source that does not answer says nothing of any target."""
    code = None if run.exit_code is None else known(run.exit_code)
    if code is None or code in (ExitCode.MOVED, ExitCode.SOURCE_UNREACHABLE):
        return False
    return is_the_nodes(cause_of_run(code, run.result))


def choices(need: Need, runs: Sequence[Run], copies: Iterable[str], broken: Excluded) -> tuple[Need, ...]:
    """
    The need of a Migration's next attempt, and what it makes do with: no node that failed it; else not the one that
    failed it last; else any. `runs` are its former attempts, oldest first; `copies` nodes that may hold a copy.
    """
    failed = [run.target for run in runs if is_against_its_nodes(run)]
    never = {**broken, **dict.fromkeys(copies, MAY_HOLD_A_COPY)}
    avoided = (failed, failed[-1:], []) if failed else ([],)
    return tuple(replace(need, excluded={**dict.fromkeys(nodes, FAILED_BEFORE), **never}) for nodes in avoided)


def place_first(needs: Sequence[Need], fleet: Fleet) -> Placement:
    """Where the first of them that fits anywhere may go; what is said of none is said of the first."""
    placements = [place(needs[0], fleet)]
    for need in needs[1:]:
        if placements[-1].fitting:
            break
        placements.append(place(need, fleet))
    return placements[-1] if placements[-1].fitting else placements[0]
