"""One run: rounds of faults under load; after each all is let come to rest and judged. Stops at the first violation."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.kinds import EVENT, MIGRATION, NODE, POD, VIRTUAL_MACHINE
from tests.chaos.clients import Clients, is_over
from tests.chaos.faults import BLOWS, Blow, Deck, Fault, Moment, schedule
from tests.chaos.guests import Guest
from tests.chaos.judge import Change, Judge, missed
from tests.chaos.sights import Sight
from tests.chaos.site import NAMESPACED, NODES, Site, site
from tests.chaos.strikes import Striker, Struck
from tests.chaos.watching import Watcher
from tests.e2e.harness import KUBEVIRT

Document = dict[str, Any]
WATCHED = {
    MIGRATION.resource: f"{KUBEVIRT}/migrations",
    VIRTUAL_MACHINE.resource: f"{KUBEVIRT}/virtualmachines",
    POD.resource: "/api/v1/pods",
    NODE.resource: "/api/v1/nodes",
    EVENT.resource: "/api/v1/events",
}
RESOLVE = "kubevirt.io/resolve"
STARTED_BY_NOBODY = re.compile(r"remove /run/libvirt/qemu/(\S+)\.xml")
LOOK_S = 0.1
REST_S = 150.0
"""Within this after the last fault every migration is over and every guest where it is said to be: 8 s for a lease to lapse, 40 s
until nobody else's calls are obeyed, libvirt's 30 s to notice a dead peer, and the rest for what then is to be done."""
ROUND_S = 300.0
"""A round is judged after that time, however few faults it had."""
PERSON_S = 60.0
"""So long after the last fault a person looks at what is held, and says where the guest is."""
CLEAN_S = 150.0
"""The same for what is left over: definitions, and reservations on hosts that did not answer."""


class Violation(Exception):
    """What must never be; each line says one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is."""

    seed: int
    faults: int
    minutes: float = 0.0
    """Over after that time too; 0 for none."""
    round: int = 16
    armed: int = 3
    """So many wait for their moments at once."""
    guests: int = 8
    hot: int = 2
    blows: tuple[Blow, ...] = BLOWS
    clean: bool = True
    """At the end all leftovers are waited for."""
    keep: Path | None = None
    """Where logs go when something is wrong."""


@dataclass
class Told:
    """What came of it."""

    plan: Plan
    struck: list[Struck] = field(default_factory=list)
    """Only faults that were judged."""
    not_reached: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    takeovers: list[float] = field(default_factory=list)
    """Seconds from a worker's death to another's claim of its run."""
    restarts: int = 0
    """Processes that went on where another had been, under the same worker or another."""
    most_at_once: int = 0
    silent_s: float = 0.0
    seconds: float = 0.0
    changes: int = 0
    cuts: int = 0
    drains: int = 0
    cancelled: int = 0
    stopped: int = 0
    """Faults that struck a migration whose guest was to arrive stopped."""
    resolved: Counter[str] = field(default_factory=Counter)
    """What a person said of Migrations that were held."""
    lost: int = 0
    """Guests whose own QEMU was killed."""
    rests: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Story:
    """Runs it."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._judge = Judge()
        self._log: list[Change] = []
        self._watchers: list[Watcher] = []
        self._began = time.monotonic()
        self.told = Told(plan)

    async def run(self) -> Told:
        """Raises Violation; `told` is filled as far as it came."""
        began = time.monotonic()
        try:
            async with site(self._plan.seed, guests=self._plan.guests, hot=self._plan.hot) as stood:
                self._say(f"up after {time.monotonic() - began:.0f} s: {', '.join(stood.guests)}")
                try:
                    await self._all(stood)
                finally:
                    self.told.seconds = time.monotonic() - began
                    if self.told.wrong:
                        self._keep(stood)
        except BaseExceptionGroup as errors:
            # However deep in task groups.
            if errors.split(Violation)[1] is not None:
                raise
        if self.told.wrong:
            raise Violation("\n".join(self.told.wrong))
        return self.told

    async def _all(self, stood: Site) -> None:
        await self._take_log(stood)
        since = self._log[-1].revision
        servers = stood.servers
        self._watchers = [
            Watcher(servers[first:] + servers[:first], path, resource, since)
            for resource, path in WATCHED.items()
            for first in range(2)
        ]
        async with background(self._watchers, stood) as tasks:
            clients = Clients(stood, self._watchers[0], self._watchers[2], self._watchers[4])
            for watcher in self._watchers:
                watcher.now.update(self._judge.of(watcher.resource))
            striker = Striker(stood, tasks, lambda migration: vm_of(self._watchers[0], migration), clients.stopped)
            working = tasks.create_task(clients.run())
            faults, began = Deck(schedule(self._plan.seed, blows=self._plan.blows)), time.monotonic()
            while (left := self._plan.faults - len(striker.struck)) > 0 and not self._is_late(began):
                clients.working.set()
                wanted, started = len(striker.struck) + min(left, self._plan.round), time.monotonic()
                while (more := wanted - len(striker.struck)) > 0 and time.monotonic() - started < ROUND_S:
                    for armed in batched(faults.take(more), self._plan.armed):
                        if not self._is_late(began):
                            await asyncio.gather(*(self._strike(stood, striker, faults, fault) for fault in armed))
                            self._check(stood)
                    if self._is_late(began):
                        break
                await self._rest(stood, clients, striker, since)
            if self._plan.clean:
                await self._clean(stood)
            await self._take_log(stood)
            working.cancel()

    async def _strike(self, stood: Site, striker: Striker, faults: Deck, fault: Fault) -> None:
        if (hit := await striker.strike(fault)) is not None:
            self._say(f"{len(striker.struck):4}  {fault.blow:9} {fault.moment:10} {hit.migration:10} {hit.what}")
            await asyncio.sleep(stood.random.uniform(0, 0.5))
        else:
            faults.put_back(fault)

    def _is_late(self, began: float) -> bool:
        return bool(self._plan.minutes) and time.monotonic() - began > 60 * self._plan.minutes

    def _check(self, stood: Site) -> None:
        """What must hold at every moment."""
        wrong = [*stood.sights.bugs, *(one for guest in stood.guests.values() for one in guest.broken)]
        wrong += [one for watcher in self._watchers for one in watcher.faults]
        wrong += [f"{part.name} ended by itself" for part in stood.parts if not part.lives and not part.busy]
        holders = stood.hosts.holders()
        for guest in stood.guests.values():
            found = holders.get(guest.uuid, [])
            if not found and not guest.may_die:
                wrong.append(f"{guest.name} runs nowhere")
            if len({one.node for one in found}) < len(found):
                wrong.append(f"{guest.name} runs twice on one host: {found}")
        self._fail(wrong)

    def _fail(self, wrong: list[str]) -> None:
        if wrong:
            self.told.wrong.extend(wrong)
            for one in wrong:
                self._say(f"VIOLATION: {one}")
            raise Violation("\n".join(wrong))

    async def _rest(self, stood: Site, clients: Clients, striker: Striker, since: int) -> None:
        """No more faults; all is mended, all is over, and all is what the hosts say."""
        clients.working.clear()
        await clients.resting.wait()
        await striker.mended()
        for node in NODES:
            await clients.let_in(node)
        began = time.monotonic()
        while unsettled := await self._unsettled(stood):
            self._check(stood)
            if time.monotonic() - began > PERSON_S:
                await self._resolve(stood, clients)
            if time.monotonic() - began > REST_S:
                self._fail([f"not settled {REST_S:.0f} s after the last fault: {one}" for one in unsettled])
            await asyncio.sleep(0.5)
        self.told.rests.append(time.monotonic() - began)
        self._check(stood)
        await self._take_log(stood)
        await self._compare(since)
        self._fail(self._contradictions(stood))
        self._sum(stood, clients, striker)
        for guest in stood.guests.values():
            for at, length in guest.gaps:
                self._say(f"      {guest.name} was silent for {length:.0f} s until {at - self._began:.0f} s")
            guest.gaps.clear()
        await self._bury(stood)
        over = ", ".join(f"{count} {how}" for how, count in sorted(self._judge.phases.items()))
        self._say(f"      at rest after {self.told.rests[-1]:.0f} s, judged up to {self._log[-1].revision}: {over}")

    async def _resolve(self, stood: Site, clients: Clients) -> None:
        """What a person does with a Migration that is held until somebody says where the guest is, after a look at the hosts'
        own processes. A guest that was killed as it went over in post-copy has lost half of its memory. One that arrived
        stopped waits where it is, after two deaths: of whoever moved it, and of the only libvirtd that knew how its copy on the
        source had ended."""
        holders = stood.hosts.holders()
        for one in self._watchers[0].now.values():
            status, annotations = one.get("status") or {}, one["metadata"].get("annotations") or {}
            guest = stood.guests.get(one["spec"]["selector"]["name"])
            held = any((told["type"], told["status"]) == ("Held", "True") for told in status.get("conditions") or [])
            if guest is None or not held or is_over(one) or RESOLVE in annotations:
                continue
            name, target = one["metadata"]["name"], status["migrationState"]["targetNode"]
            if guest.hot and guest.may_die:
                said = "lost"
            elif name in clients.stopped and [found.node for found in holders.get(guest.uuid, [])] == [target]:
                said = "target"
            else:
                continue
            await stood.ask("PATCH", f"{NAMESPACED}/migrations/{name}", {"metadata": {"annotations": {RESOLVE: said}}})
            self.told.resolved[said] += 1
            self._say(f"      a person says of {name}, which is held: {said}")

    async def _unsettled(self, stood: Site) -> list[str]:
        """What is not over yet, or not yet as the hosts say."""
        migrations = await stood.ask("GET", f"{NAMESPACED}/migrations")
        machines = await stood.ask("GET", f"{NAMESPACED}/virtualmachines")
        if migrations is None or machines is None or not (migrations.is_success and machines.is_success):
            return ["the API does not answer"]
        left = [
            f"{one['metadata']['name']} is {one.get('status')}" for one in migrations.json()["items"]
            if not is_over(one) or one["metadata"].get("deletionTimestamp")
        ]  # fmt: skip
        holders = stood.hosts.holders()
        for vm in machines.json()["items"]:
            guest = stood.guests.get(vm["metadata"]["name"])
            if guest is not None:
                left += _differs(guest, vm.get("status") or {}, [one.node for one in holders.get(guest.uuid, [])])
        return left

    async def _take_log(self, stood: Site) -> None:
        since = self._log[-1].revision if self._log else 0
        for change in await stood.database.changes(since):
            self._judge.read(change)
            self._log.append(change)
        self.told.changes = len(self._log)

    async def _compare(self, since: int) -> None:
        """Every watcher has been told what the log says, once and in order."""
        for watcher in self._watchers:
            last = max((one.revision for one in self._log if one.resource == watcher.resource), default=0)
            try:
                async with asyncio.timeout(30):
                    while watcher.revision < last:  # noqa: ASYNC110  (nobody tells of it)
                        await asyncio.sleep(0.05)
            except TimeoutError:
                self._fail([f"watch of {watcher.resource}: not told of {last} within 30 s"])
            told = [one for one in watcher.told if one[1] <= self._log[-1].revision]
            self._fail(missed(told, self._log, watcher.resource, since))

    def _contradictions(self, stood: Site) -> list[str]:
        wrong = list(self._judge.wrong)
        holders = stood.hosts.holders()
        for guest in stood.guests.values():
            nodes = [one.node for one in holders.get(guest.uuid, [])]
            said = self._judge.places.get(guest.uuid)
            if nodes and said != nodes[0]:
                wrong.append(f"{guest.name} runs on {nodes[0]}, and its Migrations say {said}")
        for resource, name, uid, revision in stood.acknowledged:
            found = self._judge.adds.get((resource, name, uid))
            if "." not in resource and resource not in WATCHED:
                continue
            if found != revision:
                wrong.append(f"{resource} {name} was acknowledged at {revision}, and the log has it at {found}")
        return wrong

    async def _bury(self, stood: Site) -> None:
        """Guests whose own QEMU was killed are made anew; those that lived through it count as untouched."""
        holders = stood.hosts.holders()
        for guest in list(stood.guests.values()):
            if guest.may_die and not holders.get(guest.uuid):
                self.told.lost += 1
                await stood.remove_guest(guest)
                await stood.add_guest(hot=guest.hot)
            guest.may_die = ""

    async def _clean(self, stood: Site) -> None:
        """Nothing is left over: each guest is known to its host alone, and reserved nowhere else."""
        began = time.monotonic()
        while left := await self._leftovers(stood):
            if time.monotonic() - began > PERSON_S:
                await self._release(stood)
            if time.monotonic() - began > CLEAN_S:
                self._fail([f"not cleaned within {CLEAN_S:.0f} s: {one}" for one in left])
            await asyncio.sleep(1)
        self._check(stood)
        self._say(f"      clean after {time.monotonic() - began:.0f} s")

    async def _release(self, stood: Site) -> None:
        """What a person does with a guest that libvirt starts for ever, once the Node tells so: what the Node says, unless a
        process has that guest there."""
        holders = stood.hosts.holders()
        for node in NODES:
            document = (await stood.surely("GET", f"/api/v1/nodes/{node}")).json()
            conditions = document["status"].get("conditions") or []
            told = "".join(one["message"] for one in conditions if one["type"] == "ForeignGuests")
            for name in STARTED_BY_NOBODY.findall(told):
                uuid = next((one.uuid for one in stood.guests.values() if name == f"default_{one.name}"), "")
                if any(one.node == node for one in holders.get(uuid, [])):
                    self._fail([f"{node} says that no process has {name}, and one has it"])
                host = stood.hosts[node]
                await asyncio.to_thread(host.kill)
                for noted in host.directory.glob(f"**/run/**/{name}.xml"):
                    noted.unlink()
                await asyncio.to_thread(host.start)
                self.told.resolved["without a process"] += 1
                self._say(f"      a person takes {name}, which no process has, from {node}")

    async def _leftovers(self, stood: Site) -> list[str]:
        left = []
        holders = stood.hosts.holders()
        for node in NODES:
            known = await stood.hosts.virsh(node, "list", "--all", "--uuid")
            runs = await stood.hosts.virsh(node, "list", "--state-running", "--uuid")
            if known is None or runs is None:
                return [f"{node} does not answer"]
            here = {
                guest.uuid for guest in stood.guests.values() if [h.node for h in holders.get(guest.uuid, [])] == [node]
            }
            left += [f"{node} knows {uuid}" for uuid in known.split() if uuid not in here]
            left += [f"{node} does not run {uuid}" for uuid in here - set(runs.split())]
        pods = await stood.surely("GET", "/api/v1/namespaces/default/pods")
        alive = [one for one in pods.json()["items"] if is_launcher(one)]
        for guest in stood.guests.values():
            mine = [one for one in alive if one["metadata"]["labels"].get("kubevirt.io/vmUID") == guest.uuid]
            nodes = [one["spec"]["nodeName"] for one in mine]
            if nodes != [one.node for one in holders.get(guest.uuid, [])]:
                left.append(f"{guest.name} has pods on {nodes}")
        return left

    def _sum(self, stood: Site, clients: Clients, striker: Striker) -> None:
        told = self.told
        told.struck, told.not_reached = list(striker.struck), Counter(striker.not_reached)
        told.ended, told.most_at_once = Counter(self._judge.phases), self._judge.most
        told.silent_s = max([told.silent_s, *(guest.silent_s for guest in stood.guests.values())])
        told.cuts = sum(watcher.cuts for watcher in self._watchers)
        told.drains, told.cancelled = clients.drains, clients.cancelled
        told.stopped = sum(one.migration in clients.stopped for one in told.struck)
        told.takeovers, told.restarts = takeovers(stood, striker.struck)

    def _keep(self, stood: Site) -> None:
        """What is needed to find out why."""
        folder = self._plan.keep
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for log in [*stood.folder.glob("*.log"), *stood.hosts.lab.directory.glob("*/libvirtd.log")]:
            name = log.name if log.parent == stood.folder else f"{log.parent.name}.{log.name}"
            (folder / name).write_bytes(log.read_bytes())
        lines = [f"{one.revision} {one.type} {one.resource} {one.name} {one.body.get('status')}" for one in self._log]
        (folder / "changes.txt").write_text("\n".join(lines))
        (folder / "wrong.txt").write_text("\n".join(self.told.wrong))


