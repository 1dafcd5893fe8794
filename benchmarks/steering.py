"""Drover's steering beside Nova's, VDSM's and KubeVirt's rules: one guest and one link at a time, by arithmetic, in virtual time.

`python -m benchmarks.steering [--traces N] [--seed S] [--json FILE]`. Guests whose writing changes as a generator draws it; its
seed is drawn at run time and printed. Who moves the guest beats who gives it up; where nobody moves it, all are the same, however
long each hoped. Among those that moved it a copy costs its seconds, and each second that the guest stands still a hundred: who
would not wait ten seconds to spare a guest a tenth of one? Each second that it runs there and waits for pages (post-copy) costs
two. Auto-converge is off for all.

The best of three rules is chosen afterwards, for each trace. Of a guest that changes its ways no rule can promise to stay near
that: whether a calmer moment comes, nobody knows who has to choose (tests/benchmarks/test_steering.py shows two such guests).
Nor can it be promised of each guest that stays as it is. How fast one writes beyond the link's rate no pass shows, since it finds
all of the working set written; and from just that follows how short a stop it could come down to. A rule finds out by trying,
pays for each try with a pass, and learns of a try that was one too many when it is over: as with skis that may be rented or
bought, who does not know how often they will be used pays up to twice what who knows it would. The best of three rules, each
with tries of its own, has chosen its try afterwards.
Exit status 1 unless, of guests that stay as they are, Drover costs more than a tenth (and two seconds) more than the best on at
most one in fifty, and less than the best on most guests of either sort.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.copying import Run, copied
from benchmarks.rivals.kubevirt import KubeVirt
from benchmarks.rivals.nova import Nova
from benchmarks.rivals.ours import Drover
from benchmarks.rivals.rule import Allowed, Rule
from benchmarks.rivals.vdsm import Vdsm
from benchmarks.traces import GIB, MIB, Trace, traces

STANDSTILL = 100.0
TAIL = 1.0
"""Beside the second that it takes."""
WORSE, SLACK = 1.1, 2.0
"""As much as 20 ms of standstill, which every switch-over takes anyway, are nothing to tell rules apart by."""
CHANGING = frozenset({"bursty", "phased"})
FEW = 0.02
DROVER = "drover"
RULES: dict[str, Callable[[Allowed], Rule]] = {DROVER: Drover, "nova": Nova, "vdsm": Vdsm, "kubevirt": KubeVirt}


@dataclass(frozen=True, slots=True)
class Row:
    """A trace and how each rule did on it."""

    trace: Trace
    runs: dict[str, Run]

    @property
    def ratio(self) -> float:
        """Drover's cost by that of the best of the others."""
        return self.beside(*(name for name in RULES if name != DROVER))

    @property
    def changes(self) -> bool:
        return self.trace.name in CHANGING

    def beside(self, *others: str) -> float:
        ours, best = self._costs(*others)
        return 1.0 if ours == best else ours / best

    def is_worse_than(self, *others: str) -> bool:
        ours, best = self._costs(*others)
        return ours > WORSE * best and ours > best + SLACK

    def _costs(self, *others: str) -> tuple[float, float]:
        return cost(self.runs[DROVER]), min(cost(self.runs[name]) for name in others)

    def cells(self) -> tuple[str, ...]:
        trace = self.trace
        link = f"{(trace.cap or trace.link) // MIB} of {trace.link // MIB}" if trace.cap else f"{trace.link // MIB}"
        told = (words(self.runs[name]) for name in RULES)
        return trace.name, f"{trace.memory // GIB}", link, trace.allowed, *told, f"{self.ratio:.2f}"

    def document(self) -> dict[str, object]:
        """JSON knows no infinity: what it would be is null."""
        runs = {name: asdict(run) | {"cost": cost(run) if run.moved else None} for name, run in self.runs.items()}
        ratio = self.ratio if math.isfinite(self.ratio) else None
        return {"trace": asdict(self.trace), "runs": runs, "ratio": ratio}


def cost(run: Run) -> float:
    """In seconds."""
    return run.seconds + STANDSTILL * run.downtime_s + TAIL * run.tail_s if run.moved else math.inf


def words(run: Run) -> str:
    if not run.moved:
        return f"{run.seconds:.1f} s, given up"
    tail = f" + {run.tail_s:.1f} s tail" if run.tail_s else ""
    return f"{run.seconds:.1f} s, {1000 * run.downtime_s:.0f} ms{tail}"


def compared(drawn: Sequence[Trace]) -> list[Row]:
    return [Row(one, {name: copied(one, make(one.rules)) for name, make in RULES.items()}) for one in drawn]


def table(rows: Sequence[Row]) -> str:
    lines = [("trace", "GiB", "MiB/s", "allowed", *RULES, "ratio"), *(row.cells() for row in rows)]
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    return "\n".join("".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)


RIVALS = tuple(name for name in RULES if name != DROVER)


def summary(rows: Sequence[Row]) -> str:
    """Beside each rule alone, and beside whichever of them turned out best."""
    lines = []
    for sort, some in (
        ("stay as they are", [r for r in rows if not r.changes]),
        ("change", [r for r in rows if r.changes]),
    ):
        for name, others in (*((one, (one,)) for one in RIVALS), ("the best of them", RIVALS)):
            beside = [row.beside(*others) for row in some]
            worse = sum(row.is_worse_than(*others) for row in some)
            lines.append(
                f"guests that {sort}: beside {name} costs less on {sum(one < 1 for one in beside)} of {len(some)}, "
                f"more than a tenth more on {worse}, at worst {max(beside, default=1):.2f} of it"
            )
    return "\n".join(lines)


def better(rows: Sequence[Row]) -> int:
    return sum(row.ratio < 1 for row in rows)


def holds(rows: Sequence[Row]) -> bool:
    """As the module's docstring says."""
    stay, change = [row for row in rows if not row.changes], [row for row in rows if row.changes]
    worse = sum(row.is_worse_than(*RIVALS) for row in stay)
    return worse <= FEW * len(stay) and all(2 * better(some) > len(some) for some in (stay, change) if some)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=210)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    rows = compared(traces(random.Random(seed), options.traces))
    print(
        f"a model of guests and links, not hosts; seed {seed}; seconds in all and downtime\n{table(rows)}\n{summary(rows)}"
    )
    if options.json:
        told = {"seed": seed, "good": holds(rows), "simulated": True, "rows": [row.document() for row in rows]}
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return 0 if holds(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
