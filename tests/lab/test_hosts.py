"""Hosts come up for an ordinary user, come back with their guests, and leave nothing, however they ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest

from app.lab.errors import LabError
from app.lab.hosts import LONGEST_FOLDER, LabHosts
from app.lab.meter import Meter
from app.lab.processes import PROC, process
from tests.lab.virsh import move, start_boot_sector, virsh

pytestmark = [pytest.mark.libvirt, pytest.mark.lab]

OWNER = """
import sys, time
from pathlib import Path
from app.lab.hosts import LabHosts
from tests.lab.virsh import start_boot_sector
hosts = LabHosts(Path(sys.argv[1]), ["node0", "node1"])
hosts.start()
start_boot_sector(hosts, hosts["node0"])
print("up", flush=True)
time.sleep(600)
"""


def mentioning(folder: Path) -> list[str]:
    """Command lines of everything that runs and names the folder, but for this test's own process."""
    lines = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and process(int(entry.name)) is not None:
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(folder) in line:
                lines.append(line)
    return lines


def host_uuid(hosts: LabHosts, name: str) -> str:
    found = re.search(r"<uuid>(.*)</uuid>", virsh(hosts[name], "capabilities"))
    assert found is not None
    return found.group(1)


def test_hosts_run_as_an_ordinary_user(hosts: LabHosts) -> None:
    pids = [host.pid for host in hosts]

    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids}

    assert owners == {hosts.account.uid}
    assert 0 not in owners


def test_a_guest_moves_there_and_back_with_an_unbroken_counter(hosts: LabHosts) -> None:
    start_boot_sector(hosts, hosts["node0"])
    with Meter(hosts.consoles / "testvm.log") as meter:
        assert meter.wait_for_ticks(3, 30)

        move("testvm", hosts["node0"], hosts["node1"])
        there = (len(hosts["node0"].guests()), len(hosts["node1"].guests()))
        move("testvm", hosts["node1"], hosts["node0"])
        back = (len(hosts["node0"].guests()), len(hosts["node1"].guests()))
        assert meter.wait_for_ticks(3, 30)

        assert meter.read().unbroken
    assert (there, back) == ((0, 1), (1, 0))


def test_a_host_that_died_comes_back_with_its_guest_and_its_uuid(hosts: LabHosts) -> None:
    start_boot_sector(hosts, hosts["node0"])
    before = hosts["node0"].pid, host_uuid(hosts, "node0"), hosts["node0"].guests()

    hosts["node0"].kill()
    assert hosts["node0"].pid is None
    hosts.start()

    after = hosts["node0"].pid, host_uuid(hosts, "node0"), hosts["node0"].guests()
    assert after[0] != before[0]
    assert after[1:] == before[1:]
    assert virsh(hosts["node0"], "domstate", "testvm") == "running"


def test_starting_twice_changes_nothing(hosts: LabHosts) -> None:
    before = [host.pid for host in hosts]

    LabHosts(hosts.directory, ["node0", "node1"]).start()

    assert [host.pid for host in hosts] == before


def test_nothing_is_left_after_everything_was_killed() -> None:
    folder = Path(mkdtemp(prefix="drover-"))
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        assert owner.stdout.readline() == "up\n"
    owner.kill()
    owner.wait()
    hosts = LabHosts.of(folder)
    orphans = hosts["node0"].guests()
    for host in hosts:
        host.kill()

    hosts.remove()
    hosts.remove()

    assert len(orphans) == 1
    assert not any(orphan.alive for orphan in orphans)
    assert mentioning(folder) == []
    assert not folder.exists()


def test_stopping_one_host_leaves_the_other_alone(hosts: LabHosts) -> None:
    start_boot_sector(hosts, hosts["node0"], "here")
    start_boot_sector(hosts, hosts["node1"], "there")

    hosts["node0"].stop()

    assert hosts["node0"].pid is None
    assert hosts["node0"].guests() == []
    assert len(hosts["node1"].guests()) == 1
    assert virsh(hosts["node1"], "domstate", "there") == "running"


def test_a_guest_that_ignores_sigterm_is_ended(hosts: LabHosts) -> None:
    start_boot_sector(hosts, hosts["node0"])
    (guest,) = hosts["node0"].guests()
    guest.send(signal.SIGSTOP)

    hosts.stop()

    assert not guest.alive


def test_a_folder_that_is_no_lab_is_left_alone(tmp_path: Path) -> None:
    folder = Path(mkdtemp(prefix="drover-"))
    precious = folder / "precious"
    precious.touch()

    with pytest.raises(LabError, match="not empty and is not a lab"):
        LabHosts(folder, ["node0"]).start()
    with pytest.raises(LabError, match="is not a lab"):
        LabHosts.of(folder).remove()

    assert precious.exists()
    precious.unlink()
    folder.rmdir()


def test_a_path_too_long_for_sockets_is_refused() -> None:
    folder = Path("/tmp") / ("x" * LONGEST_FOLDER)

    with pytest.raises(LabError, match="too long for unix sockets"):
        LabHosts(folder, ["node0"]).start()

    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_a_folder_that_the_hosts_user_cannot_reach_is_refused() -> None:
    closed = Path(mkdtemp(prefix="drover-"))

    with pytest.raises(LabError, match=r"may not enter .*: choose a folder below"):
        LabHosts(closed / "lab", ["node0"]).start()

    (closed / "lab").rmdir()
    closed.rmdir()
