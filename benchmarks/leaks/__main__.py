"""Whether memory, open files and rows stay what they are: many simulated migrations, many broken connections.

`python -m benchmarks.leaks [--migrations 10000] [--reconnects 1000] [--first 1000] [--rest-s 130] [--json FILE]`. Looks after
`--first` migrations, with their share of the reconnects, and at the end; each time once every Migration has gone (they live
for a second after their end) and everything has rested for so long that old Events, changes and records have gone too. What is
kept by number, such as the newest 4,096 changes, fills up with the first two hundred migrations. Says what each process held,
what the processor did for each migration, and exits with 1 where something grew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from benchmarks.leaks.footprint import Footprint, computed_below_s, of_postgres, of_process, transactions
from benchmarks.leaks.load import Load, trusting
from benchmarks.leaks.process import FOLDER
from benchmarks.services import ROOT, Bench, bench, computed_s

NAME = "leaks"
RETENTION = {f"DROVER_{what}_S": "60" for what in ("LOG_RETENTION", "HISTORY_RETENTION", "EVENT_TTL")}
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much happens."""

    migrations: int = 10_000
    reconnects: int = 1_000
    first: int = 1_000
    """After so many it is looked for the first time."""
    hosts: int = 20
    guests: int = 40
    at_once: int = 20
    rest_s: float = 130.0
    """Longer than what is old is kept, and then the pause between two sweeps."""
    seed: int = 1


@dataclass
class Found:
    """What it came to."""

    plan: Plan
    outcomes: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    begun_anew: int = 0
    """Watches that could not come back where they were."""
    moving_s: float = 0.0
    computed: dict[str, float] = field(default_factory=dict)
    """Seconds of processor time, by what took it, while guests moved."""
    transactions: int = 0
    """PostgreSQL's, meanwhile: a statement by itself is one too."""
    first: dict[str, Footprint] = field(default_factory=dict)
    last: dict[str, Footprint] = field(default_factory=dict)

    @property
    def grown(self) -> list[str]:
        return [f"{name}: {what}" for name, end in self.last.items() for what in end.grown(self.first[name])]

    def table(self) -> str:
        moved = self.outcomes.total()
        lines = [
            f"{moved} migrations in {self.moving_s:.0f} s ({moved / self.moving_s:.1f}/s): {_counts(self.outcomes)}",
            f"{self.cuts.total()} reconnects: {_counts(self.cuts)}; {self.begun_anew} watches begun anew",
            "processor time for each, ms: "
            + ", ".join(f"{name} {1000 * spent / moved:.0f}" for name, spent in self.computed.items())
            + f"; transactions {self.transactions / moved:.0f}",
            f"{'':<12}{'memory, MB':>18}{'open files':>16}{'below':>10}{'threads':>12}{'blocks':>22}{'rows':>18}",
        ]
        for name, end in self.last.items():
            one = self.first[name]
            pairs = (
                (f"{one.memory_mb:.1f} → {end.memory_mb:.1f}", 18), (f"{one.files} → {end.files}", 16),
                (f"{one.below} → {end.below}", 10), (f"{one.threads} → {end.threads}", 12),
                (f"{one.blocks} → {end.blocks}", 22), (f"{one.rows} → {end.rows}", 18),
            )  # fmt: skip
            lines.append(f"{name:<12}" + "".join(text.rjust(width) for text, width in pairs))
        lines.append("nothing grew" if not self.grown else "GREW: " + "; ".join(self.grown))
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        return {
            "plan": {name: getattr(self.plan, name) for name in Plan.__slots__},
            "outcomes": self.outcomes, "cuts": self.cuts, "begun_anew": self.begun_anew,
            "moving_s": self.moving_s, "computed_s": self.computed, "transactions": self.transactions, "grown": self.grown,
            "first": {name: one.document() for name, one in self.first.items()},
            "last": {name: one.document() for name, one in self.last.items()},
        }  # fmt: skip


def measured(plan: Plan) -> Found:
    """Starts it all, lets it happen, stops it all."""
    with bench() as stand:
        stand.create_database(NAME)
        told = stand.folder / "told"
        told.mkdir(mode=0o700)
        variables = RETENTION | {"DROVER_DATABASE_URL": stand.url_of(NAME), FOLDER: str(told)}
        own = stand.folder / NAME
        own.mkdir(mode=0o711)
        process = [sys.executable, "-m", "benchmarks.leaks.process"]
        serve = [*process, "serve", "--no-workers", "--trust-loopback", "--port", "0", "--data-dir", str(own)]
        with stand.serving(serve, variables) as (url, api), _worker(stand, process, plan, variables) as worker:
            return asyncio.run(_measured(plan, stand, url, api, worker, told))


