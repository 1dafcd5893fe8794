"""What is told of a migration while its guest moves between real hosts, and after it."""

from __future__ import annotations

import httpx
import pytest

from app.lab.hosts import LabHosts
from tests.e2e.conftest import MakeGuest
from tests.e2e.harness import Drover, eventually
from tests.monitoring.scraped import Scrape, problems

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(200)]


def scrape(drover: Drover) -> Scrape:
    answer = drover.request("GET", "/metrics")
    assert answer.status_code == httpx.codes.OK, answer.text
    return Scrape.of(answer.text)


def test_a_move_is_told_under_kubevirts_names(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest(dirty_mib=24, mib_per_second=4)
    source = drover.node_of(guest)
    about = {"namespace": "default", "name": guest}

    drover.migrate(guest, f"{guest}-moves", options={"bandwidthPerMigration": "8Mi"})
    moving: Scrape = eventually(
        "the copy is told of",
        lambda: (told := scrape(drover)).values("kubevirt_vmi_migration_data_processed_bytes", **about) and told,
    )
    ended = drover.finished(f"{guest}-moves")
    told = scrape(drover)

    assert ended["status"]["phase"] == "Succeeded", ended
    state = ended["status"]["migrationState"]
    assert moving.value("kubevirt_vmi_migrations_in_running_phase") == 1
    assert moving.value("drover_worker_runs") == 1
    copy = about | {"node": source}
    assert moving.value("kubevirt_vmi_migration_data_bytes_total", **copy) >= 64 * 2**20
    assert moving.value("kubevirt_vmi_migration_data_remaining_bytes", **copy) > 0
    assert moving.values("kubevirt_vmi_migration_dirty_memory_rate_bytes", **copy)
    assert moving.values("kubevirt_vmi_migration_memory_transfer_rate_bytes", **copy)

    assert told.value("kubevirt_vmi_migration_succeeded", vmi=guest, vmim=f"{guest}-moves", namespace="default") == 1
    assert told.value("kubevirt_vmi_migrations_in_running_phase") == 0
    ends = about | {"migration_name": f"{guest}-moves", "node": state["targetNode"], "status": "succeeded"}
    assert told.value("kubevirt_vmi_migration_end_time_seconds", **ends) > 0
    assert told.value("drover_runs_ended_total", outcome="MOVED") >= 1
    assert told.value("drover_migration_downtime_seconds_sum") >= state["downtimeMs"] / 1000
    hosts = {host.uri for host in LabHosts.of(drover.lab)}
    called = {labels["host"] for labels in told.labels("drover_libvirt_call_duration_seconds_count")}
    assert len(called) == len(hosts), (called, hosts)
    assert list(problems(told)) == []
