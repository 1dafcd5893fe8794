"""What becomes of a guest that runs where no VirtualMachine says so: the table. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.controllers.virtualmachine.adopt import (
    Adopt,
    Compare,
    Double,
    Ignore,
    Later,
    Stranger,
    Take,
    Unseen,
    compare,
    judge,
    managed_by,
    names_for,
    spec_of,
)
from app.hypervisor import domain_facts
from app.hypervisor.base import Domain, Job, Mark, Reason, State
from app.hypervisor.domain_reading import as_json
from app.kinds import VIRTUAL_MACHINE
from app.machinery.schema import schema_of
from tests.kinds.builders import vm as vm_document

UUID_ = UUID("1a2b3c4d-0000-4000-8000-000000000001")
RUNNING = Domain(UUID_, State.RUNNING, Reason.BOOTED, name="web", memory=64 << 20, vcpus=2)


def vm(phase: str = "Running", node: str = "node1", adopted: bool = True) -> dict[str, Any]:
    return {"status": {"phase": phase, "nodeName": node, "adopted": adopted}}


def stranger(
    domain: Domain = RUNNING,
    *,
    vm: dict[str, Any] | None = None,
    moving: bool = False,
    namespace: str | None = "default",
) -> Stranger:
    return Stranger("node0", "here", domain, vm, moving, namespace)


def marked(**fields: Any) -> Domain:
    return replace(RUNNING, mark=Mark(**fields))


JUDGED: dict[str, tuple[Stranger, type]] = {
    "one that runs is adopted": (stranger(), Adopt),
    "a paused one too": (stranger(replace(RUNNING, state=State.PAUSED, reason=Reason.USER)), Adopt),
    "one that is off is not": (stranger(replace(RUNNING, state=State.SHUTOFF)), Ignore),
    "one that crashed is not": (stranger(replace(RUNNING, state=State.CRASHED)), Ignore),
    "a copy that arrives is not": (
        stranger(replace(RUNNING, state=State.PAUSED, reason=Reason.MIGRATION, job=Job.MIGRATION_IN)),
        Ignore,
    ),
    "a copy that a migration left is not": (
        stranger(replace(RUNNING, state=State.PAUSED, reason=Reason.STARTING_UP)),
        Ignore,
    ),
    "one in a migration's hands waits": (stranger(moving=True), Later),
    "one with a job of libvirt's waits": (stranger(replace(RUNNING, job=Job.MIGRATION_OUT)), Later),
    "one whose host is too busy to say waits": (stranger(replace(RUNNING, job=Job.OTHER)), Later),
    "nobody is adopted where the Node says none": (stranger(namespace=None), Ignore),
    "a released one is told, and left alone": (stranger(marked(store="here", released=True)), Unseen),
    "one of another Drover's is told": (stranger(marked(store="elsewhere")), Unseen),
    "one that another Drover released too": (stranger(marked(store="elsewhere", released=True)), Unseen),
    "ours whose VirtualMachine is gone is adopted": (stranger(marked(store="here")), Adopt),
    "or told where nothing is adopted": (stranger(marked(store="here"), namespace=None), Unseen),
    "one whose VirtualMachine is here is followed by that": (stranger(vm=vm(node="node0")), Ignore),
    "one whose VirtualMachine is elsewhere is asked for there": (stranger(vm=vm()), Compare),
    "also while that is Unknown": (stranger(vm=vm("Unknown", adopted=False)), Compare),
    "also after an adopted one had ended there": (stranger(vm=vm("Succeeded")), Compare),
    "one that is Migrating waits": (stranger(vm=vm("Migrating")), Later),
    "ours that had ended, and runs again here, is told": (
        stranger(vm=vm("Succeeded", "node0", adopted=False)),
        Unseen,
    ),
    "and elsewhere": (stranger(vm=vm("Failed", adopted=False)), Unseen),
}


@pytest.mark.parametrize("case", JUDGED.values(), ids=JUDGED.keys())
def test_a_guest_is_judged(case: tuple[Stranger, type]) -> None:
    seen, expected = case

    assert expected is type(judge(seen))


COMPARED: dict[str, tuple[Domain | None, type]] = {
    "gone from there": (replace(RUNNING, state=State.ABSENT), Take),
    "off there": (replace(RUNNING, state=State.SHUTOFF, reason=Reason.MIGRATED), Take),
    "there it does not answer": (None, Take),
    "still leaving": (replace(RUNNING, job=Job.MIGRATION_OUT), Later),
    "paused there by the move": (replace(RUNNING, state=State.PAUSED, reason=Reason.MIGRATION), Later),
    "runs there": (RUNNING, Double),
    "paused there by somebody": (replace(RUNNING, state=State.PAUSED, reason=Reason.USER), Double),
}


@pytest.mark.parametrize("case", COMPARED.values(), ids=COMPARED.keys())
def test_two_hosts_are_compared(case: tuple[Domain | None, type]) -> None:
    there, expected = case

    assert expected is type(compare(RUNNING, there, "node1"))


NAMES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "a DNS label stays": ("web", (), "web"),
    "a changed one gets part of the UUID": ("Web_01.old", (), "web-01-old-1a2b3"),
    "a taken one too": ("web", ("web",), "web-1a2b3"),
    "more of it where that is taken": ("web", ("web", "web-1a2b3"), "web-1a2b3c4d"),
    "a long one is cut": ("a" * 80, (), "a" * 57 + "-1a2b3"),
    "nothing is left of the name": ("___", (), "vm-1a2b3"),
}


@pytest.mark.parametrize("case", NAMES.values(), ids=NAMES.keys())
def test_the_name_is_libvirts_made_a_label(case: tuple[str, tuple[str, ...], str]) -> None:
    libvirt_name, taken, expected = case

    assert expected == names_for(libvirt_name, str(UUID_), taken)


FULL = """
<domain type='kvm' id='3'><name>web</name><uuid>1a2b3c4d-0000-4000-8000-000000000001</uuid>
  <metadata>{metadata}</metadata>
  <memory unit='KiB'>65536</memory><vcpu placement='static'>2</vcpu>
  <sysinfo type='smbios'><system><entry name='serial'>ds=nocloud;password=hunter2</entry></system></sysinfo>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><boot dev='hd'/><cmdline>token=hunter2</cmdline></os>
  <features><acpi/><apic/></features>
  <cpu mode='custom' match='exact'><model fallback='forbid'>EPYC</model><feature policy='require' name='x2apic'/></cpu>
  <clock offset='utc'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/web.qcow2'/>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><model type='virtio'/></interface>
    <interface type='ethernet'><mac address='52:54:00:00:00:02'/></interface>
    <serial type='pty'><source path='/dev/pts/3'/><target port='0'/></serial>
    <graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1' passwd='hunter2'/>
    <video><model type='vga' vram='16384' heads='1'/></video>
    <memballoon model='virtio'/>
  </devices>
