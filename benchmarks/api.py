"""The API under load, over TLS, on the embedded PostgreSQL with fsync on: Drover beside a yardstick in the same run.

`python -m benchmarks.api [--quick] [--rows N] [--json FILE]`; with `--url` (and `--ca`, `--token`, `--group`, `--version`)
another Kubernetes API server that has Migrations as a custom resource is measured too, in turn, and the ratio printed.
What is answered is checked: every answer's code and size, and of a hundred created objects one is read back and compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import figures, million
from benchmarks.fanout import Spread, fan_out
from benchmarks.figures import DROVER, YARDSTICK, Aim, Taken
from benchmarks.services import Bench, Process, bench, computed_s
from benchmarks.subject import Subject, WrongAnswer
from benchmarks.wrk import Counted, WrkError, creates, reads, wrk

LISTED = 500
OBJECTS = 10_000
HEAD_BYTES, CHUNKED = 1000, 0.05
"""What the head of an answer may take, at most; and as a part of the body what the marks of its chunks take."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured."""

    rounds: int = 3
    seconds: float = 2
    fan_out_rounds: int = 20
    rows: int = 1_000_000
    objects: int = OBJECTS
    watchers: tuple[int, ...] = (100, 1000)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of wrk, and what the server computed for each request of it."""

    counted: Counted
    computed_us: float

    @property
    def rate(self) -> float:
        return self.counted.rate


QUICK = Effort(rounds=1, seconds=1, fan_out_rounds=5, rows=5_000, objects=1_000, watchers=(100,))


def main() -> int:
    options = _options()
    effort = QUICK if options.quick else Effort()
    if options.rows is not None:
        effort = replace(effort, rows=options.rows)
    began, load = time.monotonic(), os.getloadavg()
    try:
        with bench() as place:
            taken = measured(place, effort, _other(options))
    except (WrkError, WrongAnswer) as error:
        print(f"benchmarks.api: {error}", file=sys.stderr)
        return 1
    names = [DROVER, YARDSTICK]
    others = sorted({subject for figure in taken for subject in figure.values} - set(names))
    print(figures.table(taken, others))
    print(f"load average before: {load[0]:.2f}; took {time.monotonic() - began:.0f} s")
    if options.json:
        content = {"load_average": load, "figures": figures.document(taken)}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: seconds instead of minutes, and no figures")
    parser.add_argument("--rows", type=int, help="how many finished Migrations to copy in (1000000); 0 leaves that out")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--url", help="another Kubernetes API server to measure beside")
    parser.add_argument("--token", default="", help="its bearer token")
    parser.add_argument("--ca", type=Path, help="what its certificate is trusted by, PEM; without it any is")
    parser.add_argument("--group", default="kubevirt.io", help="the group that its Migrations are of")
    parser.add_argument("--version", default="v1alpha1", help="and their version")
    parser.add_argument("--namespace", default="default", help="where there they are made and removed again")
    return parser.parse_args()


def _other(options: argparse.Namespace) -> Subject | None:
    if not options.url:
        return None
    return Subject(
        "other", options.url.rstrip("/"), f"/apis/{options.group}/{options.version}/namespaces/{options.namespace}/migrations",
        options.ca, options.token, f"{options.group}/{options.version}",
    )  # fmt: skip


def drover_at(process: Process, namespace: str = "default") -> Subject:
    """A Drover as a subject."""
    collection = f"/apis/kubevirt.io/v1alpha1/namespaces/{namespace}/migrations"
    return Subject(DROVER, process.url, collection, process.ca, pid=process.pid)


def measured(place: Bench, effort: Effort, other: Subject | None) -> list[Taken]:
    """Everything, in order. Raises WrkError, WrongAnswer."""
    with ExitStack() as stack:
        process = stack.enter_context(place.drover())
        beside = stack.enter_context(place.yardstick(process.ca.with_name("serving.pem")))
        subjects = [drover_at(process), Subject(YARDSTICK, beside.url, "/objects", beside.ca, pid=beside.pid)]
        if other is not None:
            subjects.append(other)
            stack.enter_context(_removed_again(other))
        run = Run(effort)
        run.reads(subjects)
        run.creates(subjects)
        run.memory(process, subjects[0])
        run.fan_outs(process, subjects)
    if effort.rows:
        with small_and_large(place, effort.rows) as (small, large, pages):
            run.sameness(small, large, pages)
    return run.taken


@contextmanager
def _removed_again(other: Subject) -> Iterator[None]:
    """It is somebody else's server."""
    yield
    other.ask("DELETE", f"{other.collection}?labelSelector=app%3Dbench", 200)