@contextmanager
def _worker(
    stand: Bench, process: list[str], plan: Plan, variables: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    limits = {
        # On a busy machine a lease that lapses costs 40 s, and is not what is looked for.
        "DROVER_LEASE_S": "60",
        "DROVER_RUN_LEASE_S": "60",
        "DROVER_MIGRATIONS_PER_CLUSTER": str(plan.at_once),
        "DROVER_MIGRATIONS_OUTBOUND_PER_NODE": str(plan.at_once),
        "DROVER_MIGRATIONS_INBOUND_PER_NODE": str(plan.at_once),
    }
    names = [f"host{number}" for number in range(plan.hosts)]
    with (stand.folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [*process, "work", str(stand.folder), *names],
            cwd=ROOT, env=_clean() | variables | limits, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
        assert worker.stdin is not None and worker.stdout is not None
        try:
            if worker.stdout.readline() != b"works\n":
                raise RuntimeError(f"the worker did not start: {Path(log.name).read_text()[-2000:]}")
            yield worker
        except BaseException:
            print(Path(log.name).read_text()[-4000:], file=sys.stderr, flush=True)
            raise
        finally:
            worker.stdin.close()
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            worker.stdout.close()


async def _measured(plan: Plan, stand: Bench, url: str, api: int, worker: subprocess.Popen[bytes], told: Path) -> Found:
    found, ca = Found(plan), str(stand.folder / NAME / "tls" / "ca.crt")
    postmaster = int((stand.folder / "postgres" / "postmaster.pid").read_text().split()[0])

    def disconnect(host: str) -> None:
        assert worker.stdin is not None
        worker.stdin.write(f"disconnect {host}\n".encode())
        worker.stdin.flush()

    async def terminate() -> None:
        connection = await asyncpg.connect(stand.url_of(NAME))
        await connection.execute(TERMINATE)
        await connection.close()

    async def look() -> dict[str, Footprint]:
        await asyncio.sleep(plan.rest_s)
        return {
            "API": await of_process(api, told),
            "worker": await of_process(worker.pid, told),
            "PostgreSQL": await of_postgres(stand.url_of(NAME), postmaster),
        }

    async with _client(url, ca) as client:
        hosts = [f"host{number}" for number in range(plan.hosts)]
        load = Load(client, hosts, plan.guests, random.Random(plan.seed), disconnect, terminate)
        async with load.under_way():

            def computed() -> dict[str, float]:
                alone, below = computed_s(worker.pid), computed_below_s(worker.pid)
                return {
                    "API": computed_s(api), "worker": alone, "migration processes": below - alone,
                    "PostgreSQL": computed_below_s(postmaster),
                }  # fmt: skip

            for until, into in ((plan.first, found.first), (plan.migrations, found.last)):
                began, before, done = time.monotonic(), computed(), await transactions(stand.url_of(NAME))
                await load.move(until, lambda ended: ended * plan.reconnects // plan.migrations)
                found.moving_s += time.monotonic() - began
                for name, spent in computed().items():
                    found.computed[name] = found.computed.get(name, 0.0) + spent - before[name]
                found.transactions += await transactions(stand.url_of(NAME)) - done
                await load.settle()
                into |= await look()
                print(f"{until} migrations: {_counts(load.outcomes)}", file=sys.stderr, flush=True)
            found.outcomes, found.cuts = load.outcomes, load.cuts
            found.begun_anew = sum(watch.listed - 1 for watch in load.watches)
    return found


@asynccontextmanager
async def _client(url: str, ca: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=url, verify=trusting(ca), timeout=60, limits=limits) as client:
        yield client


def _clean() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counted.most_common())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    standard = Plan()
    for name in Plan.__slots__:
        value = getattr(standard, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--json", type=Path)
    options = vars(parser.parse_args())
    into: Path | None = options.pop("json")
    found = measured(Plan(**options))
    print(found.table())
    if into is not None:
        into.write_text(json.dumps(found.document(), indent=2))
    return 1 if found.grown else 0


if __name__ == "__main__":
    sys.exit(main())
