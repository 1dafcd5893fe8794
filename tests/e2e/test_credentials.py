"""Hosts that are reached over qemu+tls and qemu+ssh, each with the credentials that its Node names."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.lab.namespaces import NamespaceHost
from tests.e2e import sshd
from tests.e2e.harness import eventually
from tests.e2e.namespaced import Site, networked
from tests.e2e.test_hosts_go_away import guest as running_guest
from tests.hypervisor.pki import Authority

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.namespaces]

LISTENS = """\
ca_file = "/etc/libvirt/pki/cacert.pem"
cert_file = "/etc/libvirt/pki/servercert.pem"
key_file = "/etc/libvirt/pki/serverkey.pem"
"""


def speaking_tls(site: Site) -> list[NamespaceHost]:
    """The hosts that are reached over qemu+tls."""
    return [host for host in site.lab if host.name != "node3"]


@pytest.fixture(scope="module")
def sets() -> Iterator[Path]:
    """Drover's sets of credentials."""
    with tempfile.TemporaryDirectory(prefix="drover-sets-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def site(sets: Path) -> Iterator[Site]:
    """node0 and node1 trust one authority, node2 another. Drover has a set of credentials for either; node3 has none."""
    fleet, other = Authority.new(), Authority.new()
    fleet.furnish_libvirt(sets / "default", "drover")
    other.furnish_libvirt(sets / "other", "drover")
    settings = {"DROVER_HOST_CREDENTIALS": str(sets)}
    with networked("node0", "node1", "node2", "node3", libvirtd_conf=LISTENS, settings=settings) as standing:
        for host in speaking_tls(standing):
            authority = other if host.name == "node2" else fleet
            authority.furnish_libvirt(host.pki, host.address)
            conf = host.directory / "libvirtd.conf"
            conf.write_text(conf.read_text().replace("listen_tls = 0", "listen_tls = 1"))
            host.kill()
            host.start()
        yield standing


def conditions(site: Site, name: str) -> dict[str, dict[str, str]]:
    node = site.drover.get(f"/api/v1/nodes/{name}")
    return {condition["type"]: condition for condition in node.get("status", {}).get("conditions", [])}


def test_a_host_that_lets_the_others_not_in_gets_no_guest(site: Site) -> None:
    for host in speaking_tls(site):
        uri = f"qemu+tls://{host.address}/system"
        chosen = {"credentials": "other"} if host.name == "node2" else {}
        site.register(host, uri=uri, peer_uri=f"{uri}?pkipath=/etc/libvirt/pki", **chosen)
    running_guest(site, "testvm", "node0")

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
    message = conditions(site, "node1")["CertificatesExpiring"]["message"]
    assert "the client certificate expires on" in message
    assert "the server certificate expires on" in message


def test_over_ssh_only_the_host_whose_key_is_known_is_spoken_to(site: Site, sets: Path) -> None:
    host = site.lab["node3"]
    uri = f"qemu+ssh://root@{host.address}/system"
    for name in ("known", "stranger"):
        (sets / name).mkdir()
    lets_in = sshd.new_key(sets / "known" / "ssh-privatekey")
    shutil.copy(sets / "known" / "ssh-privatekey", sets / "stranger" / "ssh-privatekey")
    another = sshd.new_key(sets / "another")
    try:
        server = sshd.listening(host.enclosure, host.address, host.directory / "sshd", lets_in)
        with server as shown:
            (sets / "known" / "known_hosts").write_text(f"{host.address} {shown}\n")
            (sets / "stranger" / "known_hosts").write_text(f"{host.address} {another}\n")
            node = {
                "apiVersion": "v1", "kind": "Node", "spec": {"providerID": uri},
                "metadata": {"name": host.name, "annotations": {"kubevirt.io/credentials": "stranger"}},
            }  # fmt: skip
            assert site.drover.request("POST", "/api/v1/nodes", node).status_code == 201
            refused = eventually("it is refused", lambda: conditions(site, host.name).get("Ready"))
            chosen = {"metadata": {"annotations": {"kubevirt.io/credentials": "known"}}}
            site.drover.request("PATCH", f"/api/v1/nodes/{host.name}", chosen, kind="application/merge-patch+json")
            eventually("it is Ready", lambda: host.name in site.drover.ready_nodes())
            site.drover.request("DELETE", f"/api/v1/nodes/{host.name}")
            eventually("it is gone", lambda: host.name not in site.drover.ready_nodes())
    except sshd.NotToBeHad as why:
        pytest.skip(str(why))

    assert refused["status"] == "False"
    assert "VERIFICATION FAILED" in refused["message"], refused
    assert (sets / "known" / "ssh-privatekey").read_text() not in site.drover.log.read_text()
