"""Guests with an address, on a bridge between hosts in network namespaces: libvirt, QEMU and the kernel's own bridges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import KUBEVIRT, eventually
from tests.e2e.namespaced import Site, namespaced
from tests.e2e.pinger import pinged
from tests.hypervisor.pki import Authority

pytestmark = [pytest.mark.libvirt, pytest.mark.namespaces, pytest.mark.postgres]

ADDRESS = "10.77.0.101"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """node2 has no certificates; those of node1 bear a name."""
    authority = Authority.new()
    with namespaced("node0", "node1", "node2") as standing:
        node0, node1, node2 = standing.lab
        authority.furnish(node0.pki, node0.address)
        authority.furnish(node1.pki, "node1.example")
        standing.register(node0, migration_tls="true")
        standing.register(node1, migration_tls="node1.example")
        standing.register(node2)
        yield standing


def move(site: Site, vm: str, name: str, node: str, **options: str) -> tuple[str, bool, str | None]:
    """How that migration to that node ended: its phase, whether it was encrypted, and by which policy."""
    site.drover.migrate(vm, name, nodeSelector={"kubernetes.io/hostname": node}, options=options)
    status = site.drover.finished(name)["status"]
    state = status["migrationState"]
    return status["phase"], state.get("encrypted"), state.get("migrationPolicyName")


def test_a_guest_answers_pings_through_its_migration(site: Site) -> None:
    site.guest("pinged", "node0", ADDRESS)
    uid = site.drover.vm("pinged")["metadata"]["uid"]

    with pinged(site.lab, ADDRESS) as answers:
        site.drover.migrate("pinged", "there", nodeSelector={"kubernetes.io/hostname": "node1"})
        migration = site.drover.finished("there")

    print(f"longest gap {answers.longest_gap_s * 1000:.0f} ms, {answers.unanswered} of {answers.asked[0]} unanswered,"
          f" downtime {migration['status']['migrationState']['downtimeMs']} ms")  # fmt: skip
    assert migration["status"]["phase"] == "Succeeded"
    assert (site.guests_at("node0", uid), site.guests_at("node1", uid)) == (0, 1)
    assert len(answers.at) > 50
    assert answers.longest_gap_s < 5


def test_the_stream_is_encrypted_as_options_policies_and_certificates_say(site: Site) -> None:
    site.guest("private", "node0", "10.77.0.102", labels={"tier": "db"})

    both_can = move(site, "private", "both-can", "node1")
    asked_not_to = move(site, "private", "asked-not-to", "node0", tls="Off")
    one_cannot = move(site, "private", "one-cannot", "node2")
    policy = {
        "apiVersion": "kubevirt.io/v1alpha1", "kind": "MigrationPolicy", "metadata": {"name": "databases"},
        "spec": {"selectors": {"virtualMachineInstanceSelector": {"tier": "db"}}, "tls": "Required"},
    }  # fmt: skip
    assert site.drover.request("POST", f"{KUBEVIRT}/migrationpolicies", policy).status_code == 201
    site.drover.migrate("private", "must")
    eventually("it says why it waits", lambda: "certificates" in str(site.drover.migration("must").get("status")))
    waiting = site.drover.migration("must")["status"]
    site.drover.kubectl("delete", "migration", "must")
    back_by_own_word = move(site, "private", "own-word", "node0", tls="Preferred")
    by_policy = move(site, "private", "by-policy", "node1")

    assert both_can == ("Succeeded", True, None)
    assert asked_not_to == ("Succeeded", False, None)
    assert one_cannot == ("Succeeded", False, None)
    assert waiting["phase"] == "Scheduling"
    assert "the source has no certificates to encrypt the stream with" in waiting["conditions"][0]["message"]
    assert back_by_own_word == ("Succeeded", False, "databases")
    assert by_policy == ("Succeeded", True, "databases")
