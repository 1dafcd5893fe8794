"""Hosts that are reached over qemu+tls, each with the certificates that its Node names; one believes another authority."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import eventually
from tests.e2e.namespaced import Site, networked
from tests.hypervisor.pki import Authority

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.namespaces]

LISTENS = """\
ca_file = "/etc/libvirt/pki/cacert.pem"
cert_file = "/etc/libvirt/pki/servercert.pem"
key_file = "/etc/libvirt/pki/serverkey.pem"
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """node0 and node1 trust one authority, node2 another. Drover has a set of credentials for either."""
    fleet, other = Authority.new(), Authority.new()
    fleet.furnish_libvirt(tmp_path / "default", "drover")
    other.furnish_libvirt(tmp_path / "other", "drover")
    settings = {"DROVER_HOST_CREDENTIALS": str(tmp_path)}
    with networked("node0", "node1", "node2", libvirtd_conf=LISTENS, settings=settings) as standing:
        for host in standing.lab:
            authority = other if host.name == "node2" else fleet
            authority.furnish_libvirt(host.pki, host.address)
            conf = host.directory / "libvirtd.conf"
            conf.write_text(conf.read_text().replace("listen_tls = 0", "listen_tls = 1"))
            host.kill()
            host.start()
        yield standing


def conditions(site: Site, name: str) -> dict[str, dict[str, str]]:
    node = site.drover.get(f"/api/v1/nodes/{name}")
    return {condition["type"]: condition for condition in node["status"].get("conditions", [])}


def test_a_host_that_lets_the_others_not_in_gets_no_guest(site: Site) -> None:
    for host in site.lab:
        uri = f"qemu+tls://{host.address}/system"
        chosen = {"credentials": "other"} if host.name == "node2" else {}
        site.register(host, uri=uri, peer_uri=f"{uri}?pkipath=/etc/libvirt/pki", **chosen)
    site.guest("testvm", "node0", "10.77.0.100")

    told = eventually(
        "node0 says so", lambda: (seen := conditions(site, "node0").get("PeersReachable")) and "node2" in seen["message"] and seen
    )  # fmt: skip
    site.drover.migrate("testvm", "there", nodeSelector={"kubernetes.io/hostname": "node2"})
    waits = eventually("it waits", lambda: site.drover.migration("there").get("status", {}).get("conditions"))
    site.drover.request("DELETE", "/apis/kubevirt.io/v1alpha1/namespaces/default/migrations/there")
    site.drover.migrate("testvm", "elsewhere")
    ended = site.drover.finished("elsewhere")

    assert (told["status"], told["reason"]) == ("False", "NotReached")
    assert "node2: node(s) can't be reached from the source: " in waits[0]["message"]
    assert "ertificate" in told["message"], "libvirt's own words"
    assert ended["status"]["phase"] == "Succeeded", ended
    assert site.drover.vm("testvm")["status"]["nodeName"] == "node1"
    assert site.lab["node2"].guests() == []
    assert conditions(site, "node1")["CertificatesExpiring"]["status"] == "True", "they count for a day"
    assert "the client certificate expires on" in conditions(site, "node1")["CertificatesExpiring"]["message"]
