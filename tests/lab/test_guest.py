"""The Linux guest ticks, moves, and obeys its power button; the meter hears how long it was silent."""

from __future__ import annotations

import time

import pytest

from app.lab.hosts import LabHosts
from app.lab.meter import Meter
from app.lab.processes import wait_until
from tests.lab.virsh import move, start_linux, virsh

pytestmark = [pytest.mark.libvirt, pytest.mark.lab]


def test_a_guest_suspended_for_two_seconds_was_silent_for_two_seconds(hosts: LabHosts) -> None:
    start_linux(hosts, hosts["node0"])
    with Meter(hosts.consoles / "testvm.log") as meter:
        assert meter.wait_for_ticks(5, 60)

        asked = time.monotonic()
        virsh(hosts["node0"], "suspend", "testvm")
        stopped = time.monotonic()
        wait_until(lambda: time.monotonic() - stopped >= 2, 3)
        resuming = time.monotonic()
        virsh(hosts["node0"], "resume", "testvm")
        resumed = time.monotonic()
        assert meter.wait_for_ticks(5, 30)

        heard = meter.read()
    # On a busy machine the commands themselves take their time: the truth lies between these two.
    print(f"suspended for {resuming - stopped:.3f} to {resumed - asked:.3f} s, silent for {heard.longest_s:.3f} s")
    assert resuming - stopped - 0.2 <= heard.longest_s <= resumed - asked + 0.2
    assert heard.unbroken


def test_a_moved_guest_loses_and_repeats_no_tick(hosts: LabHosts) -> None:
    start_linux(hosts, hosts["node0"])
    with Meter(hosts.consoles / "testvm.log") as meter:
        assert meter.wait_for_ticks(5, 60)

        move("testvm", hosts["node0"], hosts["node1"])
        assert meter.wait_for_ticks(5, 30)

        heard = meter.read()
    print(f"silent for {heard.longest_s * 1000:.0f} ms, {heard.ticks} ticks")
    assert heard.unbroken
    assert hosts["node0"].guests() == []
    assert len(hosts["node1"].guests()) == 1


def test_the_power_button_ends_the_guest(hosts: LabHosts) -> None:
    console = hosts.consoles / "testvm.log"
    start_linux(hosts, hosts["node0"])
    with Meter(console) as meter:
        assert meter.wait_for_ticks(1, 60)

    virsh(hosts["node0"], "shutdown", "testvm", "--mode", "acpi")

    assert wait_until(lambda: hosts["node0"].guests() == [], 20)
    assert "powering off" in console.read_text()
    # Without a process it is for a moment still "in shutdown".
    assert wait_until(lambda: virsh(hosts["node0"], "domstate", "testvm", "--reason") == "shut off (shutdown)", 5)
