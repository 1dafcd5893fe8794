"""What is measured, what it should come to, and the table of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Better(StrEnum):
    MORE = "more"
    LESS = "less"


@dataclass(frozen=True, slots=True)
class Aim:
    """One figure: its unit, what Drover should reach, and how it should stand beside the yardstick."""

    name: str
    unit: str
    better: Better
    goal: float | None = None
    beside_yardstick: float | None = None
    """Drover's figure by the yardstick's: at least, or at most where less is better."""


CREATES = {
    1: Aim("create, 1 client", "/s", Better.MORE, 600, 0.8),
    16: Aim("create, 16 clients", "/s", Better.MORE, None, 0.8),
    64: Aim("create, 64 clients", "/s", Better.MORE, 2500, 0.8),
}
GETS = {
    1: Aim("get, 1 client", "/s", Better.MORE, None, 1.0),
    32: Aim("get, 32 clients", "/s", Better.MORE, 4000, 1.0),
}
LISTS = {
    1: Aim("list of 500, 1 client", "/s", Better.MORE),
    8: Aim("list of 500, 8 clients", "/s", Better.MORE, 600),
}
FAN_OUTS = {
    100: Aim("write to 100 watchers, p99", "ms", Better.LESS, 9, 1.3),
    1000: Aim("write to 1000 watchers, p99", "ms", Better.LESS, 80, 1.3),
}
FAN_OUT_MEDIANS = {
    100: Aim("write to 100 watchers, p50", "ms", Better.LESS),
    1000: Aim("write to 1000 watchers, p50", "ms", Better.LESS),
}
MEMORY = Aim("memory with 10000 objects", "MB", Better.LESS, 200)
MEMORY_WATCHED = Aim("memory with 1000 watches", "MB", Better.LESS, 200)


def same(what: str, rows: int) -> Aim:
    """A cost with so many rows by the cost with 1,000: 1 is the same."""
    return Aim(f"{what}, {rows:,} / 1,000", "×", Better.LESS, 1.15)


@dataclass(slots=True)
class Taken:
    """What was measured for one aim, by subject, one value a round."""

    aim: Aim
    values: dict[str, list[float]] = field(default_factory=dict)
    computed: dict[str, list[float]] = field(default_factory=dict)
    """Microseconds of processor time for each request, by subject: says more than a rate where others use the machine."""

    def add(self, subject: str, value: float, computed_us: float | None = None) -> None:
        self.values.setdefault(subject, []).append(value)
        if computed_us:
            self.computed.setdefault(subject, []).append(computed_us)

    def computed_us(self, subject: str) -> float | None:
        found = self.computed.get(subject)
        return statistics.median(found) if found else None

    def median(self, subject: str) -> float | None:
        found = self.values.get(subject)
        return statistics.median(found) if found else None

    def ratio(self, one: str, other: str) -> float | None:
        """The one's figure by the other's."""
        ours, theirs = self.median(one), self.median(other)
        return ours / theirs if ours is not None and theirs else None


def reached(value: float | None, wanted: float | None, better: Better) -> bool | None:
    """None where nothing is wanted or known."""
    if value is None or wanted is None:
        return None
    return value >= wanted if better is Better.MORE else value <= wanted


DROVER, YARDSTICK = "drover", "yardstick"


def table(taken: Sequence[Taken], others: Sequence[str] = ()) -> str:
    """One line a figure; a figure that misses what is wanted of it is marked."""
    head = [
        "",
        "drover",
        "goal",
        "",
        "yardstick",
        "ratio",
        "wanted",
        "",
        "cpu",
        "yardstick",
        *(part for o in others for part in (o, "ratio")),
    ]
    lines = [head, *(_line(figure, others) for figure in taken)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) if column == 0 else text.rjust(width) for column, (text, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def _line(figure: Taken, others: Sequence[str]) -> list[str]:
    aim, ours = figure.aim, figure.median(DROVER)
    ratio = figure.ratio(DROVER, YARDSTICK)
    sign = "≥" if aim.better is Better.MORE else "≤"
    line = [
        aim.name,
        _shown(ours, aim.unit),
        "" if aim.goal is None else f"{sign} {_shown(aim.goal, aim.unit)}",
        _mark(reached(ours, aim.goal, aim.better)),
        _shown(figure.median(YARDSTICK), aim.unit),
        _shown(ratio, "×"),
        "" if aim.beside_yardstick is None or ratio is None else f"{sign} {aim.beside_yardstick:.2f}",
        _mark(reached(ratio, aim.beside_yardstick, aim.better)),
        _shown(figure.computed_us(DROVER), "µs"),
        _shown(figure.computed_us(YARDSTICK), "µs"),
    ]
    for other in others:
        line += [_shown(figure.median(other), aim.unit), _shown(figure.ratio(DROVER, other), "×")]
    return line


def _mark(well: bool | None) -> str:
    return {True: "ok", False: "MISSED", None: ""}[well]


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "×":
        return f"{value:.2f}"
    if unit in ("/s", "µs"):
        return f"{value:,.0f} {unit}" if unit == "µs" else f"{value:,.0f}{unit}"
    return f"{value:.1f} {unit}"


def document(taken: Sequence[Taken]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "name": figure.aim.name,
            "unit": figure.aim.unit,
            "better": figure.aim.better.value,
            "goal": figure.aim.goal,
            "wanted_beside_yardstick": figure.aim.beside_yardstick,
            "beside_yardstick": figure.ratio(DROVER, YARDSTICK),
            "medians": {subject: figure.median(subject) for subject in figure.values},
            "rounds": figure.values,
            "processor_us": figure.computed,
        }
        for figure in taken
    ]
