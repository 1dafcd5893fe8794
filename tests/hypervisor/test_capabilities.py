"""Reading what a host can do."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.hypervisor.capabilities import read_capabilities, read_cpu_model

HOST = """
<capabilities>
  <host><uuid>219fcfb1-5c9e-48bb-8331-84f3766dc939</uuid><cpu><arch>x86_64</arch><model>kvm64</model></cpu></host>
  <guest><os_type>hvm</os_type><arch name='i686'><machine>isapc</machine><domain type='xen'/></arch></guest>
  <guest><os_type>hvm</os_type><arch name='x86_64'>
    <machine maxCpus='255'>pc-i440fx-7.2</machine><machine canonical='pc-i440fx-7.2'>pc</machine>
    <domain type='qemu'/><domain type='kvm'/>
  </arch></guest>
</capabilities>
"""


def test_the_hosts_own_architecture_counts() -> None:
    read = read_capabilities(HOST)

    assert read.uuid == UUID("219fcfb1-5c9e-48bb-8331-84f3766dc939")
    assert read.arch == "x86_64"
    assert read.machine_types == ("pc", "pc-i440fx-7.2")
    assert read.domain_types == ("kvm", "qemu")


def test_a_host_without_uuid_is_an_error() -> None:
    with pytest.raises(ValueError, match="UUID"):
        read_capabilities("<capabilities><host/></capabilities>")


def test_the_cpu_model_is_the_nearest_named_one() -> None:
    modes = "<mode name='custom'><model>qemu64</model></mode><mode name='host-model'><model>EPYC</model></mode>"

    assert read_cpu_model(f"<domainCapabilities><cpu>{modes}</cpu></domainCapabilities>") == "EPYC"
    assert read_cpu_model("<domainCapabilities/>") == ""
