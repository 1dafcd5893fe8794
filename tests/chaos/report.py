"""What a run has shown: tables for people, and a line in the record."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.faults import Blow, Moment, Victim
from tests.chaos.story import Told

RECORD = Path(__file__).with_name("record.json")


def summary(told: Told) -> dict[str, Any]:
    """As it is written down."""
    struck = [one.fault for one in told.struck]
    return {
        "seed": told.plan.seed,
        "commit": _commit(),
        "faults": len(struck),
        "seconds": round(told.seconds),
        "migrations": dict(sorted(told.ended.items())),
        "takeovers": len(told.takeovers),
        "takeover_s": _spread(told.takeovers),
        "processes_followed": told.restarts,
        "most_at_once": told.most_at_once,
        "longest_silence_s": round(told.silent_s, 1),
        "rest_s": _spread(told.rests),
        "changes": told.changes,
        "watches_cut": told.cuts,
        "drains": told.drains,
        "cancelled": told.cancelled,
        "guests_killed": told.lost,
        "resolved_by_a_person": dict(told.resolved),
        "arriving_stopped": told.stopped,
        "victims": dict(Counter(one.victim.value for one in struck)),
        "moments": dict(Counter(one.moment.value for one in struck)),
        "blows": dict(Counter(one.blow.value for one in struck)),
        "not_reached": dict(told.not_reached),
        "violations": told.wrong,
    }


def table(runs: list[dict[str, Any]]) -> str:
    """How often each was hit, in all of them."""
    lines = [f"{sum(run['faults'] for run in runs)} faults in {len(runs)} run(s)"]
    for title, words in (("victims", Victim), ("moments", Moment), ("blows", Blow)):
        counted: Counter[str] = Counter()
        for run in runs:
            counted.update(run[title])
        lines.append(f"{title}: " + ", ".join(f"{word.value} {counted[word.value]}" for word in words))
    return "\n".join(lines)


def write_down(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Added to the record; all that is in it."""
    runs: list[dict[str, Any]] = json.loads(RECORD.read_text()) if RECORD.exists() else []
    runs.append(run)
    RECORD.write_text(json.dumps(runs, indent=1) + "\n")
    return runs


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "least": round(ordered[0], 1), "median": round(ordered[len(ordered) // 2], 1), "most": round(ordered[-1], 1)
    }  # fmt: skip


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
