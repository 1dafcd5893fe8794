"""Hosts that go away: cut off, killed, frozen with their connections open, or too busy to take work. Nodes and VirtualMachines
say so in time, other hosts are not slowed, and when they are back everything is as it was."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.guest import virtual_machine
from app.lab.namespaces import NamespaceHost
from tests.e2e.harness import KUBEVIRT, eventually
from tests.e2e.namespaced import Site, networked

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.namespaces]

TOLD_S = 15.0


def guest(site: Site, name: str, node: str, *, mib_per_second: float = 0, dirty_mib: int = 32) -> str:
    """A guest without a kernel that runs on that node and may move; its uid."""
    image = build_boot_sector(site.lab.images / f"{name}.img", dirty_mib=dirty_mib, mib_per_second=mib_per_second)
    console = site.lab.consoles / name
    body = virtual_machine(
        name, boot_sector_xml(name, "", image, console=console), labels={},
        nodeSelector={"kubernetes.io/hostname": node}, terminationGracePeriodSeconds=0,
    )  # fmt: skip
    path = f"{KUBEVIRT}/namespaces/default/virtualmachines"
    answer = site.drover.request("POST", path, body)
    assert answer.status_code == 201, answer.text
    eventually(f"{name} runs", lambda: phase(site, name) == "Running")
    free = {"spec": {"nodeSelector": {"kubernetes.io/hostname": None}}}
    assert site.drover.request("PATCH", f"{path}/{name}", free, kind="application/merge-patch+json").status_code == 200
    uid: str = site.drover.vm(name)["metadata"]["uid"]
    return uid


def phase(site: Site, name: str) -> str:
    return str((site.drover.vm(name).get("status") or {}).get("phase", ""))


def ready(site: Site, node: str) -> tuple[str, str]:
    """The condition Ready, and its message."""
    conditions = site.drover.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
    (found,) = [condition for condition in conditions if condition["type"] == "Ready"]
    return found["status"], found["message"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Two hosts that Drover reaches through the network, with five workers in each libvirtd."""
    with networked("node0", "node1", libvirtd_conf="max_workers = 5\nprio_workers = 2\n") as made:
        for host in made.lab:
            made.register(host, uri=host.peer_uri)
        yield made


@contextmanager
def cut_off(site: Site, host: NamespaceHost) -> Iterator[None]:
    host.cut()
    try:
        yield
    finally:
        host.heal()


@contextmanager
def frozen(site: Site, host: NamespaceHost) -> Iterator[None]:
    daemons = host.enclosure.processes("libvirtd")
    for daemon in daemons:
        daemon.send(signal.SIGSTOP)
    try:
        yield
    finally:
        # The program that put it there stops with it, and would not see its end.
        for process in (*daemons, *host.enclosure.processes("nsenter")):
            process.send(signal.SIGCONT)


@contextmanager
def killed(site: Site, host: NamespaceHost) -> Iterator[None]:
    host.kill()
    try:
        yield
    finally:
        host.start()


@contextmanager
def too_busy(site: Site, host: NamespaceHost) -> Iterator[None]:
    """Every ordinary worker of its libvirtd waits for a QEMU that is stopped."""
    uuid = subprocess.run(
        ["virsh", "-q", "-c", host.uri, "list", "--uuid"], capture_output=True, text=True, timeout=20, check=True
    ).stdout.split()[0]
    stopped = host.guests()
    for qemu in stopped:
        qemu.send(signal.SIGSTOP)
    waiting = [
        subprocess.Popen(
            ["virsh", "-q", "-c", host.uri, "qemu-monitor-command", uuid, "--hmp", "info status"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(6)
    ]  # fmt: skip
    try:
        yield
    finally:
        for qemu in stopped:
            qemu.send(signal.SIGCONT)
        for one in waiting:
            try:
                one.wait(60)
            finally:
                one.kill()
                one.wait()


Trouble = Callable[[Site, NamespaceHost], AbstractContextManager[None]]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(cut_off, marks=pytest.mark.xdist_group("hosts-away")),
        *(
            pytest.param(one, marks=[pytest.mark.slow, pytest.mark.xdist_group("hosts-away")])
            for one in (frozen, killed, too_busy)
        ),
    ],
)
def test_a_host_that_does_not_answer_is_told_in_time_and_slows_no_other(site: Site, trouble: Trouble) -> None:
    name, other = f"on0-{trouble.__name__}".replace("_", "-"), f"on1-{trouble.__name__}".replace("_", "-")
    uid = guest(site, name, "node0")
    before = [process.pid for process in site.lab["node0"].guests()]

    with trouble(site, site.lab["node0"]):
        began = time.monotonic()
        eventually("node0 is not Ready", lambda: ready(site, "node0")[0] != "True", TOLD_S)
        eventually("its guest is Unknown", lambda: phase(site, name) == "Unknown", TOLD_S - (time.monotonic() - began))
        told_s, why = time.monotonic() - began, ready(site, "node0")[1]
        asked = time.monotonic()
        guest(site, other, "node1")
        started_s = time.monotonic() - asked
        assert ready(site, "node1")[0] == "True"
    healed = time.monotonic()
    eventually("node0 is Ready again", lambda: ready(site, "node0")[0] == "True", 60)
    eventually("its guest runs as before", lambda: phase(site, name) == "Running", 30)
    back_s = time.monotonic() - healed

    print(
        f"\n{trouble.__name__}: told after {told_s:.1f} s ({why}); a guest elsewhere in {started_s:.1f} s; back in {back_s:.1f} s"
    )
    assert started_s < 10
    assert set(before) <= {process.pid for process in site.lab["node0"].guests()}
    assert site.guests_at("node0", uid) == 1 and site.guests_at("node1", uid) == 0
