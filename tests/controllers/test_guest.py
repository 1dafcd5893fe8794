"""What a look at a guest tells: whether it can move, what it asks of a host, and which disks are whose. Pure."""

from __future__ import annotations

import pytest

from app.controllers import guest
from app.controllers.placement.need import GuestCpu, HostNeeds
from app.controllers.storage import is_declared_shared, local_disks
from app.hypervisor.base import Inspection
from app.kinds.virtualmachine import Reason, VMDisk
from tests.controllers.migration.world import vm_document

DISK = (
    "<disk type='file' device='disk'><driver type='qcow2'/><source file='/srv/pool/{name}.img'/><target dev='{name}'/>"
    "{more}</disk>"
)


def definition(devices: str = "", *, cpu: str = "", machine: str = "pc-q35-7.2") -> str:
    return (
        "<domain type='kvm'><name>default_testvm</name><uuid>00000000-0000-4000-8000-000000000001</uuid>"
        f"<memory unit='MiB'>64</memory><os><type arch='x86_64' machine='{machine}'>hvm</type></os>{cpu}"
        f"<devices>{devices}</devices></domain>"
    )


def disk(name: str = "vda", more: str = "") -> str:
    return DISK.format(name=name, more=more)


BOUND = {
    "nothing": (Inspection(definition()), ("/srv",), []),
    "snapshots": (Inspection(definition(), snapshots=2), (), [Reason.SNAPSHOTS]),
    "a block job": (Inspection(definition(), block_jobs=("vda",)), (), [Reason.BLOCK_JOB]),
    "not a local disk that can be copied": (Inspection(definition(disk())), (), []),
    "not a disk that is declared as shared": (Inspection(definition(disk())), ("/srv/pool",), []),
    "not a disk that is only read": (Inspection(definition(disk(more="<readonly/>"))), (), []),
    "not a disk on a server": (
        Inspection(definition("<disk type='network'><source protocol='rbd' name='p/i'/><target dev='vda'/></disk>")), (), [],
    ),
    "not an empty drive": (Inspection(definition("<disk device='cdrom'><target dev='sda'/></disk>")), (), []),
    "several things, all told": (
        Inspection(definition(disk() + "<hostdev/>"), snapshots=1), (),
        [Reason.HOST_DEVICES, Reason.SNAPSHOTS],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BOUND.values(), ids=BOUND.keys())
def test_a_guest_is_bound_to_its_host_by(case: tuple[Inspection, tuple[str, ...], list[Reason]]) -> None:
    seen, shared, expected = case

    live = guest.live(seen, shared)

    assert expected == [one.reason for one in live.bound]
    assert len(live.because.split("; ")) == max(1, len(expected))
    assert all(": " in one.because for one in live.bound)


def test_what_a_guest_asks_of_its_next_host_is_kept_with_the_vm() -> None:
    cpu = "<cpu mode='custom' check='full'><model>Nehalem</model><feature policy='require' name='avx'/></cpu>"
    net = (
        "<interface type='network'><source network='blue' bridge='virbr0'/></interface>"
        "<interface type='bridge'><source bridge='br0'/></interface>"
    )
    vm = vm_document("testvm", "node0")
    vm["status"]["hostRequirements"] = guest.live(Inspection(definition(disk() + net, cpu=cpu)), ()).requirements.dump()

    needs = guest.moving_needs(vm, copying=False)

    assert HostNeeds(
        "kvm", "x86_64", "pc-q35-7.2", GuestCpu("custom", "Nehalem", frozenset({"avx"})),
        frozenset({"blue"}), frozenset({"br0"}), ("/srv/pool/vda.img",),
    ) == needs  # fmt: skip
    assert '<model fallback="forbid">Nehalem</model>' in guest.cpu_xml(needs)
    assert guest.candidate(vm, needs).name == "default_testvm"


@pytest.mark.parametrize("cpu", ["", "<cpu mode='custom' check='none'><model>EPYC</model></cpu>", "<cpu/>"])
def test_a_guest_that_takes_any_cpu_asks_for_none(cpu: str) -> None:
    requirements = guest.live(Inspection(definition(cpu=cpu)), ()).requirements

    assert requirements.cpu is None
    assert guest.cpu_xml(guest.moving_needs({"status": {"hostRequirements": requirements.dump()}}, copying=False)) == ""


def test_a_first_start_asks_for_what_the_spec_names() -> None:
    spec = {"domainXML": definition(disk(), cpu="<cpu><model>EPYC</model></cpu>", machine="q35")}

    needs = guest.host_needs(guest.facts({"spec": spec}))

    assert HostNeeds("kvm", "x86_64", "q35", GuestCpu("custom", "EPYC")) == needs


def test_libvirts_judgement_is_overruled_only_where_both_hosts_declare_every_disk() -> None:
    disks = [VMDisk(target="vda", type="file", path="/a/1"), VMDisk(target="vdb", type="file", path="/b/2")]

    assert is_declared_shared(disks, ("/a", "/b"), ("/", "/x"))
    assert not is_declared_shared(disks, ("/a", "/b"), ("/a",))
    assert not is_declared_shared(disks, ("/a",), ("/a", "/b"))
    assert not is_declared_shared([], ("/a",), ("/a",))
    assert [disk.target for disk in local_disks(disks, ("/a",))] == ["vdb"]