</domain>
"""


def test_the_spec_is_what_the_definition_tells_without_its_secrets() -> None:
    spec = spec_of(as_json(FULL.format(metadata="")), RUNNING)

    assert "hunter2" not in str(spec)
    assert (spec["type"], spec["memory"], spec["vcpu"]) == ("kvm", {"value": 65536, "unit": "KiB"}, 2)
    assert spec["os"] == {
        "type": {"os": "hvm", "arch": "x86_64", "machine": "pc-q35-7.2"},
        "bootOrder": [{"dev": "hd"}],
    }
    assert spec["cpu"]["features"] == [{"name": "x2apic", "policy": "require"}]
    assert spec["devices"]["disks"] == [
        {
            "type": "file",
            "device": "disk",
            "driver": {"name": "qemu", "type": "qcow2"},
            "source": {"file": "/images/web.qcow2"},
            "target": {"dev": "vda", "bus": "virtio"},
        },
        {"type": "file", "device": "cdrom", "target": {"dev": "sda", "bus": "sata"}, "readOnly": {}},
    ]
    assert [interface["source"] for interface in spec["devices"]["interfaces"]] == [{"bridge": "br0"}]
    assert spec["devices"]["graphics"] == [{"type": "vnc", "autoPort": "yes", "port": 5900}]
    assert spec["devices"]["video"] == [{"type": "vga", "heads": 1, "vRam": 16384}]


def test_the_spec_is_one_that_the_api_takes() -> None:
    document = vm_document(domain=spec_of(as_json(FULL.format(metadata="")), RUNNING))

    schema = schema_of(VIRTUAL_MACHINE)

    assert (schema.check(document), schema.prune(document)) == ([], [])


def test_a_definition_that_says_nothing_still_makes_a_spec() -> None:
    xml = "<domain><name>web</name><memory>1</memory><os><type/></os></domain>"

    spec = spec_of(as_json(xml), RUNNING)

    assert spec == {
        "type": "qemu",
        "memory": {"value": 65536, "unit": "KiB"},
        "vcpu": 2,
        "os": {"type": {"os": "hvm"}},
        "devices": {},
    }


MANAGERS = {
    "": None,
    "<x:l xmlns:x='http://libosinfo.org/xmlns/libvirt/domain/1.0'/>": None,
    "<x:i xmlns:x='http://openstack.org/xmlns/libvirt/nova/1.1'/>": "OpenStack",
    "<x:vm xmlns:x='http://ovirt.org/vm/1.0'/>": "oVirt",
    "<x:a xmlns:x='https://example.org/fleet'/>": "https://example.org/fleet",
}


@pytest.mark.parametrize("metadata", MANAGERS)
def test_another_manager_is_known_by_its_metadata(metadata: str) -> None:
    said = managed_by(domain_facts.read(FULL.format(metadata=metadata)))

    expected = MANAGERS[metadata]
    assert said is None if expected is None else expected in str(said)
