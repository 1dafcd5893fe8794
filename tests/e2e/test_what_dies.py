"""What happens when something is killed: the guest, the API's objects and the Migration's phase are what they should be."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from app.lab.hosts import LabHosts
from app.lab.meter import Meter
from tests.e2e.conftest import MakeGuest
from tests.e2e.harness import KUBEVIRT, Drover, eventually, qemus

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.xdist_group("deaths")]

SLOW = {"options": {"bandwidthPerMigration": "8Mi"}}
"""With 64 MiB of busy memory this takes long enough to be interrupted."""


def migration_process(drover: Drover) -> int | None:
    """The pid of the only migration process below this Drover: it names itself in its command line."""
    assert drover.process is not None
    found = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _session(entry) == drover.process.pid and _is_migration(entry)
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def _session(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
    except OSError:
        return -1


def _is_migration(entry: Path) -> bool:
    try:
        return (entry / "comm").read_text().strip().startswith("drover-migrate")
    except OSError:
        return False


def test_a_killed_migration_process_shows_137_and_the_phase_is_what_the_hosts_say(
    drover: Drover, doomed_guest: MakeGuest
) -> None:
    guest = doomed_guest(dirty_mib=32, mib_per_second=4, warm_ticks=40)
    source = drover.node_of(guest)
    drover.migrate(guest, f"{guest}-m", **SLOW)
    eventually("bytes move", lambda: moved_bytes(drover, f"{guest}-m") > 0)

    pid = eventually("its process is found", lambda: migration_process(drover))
    os.kill(pid, signal.SIGKILL)
    eventually("the pod shows 137", lambda: 137 in exit_codes(drover, f"{guest}-m"))
    ended = drover.finished(f"{guest}-m", 90)

    now = drover.node_of(guest)
    assert ended["status"]["phase"] == ("Failed" if now == source else "Succeeded"), ended["status"]
    assert drover.vm(guest)["status"]["nodeName"] == now


def moved_bytes(drover: Drover, name: str) -> int:
    progress = (drover.migration(name).get("status") or {}).get("progress") or {}
    return int(progress.get("dataProcessedBytes") or 0)


def exit_codes(drover: Drover, migration: str) -> list[int]:
    """Every exit code that the migration's pod shows, the last state's too."""
    return [
        state["terminated"]["exitCode"]
        for pod in drover.pods(f"kubevirt.io/migration={migration},kubevirt.io=migration")
        for container in (pod.get("status") or {}).get("containerStatuses", [])
        for state in (container.get("state") or {}, container.get("lastState") or {})
        if "terminated" in state
    ]


def test_killing_the_service_loses_no_object_and_turns_no_resource_version_back(
    drover: Drover, doomed_guest: MakeGuest
) -> None:
    guest = doomed_guest()
    lists = ("/api/v1/nodes", "/api/v1/pods", f"{KUBEVIRT}/virtualmachines", f"{KUBEVIRT}/migrations", "/api/v1/events")
    drover.migrate(guest, f"{guest}-before")
    drover.finished(f"{guest}-before")
    node = drover.node_of(guest)
    before = {path: drover.get(path) for path in lists}
    port = drover.port

    drover.kill()
    drover.start(port)
    after = {path: drover.get(path) for path in lists}

    for path in lists:
        old = {item["metadata"]["uid"]: int(item["metadata"]["resourceVersion"]) for item in before[path]["items"]}
        new = {item["metadata"]["uid"]: int(item["metadata"]["resourceVersion"]) for item in after[path]["items"]}
        assert set(old) <= set(new), path
        assert all(new[uid] >= revision for uid, revision in old.items()), path
        assert int(after[path]["metadata"]["resourceVersion"]) >= int(before[path]["metadata"]["resourceVersion"])
    drover.migrate(guest, f"{guest}-after")
    assert drover.finished(f"{guest}-after", 90)["status"]["phase"] == "Succeeded"
    assert drover.node_of(guest) != node


def test_a_service_killed_in_mid_migration_takes_it_over_when_it_comes_back(
    drover: Drover, doomed_guest: MakeGuest
) -> None:
    guest = doomed_guest(dirty_mib=32, mib_per_second=4, warm_ticks=40)
    source = drover.node_of(guest)
    with Meter(LabHosts.of(drover.lab).consoles / guest) as meter:
        drover.migrate(guest, f"{guest}-m", **SLOW)
        eventually("bytes move", lambda: moved_bytes(drover, f"{guest}-m") > 0)

        port = drover.port
        drover.kill()
        drover.start(port)
        ended = drover.finished(f"{guest}-m", 110)

        assert meter.wait_for_ticks(3, 10)
        assert meter.read().unbroken
    now = drover.node_of(guest)
    assert ended["status"]["phase"] == ("Failed" if now == source else "Succeeded"), ended["status"]
    assert len(qemus(drover.lab, drover.vm(guest)["metadata"]["uid"])) == 1
