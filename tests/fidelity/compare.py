"""Two lists of answers to one case: what is equal, what differs on purpose, and what just differs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fidelity.accepted import ACCEPTED, WAIVED
from tests.fidelity.case import Case
from tests.fidelity.normal import Normal, normalized
from tests.fidelity.server import Answer


@dataclass(frozen=True, slots=True)
class Difference:
    """One answer that differs."""

    asked: str
    diff: str
    """Unified; the reference's answer is its left-hand side."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one case."""

    case: Case
    differs: Sequence[Difference]
    accepted: frozenset[str]
    """Names of the accepted differences that were met."""


def compared(case: Case, own: str, reference: Sequence[Answer], ours: Sequence[Answer]) -> Verdict:
    """Answer by answer. `own` is the name that the case was given."""
    differs: list[Difference] = []
    met: set[str] = set()
    for theirs, mine, answer in zip(normalized(reference, own), normalized(ours, own), reference, strict=True):
        for accepted in ACCEPTED:
            if theirs == mine:
                break
            before = theirs, mine
            theirs, mine = accepted.rewrite(theirs), accepted.rewrite(mine)
            if _distance(theirs, mine) < _distance(*before):
                met.add(accepted.name)
        asked = f"{answer.sent.method} {answer.sent.path}".replace(own, "$id")
        waived = next((waived for waived in WAIVED if theirs != mine and waived.holds(asked, theirs, mine)), None)
        if waived is not None:
            met.add(waived.name)
            if waived.ends:
                break
        elif theirs != mine:
            differs.append(Difference(asked, "\n".join(line[:600] for line in _lines(theirs, mine)[2:])))
    return Verdict(case, differs, frozenset(met))


def _distance(one: Normal, other: Normal) -> int:
    """How many lines differ."""
    return sum(line[:1] in ("+", "-") for line in _lines(one, other))


LONGEST = 4000
"""Lines; what is longer is compared as a whole only, since a diff of it would take minutes."""


def _lines(one: Normal, other: Normal) -> list[str]:
    lengths = [len(answer.text().splitlines()) for answer in (one, other)]
    if max(lengths) > LONGEST:
        return ["", "", f"-{lengths[0]} lines", f"+{lengths[1]} lines"] if one != other else []
    return list(difflib.unified_diff(one.text().splitlines(), other.text().splitlines(), lineterm="", n=2))
