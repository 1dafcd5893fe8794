"""`python -m tests.chaos`: kill and stop whatever moves guests, at every step, and see that nothing is lost."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
import time
from pathlib import Path

from app.lab.errors import LabError
from tests.chaos.report import RECORD, summary, table, write_down
from tests.chaos.story import Plan, Story, Violation


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the sequence of faults (default: a new one)")
    parser.add_argument("--faults", type=int, default=100, help="how many (100)")
    parser.add_argument("--minutes", type=float, default=0.0, help="end after so long at the latest")
    parser.add_argument("--round", type=int, default=16, help="faults between two judgements (16)")
    parser.add_argument("--json", type=Path, default=None, help="write what came of it into this file")
    parser.add_argument("--record", action="store_true", help=f"add it to {RECORD.name}")
    parser.add_argument("--keep", type=Path, default=None, help="after a violation, copy all logs into this folder")
    return parser.parse_args()


async def main() -> int:
    """The exit status: 0 without a violation, 1 with one, 130 when interrupted."""
    given = arguments()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    say(f"seed {seed}")
    story = Story(Plan(seed, given.faults, given.minutes, given.round, keep=given.keep), say)
    task = asyncio.create_task(story.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    status = 0
    try:
        await task
    except Violation:
        status = 1
    except asyncio.CancelledError:
        say("interrupted: what was struck since the last judgement does not count")
        status = 130
    except LabError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    run = summary(story.told)
    print(json.dumps(run, indent=1))
    if given.json is not None:
        given.json.write_text(json.dumps(run, indent=1) + "\n")
    print(table(write_down(run) if given.record and run["faults"] else [run]))
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
