"""Cables between hosts that are cut at one step of a migration after another: no guest is ever in two places, the Migration
tells the truth, and after healing nothing is left over."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from app.lab.namespaces import NamespaceHost
from tests.e2e.harness import KUBEVIRT, eventually
from tests.e2e.namespaced import Site, networked
from tests.e2e.test_hosts_go_away import cut_off, guest

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.namespaces]

SLOW = {"options": {"bandwidthPerMigration": "8Mi"}}
CUT_S = 45.0
"""Longer than libvirt's keepalive between hosts, 30 s, and than a lease."""
ENDED_S = 150.0
"""After healing: a lease, the former holder's calls, and what remains then."""


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


@contextmanager
def events(host: NamespaceHost) -> Iterator[Callable[[str], None]]:
    """Waits for words in what the host's libvirtd tells of its guests."""
    process = subprocess.Popen(
        ["stdbuf", "-oL", "virsh", "-c", host.uri, "event", "--event", "lifecycle", "--loop", "--timeout", "90"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip

    def wait(words: str) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if words in line:
                return
        raise AssertionError(f"libvirtd of {host.name} never told of {words}")

    try:
        yield wait
    finally:
        process.kill()
        process.communicate()


def until_bytes_move(site: Site, name: str, wait: Callable[[str], None]) -> None:
    eventually("bytes move", lambda: moved(site, name) > 0, 40)


def until_it_has_left(site: Site, name: str, wait: Callable[[str], None]) -> None:
    wait("Stopped Migrated")


def moved(site: Site, name: str) -> int:
    progress = (site.drover.migration(name).get("status") or {}).get("progress") or {}
    return int(progress.get("dataProcessedBytes") or 0)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Hosts whose cut Drover feels too."""
    with networked("node0", "node1") as made:
        for host in made.lab:
            made.register(host, uri=host.peer_uri)
        yield made


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.xdist_group("cables")
@pytest.mark.parametrize(
    ("moment", "cut", "place"), [(until_bytes_move, "node1", "node0"), (until_it_has_left, "node0", "node1")]
)
def test_a_cut_cable_leaves_one_guest_and_the_truth(
    site: Site, moment: Callable[[Site, str, Callable[[str], None]], None], cut: str, place: str
) -> None:
    name = f"cut-{cut}"
    uid = guest(site, name, "node0", mib_per_second=2)
    with ExitStack() as stack:
        observer = stack.enter_context(Observer(site, uid).watching())
        wait = stack.enter_context(events(site.lab["node0"]))
        site.drover.migrate(name, f"{name}-m", **(SLOW if place == "node0" else {}))
        moment(site, f"{name}-m", wait)

        with cut_off(site, site.lab[cut]):
            time.sleep(CUT_S)
        healed = time.monotonic()
        ended = site.drover.finished(f"{name}-m", ENDED_S)["status"]
        took_s = time.monotonic() - healed
        eventually("it runs in one place", lambda: observer.places() == [place], 60)
        vm = eventually(
            "its VirtualMachine says where", lambda: v if at(v := site.drover.vm(name), place) else None, 90
        )
        assert "migrationNodeName" not in vm["status"]

        assert ended["phase"] == ("Failed" if place == "node0" else "Succeeded"), ended
        other = "node1" if place == "node0" else "node0"
        eventually("nothing of it is left elsewhere", lambda: state(site.lab[other], uid) == "", 90)
        site.drover.migrate(name, f"{name}-next")
        assert site.drover.finished(f"{name}-next", 60)["status"]["phase"] == "Succeeded"
    reason = ended["conditions"][-1]["reason"]
    print(f"\n{cut}: {ended['phase']} {reason}, told {took_s:.0f} s after healing")
    assert observer.twice == []
    removed = site.drover.request("DELETE", f"{KUBEVIRT}/namespaces/default/virtualmachines/{name}")
    assert removed.status_code == 200, removed.text


def at(vm: dict[str, dict[str, str]], node: str) -> bool:
    return (vm["status"].get("nodeName"), vm["status"].get("phase")) == (node, "Running")
