"""Drover's steering beside Nova's, VDSM's and KubeVirt's rules: one guest and one link at a time, by arithmetic, in virtual time.

`python -m benchmarks.steering [--traces N] [--seed S] [--json FILE]`. Guests whose writing changes as a generator draws it; its
seed is drawn at run time and printed. Who moves the guest beats who gives it up; where nobody moves it, all are the same, however
long each hoped. Among those that moved it a copy costs its seconds, and each second that the guest stands still a hundred: who
would not wait ten seconds to spare a guest a tenth of one? Each second that it runs there and waits for pages (post-copy) costs
two. Auto-converge is off for all. Exit status 1 unless Drover costs at most a tenth more than the best rule on every trace, and
less than any on most.
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
WORSE = 1.1
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

    def beside(self, *others: str) -> float:
        ours, best = cost(self.runs[DROVER]), min(cost(self.runs[name]) for name in others)
        return 1.0 if ours == best else ours / best

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


def summary(rows: Sequence[Row]) -> str:
    """Beside each rule alone, and beside whichever of them turned out best."""
    ratios = {name: [row.beside(name) for row in rows] for name in RULES if name != DROVER}
    ratios["the best of them"] = [row.ratio for row in rows]
    return "\n".join(
        f"Drover beside {name}: costs less on {sum(one < 1 for one in beside)} of {len(rows)}, "
        f"more than a tenth more on {sum(one > WORSE for one in beside)}, at worst {max(beside):.2f} of it"
        for name, beside in ratios.items()
    )


def better(rows: Sequence[Row]) -> int:
    return sum(row.ratio < 1 for row in rows)


def holds(rows: Sequence[Row]) -> bool:
    """Never worse than the best by more than a tenth, and better on most."""
    return all(row.ratio <= WORSE for row in rows) and 2 * better(rows) > len(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=42)
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
