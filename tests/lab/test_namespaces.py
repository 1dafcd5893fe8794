"""Hosts in network namespaces: addresses of their own, cables that can be cut, and nothing left afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.lab import processes
from app.lab.enclosure import Enclosure
from app.lab.errors import LabError
from app.lab.namespaces import NamespaceLab
from app.lab.processes import process, wait_until

pytestmark = [pytest.mark.libvirt, pytest.mark.namespaces]

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 16509), 0.5).close()"
HOLD = """
import sys
from app.lab.namespaces import NamespaceLab
with NamespaceLab("node0") as lab:
    host = lab["node0"].enclosure
    print(lab.directory, host.pid, *(one.pid for one in host.processes("libvirtd")), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[NamespaceLab]:
    with NamespaceLab() as standing:
        yield standing


def reaches(here: Enclosure, address: str) -> bool:
    try:
        here.run(sys.executable, "-c", CONNECT, address)
    except LabError:
        return False
    return True


def test_hosts_reach_one_another_and_each_has_its_own_name_and_uuid(lab: NamespaceLab) -> None:
    names = [
        lab["node0"].enclosure.run("virsh", "-c", lab[name].peer_uri, "hostname").strip() for name in ("node0", "node1")
    ]
    uuids = {lab[name].enclosure.run("virsh", "capabilities").partition("<uuid>")[2][:36] for name in names}

    assert names == ["node0", "node1"]
    assert len(uuids) == 2


def test_nothing_of_it_is_seen_outside(lab: NamespaceLab) -> None:
    outside = subprocess.run(["ip", "address"], capture_output=True, text=True, check=True).stdout

    assert lab["node0"].address not in outside
    assert str(lab.directory) not in Path("/proc/mounts").read_text()


def test_a_host_that_is_cut_off_is_reached_again_when_it_is_healed(lab: NamespaceLab) -> None:
    address = lab["node1"].address
    assert reaches(lab.switch, address)

    lab.cut("node1")
    cut = reaches(lab.switch, address), reaches(lab["node0"].enclosure, address)
    lab.heal("node1")

    assert cut == (False, False)
    assert wait_until(lambda: reaches(lab.switch, address), 10)
    assert reaches(lab["node0"].enclosure, address)


def test_a_libvirtd_that_was_killed_starts_again(lab: NamespaceLab) -> None:
    host = lab["node0"]
    before = host.enclosure.processes("libvirtd")

    host.kill()
    assert host.enclosure.processes("libvirtd") == []
    host.start()

    assert len(before) == len(host.enclosure.processes("libvirtd")) == 1
    assert before != host.enclosure.processes("libvirtd")


def test_a_host_without_power_takes_its_processes_with_it() -> None:
    with NamespaceLab("node0") as lab:
        host = lab["node0"]
        seen = host.enclosure.processes("libvirtd")
        host.power_off()

        assert seen
        assert not any(one.alive for one in seen)


def test_whoever_makes_a_lab_may_be_killed_and_no_process_is_left() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as maker:
        assert maker.stdout is not None
        folder, *pids = maker.stdout.readline().split()
        inside = [seen for pid in pids if (seen := process(int(pid))) is not None]

        os.kill(maker.pid, signal.SIGKILL)

    assert len(inside) == 2
    assert wait_until(lambda: not any(one.alive for one in inside), 10)
    subprocess.run(["rm", "-r", folder], check=True)


def test_the_innermost_of_a_chain_is_found() -> None:
    with subprocess.Popen(["sh", "-c", "cat; true"], stdin=subprocess.PIPE) as outer:
        assert wait_until(lambda: processes.innermost(outer.pid).arguments() == ("cat",), 10)
        assert outer.stdin is not None
        outer.stdin.close()
