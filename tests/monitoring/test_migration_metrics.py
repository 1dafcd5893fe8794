"""What is told of migrations, from what was heard of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from prometheus_client import CollectorRegistry, generate_latest

from app.controllers.migration.messages import Sampled
from app.controllers.migration.metrics import TOLD_ENDS, MigrationMetrics
from app.controllers.migration.worker_metrics import WorkerMetrics
from app.hypervisor.base import Unreachable
from app.hypervisor.metrics import CallMetrics, host_of
from app.kinds.migration import Phase
from app.store.base import Key, Stored
from tests.monitoring.scraped import Scrape

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def stamp(ago_s: float) -> str:
    return (NOW - timedelta(seconds=ago_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def migration(name: str, phase: str, revision: int = 1, *, created_s: float = 100, **status: Any) -> Stored:
    document = {
        "metadata": {"name": name, "namespace": "default", "uid": str(uuid4()), "creationTimestamp": stamp(created_s)},
        "spec": {"selector": {"name": f"vm-of-{name}"}},
        "status": {"phase": phase, **status},
    }
    return Stored(Key("migrations.kubevirt.io", "default", name), revision, orjson.dumps(document))


class Told:
    """Metrics that lead, and how they read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = MigrationMetrics(self.registry, lambda: NOW)
        self.metrics.leads(True)

    @property
    def read(self) -> Scrape:
        return Scrape.of(generate_latest(self.registry).decode())


def test_each_phase_is_counted_and_the_oldest_that_waits_is_told() -> None:
    told = Told()
    for name, phase, created_s in (
        ("a", "", 5), ("b", "Pending", 70), ("c", "Pending", 50), ("d", "Scheduling", 300), ("e", "Running", 900),
    ):  # fmt: skip
        told.metrics.note(migration(name, phase, created_s=created_s))

    read = told.read

    counts = [
        read.value(f"kubevirt_vmi_migrations_in_{p}_phase") for p in ("unset", "pending", "scheduling", "running")
    ]
    assert counts == [1, 2, 1, 1]
    assert read.value("drover_migrations_waiting") == 4
    assert read.value("drover_migration_oldest_waiting_seconds") == 300


def test_an_older_version_says_nothing_and_a_deleted_one_is_forgotten() -> None:
    told = Told()
    told.metrics.note(migration("a", "Running", revision=7))
    told.metrics.note(migration("a", "Pending", revision=6))

    assert told.read.value("kubevirt_vmi_migrations_in_running_phase") == 1

    told.metrics.forget(Key("migrations.kubevirt.io", "default", "a"))

    assert told.read.value("kubevirt_vmi_migrations_in_running_phase") == 0


def test_a_hold_is_counted_while_it_lasts() -> None:
    told = Told()
    held = {"type": "Held", "status": "True", "reason": "HostUnreachable"}
    told.metrics.note(migration("a", "Running", 1, conditions=[held]))

    assert told.read.value("drover_migrations_held") == 1

    told.metrics.note(migration("a", "Running", 2, conditions=[]))

    assert told.read.value("drover_migrations_held") == 0


def test_how_each_ended_is_told_with_where_its_guest_is() -> None:
    told = Told()
    state = {"sourceNode": "h1", "targetNode": "h2", "startTimestamp": stamp(60), "endTimestamp": stamp(30)}
    told.metrics.note(migration("good", "Succeeded", migrationState=state))
    told.metrics.note(migration("bad", "Failed", migrationState=state))

    read = told.read

    assert read.value("kubevirt_vmi_migration_succeeded", vmi="vm-of-good", vmim="good", namespace="default") == 1
    assert read.value("kubevirt_vmi_migration_failed", vmi="vm-of-bad", vmim="bad", namespace="default") == 1
    start = {"name": "vm-of-good", "migration_name": "good", "node": "h2"}
    assert read.value("kubevirt_vmi_migration_start_time_seconds", **start) == NOW.timestamp() - 60
    end = {"name": "vm-of-bad", "migration_name": "bad", "node": "h1", "status": "failed"}
    assert read.value("kubevirt_vmi_migration_end_time_seconds", **end) == NOW.timestamp() - 30


def test_of_very_many_only_the_newest_ends_are_told() -> None:
    told = Told()
    for number in range(3 * TOLD_ENDS):
        ended = {"sourceNode": "h1", "targetNode": "h2", "endTimestamp": stamp(10_000 - number)}
        told.metrics.note(migration(f"m{number}", "Succeeded", migrationState=ended))

    names = {labels["vmim"] for labels in told.read.labels("kubevirt_vmi_migration_succeeded")}

    assert names == {f"m{number}" for number in range(2 * TOLD_ENDS, 3 * TOLD_ENDS)}


