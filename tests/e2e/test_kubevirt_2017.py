"""KubeVirt 2017's own functional cases for migrations, over plain HTTP, on real libvirt hosts and QEMU guests."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from tests.e2e.conftest import MakeGuest
from tests.e2e.harness import KUBEVIRT, Drover, eventually

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.xdist_group("e2e")]


def test_a_migration_of_a_missing_vm_ends_failed(drover: Drover) -> None:
    drover.migrate("nobody", "of-nobody")

    ended = drover.finished("of-nobody", 10)

    assert ended["status"]["phase"] == "Failed"
    assert ended["status"]["migrationState"]["failureReason"].startswith("VMNotFound")
    assert [c["reason"] for c in ended["status"]["conditions"] if c["type"] == "Failed"] == ["VMNotFound"]
    eventually("the failure is told by an Event", lambda: drover.told("Migration", "of-nobody", "VMNotFound"), 5)


def test_a_migration_of_an_existing_vm_passes_running_and_moves_the_guest(drover: Drover, guest: str) -> None:
    source = drover.node_of(guest)

    drover.migrate(guest, f"{guest}-m")
    ended = drover.finished(f"{guest}-m")

    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    passed = [step["phase"] for step in ended["status"]["phaseTransitionTimestamps"]]
    assert passed == ["Pending", "Scheduling", "Running", "Succeeded"]
    target = drover.node_of(guest)
    assert target != source
    vm = drover.vm(guest)
    assert vm["status"]["phase"] == "Running"
    assert vm["status"]["nodeName"] == target
    assert vm["metadata"]["labels"]["kubevirt.io/nodeName"] == target
    assert "migrationNodeName" not in vm["status"]
    assert ended["status"]["instance"] == vm["metadata"]["uid"]


def test_three_in_a_row_each_end_on_another_node_than_they_began_on(drover: Drover, guest: str) -> None:
    seen = [drover.node_of(guest)]
    for number in range(3):
        drover.migrate(guest, f"{guest}-{number}")
        assert drover.finished(f"{guest}-{number}")["status"]["phase"] == "Succeeded"
        seen.append(drover.node_of(guest))

    assert all(before != after for before, after in itertools.pairwise(seen)), seen


def test_exactly_one_migration_pod_succeeds(drover: Drover, guest: str) -> None:
    name = f"{guest}-m"
    drover.migrate(guest, name)
    drover.finished(name)

    pods = drover.pods(f"kubevirt.io/migration={name},kubevirt.io=migration")

    assert len(pods) == 1
    assert re.fullmatch(r"virt-migration-[a-z0-9]{5}", pods[0]["metadata"]["name"])
    assert pods[0]["status"]["phase"] == "Succeeded"
    assert pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    log = drover.kubectl("logs", pods[0]["metadata"]["name"]).stdout
    assert log.strip(), "the migration's process said nothing"


def test_the_target_pod_keeps_the_vms_affinity_and_adds_not_in_source(drover: Drover, make_guest: MakeGuest) -> None:
    term = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
        }
    }
    guest = make_guest(affinity=affinity)
    source = drover.node_of(guest)

    drover.migrate(guest, f"{guest}-m")
    drover.finished(f"{guest}-m")

    (pod,) = drover.pods(f"kubevirt.io/migration={guest}-m,kubevirt.io=virt-launcher")
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [t["matchExpressions"] for t in required["nodeSelectorTerms"]] == [
        [term, {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [source]}]
    ]
    assert pod["spec"]["nodeName"] == drover.node_of(guest)


def test_a_pinned_guest_moves_only_after_the_key_is_removed(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest(nodeSelector={"kubernetes.io/hostname": "node0"})
    assert drover.node_of(guest) == "node0"

    drover.migrate(guest, f"{guest}-pinned")
    stuck = eventually(
        "the migration says why it cannot start",
        lambda: [
            c["message"]
            for c in (drover.migration(f"{guest}-pinned").get("status") or {}).get("conditions", [])
            if c["type"] == "Scheduled" and c["reason"] == "Unschedulable"
        ],
    )
    assert "nodes are available" in stuck[0] and "is the source" in stuck[0], stuck
    drover.kubectl("delete", "migration", f"{guest}-pinned", "--timeout=20s")

    removed = drover.request(
        "PATCH", f"{KUBEVIRT}/namespaces/default/virtualmachines/{guest}",
        {"spec": {"nodeSelector": {"kubernetes.io/hostname": None}}}, kind="application/merge-patch+json",
    )  # fmt: skip
    assert removed.status_code == 200, removed.text
    assert drover.node_of(guest) == "node0"

    drover.migrate(guest, f"{guest}-free")
    assert drover.finished(f"{guest}-free")["status"]["phase"] == "Succeeded"
    assert drover.node_of(guest) != "node0"


def test_contradicting_selectors_fail_and_name_the_key_and_both_values(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest(nodeSelector={"kubernetes.io/hostname": "node0"})

    drover.migrate(guest, f"{guest}-m", nodeSelector={"kubernetes.io/hostname": "node1"})
    ended = drover.finished(f"{guest}-m", 10)

    (failed,) = [c for c in ended["status"]["conditions"] if c["type"] == "Failed"]
    assert failed["reason"] == "NodeSelectorConflict"
    assert all(word in failed["message"] for word in ("kubernetes.io/hostname", "node0", "node1")), failed
    assert drover.told("Migration", f"{guest}-m", "NodeSelectorConflict")
    assert drover.told("VirtualMachine", guest, "NodeSelectorConflict")


def test_a_second_unfinished_migration_of_the_same_guest_fails(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest(nodeSelector={"kubernetes.io/hostname": "node0"})
    drover.migrate(guest, f"{guest}-first")
    eventually("the first waits", lambda: drover.phase(f"{guest}-first") == "Scheduling", 10)

    drover.migrate(guest, f"{guest}-second")
    ended = drover.finished(f"{guest}-second", 10)

    assert [c["reason"] for c in ended["status"]["conditions"] if c["type"] == "Failed"] == ["MigrationInProgress"]
    drover.kubectl("delete", "migration", f"{guest}-first", "--timeout=20s")


def test_finished_means_finished(drover: Drover, guest: str) -> None:
    drover.migrate(guest, f"{guest}-m")
    before = drover.finished(f"{guest}-m")
    node = drover.node_of(guest)

    drover.kubectl("delete", "vm", guest, "--timeout=60s")

    assert drover.migration(f"{guest}-m")["status"] == before["status"]
    drover.kubectl("delete", "migration", f"{guest}-m", "--timeout=20s")
    assert node


def test_deleting_a_finished_migration_leaves_the_guest_alone(drover: Drover, guest: str) -> None:
    drover.migrate(guest, f"{guest}-m")
    drover.finished(f"{guest}-m")
    node = drover.node_of(guest)

    drover.kubectl("delete", "migration", f"{guest}-m", "--timeout=20s")
    eventually(
        "its pod goes with it", lambda: not drover.pods(f"kubevirt.io/migration={guest}-m,kubevirt.io=migration")
    )

    assert drover.node_of(guest) == node
    assert drover.vm(guest)["status"]["phase"] == "Running"


def test_kubectl_shows_the_contracts_columns(drover: Drover, guest: str) -> None:
    drover.migrate(guest, f"{guest}-m")
    drover.finished(f"{guest}-m")

    plain = drover.kubectl("get", "migrations").stdout.splitlines()[0].split()
    wide = drover.kubectl("get", "mig", "-o", "wide").stdout.splitlines()[0].split()
    whole = json.loads(drover.kubectl("get", "migrations", f"{guest}-m", "-o", "json").stdout)

    assert plain == ["NAME", "VM", "PHASE", "SOURCE", "TARGET", "PROGRESS", "AGE"]
    assert wide == [*plain, "MODE", "DOWNTIME", "DURATION", "REASON"] or wide == [
        *plain[:-1], "MODE", "DOWNTIME", "DURATION", "REASON", "AGE",
    ]  # fmt: skip
    assert whole["metadata"]["selfLink"] == f"{KUBEVIRT}/namespaces/default/migrations/{guest}-m"
    assert whole["status"]["migrationState"]["downtimeMs"] >= 0
