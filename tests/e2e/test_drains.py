"""`kubectl drain`, the real one, of a real libvirt host: emptied within the limits, and no guest is stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx
import pytest

from app.lab.hosts import LabHosts
from app.lab.meter import Meter
from tests.e2e.conftest import MakeGuest
from tests.e2e.harness import KUBEVIRT, Drover, eventually, qemus

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(600)]

MIGRATIONS = f"{KUBEVIRT}/namespaces/default/migrations"
DRAIN = ("drain", "node0", "--ignore-daemonsets", "--delete-emptydir-data")
LIMIT = 2
"""Out of one node; the default."""


@pytest.fixture
def open_again(drover: Drover) -> Iterator[None]:
    yield
    drover.kubectl("uncordon", "node0")


def changes_since(drover: Drover, revision: str) -> list[dict[str, Any]]:
    """Every version of every Migration since then, in the order of their commits: the store's own log."""
    query = {"watch": "1", "resourceVersion": revision, "timeoutSeconds": "1"}
    with httpx.stream("GET", drover.url + MIGRATIONS, params=query, timeout=30) as answer:
        return [json.loads(line) for line in answer.iter_lines() if line]


def most_at_once(changes: list[dict[str, Any]]) -> int:
    running: set[str] = set()
    most = 0
    for change in changes:
        migration = change["object"]
        name, phase = migration["metadata"]["name"], (migration.get("status") or {}).get("phase", "")
        if phase == "Running" and change["type"] != "DELETED":
            running.add(name)
        else:
            running.discard(name)
        most = max(most, len(running))
    return most


def held_by(drover: Drover, uid: str) -> str | None:
    """The host of the one QEMU process that holds the guest."""
    holders = qemus(drover.lab, uid)
    return holders[0].node if len(holders) == 1 else None


def drain(drover: Drover, make_guest: MakeGuest, count: int) -> None:
    room = ("kubevirt.io/allocatable-memory=4Gi", "kubevirt.io/allocatable-cpu=16")
    for node in ("node0", "node1", "node2"):  # a lab's host offers CPUs for six
        drover.kubectl("annotate", "node", node, *room, "--overwrite")
    pinned = {"kubernetes.io/hostname": "node0"}
    guests = [make_guest(dirty_mib=1, mib_per_second=1, nodeSelector=pinned) for _ in range(count)]
    for guest in guests:
        drover.kubectl("patch", "vm", guest, "--type=merge", "-p", '{"spec":{"nodeSelector":null}}')
    uids = [drover.vm(guest)["metadata"]["uid"] for guest in guests]
    consoles = LabHosts.of(drover.lab).consoles
    revision = drover.get(MIGRATIONS)["metadata"]["resourceVersion"]

    with ExitStack() as stack:
        meters = [stack.enter_context(Meter(consoles / guest)) for guest in guests]
        drained = drover.kubectl(*DRAIN, "--timeout=300s")
        for meter in meters:
            assert meter.wait_for_ticks(2, 20), "a guest no longer ticks"
        silences = [meter.read() for meter in meters]

    changes = changes_since(drover, revision)
    print(f"{drained.stdout}\nat most {most_at_once(changes)} at once; {len(changes)} changes; silences {silences}")
    assert "node/node0 drained" in drained.stdout
    assert all(silence.unbroken for silence in silences), silences
    where = [eventually("one QEMU holds it", partial(held_by, drover, uid)) for uid in uids]
    assert "node0" not in where
    assert 1 <= most_at_once(changes) <= LIMIT
    made = {change["object"]["metadata"]["name"] for change in changes if change["type"] == "ADDED"}
    assert len(made) == count, made
    assert all(drover.phase(name) == "Succeeded" for name in made)


def test_three_guests_leave_a_drained_host(drover: Drover, make_guest: MakeGuest, open_again: None) -> None:
    drain(drover, make_guest, 3)


@pytest.mark.slow
def test_eight_guests_leave_a_drained_host(drover: Drover, make_guest: MakeGuest, open_again: None) -> None:
    drain(drover, make_guest, 8)


def test_a_cancel_by_the_spec_keeps_the_record(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest(dirty_mib=24, mib_per_second=4)
    at = drover.node_of(guest)
    drover.migrate(guest, "to-cancel", options={"bandwidthPerMigration": "2Mi"})
    eventually("bytes move", lambda: (drover.migration("to-cancel").get("status") or {}).get("progress"))

    drover.kubectl("patch", "migration", "to-cancel", "--type=merge", "-p", '{"spec":{"cancel":true}}')

    status = drover.finished("to-cancel", 20)["status"]
    assert (status["phase"], drover.node_of(guest)) == ("Failed", at)
    assert status["migrationState"]["failureReason"].startswith("Cancelled: spec.cancel was set")
    again = drover.kubectl(
        "patch", "migration", "to-cancel", "--type=merge", "-p", '{"spec":{"cancel":false}}', check=False
    )
    assert "cannot be taken back" in again.stderr


def test_a_migration_that_runs_for_too_long_is_stopped(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest(dirty_mib=24, mib_per_second=4)
    at = drover.node_of(guest)

    drover.migrate(guest, "overdue", activeDeadlineSeconds=2, options={"bandwidthPerMigration": "2Mi"})

    state = drover.finished("overdue", 30)["status"]["migrationState"]
    assert state["failureReason"].startswith(
        "DeadlineExceeded: it was Running for longer than activeDeadlineSeconds (2 s)"
    )
    assert drover.node_of(guest) == at