def _differs(guest: Guest, status: Document, nodes: list[str]) -> list[str]:
    if not nodes and guest.may_die:
        ended = status.get("phase") in ("Failed", "Succeeded")
        return [] if ended else [f"{guest.name} is dead ({guest.may_die}), and its status is {status}"]
    said = (status.get("phase"), status.get("nodeName"), status.get("migrationNodeName"))
    if len(nodes) != 1 or said != ("Running", nodes[0], None):
        return [f"{guest.name} is on {nodes}, and its status is {status}"]
    return (
        []
        if guest.ticks(2.5)
        else [f"{guest.name} on {nodes[0]} is silent since {time.monotonic() - guest.heard_at:.0f} s"]
    )


def batched(faults: list[Fault], size: int) -> list[list[Fault]]:
    return [faults[first : first + size] for first in range(0, len(faults), size)]


def is_launcher(pod: Document) -> bool:
    labels = pod["metadata"].get("labels") or {}
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return labels.get("kubevirt.io") == "virt-launcher" and not ended


def vm_of(migrations: Watcher, name: str) -> str:
    found = migrations.now.get(f"default/{name}")
    return "" if found is None else str(found["spec"]["selector"]["name"])


def takeovers(stood: Site, struck: list[Struck]) -> tuple[list[float], int]:
    """From a worker's death to another's claim of a run that it held; and how often a process was followed by another."""
    deaths = [
        (one.at, one.what.split()[0] if one.what.startswith("worker") else one.what.split(", ")[-1].split()[0])
        for one in struck
        if "worker" in one.what and one.fault.blow is Blow.KILL
    ]
    found, last = list[float](), dict[str, Sight]()
    for sight in stood.sights.seen:
        if sight.moment is Moment.CLAIMED and sight.migration in last:
            before = last[sight.migration]
            died = [at for at, part in deaths if part == before.part and before.at <= at <= sight.at]
            if died and sight.token > before.token:
                found.append(sight.at - died[-1])
        if sight.token:
            last[sight.migration] = sight
    return found, sum(sight.moment is Moment.TAKEN_OVER for sight in stood.sights.seen)


@asynccontextmanager
async def background(watchers: list[Watcher], stood: Site) -> AsyncIterator[asyncio.TaskGroup]:
    """What goes on beside the faults, ended on the way out."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(watcher.run()) for watcher in watchers]
        running.append(tasks.create_task(_listen(stood)))
        try:
            yield tasks
        finally:
            for task in running:
                task.cancel()


async def _listen(stood: Site) -> None:
    while True:
        for guest in list(stood.guests.values()):
            guest.listen()
        await asyncio.sleep(LOOK_S)
