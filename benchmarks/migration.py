"""Drover beside plain `virsh migrate --live --p2p`: same flags, same pair of hosts, alternating, both with connecting.

`python -m benchmarks.migration [--rounds N] [--json FILE]`. Says the median of each, their ratio, and how long after the
target's RESUMED event (as virsh on the target host hears it) the API's watch said so.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.guest import virtual_machine
from app.lab.hosts import LabHost, LabHosts
from tests.e2e.harness import KUBEVIRT, Drover, drover, eventually

LOAD = {"dirty_mib": 16, "mib_per_second": 8.0}
MEMORY_MIB = 256


@dataclass
class Figures:
    drover_s: list[float] = field(default_factory=list)
    virsh_s: list[float] = field(default_factory=list)
    told_ms: list[float] = field(default_factory=list)

    def table(self) -> str:
        rows = [
            ("", "median", "min", "max"),
            ("drover, POST to Succeeded", *_seconds(self.drover_s)),
            ("virsh migrate --live --p2p", *_seconds(self.virsh_s)),
            ("ratio of the medians", f"{self.ratio:.2f}", "", ""),
            ("RESUMED to the API's word", *(f"{v:.0f} ms" for v in _summary(self.told_ms))),
        ]
        return "\n".join(f"{a:<28} {b:>10} {c:>10} {d:>10}" for a, b, c, d in rows)

    @property
    def ratio(self) -> float:
        return statistics.median(self.drover_s) / statistics.median(self.virsh_s)

    def document(self) -> dict[str, Any]:
        return {"drover_s": self.drover_s, "virsh_s": self.virsh_s, "told_ms": self.told_ms, "ratio": self.ratio}


def _summary(values: list[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _seconds(values: list[float]) -> tuple[str, str, str]:
    median, least, most = (f"{value:.2f} s" for value in _summary(values))
    return median, least, most


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with bench() as service:
        figures = alternate(service, options.rounds)
    print(figures.table())
    if options.json:
        options.json.write_text(json.dumps(figures.document(), indent=2) + "\n")
    return 0


@contextmanager
def bench() -> Iterator[Drover]:
    """A Drover with two hosts, in folders that go away."""
    directory = Path(tempfile.mkdtemp(prefix="drover-bench-"))
    directory.chmod(0o711)
    lab = Path(tempfile.mkdtemp(prefix="dl-"))
    try:
        with drover(directory, lab, 2) as service:
            yield service
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(lab, ignore_errors=True)


def alternate(service: Drover, rounds: int) -> Figures:
    hosts = LabHosts.of(service.lab)
    image = build_boot_sector(hosts.images / "bench.img", **LOAD)  # type: ignore[arg-type]  # two kinds of numbers
    create(service, "ours", boot_sector_xml("ours", str(uuid4()), image, memory_mib=MEMORY_MIB))
    other = str(uuid4())
    path = service.directory / "theirs.xml"
    path.write_text(boot_sector_xml("theirs", other, image, memory_mib=MEMORY_MIB))
    at = "node0"
    virsh(hosts[at], "define", str(path))
    virsh(hosts[at], "start", "theirs")

    figures = Figures()
    for number in range(rounds):
        took, told = by_drover(service, hosts, f"round-{number}")
        figures.drover_s.append(took)
        figures.told_ms.append(told)
        to = "node1" if at == "node0" else "node0"
        figures.virsh_s.append(by_virsh(hosts[at], hosts[to]))
        at = to
        print(f"round {number}: drover {figures.drover_s[-1]:.2f} s, virsh {figures.virsh_s[-1]:.2f} s", flush=True)
    virsh(hosts[at], "destroy", "theirs")
    return figures


def create(service: Drover, name: str, xml: str) -> None:
    answer = service.request(
        "POST", f"{KUBEVIRT}/namespaces/default/virtualmachines", virtual_machine(name, xml, labels={})
    )
    assert answer.status_code == 201, answer.text
    eventually(f"{name} runs", lambda: (service.vm(name).get("status") or {}).get("phase") == "Running")


def by_drover(service: Drover, hosts: LabHosts, name: str) -> tuple[float, float]:
    """Seconds from POST to Succeeded, and milliseconds from the target's RESUMED to the API's word of it."""
    source = service.node_of("ours")
    target = "node1" if source == "node0" else "node0"
    with resumed_events(hosts[target]) as resumed:
        began = time.time()
        service.migrate("ours", name)
        told = 0.0
        for status in watch(service, name):
            state = status.get("migrationState") or {}
            if not told and state.get("targetNodeDomainReadyTimestamp"):
                told = time.time()
            if status.get("phase") in ("Succeeded", "Failed"):
                break
        took = time.time() - began
    assert status["phase"] == "Succeeded", status
    assert len(resumed) >= 1, "virsh heard no RESUMED event"
    return took, (told - resumed[0]) * 1000


def watch(service: Drover, name: str) -> Iterator[dict[str, Any]]:
    url = f"{service.url}{KUBEVIRT}/namespaces/default/migrations"
    query = {"watch": "1", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": "60"}
    with httpx.stream("GET", url, params=query, timeout=70) as answer:
        for line in answer.iter_lines():
            yield json.loads(line)["object"].get("status") or {}


@contextmanager
def resumed_events(host: LabHost) -> Iterator[list[float]]:
    """The times (as this process reads them) at which virsh on that host printed RESUMED."""
    heard: list[float] = []
    process = subprocess.Popen(
        ["virsh", "-q", "-c", host.uri, "event", "--all", "--loop"], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    listener = threading.Thread(target=_hear, args=(process.stdout, heard), daemon=True)
    listener.start()
    time.sleep(0.1)  # virsh tells nobody when it has subscribed
    try:
        yield heard
    finally:
        process.terminate()
        process.wait(5)
        listener.join(5)


def _hear(lines: Any, heard: list[float]) -> None:
    for line in lines:
        if re.search(r"lifecycle.*Resumed", line):
            heard.append(time.time())


def by_virsh(source: LabHost, target: LabHost) -> float:
    began = time.time()
    virsh(
        source, "migrate", "--live", "--p2p", "--persistent", "--migrateuri",
        f"unix://{target.migration_sockets}/bench-{time.monotonic_ns()}.sock", "theirs", target.uri,
    )  # fmt: skip
    return time.time() - began


def virsh(host: LabHost, *words: str) -> str:
    done = subprocess.run(["virsh", "-q", "-c", host.uri, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"virsh {' '.join(words)}: {done.stderr}"
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
