"""`python -m tests.fidelity --reference KUBECONFIG --drover KUBECONFIG`: ask both the same, and show where answers differ.

The reference needs the definitions that `--definitions` prints; Drover is best served with --no-workers, so that nothing
happens to the objects by itself. Namespaces are made on both and left there.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fidelity import kubectl
from tests.fidelity.accepted import ACCEPTED, WAIVED
from tests.fidelity.case import Case
from tests.fidelity.cases import ALL
from tests.fidelity.commands import STORIES
from tests.fidelity.compare import Verdict, compared
from tests.fidelity.definitions import definitions
from tests.fidelity.server import Server

MOST = 8
"""So many requests are named that showed the same difference."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity", description=__doc__)
    parser.add_argument("--reference", type=Path, help="kubeconfig of a kube-apiserver's administrator")
    parser.add_argument("--drover", type=Path, help="kubeconfig of Drover's administrator")
    parser.add_argument("--definitions", action="store_true", help="only print what has to be applied to the reference")
    parser.add_argument("--only", default="", help="cases whose names begin so")
    parser.add_argument(
        "--kubectl", action="store_true", help="compare what kubectl prints, story by story (see commands.py)"
    )
    parser.add_argument("--list", action="store_true", help="only print the cases' names")
    parser.add_argument("--at-once", type=int, default=4, help="how many cases are asked at the same time (4)")
    return parser.parse_args()


def main() -> int:
    """The exit status: 0 when nothing differs but what is accepted."""
    given = arguments()
    run = "".join(random.choices(string.ascii_lowercase, k=5))
    if given.kubectl and given.reference and given.drover:
        stories = [story for story in STORIES if story.name.startswith(given.only)]
        return kubectl.report(stories, given.reference, given.drover, run)
    cases = [case for case in ALL if case.name.startswith(given.only)]
    if given.definitions:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions()}, indent=1))
        return 0
    if given.list or not given.reference or not given.drover:
        print("\n".join(case.name for case in cases))
        return 0 if given.list else 2
    servers = Server(given.reference), Server(given.drover)

    def verdict(numbered: tuple[int, Case]) -> Verdict:
        number, case = numbered
        names = {"$ns": f"f{run}-{number}", "$id": f"f{run}-{number}"}
        reference, ours = (server.run(case, names) for server in servers)
        return compared(case, names["$id"], reference, ours)

    with ThreadPoolExecutor(given.at_once) as pool:
        verdicts = list(pool.map(verdict, enumerate(cases)))
    return report(verdicts)


def report(verdicts: list[Verdict]) -> int:
    """Prints each difference once, with all the requests that showed it."""
    alike: dict[str, list[str]] = {}
    for verdict in verdicts:
        for difference in verdict.differs:
            alike.setdefault(difference.diff, []).append(f"{verdict.case.name} [{difference.asked[:200]}]")
    for diff, where in sorted(alike.items(), key=lambda item: -len(item[1])):
        print(f"=== {len(where)} times")
        print("\n".join(where[:MOST]) + (f"\n… and {len(where) - MOST} more" if len(where) > MOST else ""))
        print(diff)
    met = Counter(name for verdict in verdicts for name in verdict.accepted)
    requests = sum(len(verdict.case.asks) for verdict in verdicts)
    differing = sum(bool(verdict.differs) for verdict in verdicts)
    print(f"\n{len(verdicts)} cases, {requests} requests; {differing} cases differ, in {len(alike)} ways")
    reasons = {each.name: each.reason for each in ACCEPTED} | {each.name: each.reason for each in WAIVED}
    for name, reason in reasons.items():
        if met[name]:
            print(f"  accepted in {met[name]} cases: {name}: {reason}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
