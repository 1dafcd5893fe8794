"""Placement in one process: thousands of nodes and guests, all filters on, one decision after the other.

`python -m benchmarks.placement [--nodes N] [--guests N] [--waiting N] [--seed N] [--store] [--json FILE]`.
The fleet is drawn at random (the seed is printed, and can be given), so that every filter excludes some node for some guest.
Measured is what the controller does with a Migration whose turn it is: which slots are free, which nodes pass every filter,
which is best, and the fleet with that node reserved for the next one. Reading the store is not in it: `--store` has the
controller itself do the same with all of it in PostgreSQL, and prints that beside (benchmarks.placement_store).
After the run the reservations are added up anew from the
decisions: nothing may be overbooked and no limit exceeded.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.controllers.birth import Birth
from app.controllers.migration.observe import Guest, need_of
from app.controllers.migration.options import Resolved
from app.controllers.migration.slots import Board, Limits, Slots
from app.controllers.migration.turns import Waiting, in_turn
from app.controllers.placement.filters import FILTERS
from app.controllers.placement.fleet import Fleet
from app.controllers.placement.need import Need
from app.controllers.placement.nodes import NodeView, node_view
from app.controllers.placement.reservations import Reservation, loads, reservation
from app.controllers.pods import guest_need, launcher_pod
from app.kinds import MIGRATION, NODE, VIRTUAL_MACHINE
from app.kinds.migration import Priority
from app.kinds.migration_options import MigrationConfiguration
from app.machinery.objects import Document
from benchmarks.placement_store import StoreFigures, with_store

GIB = 1 << 30
ASKED = Resolved(MigrationConfiguration())
BIRTH = Birth(now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
FEATURES = [f"feature{number}" for number in range(60)]
MODELS = ["Nehalem", "Broadwell", "Skylake", "Icelake", "EPYC", "EPYC-Milan"]
MACHINES = ["pc-q35-7.2", "pc-q35-8.2", "pc-q35-9.2", "pc-q35-10.0"]
ZONES = [f"zone{number}" for number in range(12)]
RACKS = [f"rack{number}" for number in range(200)]
STORES = [f"/srv/pool{number}" for number in range(8)]


@dataclass(frozen=True)
class Figures:
    """Seconds, and decisions."""

    seed: int
    nodes: int
    guests: int
    waiting: int
    read_s: float
    """Nodes, pods and guests from their documents; the index of the fleet."""
    decided_s: float
    placed: int
    unschedulable: int
    waiting_for_slot: int
    reasons: dict[str, int]
    """How often each filter excluded a node, in what was asked of unschedulable ones."""
    processor_s: float
    """Of this process alone, for the decisions: what they take where nobody else wants the machine."""
    median_us: float
    p99_us: float
    index_s: float
    """The index anew, as after a change of a node."""
    store: StoreFigures | None = None

    @property
    def per_second(self) -> float:
        return self.waiting / self.decided_s

    def table(self) -> str:
        rows = [
            ("nodes, guests", f"{self.nodes}, {self.guests}"),
            ("filters", f"{len(FILTERS)}"),
            ("waiting migrations, each decided once", f"{self.waiting}"),
            ("  of them placed", f"{self.placed}"),
            ("  unschedulable", f"{self.unschedulable}"),
            ("  waiting for a slot", f"{self.waiting_for_slot}"),
            ("decisions a second", f"{self.per_second:.0f}"),
            ("decisions a second of processor time", f"{self.waiting / self.processor_s:.0f}"),
            ("one decision, median", f"{self.median_us:.0f} us"),
            ("one decision, p99", f"{self.p99_us:.0f} us"),
            ("documents read and indexed at the start", f"{self.read_s:.2f} s"),
            ("the fleet indexed anew", f"{self.index_s * 1000:.0f} ms"),
            *(() if self.store is None else self.store.rows()),
            ("overbooked nodes, exceeded limits", "none"),
            ("seed", f"{self.seed}"),
        ]
        return "\n".join(f"{name:<42} {value:>16}" for name, value in rows)

    def document(self) -> dict[str, Any]:
        store = None if self.store is None else {**asdict(self.store), "per_second": self.store.per_second}
        return {**asdict(self), "per_second": self.per_second, "store": store}


@dataclass(frozen=True)
class World:
    """Documents, as the store has them."""

    nodes: Sequence[Document]
    vms: Sequence[Document]
    pods: Sequence[Document]
    migrations: Sequence[Document]


@dataclass(frozen=True)
class Turn:
    """One that waits, with what it asks."""

    source: str
    need: Need


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--guests", type=int, default=50_000)
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--store", action="store_true", help="by the controller too, with PostgreSQL")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measured(options.nodes, options.guests, options.waiting, options.seed)
    if options.store:
        drawn = world(random.Random(options.seed), options.nodes, options.guests, options.waiting)
        ordered = [drawn.migrations[number] for number in order(drawn)]
        figures = replace(figures, store=with_store(drawn.nodes, drawn.vms, drawn.pods, ordered))
    print(figures.table())
    if options.json:
        options.json.write_text(json.dumps(figures.document(), indent=2) + "\n")
    return 0


def measured(nodes: int, guests: int, waiting: int, seed: int) -> Figures:
    """Raises AssertionError when a reservation or a limit was broken."""
    drawn = world(random.Random(seed), nodes, guests, waiting)
    # As many as there are may run: else nothing but the first few would be decided.
    slots = Slots(Limits(cluster=waiting, outbound=2, inbound=2))

    began = time.perf_counter()
    views = [node_view(node) for node in drawn.nodes]
    held = [found for pod in drawn.pods if (found := reservation(pod)) is not None]
    board = Board(Fleet.of(views, loads(held)), slots)
    turns = queue(drawn, {view.name: view for view in views})
    read_s = time.perf_counter() - began

    took, placed, outcomes, reasons = [], [], Counter[str](), Counter[str]()
    processor = time.process_time()
    for turn in turns:
        at = time.perf_counter()
        room = board.room(turn.need, turn.source)
        target = room.target
        if target is not None:
            board = board.taking(turn.need, turn.source, target)
        else:
            room.placement.message()
        took.append(time.perf_counter() - at)
        if target is not None:
            placed.append((turn, target))
        elif room.placement.total and not room.placement.fitting:
            outcomes["unschedulable"] += 1
            reasons.update(room.placement.reasons)
        else:
            outcomes["slot"] += 1

    processor_s = time.process_time() - processor
    check(drawn, views, held, placed, slots.limits)
    at = time.perf_counter()
    anew = Fleet.of(views, loads(held))
    Board(anew, slots).room(turns[0].need, turns[0].source)
    index_s = time.perf_counter() - at
    return Figures(
        seed=seed,
        nodes=nodes,
        guests=guests,
        waiting=len(turns),
        read_s=read_s,
        decided_s=sum(took),
        processor_s=processor_s,
        placed=len(placed),
        unschedulable=outcomes["unschedulable"],
        waiting_for_slot=outcomes["slot"],
        reasons=dict(reasons),
        median_us=statistics.median(took) * 1e6,
        p99_us=statistics.quantiles(took, n=100)[98] * 1e6,
        index_s=index_s,
    )


def order(drawn: World) -> list[int]:
    """The numbers of the migrations, in their turn."""
    crowd = [
        Waiting(
            number,
            Priority(migration["spec"].get("priority") or Priority.USER_TRIGGERED),
            datetime.fromisoformat(migration["metadata"]["creationTimestamp"]),
        )
        for number, migration in enumerate(drawn.migrations)
    ]
    return [one.number for one in in_turn(crowd, BIRTH.now() + timedelta(minutes=15))]


def queue(drawn: World, views: dict[str, NodeView]) -> list[Turn]:
    """Those that wait, in their turn."""
    pods = {pod["metadata"]["labels"]["kubevirt.io/domain"]: pod for pod in drawn.pods}
    vms = {vm["metadata"]["name"]: vm for vm in drawn.vms}
    turns = []
    for number in order(drawn):
        migration = drawn.migrations[number]
        name = migration["spec"]["selector"]["name"]
        guest = Guest(vms[name], pods[name])
        turns.append(Turn(guest.node, replace(need_of(migration, guest, ASKED), origin=views[guest.node])))
    return turns


def check(
    drawn: World,
    views: Sequence[NodeView],
    held: Sequence[Reservation],
    placed: Sequence[tuple[Turn, str]],
    limits: Limits,
) -> None:
    """Everything added up anew."""
    memory, cpu, pages = Counter[str](), Counter[str](), Counter[tuple[str, int]]()
    out, into = Counter[str](), Counter[str]()
    for one in held:
        memory[one.node] += one.requests.memory
        cpu[one.node] += one.requests.cpu_milli
        pages.update({(one.node, size): amount for size, amount in one.requests.hugepages})
    before = (memory.copy(), cpu.copy())
    paged: set[tuple[str, int]] = set()
    for turn, target in placed:
        paged.update((target, size) for size, _ in turn.need.hugepages)
        memory[target] += turn.need.memory
        cpu[target] += turn.need.cpu_milli
        pages.update({(target, size): amount for size, amount in turn.need.hugepages})
        out[turn.source] += 1
        into[target] += 1
    for view in views:
        touched = into[view.name] > 0
        assert not touched or memory[view.name] <= view.memory, f"{view.name} is overbooked: memory"
        assert not touched or cpu[view.name] <= view.cpu_milli, f"{view.name} is overbooked: cpu"
        for size, amount in view.hugepages:
            # A node may have been drawn overbooked: then it gets nothing more.
            fits = pages[view.name, size] <= amount
            assert fits or (view.name, size) not in paged, f"{view.name} is overbooked: huge pages"
        assert into[view.name] <= limits.inbound and out[view.name] <= limits.outbound, (
            f"{view.name}: a limit was exceeded"
        )
        assert touched or (memory[view.name], cpu[view.name]) == (before[0][view.name], before[1][view.name])
    assert len(placed) <= limits.cluster


def world(rng: random.Random, nodes: int, guests: int, waiting: int) -> World:
    hosts = [a_node(rng, number) for number in range(nodes)]
    vms, pods = [], []
    for number in range(guests):
        host = hosts[number % nodes]
        vm, pod = a_guest(rng, number, host)
        vms.append(vm)
        pods.append(pod)
    chosen = rng.sample(vms, waiting)
    return World(hosts, vms, pods, [a_migration(rng, number, vm) for number, vm in enumerate(chosen)])


def a_node(rng: random.Random, number: int) -> Document:
    name = f"node{number:05}"
    age = rng.choices(range(4), weights=(5, 20, 40, 35))[0]
    kvm = rng.random() < 0.97
    models = MODELS[: rng.randint(2, len(MODELS))]
    hugepages = {"hugepages-2Mi": "64Gi"} if rng.random() < 0.3 else {}
    taints = [{"key": "maintenance", "value": "soon", "effect": "NoSchedule"}] if rng.random() < 0.04 else []
    if rng.random() < 0.05:
        taints.append({"key": "old", "effect": "PreferNoSchedule"})
    document = BIRTH.document(
        NODE,
        "",
        name,
        labels={
            "topology.kubernetes.io/zone": rng.choice(ZONES),
            "rack": rng.choice(RACKS),
            "disktype": rng.choice(["ssd", "hdd", "nvme"]),
            "generation": str(age),
        },
        spec={"providerID": f"fake://{name}", "unschedulable": rng.random() < 0.03, "taints": taints},
        status={
            "allocatable": {
                "cpu": str(rng.choice([320, 640, 960])), "memory": f"{rng.choice([128, 192, 256])}Gi", **hugepages,
            },
            "conditions": [{"type": "Ready", "status": "False" if rng.random() < 0.02 else "True"}],
            "nodeInfo": {
                "architecture": "amd64" if rng.random() < 0.95 else "arm64",
                "containerRuntimeVersion": f"qemu://{(7, 8, 9, 10)[age]}.2.0",
                "kubeletVersion": f"{(9, 10, 10, 11)[age]}.0.0",
            },
            "hypervisor": {
                "domainTypes": ["kvm", "qemu"] if kvm else ["qemu"],
                "machineTypes": MACHINES[: age + 1],
                "cpus": [
                    {"domainType": "kvm", "model": models[-1], "models": models, "features": FEATURES[: 20 + 8 * len(models)]}
                ],
                "networks": ["default", "storage"] if rng.random() < 0.9 else ["default"],
                "interfaces": [f"br{vlan}" for vlan in range(rng.randint(2, 5))],
            },
        },
    )  # fmt: skip
    document["metadata"]["annotations"] = {"kubevirt.io/shared-paths": ",".join(rng.sample(STORES, rng.randint(3, 8)))}
    return document


def a_guest(rng: random.Random, number: int, host: Document) -> tuple[Document, Document]:
    """One that its host can run, so that some other can too."""
    name, node = f"vm{number:06}", host["metadata"]["name"]
    offers = host["status"]["hypervisor"]
    (cpus,) = offers["cpus"]
    shared = host["metadata"]["annotations"]["kubevirt.io/shared-paths"].split(",")
    spec: Document = {}
    if rng.random() < 0.3:
        key = rng.choice(["topology.kubernetes.io/zone", "disktype"])
        spec["nodeSelector"] = {key: host["metadata"]["labels"][key]}
    if rng.random() < 0.3:
        spec["affinity"] = {"nodeAffinity": an_affinity(rng)}
    if rng.random() < 0.05:
        spec["tolerations"] = [{"key": "maintenance", "operator": "Exists"}]
    memory, vcpus = rng.choice([2, 4, 8, 16]) * GIB, rng.choice([1, 2, 4, 8])
    large = "hugepages-2Mi" in host["status"]["allocatable"] and rng.random() < 0.2
    vm = BIRTH.document(
        VIRTUAL_MACHINE,
        "default",
        name,
        spec=spec,
        status={
            "phase": "Running",
            "nodeName": node,
            "hostRequirements": {
                "domainType": "kvm",
                "arch": "x86_64",
                "machine": rng.choice(offers["machineTypes"]),
                "cpu": {
                    "mode": "custom",
                    "model": rng.choice(cpus["models"]),
                    "required": rng.sample(cpus["features"], 4),
                },
                "networks": rng.sample(offers["networks"], 1),
                "interfaces": rng.sample(offers["interfaces"], 1),
                "disks": [{"target": "vda", "type": "file", "path": f"{rng.choice(shared)}/{name}.qcow2"}],
            },
        },
    )
    pages = (2 << 20,) if large else ()
    pod = launcher_pod(BIRTH, vm, node, guest_need(memory, vcpus, vm, hugepages=pages))
    pod["status"] = {"phase": "Running"}
    return vm, pod


def an_affinity(rng: random.Random) -> Document:
    required = {"matchExpressions": [{"key": "generation", "operator": "Gt", "values": [str(rng.randint(-1, 1))]}]}
    liked = {"matchExpressions": [{"key": "rack", "operator": "In", "values": rng.sample(RACKS, 20)}]}
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [required]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "preference": liked}],
    }


def a_migration(rng: random.Random, number: int, vm: Document) -> Document:
    spec: Document = {"selector": {"name": vm["metadata"]["name"]}}
    if rng.random() < 0.1:
        spec["nodeSelector"] = {"rack": rng.choice(RACKS)}
    if rng.random() < 0.4:
        spec["priority"] = rng.choice(list(Priority)).value
    return BIRTH.document(MIGRATION, "default", f"migration{number}", spec=spec)


if __name__ == "__main__":
    sys.exit(main())
