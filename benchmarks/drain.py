"""A drain of a host with many guests, simulated: store, controllers and evictions are the real ones, hosts and links are not.

`python -m benchmarks.drain [--guests N] [--seed N] [--json FILE]`. Says how long the host took to be emptied beside the lower
bound (the guests' memory over the link's bandwidth), and how many moved at once. Time is simulated: idle waits are skipped,
what store and controllers take counts as it is. Exit status 1 where the makespan is above 1.2 times the bound, more moved at
once than may, or a guest did not arrive.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from app.controllers.migration.slots import Limits
from app.hypervisor.precopy import Load
from app.store.embedded import EmbeddedPostgres
from app.store.postgres import PostgresStore
from tests.controllers.simulation import simulated
from tests.controllers.skipping_loop import SkippingLoop

GIB = 1 << 30
MIB = 1 << 20
BANDWIDTH = 25_000_000_000 // 8
"""25 Gbit/s, in bytes per second."""
ALLOWED = 1.2
LIMITS = Limits(cluster=5, outbound=2, inbound=2)
TARGETS = ("node1", "node2", "node3")
SIZES_GIB = (4, 8, 16, 32)


@dataclass(frozen=True)
class Figures:
    """What one drain took."""

    guests: int
    seed: int
    memory_gib: float
    bound_s: float
    makespan_s: float
    most_at_once: int
    arrived: int
    real_s: float

    @property
    def ratio(self) -> float:
        return self.makespan_s / self.bound_s

    @property
    def good(self) -> bool:
        return self.ratio <= ALLOWED and self.most_at_once <= LIMITS.outbound and self.arrived == self.guests

    def table(self) -> str:
        rows = (
            ("guests", f"{self.guests} (seed {self.seed})"),
            ("memory", f"{self.memory_gib:.0f} GiB"),
            ("lower bound: memory over 25 Gbit/s", f"{self.bound_s:.1f} s"),
            ("makespan, simulated", f"{self.makespan_s:.1f} s"),
            (f"ratio (at most {ALLOWED})", f"{self.ratio:.3f}"),
            (f"most at once (at most {LIMITS.outbound})", f"{self.most_at_once}"),
            ("guests that run elsewhere, once", f"{self.arrived}"),
            ("the simulation took", f"{self.real_s:.1f} s"),
        )
        return "\n".join(f"{name:<36} {value:>20}" for name, value in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guests", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory(prefix="drover-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)  # as root the database runs as another user, who must pass
        with asyncio.Runner(loop_factory=SkippingLoop) as runner:
            figures = runner.run(measured(directory, options.guests, options.seed))
    print("simulated hosts and links; real store, controllers and evictions")
    print(figures.table())
    if options.json:
        document = asdict(figures) | {"ratio": figures.ratio, "good": figures.good, "simulated": True}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if figures.good else 1


async def measured(directory: Path, guests: int, seed: int) -> Figures:
    """On a database of its own."""
    embedded = EmbeddedPostgres(directory / "data", durable=False)
    store = PostgresStore(await embedded.start())
    try:
        await store.open()
        return await drained(store, guests, random.Random(seed), seed)
    finally:
        await store.close()
        await embedded.stop()


async def drained(store: PostgresStore, guests: int, chance: random.Random, seed: int) -> Figures:
    """Guests of mixed sizes that write to a twentieth of their memory, at up to 100 MiB/s."""
    sizes = [chance.choice(SIZES_GIB) * GIB for _ in range(guests)]
    began = time.monotonic()
    async with simulated(
        store, "node0", *TARGETS, bandwidth=BANDWIDTH, memory=4096 * GIB, limits=LIMITS, tick_s=0.25
    ) as simulation:
        loads = [Load(size, chance.uniform(1, 100) * MIB, size // 20) for size in sizes]
        started = (simulation.guest(f"guest{n}", "node0", load.memory, load) for n, load in enumerate(loads))
        uids = set(await asyncio.gather(*started))
        start_s = simulation.time.now()
        drain = asyncio.create_task(simulation.drain("node0", []))
        await simulation.until(lambda: not simulation.runs_on("node0"))
        makespan_s = simulation.time.now() - start_s
        await drain
        await simulation.all_quiet()
        where = [uid for target in TARGETS for uid in simulation.runs_on(target)]
        most = simulation.most_at_once
    arrived = len(where) if sorted(where) == sorted(uids) else len(set(where) & uids)
    bound_s = sum(sizes) / BANDWIDTH
    real_s = time.monotonic() - began
    return Figures(guests, seed, sum(sizes) / GIB, bound_s, makespan_s, most, arrived, real_s)


if __name__ == "__main__":
    sys.exit(main())
