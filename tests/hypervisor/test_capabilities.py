"""Reading what a host can do."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.hypervisor.base import GuestCpus
from app.hypervisor.capabilities import (
    host_interfaces,
    host_model_cpu,
    read_capabilities,
    read_cpu_model,
    read_guest_cpus,
)

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


CPUS = """
<domainCapabilities><cpu>
  <mode name='host-model' supported='yes'>
    <model fallback='forbid'>EPYC</model><vendor>AMD</vendor>
    <feature policy='require' name='acpi'/><feature policy='disable' name='vme'/>
  </mode>
  <mode name='custom'><model usable='yes'>qemu64</model><model usable='no'>Dhyana</model><model usable='yes'>486</model></mode>
</cpu></domainCapabilities>
"""


def test_guests_may_have_the_usable_models_and_the_expanded_features() -> None:
    expanded = (
        "<cpu><model>EPYC</model><feature policy='require' name='avx2'/><feature policy='disable' name='vme'/></cpu>"
    )

    assert GuestCpus("qemu", "EPYC", ("486", "qemu64"), ("avx2",)) == read_guest_cpus(CPUS, "qemu", expanded)
    assert GuestCpus("qemu", "EPYC", ("486", "qemu64"), ()) == read_guest_cpus(CPUS, "qemu", "")


def test_host_model_is_a_cpu_that_libvirt_can_expand() -> None:
    cpu = host_model_cpu(CPUS)

    assert cpu.startswith("<cpu ")
    assert all(part in cpu for part in ("EPYC</model>", "<vendor>AMD", "name='acpi'".replace("'", '"')))
    assert host_model_cpu("<domainCapabilities/>") == ""


def test_huge_pages_are_counted_over_all_cells() -> None:
    sizes = "<pages unit='KiB' size='4'>9</pages><pages unit='KiB' size='2048'>3</pages><pages size='1048576'>0</pages>"
    cell = f"<cell>{sizes}</cell>"
    told = HOST.replace("</cpu>", f"</cpu><topology><cells>{cell}{cell}</cells></topology>", 1)

    assert read_capabilities(told).hugepages == ((2 << 20, 6 * (2 << 20)),)


def test_interfaces_of_guests_and_loopback_are_not_the_hosts() -> None:
    assert host_interfaces(["vnet3", "lo", "br0", "macvtap0", "eth0"]) == ("br0", "eth0")
