"""What an eviction does for a guest: the table is the specification."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.controllers.evacuation import Move, Past, Seen, Wait, how_far, judge, last_of, wait_after
from app.kinds.migration import MigrationStatus
from app.machinery.objects import Document
from tests.controllers.migration.world import migration_document, vm_document

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
VM = vm_document("testvm", "node0")
SEEN = Seen(NOW, "node0", closed=True, vm=VM, unfinished=None, past=None)


def status(phase: str, reason: str = "MigrationFailed", ended: datetime = NOW, **more: object) -> MigrationStatus:
    document = {
        "phase": phase,
        "conditions": [{"type": phase, "status": "True", "reason": reason}],
        "migrationState": {"endTimestamp": ended.isoformat(), "failureReason": "MigrationFailed: no route"},
    }
    return MigrationStatus.read(document | more)


def past(phase: str, *, failures: int = 0, drained: bool = True, **more: object) -> Past:
    return Past("testvm-evacuation-aaaaa", status(phase, **more), failures, drained)  # type: ignore[arg-type]  # by name


def vm(phase: str = "Running", **condition: str) -> Document:
    document = vm_document("testvm", "node0", phase=phase)
    document["status"]["conditions"] = [{"type": "LiveMigratable", **condition}] if condition else []
    return document


MOVES = {
    "a guest that runs": (SEEN, 0),
    "one that may be moved": (replace(SEEN, vm=vm(status="True", reason="Migratable")), 0),
    "on a node that takes guests": (replace(SEEN, closed=False), 0),
    "one that came back": (replace(SEEN, past=past("Succeeded")), 0),
    "one whose evacuation was cancelled": (replace(SEEN, past=past("Failed", reason="Cancelled")), 0),
    "20 s after the first failure": (replace(SEEN, past=past("Failed", ended=NOW - timedelta(seconds=20))), 1),
    "40 s after the second": (replace(SEEN, past=past("Failed", failures=1, ended=NOW - timedelta(seconds=40))), 2),
    "of a plain eviction, which no uncordon calls off": (
        replace(SEEN, closed=False, past=past("Failed", drained=False, ended=NOW - timedelta(minutes=1))), 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "failures"), MOVES.values(), ids=MOVES.keys())
def test_it_moves(seen: Seen, failures: int) -> None:
    assert judge(seen) == Move(failures)


WAITS = {
    "while a Migration of it is unfinished": (
        replace(SEEN, unfinished=migration_document("m1")), "Migration m1 (not of an eviction) was made", False,
    ),
    "when it is being deleted": (
        replace(SEEN, vm={**VM, "metadata": {**VM["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        "VirtualMachine testvm is being deleted", True,
    ),
    "when it holds devices of its host": (
        replace(SEEN, vm=vm(status="False", reason="HostDevices", message="it holds a PCI device")),
        "VirtualMachine testvm cannot be moved while it runs: HostDevices: it holds a PCI device", True,
    ),
    "when its host does not answer": (
        replace(SEEN, vm=vm("Unknown")), "VirtualMachine testvm is Unknown: only a running one can be moved", True,
    ),
    "before it was started": (replace(SEEN, vm=vm("Scheduled")), "VirtualMachine testvm is Scheduled", True),
    "after an uncordon": (
        replace(SEEN, closed=False, past=past("Failed", reason="Cancelled")),
        "node0 takes guests again, so nothing more leaves it", True,
    ),
    "a moment after a failure": (
        replace(SEEN, past=past("Failed", ended=NOW - timedelta(seconds=5))),
        "Migration testvm-evacuation-aaaaa failed: MigrationFailed: no route; the next in 15 s", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "message", "stuck"), WAITS.values(), ids=WAITS.keys())
def test_it_waits_and_says_why(seen: Seen, message: str, stuck: bool) -> None:
    verdict = judge(seen)

    assert isinstance(verdict, Wait)
    assert verdict.message.startswith(message)
    assert verdict.stuck is stuck


def test_a_worker_whose_clock_is_fast_holds_up_no_evacuation() -> None:
    """Its Migrations say that they end in an hour; when they failed the controllers know."""
    ended, before = NOW + timedelta(hours=1), (NOW - timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    told = [{"phase": "Failed", "phaseTransitionTimestamp": before}]

    verdict = judge(replace(SEEN, past=past("Failed", ended=ended, phaseTransitionTimestamps=told)))

    assert verdict == Move(1)


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 20), (2, 40), (3, 80), (4, 160), (5, 320), (6, 600), (60, 600)])
def test_the_wait_doubles_up_to_ten_minutes(failures: int, wait_s: float) -> None:
    assert wait_after(failures).total_seconds() == wait_s


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "was made"),
        (
            {"phase": "Pending", "conditions": [{"type": "Scheduled", "status": "False", "message": "node0 is full"}]},
            "is Pending: node0 is full",
        ),
        (
            {"phase": "Running", "migrationState": {"targetNode": "node1"}, "progress": {"percent": 42}},
            "is Running to node1, 42 %",
        ),
        (
            {"phase": "Running", "conditions": [{"type": "Retrying", "status": "True", "message": "no answer"}]},
            "is between two attempts: no answer",
        ),
    ],
)
def test_how_far_a_migration_is(told: Document, words: str) -> None:
    migration = migration_document("m1") | {"status": told}
    migration["metadata"]["labels"] = {"kubevirt.io/evacuationMigration": "node0"}

    assert how_far(migration) == f"Migration m1 {words}"


def test_the_last_evacuation_is_the_newest_of_that_node_that_ended() -> None:
    def of(name: str, node: str, ended: str, phase: str = "Failed") -> Document:
        migration = migration_document(name) | {"status": {"phase": phase, "migrationState": {"endTimestamp": ended}}}
        migration["metadata"]["labels"] = {"kubevirt.io/evacuationMigration": node}
        migration["metadata"]["annotations"] = {"kubevirt.io/evacuation-failures": "3", "kubevirt.io/drain": "true"}
        return migration

    migrations = [
        of("old", "node0", "2026-01-01T10:00:00Z"),
        of("newest", "node0", "2026-01-01T11:00:00Z"),
        of("elsewhere", "node1", "2026-01-01T11:30:00Z"),
        of("runs", "node0", "2026-01-01T11:30:00Z", "Running"),
        migration_document("mine"),
    ]

    found = last_of(migrations, "node0")

    assert found is not None
    assert (found.name, found.failures, found.drained) == ("newest", 3, True)
    assert last_of(migrations, "node2") is None
