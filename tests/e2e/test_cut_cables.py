"""Cables that are cut at one step of a migration after another, between the two hosts or between Drover and one of them: no guest
is ever in two places, the Migration tells the truth, and soon after healing nothing is left over."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.lab.meter import Meter
from app.lab.namespaces import NamespaceHost
from tests.chaos.faults import Moment
from tests.chaos.sights import Sight, Sights
from tests.e2e.harness import KUBEVIRT, eventually
from tests.e2e.namespaced import Site, networked
from tests.e2e.test_hosts_go_away import guest

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.namespaces, pytest.mark.xdist_group("cables")]

CUT_S = 45.0
"""Longer than libvirt's keepalive between hosts, 30 s, after which the source resumes its copy; and than a lease."""
ENDED_S = 120.0
"""After healing: a lease, 40 s until no former holder's call is obeyed, libvirt's 30 s, and what remains then."""
TOLD_S = 120.0
"""A host that came back is gone through, at the latest after 30 s, and must run the guest twice for 10 s until that is told."""
REACHED_S = 130.0
"""Until TCP tries again after a cut: 64 s at most, or gives up, and the host is asked anew."""
COMES_S = 60.0
"""How long a moment is waited for."""


@dataclass
class Observer:
    """Asks both hosts by their sockets, which no cut reaches, where the guest runs."""

    site: Site
    uid: str
    twice: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def places(self) -> list[str]:
        return [host.name for host in self.site.lab if state(host, self.uid) == "running"]

    def run(self) -> None:
        before: list[str] = []
        while not self._over.wait(0.3):
            found = self.places()
            # One host is asked after the other: only what is seen twice in a row is there at once.
            if len(found) > 1 and before == found:
                self.twice.append(f"{found} at {time.monotonic():.1f}")
            before = found

    @contextmanager
    def watching(self) -> Iterator[Observer]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(60)