def test_who_does_not_lead_tells_nothing_of_all() -> None:
    told = Told()
    told.metrics.note(migration("a", "Running"))
    told.metrics.note(migration("b", "Failed"))

    told.metrics.leads(False)

    assert told.read.values("kubevirt_vmi_migrations_in_running_phase") == []
    assert told.read.values("drover_migrations_held") == []
    assert told.read.values("kubevirt_vmi_migration_failed") == []


def test_phases_that_were_passed_at_once_are_timed_too() -> None:
    told = Told()
    before = migration("a", "Pending", created_s=100).document
    status = {
        "phase": "Running",
        "phaseTransitionTimestamps": [
            {"phase": "Pending", "phaseTransitionTimestamp": stamp(99)},
            {"phase": "Scheduling", "phaseTransitionTimestamp": stamp(40)},
            {"phase": "Running", "phaseTransitionTimestamp": stamp(40)},
        ],
    }

    told.metrics.moved_on(before, Phase.PENDING, status)

    read = told.read
    assert read.value("drover_migration_phase_duration_seconds_sum", phase="Pending") == 59
    assert read.value("drover_migration_phase_duration_seconds_sum", phase="Scheduling") == 0
    since = "kubevirt_vmi_migration_phase_transition_time_from_creation_seconds_sum"
    assert read.value(since, phase="Running") == 60


def test_an_end_is_counted_with_its_reason_and_its_downtime() -> None:
    told = Told()
    status = {
        "phase": "Succeeded",
        "phaseTransitionTimestamps": [
            {"phase": "Running", "phaseTransitionTimestamp": stamp(20)},
            {"phase": "Succeeded", "phaseTransitionTimestamp": stamp(10)},
        ],
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Moved"}],
        "migrationState": {"downtimeMs": 142},
    }

    told.metrics.moved_on(migration("a", "Running").document, Phase.RUNNING, status)

    assert told.read.value("drover_migrations_finished_total", phase="Succeeded", reason="Moved") == 1
    assert told.read.value("drover_migration_downtime_seconds_sum") == 0.142
    assert told.read.value("drover_migration_phase_duration_seconds_sum", phase="Running") == 10


class Run:
    """A run that a worker holds."""

    labels = ("h1", "default", "testvm")

    def __init__(self, sampled: Sampled | None) -> None:
        self.sampled = sampled


def test_a_worker_tells_how_far_its_copies_are() -> None:
    registry = CollectorRegistry()
    sampled = Sampled(
        total=100, processed=70, remaining=30, memory_rate=9, dirty_rate=4, iteration=2, elapsed_ms=5
    )  # fmt: skip
    runs = [Run(sampled), Run(None)]
    WorkerMetrics(registry).follow(lambda: runs, capacity=10)

    read = Scrape.of(generate_latest(registry).decode())

    guest = {"node": "h1", "namespace": "default", "name": "testvm"}
    assert read.value("kubevirt_vmi_migration_data_bytes_total", **guest) == 100
    assert read.value("kubevirt_vmi_migration_data_processed_bytes", **guest) == 70
    assert read.value("kubevirt_vmi_migration_data_remaining_bytes", **guest) == 30
    assert read.value("kubevirt_vmi_migration_dirty_memory_rate_bytes", **guest) == 4
    assert read.value("kubevirt_vmi_migration_memory_transfer_rate_bytes", **guest) == 9
    assert read.value("drover_worker_runs") == 2


def test_calls_of_libvirt_are_told_by_verb_and_host_and_never_by_password() -> None:
    registry = CollectorRegistry()
    metrics = CallMetrics(registry)
    uri = "qemu+tcp://admin:hunter2@h1.example/system?pkipath=/etc/keys"

    with metrics.call("look", uri):
        pass
    try:
        with metrics.call("connect", uri):
            raise Unreachable("no answer")
    except Unreachable:
        text = generate_latest(registry).decode()

    read = Scrape.of(text)
    assert read.value("drover_libvirt_call_duration_seconds_count", verb="look", host="h1.example") == 1
    error = {"verb": "connect", "host": "h1.example", "error": "Unreachable"}
    assert read.value("drover_libvirt_call_errors_total", **error) == 1
    assert "hunter2" not in text
    assert host_of("qemu+unix:///session?socket=/run/h/libvirt-sock") == "/run/h/libvirt-sock"
    assert host_of("qemu:///system") == "localhost"