class Run:
    """The figures of one run."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self.taken: list[Taken] = []

    def reads(self, subjects: Sequence[Subject]) -> None:
        """Gets and lists of what is there then: 500 objects."""
        names = [f"listed-{number:03d}" for number in range(LISTED)]
        for subject in subjects:
            for name in names:
                subject.create(name)
        for clients, aim in figures.GETS.items():
            self._alternate(aim, subjects, lambda subject, clients=clients: self._get(subject, names, clients))  # type: ignore[misc]
        kubernetes = [subject for subject in subjects if subject.title != YARDSTICK]
        for clients, aim in figures.LISTS.items():
            self._alternate(aim, kubernetes, lambda subject, clients=clients: self._list(subject, names, clients))  # type: ignore[misc]

    def creates(self, subjects: Sequence[Subject]) -> None:
        for clients, aim in figures.CREATES.items():
            self._alternate(aim, subjects, lambda subject, clients=clients: self._create(subject, clients))  # type: ignore[misc]

    def memory(self, process: Process, subject: Subject) -> None:
        """With so many objects, each of which has been read."""
        for number in range(self._effort.objects - _count(subject)):
            subject.create(f"further-{number:05d}")
        subject.ask("GET", subject.collection, 200)
        self._add(figures.MEMORY, DROVER, process.memory_mb())

    def fan_outs(self, process: Process, subjects: Sequence[Subject]) -> None:
        """The watchers' own process needs its share of the machine too: that is why the ratio counts."""
        for watchers in self._effort.watchers:
            medians, tails = Taken(figures.FAN_OUT_MEDIANS[watchers]), Taken(figures.FAN_OUTS[watchers])
            memory = Taken(figures.MEMORY_WATCHED)
            for _ in range(self._effort.rounds):
                for subject in subjects:
                    taken = self._fan_out(subject, watchers, memory, process)
                    medians.add(subject.title, taken.p50_ms)
                    tails.add(subject.title, taken.p99_ms)
            self.taken += [medians, tails, *([memory] if watchers == 1000 else [])]

    def sameness(self, small: Subject, large: Subject, pages: dict[str, dict[int, list[str]]]) -> None:
        """The same requests to a store of 1,000 and to a large one, in turn."""
        clients = 4
        names = [f"finished-{number:07d}" for number in range(1, 1000, 50)]
        kinds: dict[str, Callable[[Subject], Measured]] = {
            "get": lambda subject: self._get(subject, names, clients),
            "first page of 500": lambda subject: self._rate(
                subject, reads([f"{subject.collection}?limit={million.PAGE}"]), clients
            ),
            "further page of 500": lambda subject: self._rate(subject, reads(pages[subject.title][500]), clients),
            "page of 50": lambda subject: self._rate(subject, reads(pages[subject.title][50]), clients),
            "create": lambda subject: self._create(subject, clients),
        }
        for what, measure in kinds.items():
            rates = Taken(figures.same(what, self._effort.rows))
            for _ in range(self._effort.rounds):
                for subject in (small, large):
                    rates.add(subject.title, measure(subject).rate)
            ratio = rates.ratio(small.title, large.title)
            assert ratio is not None
            self._add(rates.aim, DROVER, ratio)

    def _alternate(self, aim: Aim, subjects: Sequence[Subject], measure: Callable[[Subject], Measured]) -> None:
        taken = Taken(aim)
        for _ in range(self._effort.rounds):
            for subject in subjects:
                found = measure(subject)
                taken.add(subject.title, found.rate, found.computed_us)
        self.taken.append(taken)
        _tell(taken)

    def _add(self, aim: Aim, subject: str, value: float) -> None:
        taken = Taken(aim)
        taken.add(subject, value)
        self.taken.append(taken)
        _tell(taken)

    def _rate(self, subject: Subject, script: str, clients: int) -> Measured:
        before = computed_s(subject.pid)
        result = wrk(
            subject.url + subject.collection, script, connections=clients, seconds=self._effort.seconds, headers=subject.headers
        )  # fmt: skip
        if result.failures or not result.requests:
            raise WrongAnswer(
                f"{subject.title}: {result.refused} refused and {result.broken} broken of {result.requests}"
            )
        return Measured(result, (computed_s(subject.pid) - before) / result.requests * 1e6)

    def _get(self, subject: Subject, names: Sequence[str], clients: int) -> Measured:
        subject.ask("GET", f"{subject.collection}/{names[0]}", 200)
        path = f"{subject.collection}/{names[-1]}"
        length = len(subject.client.get(path).content)
        result = self._rate(subject, reads([f"{subject.collection}/{name}" for name in names]), clients)
        _ensure_size(subject, result.counted, length)
        return result

    def _list(self, subject: Subject, names: Sequence[str], clients: int) -> Measured:
        """A list of exactly those objects: a first page where there are more."""
        path = f"{subject.collection}?limit={LISTED}"
        answer = subject.client.get(path, headers={"Accept-Encoding": "identity"})
        if [item["metadata"]["name"] for item in answer.json()["items"]] != names:
            raise WrongAnswer(f"{subject.title}: the list has not the {len(names)} objects that were created")
        result = self._rate(subject, reads([path]), clients)
        _ensure_size(subject, result.counted, len(answer.content))
        return result

    def _create(self, subject: Subject, clients: int) -> Measured:
        prefix = f"made-{time.time_ns() // 1000 % 10**10}"
        result = self._rate(subject, creates(subject.template(prefix)), clients)
        # The last ones may not have been stored when the time was over, and wrk makes the first for itself.
        for number in range(100, result.counted.made - 2 * clients, 100):
            subject.ensure_stored(f"{prefix}-{number}")
        return result

    def _fan_out(self, subject: Subject, watchers: int, memory: Taken, process: Process) -> Spread:
        def look() -> None:
            if subject.title == DROVER:
                memory.add(DROVER, process.memory_mb())

        return fan_out(subject, watchers, self._effort.fan_out_rounds, while_open=look)


