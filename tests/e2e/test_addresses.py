"""Guests with an address, on a bridge between hosts in network namespaces: libvirt, QEMU and the kernel's own bridges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.namespaced import Site, namespaced
from tests.e2e.pinger import pinged

pytestmark = [pytest.mark.libvirt, pytest.mark.namespaces, pytest.mark.postgres]

ADDRESS = "10.77.0.101"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with namespaced("node0", "node1") as standing:
        for host in standing.lab:
            standing.register(host)
        yield standing


def test_a_guest_answers_pings_through_its_migration(site: Site) -> None:
    site.guest("pinged", "node0", ADDRESS)
    uid = site.drover.vm("pinged")["metadata"]["uid"]

    with pinged(site.lab, ADDRESS) as answers:
        site.drover.migrate("pinged", "there")
        migration = site.drover.finished("there")

    print(f"longest gap {answers.longest_gap_s * 1000:.0f} ms, {answers.unanswered} of {answers.asked[0]} unanswered,"
          f" downtime {migration['status']['migrationState']['downtimeMs']} ms")  # fmt: skip
    assert migration["status"]["phase"] == "Succeeded"
    assert (site.guests_at("node0", uid), site.guests_at("node1", uid)) == (0, 1)
    assert len(answers.at) > 50
    assert answers.longest_gap_s < 5
