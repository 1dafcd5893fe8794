"""Where a guest may go, as a user sees it: told before anything moves, by hosts that are real."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from app.lab.hosts import LabHosts
from tests.e2e.conftest import MakeGuest
from tests.e2e.harness import KUBEVIRT, Drover, eventually
from tests.lab.virsh import virsh

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(200)]


def dry_run(drover: Drover, guest: str, **spec: Any) -> dict[str, Any]:
    """The status that `kubectl create --dry-run=server -o yaml` prints."""
    manifest = {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": {"name": f"{guest}-tried"},
        "spec": {"selector": {"name": guest}, **spec},
    }
    words = ("create", "-f", "-", "--dry-run=server", "-o", "yaml")
    printed = drover.kubectl(*words, stdin=json.dumps(manifest)).stdout
    status: dict[str, Any] = yaml.safe_load(printed)["status"]
    return status


def condition(document: dict[str, Any], type_: str) -> dict[str, Any]:
    conditions = (document.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == type_), {})


def test_a_dry_run_tells_the_node_every_verdict_and_how_long_it_takes(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest()
    source = drover.node_of(guest)
    drover.migrate(guest, f"{guest}-first")
    assert drover.finished(f"{guest}-first")["status"]["phase"] == "Succeeded"
    here = drover.node_of(guest)

    status = dry_run(drover, guest, nodeSelector={"kubernetes.io/hostname": source})

    assert ("Running", source) == (status["phase"], status["migrationState"]["targetNode"])
    message = condition({"status": status}, "Scheduled")["message"]
    assert f"{here}: node is the source" in message
    assert "didn't match the merged node selector" in message
    print(status["forecast"])
    assert status["forecast"]["bytes"] >= 64 * 2**20
    assert status["forecast"]["seconds"] > 0
    assert drover.request("GET", f"{KUBEVIRT}/namespaces/default/migrations/{guest}-tried").status_code == 404
    assert drover.node_of(guest) == here


def test_a_full_host_is_excluded_before_anything_starts(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest()
    source = drover.node_of(guest)
    full, other = sorted({"node0", "node1", "node2"} - {source})
    offered = drover.get(f"/api/v1/nodes/{full}")["metadata"]["annotations"]["kubevirt.io/allocatable-memory"]
    drover.kubectl("annotate", "node", full, "kubevirt.io/allocatable-memory=1Mi", "--overwrite")
    eventually(
        "the node offers less", lambda: drover.get(f"/api/v1/nodes/{full}")["status"]["allocatable"]["memory"] == "1Mi"
    )
    try:
        status = dry_run(drover, guest)
    finally:
        drover.kubectl("annotate", "node", full, f"kubevirt.io/allocatable-memory={offered}", "--overwrite")

    message = condition({"status": status}, "Scheduled")["message"]
    assert f"{full}: Insufficient memory" in message
    assert status["migrationState"]["targetNode"] == other
    assert message.startswith(f"to {other}; 1/3 nodes are available: ")


SNAPSHOT = """
<domainsnapshot>
  <name>before</name><state>disk-snapshot</state><creationTime>1</creationTime><disks/>{}
</domainsnapshot>
"""


def test_a_guest_with_a_snapshot_says_that_it_cannot_move(drover: Drover, make_guest: MakeGuest) -> None:
    guest = make_guest()
    host, uid = LabHosts.of(drover.lab)[drover.node_of(guest)], drover.vm(guest)["metadata"]["uid"]
    assert condition(drover.vm(guest), "LiveMigratable")["status"] == "True"

    definition = virsh(host, "dumpxml", uid)
    virsh(host, "snapshot-create", uid, "/dev/stdin", "--redefine", given=SNAPSHOT.format(definition))
    look_again(host, uid)
    told = eventually("it is told", lambda: _when(condition(drover.vm(guest), "LiveMigratable"), "False"))
    drover.migrate(guest, f"{guest}-m")
    failed = condition(drover.finished(f"{guest}-m"), "Failed")
    virsh(host, "snapshot-delete", uid, "before", "--metadata")
    look_again(host, uid)
    eventually("it can move again", lambda: _when(condition(drover.vm(guest), "LiveMigratable"), "True"))

    assert told["reason"] == "Snapshots"
    assert told["message"].startswith("libvirt keeps 1 snapshot(s) of the guest: delete them")
    assert failed["reason"] == "VMNotMigratable"
    assert told["message"] in failed["message"]


def look_again(host: Any, uid: str) -> None:
    """libvirt tells nobody of a snapshot; of a guest that goes on it does."""
    virsh(host, "suspend", uid)
    virsh(host, "resume", uid)


def _when(found: dict[str, Any], status: str) -> dict[str, Any] | None:
    return found if found.get("status") == status else None