def state(host: NamespaceHost, uid: str) -> str:
    done = subprocess.run(
        ["virsh", "-q", "-c", host.uri, "domstate", uid], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout.strip()


# Where it is cut.


@contextmanager
def between_the_hosts(site: Site) -> Iterator[None]:
    with _done_to(site.lab, NamespaceHost.part, NamespaceHost.rejoin):
        yield


@contextmanager
def to_the_source(site: Site) -> Iterator[None]:
    with _done_to([site.lab["node0"]], NamespaceHost.hide, NamespaceHost.show):
        yield


@contextmanager
def to_the_target(site: Site) -> Iterator[None]:
    with _done_to([site.lab["node1"]], NamespaceHost.hide, NamespaceHost.show):
        yield


@contextmanager
def on_the_way_back(site: Site) -> Iterator[None]:
    """The guest arrives, and what libvirt on the target answers is lost."""
    source, target = site.lab["node0"], site.lab["node1"]
    with _done_to([target], lambda host: host.mute(source), lambda host: host.unmute(source)):
        yield


Act = Callable[[NamespaceHost], None]


@contextmanager
def _done_to(hosts: Any, cut: Act, heal: Act) -> Iterator[None]:
    try:
        for host in hosts:
            cut(host)
        yield
    finally:
        for host in hosts:
            heal(host)


# When.


def await_moment(site: Site, migration: str, moment: Moment, act: Callable[[], object]) -> Sight:
    """`act` was called in the turn in which the log told of that moment."""
    seen: list[Sight] = []

    def now(sight: Sight) -> None:
        act()
        seen.append(sight)

    async def wait() -> bool:
        sights = Sights()
        sights.follow("drover", site.drover.log)
        reading = asyncio.create_task(sights.run())
        try:
            return await sights.strike(lambda one: (one.migration, one.moment) == (migration, moment), now, COMES_S)
        finally:
            reading.cancel()

    assert asyncio.run(wait()), f"{migration} never came to {moment}; {site.drover.last_words()}"
    return seen[0]


SLOWLY = {"bandwidthPerMigration": "8Mi"}
STOPPED = {**SLOWLY, "arrivePaused": True}


def options(moment: Moment) -> dict[str, Any]:
    """Slow where the copy itself is to be met; and for post-copy a guest that ends in no other way."""
    if moment is Moment.POST_COPY:
        return {"bandwidthPerMigration": "16Mi", "allowPostCopy": True}
    return SLOWLY if moment in (Moment.COPYING, Moment.TAKEN_OVER) else {}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Hosts whose cut Drover feels too."""
    with networked("node0", "node1", settings={"DROVER_LOG_FORMAT": "json", "DROVER_PAIR_FAILURES": "1000"}) as made:
        for host in made.lab:
            made.register(host, uri=host.peer_uri)
        yield made


@dataclass(frozen=True)
class Ended:
    """How one ended."""

    phase: str
    reason: str
    place: str
    healed_s: float
    """How long after healing it was over."""


def moved_across(
    site: Site, name: str, moment: Moment, cut: Callable[[Site], Any], *, cut_s: float, stopped: bool = False
) -> Ended:
    """A migration from node0 to node1 whose cable is cut then: every promise is kept, and the guest is gone on return."""
    hot = moment is Moment.POST_COPY
    uid = guest(site, name, "node0", mib_per_second=40 if hot else 2, dirty_mib=24 if hot else 32)
    migration = f"{name}-m"
    with ExitStack() as stack:
        observer = stack.enter_context(Observer(site, uid).watching())
        meter = stack.enter_context(Meter(site.lab.consoles / name))
        assert meter.wait_for_ticks(3, 20)
        site.drover.migrate(name, migration, options=STOPPED if stopped else options(moment))
        if moment is Moment.TAKEN_OVER:
            await_moment(site, migration, Moment.COPYING, lambda: None)
            sight = await_moment(site, migration, Moment.CALLED, lambda: None)
            assert sight.pid is not None
            os.kill(sight.pid, signal.SIGKILL)
        with ExitStack() as cable:
            await_moment(site, migration, moment, lambda: cable.enter_context(cut(site)))
            time.sleep(cut_s)
        healed = time.monotonic()
        ended = site.drover.finished(migration, ENDED_S)["status"]
        healed_s = time.monotonic() - healed

        place = "node1" if ended["phase"] == "Succeeded" else "node0"
        other = "node0" if place == "node1" else "node1"
        eventually("it runs where the phase says", lambda: observer.places() == [place], 30)
        eventually("its VirtualMachine says where", lambda: at(site.drover.vm(name), place), 60)
        eventually("nothing of it is left elsewhere", lambda: state(site.lab[other], uid) == "", 60)
        assert "migrationNodeName" not in site.drover.vm(name)["status"]
        assert meter.wait_for_ticks(3, 20)
        ticks = meter.read()
    assert observer.twice == []
    assert ticks.unbroken, ticks
    await_ways(site)
    site.drover.migrate(name, f"{name}-next", nodeSelector={"kubernetes.io/hostname": other})
    assert site.drover.finished(f"{name}-next", 60)["status"]["phase"] == "Succeeded"
    removed = site.drover.request("DELETE", f"{KUBEVIRT}/namespaces/default/virtualmachines/{name}")
    assert removed.status_code == 200, removed.text
    return Ended(ended["phase"], ended["conditions"][-1]["reason"], place, healed_s)


def await_ways(site: Site) -> None:
    """Until no host is known not to reach the other."""

    def reaches(node: str) -> bool:
        return "unreachablePeers" not in site.drover.request("GET", f"/api/v1/nodes/{node}").json()["status"]

    eventually("the hosts reach each other", lambda: all(reaches(host.name) for host in site.lab), REACHED_S)


@pytest.fixture(autouse=True)
def mended(site: Site) -> None:
    """Whatever was cut before."""
    await_ways(site)


def conditions(site: Site, migration: str) -> set[str]:
    status = site.drover.migration(migration).get("status") or {}
    return {one["type"] for one in status.get("conditions") or [] if one["status"] == "True"}


def at(vm: dict[str, dict[str, str]], node: str) -> bool:
    return (vm["status"].get("nodeName"), vm["status"].get("phase")) == (node, "Running")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("moment", "cut_s"),
    [
        (Moment.COPYING, 14.0),
        pytest.param(Moment.COPYING, CUT_S, marks=pytest.mark.slow),
        pytest.param(Moment.TAKEN_OVER, CUT_S, marks=pytest.mark.slow),
    ],
)
def test_a_source_that_never_hears_of_the_arrival_does_not_run_the_guest_a_second_time(
    site: Site, moment: Moment, cut_s: float
) -> None:
    """Left alone, libvirt on the source resumes its copy when the target's answer is 30 s late, and the guest runs twice."""
    ended = moved_across(site, f"unheard-{moment}-{cut_s:.0f}", moment, on_the_way_back, cut_s=cut_s)

    assert (ended.phase, ended.place) == ("Succeeded", "node1")


@contextmanager
def alone(site: Site) -> Iterator[None]:
    """The source hears nothing from the target, and Drover nothing from the source."""
    with on_the_way_back(site), to_the_source(site):
        yield


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_guest_that_nobody_could_keep_from_running_twice_is_told_until_a_person_has_chosen(site: Site) -> None:
    """A source that is alone resumes its copy: no word of Drover's reaches it."""
    name = "alone"
    uid = guest(site, name, "node0", mib_per_second=2)
    with Observer(site, uid).watching() as observer:
        site.drover.migrate(name, f"{name}-m", options=options(Moment.COPYING))
        with ExitStack() as cable:
            await_moment(site, f"{name}-m", Moment.COPYING, lambda: cable.enter_context(alone(site)))
            eventually("it runs twice", lambda: len(observer.places()) == 2, 60)
        ended = site.drover.finished(f"{name}-m", ENDED_S)["status"]
        eventually("that is told", lambda: duplicate(site, name) == "True", TOLD_S)

        assert (ended["phase"], site.drover.vm(name)["status"]["nodeName"]) == ("Succeeded", "node1")
        assert site.drover.told("VirtualMachine", name, "RunsTwice")
        assert sorted(observer.places()) == ["node0", "node1"]
        subprocess.run(["virsh", "-q", "-c", site.lab["node0"].uri, "destroy", uid], timeout=30, check=True)
        eventually("that is over", lambda: duplicate(site, name) != "True", TOLD_S)
        eventually("nothing of it is left there", lambda: state(site.lab["node0"], uid) == "", 60)
    removed = site.drover.request("DELETE", f"{KUBEVIRT}/namespaces/default/virtualmachines/{name}")
    assert removed.status_code == 200, removed.text


def duplicate(site: Site, name: str) -> str:
    """The status of that condition."""
    conditions = site.drover.vm(name)["status"].get("conditions") or []
    return next((one["status"] for one in conditions if one["type"] == "Duplicate"), "")


@contextmanager
def unseen(site: Site) -> Iterator[None]:
    """The source hears nothing from the target, and nor does Drover."""
    with on_the_way_back(site), to_the_target(site):
        yield


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("cut", "phase", "held"),
    [
        (alone, "Failed", True),
        (unseen, "Failed", False),
        (on_the_way_back, "Failed", False),
        (to_the_target, "Succeeded", True),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_guest_that_arrives_stopped_never_runs_twice(
    site: Site, cut: Callable[[Site], Any], phase: str, held: bool
) -> None:
    """Not even where Drover hears of nobody that is cut off: the source runs on, or the guest is started when it is reached,
    and until then that is told."""
    name = f"stopped-{cut.__name__}".replace("_", "-")

    ended = moved_across(site, name, Moment.COPYING, cut, cut_s=CUT_S, stopped=True)

    assert ended.phase == phase
    assert site.drover.told("Migration", f"{name}-m", "Held") is held


@contextmanager
def waiting_unheard(site: Site, name: str) -> Iterator[tuple[str, int]]:
    """A guest that waits on node1 to be started, which node0 has not heard of; its uid, and its migration's process. It ends
    on one host, was never on two, and lost nothing."""
    uid = guest(site, name, "node0", mib_per_second=2)
    with Observer(site, uid).watching() as observer, Meter(site.lab.consoles / name) as meter:
        assert meter.wait_for_ticks(3, 20)
        site.drover.migrate(name, f"{name}-m", options=STOPPED)
        with ExitStack() as cable:
            sight = await_moment(site, f"{name}-m", Moment.COPYING, lambda: cable.enter_context(on_the_way_back(site)))
            eventually("it waits there", lambda: why(site.lab["node1"], uid) == "paused (user)", COMES_S)
            assert sight.pid is not None
            yield uid, sight.pid
        ended = site.drover.finished(f"{name}-m", ENDED_S)["status"]
        place, other = ("node1", "node0") if ended["phase"] == "Succeeded" else ("node0", "node1")
        eventually("it runs where the phase says", lambda: observer.places() == [place], 30)
        eventually("nothing of it is left elsewhere", lambda: state(site.lab[other], uid) == "", 60)
        assert meter.wait_for_ticks(3, 20)
        ticks = meter.read()
    assert observer.twice == []
    assert ticks.unbroken, ticks
    removed = site.drover.request("DELETE", f"{KUBEVIRT}/namespaces/default/virtualmachines/{name}")
    assert removed.status_code == 200, removed.text


def why(host: NamespaceHost, uid: str) -> str:
    done = subprocess.run(
        ["virsh", "-q", "-c", host.uri, "domstate", uid, "--reason"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_guest_that_waits_is_started_by_whoever_takes_over(site: Site) -> None:
    with waiting_unheard(site, "taken-over-waiting") as (_, process):
        os.kill(process, signal.SIGKILL)

    assert site.drover.phase("taken-over-waiting-m") == "Succeeded"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_target_whose_libvirtd_dies_before_it_answers_leaves_one_guest_and_the_truth(site: Site) -> None:
    """Its kernel may deliver the answer after its end, once the cable is healed, or refuse the connection."""
    with waiting_unheard(site, "unanswered-waiting"):
        site.lab["node1"].kill()
        site.lab["node1"].start()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_target_whose_libvirtd_dies_as_a_guest_goes_over_in_post_copy_leaves_the_truth(site: Site) -> None:
    """A libvirtd that is started again ends whatever was coming to it and was not said to have come: also a guest that its
    source has handed over a moment ago. Whether it was that moment, nobody can choose; what is said must be so either way."""
    name, target = "handed-over", site.lab["node1"]
    uid = guest(site, name, "node0", mib_per_second=40, dirty_mib=24)

    def restarted() -> None:
        target.kill()
        target.start()

    with Observer(site, uid).watching() as observer, Meter(site.lab.consoles / name) as meter:
        assert meter.wait_for_ticks(3, 20)
        site.drover.migrate(name, f"{name}-m", options=options(Moment.POST_COPY))
        await_moment(site, f"{name}-m", Moment.POST_COPY, restarted)
        eventually(
            "it is over, or held", lambda: conditions(site, f"{name}-m") & {"Succeeded", "Failed", "Held"}, ENDED_S
        )
        if "Held" in conditions(site, f"{name}-m"):
            # Half of its memory is gone, which a person must say.
            site.drover.kubectl("annotate", "migration", f"{name}-m", "kubevirt.io/resolve=lost")
        ended = site.drover.finished(f"{name}-m", ENDED_S)["status"]
        place = {"Succeeded": "node1", "Failed": "node0"}[ended["phase"]]
        if ended["conditions"][-1]["reason"] == "Lost":
            eventually("it runs nowhere", lambda: observer.places() == [])
            eventually("its VirtualMachine says so", lambda: site.drover.vm(name)["status"]["phase"] == "Failed", 60)
        else:
            eventually("it runs where the phase says", lambda: observer.places() == [place], 30)
            eventually("its VirtualMachine says where", lambda: at(site.drover.vm(name), place), 60)
    assert observer.twice == []
    removed = site.drover.request("DELETE", f"{KUBEVIRT}/namespaces/default/virtualmachines/{name}")
    assert removed.status_code == 200, removed.text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_arriving_stopped_costs_a_little_silence(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ways in turn, in both directions; on hosts whose first process sees at once that a QEMU has ended, as an init does."""
    name, silences = "silent", dict[bool, list[float]]({False: [], True: []})
    uid = guest(site, name, "node0", mib_per_second=2)
    for number in range(10):
        stopped = number % 4 in (1, 2)
        with Meter(site.lab.consoles / name) as meter:
            assert meter.wait_for_ticks(3, 20)
            site.drover.migrate(name, f"{name}-{number}", options={"arrivePaused": stopped})
            assert site.drover.finished(f"{name}-{number}", 60)["status"]["phase"] == "Succeeded"
            assert meter.wait_for_ticks(3, 20)
            ticks = meter.read()
        assert ticks.unbroken, ticks
        silences[stopped].append(ticks.longest_s)
        left = site.lab[("node0", "node1")[number % 2]]
        eventually("nothing of it is left there", lambda left=left: state(left, uid) == "", 60)  # type: ignore[misc]

    by_default, arriving = statistics.median(silences[False]), statistics.median(silences[True])
    with capsys.disabled():
        print(f"\nsilent for {by_default:.2f} s, arriving stopped for {arriving:.2f} s (medians): {silences}")
    assert arriving < by_default + 1.5
    removed = site.drover.request("DELETE", f"{KUBEVIRT}/namespaces/default/virtualmachines/{name}")
    assert removed.status_code == 200, removed.text


MOMENTS = [moment for moment in Moment if moment not in (Moment.ANY, Moment.PENDING)]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("cut", [between_the_hosts, to_the_source, to_the_target], ids=lambda cut: cut.__name__)
@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_a_cut_cable_leaves_one_guest_and_the_truth(
    site: Site, moment: Moment, cut: Callable[[Site], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{cut.__name__}-{moment}".replace("_", "-")[:50]

    ended = moved_across(site, name, moment, cut, cut_s=CUT_S)

    with capsys.disabled():
        print(f"\n{moment}, {cut.__name__}: {ended.phase} {ended.reason}, told {ended.healed_s:.0f} s after healing")