@contextmanager
def small_and_large(place: Bench, rows: int) -> Iterator[tuple[Subject, Subject, dict[str, dict[int, list[str]]]]]:
    """Two Drovers over two databases of one server, and the paths of their pages by limit. Raises WrongAnswer."""
    with ExitStack() as stack:
        subjects, pages = [], {}
        for name, count in (("small", 1000), ("large", rows)):
            place.create_database(name)
            subject = replace(drover_at(stack.enter_context(place.drover(name))), title=name)
            million.store_one(subject)
            million.copy(place, name, count)
            pages[name] = {500: million.walked(subject, count), 50: million.first_pages(subject, 50)}
            subjects.append(subject)
            print(f"{count:,} finished Migrations are stored, and each was listed once", flush=True)
        yield subjects[0], subjects[1], pages


def _ensure_size(subject: Subject, result: Counted, length: int) -> None:
    """Every answer was as long as the one that was looked at."""
    each = result.bytes / result.requests
    if not length <= each <= length * (1 + CHUNKED) + HEAD_BYTES:
        raise WrongAnswer(f"{subject.title}: answers of {each:.0f} bytes instead of {length}")


def _count(subject: Subject) -> int:
    page = subject.ask("GET", f"{subject.collection}?limit=1", 200)
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


def _tell(taken: Taken) -> None:
    print("; ".join(f"{subject} {taken.median(subject):,.2f}" for subject in taken.values), taken.aim.name, flush=True)


if __name__ == "__main__":
    sys.exit(main())
