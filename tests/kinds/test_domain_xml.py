"""Domain XML: what Drover sets, what it leaves alone, what it reads."""

from __future__ import annotations

from typing import Any
from uuid import UUID
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hypervisor.base import Mark
from app.hypervisor.domain_blockers import Blocker
from app.hypervisor.domain_facts import Cpu, Disk, Graphics, Interface
from app.hypervisor.domain_xml import (
    MARK_NAMESPACE,
    BadXml,
    definition,
    facts,
    for_target,
    from_xml,
    mark_xml,
    read,
    read_mark,
)
from tests.kinds.domains import xml

IDENTITY: dict[str, Any] = {"name": "default_testvm", "uuid": UUID(int=1), "mark": Mark(store="s", vm="default/testvm")}
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=40)
MARKS = st.builds(Mark, store=WORDS, vm=WORDS, migration=WORDS, attempt=st.integers(0, 10**6), released=st.booleans())

FULL = xml(
    """
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a'/><target dev='vda'/></disk>
    <disk type='file' device='cdrom'><target dev='hdc'/></disk>
    <disk type='block'><source dev='/dev/vg/a'/><target dev='vdb'/><readonly/><shareable/></disk>
    <disk type='network'><source protocol='rbd' name='p/v'/><target dev='vdc'/></disk>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><model type='virtio'/></interface>
    <serial type='file'><source path='/i/console.log'/></serial>
    <console type='file'><source path='/i/console.log'/></console>
    <serial type='pty'><source path='/dev/pts/1'/><log file='/i/log'/></serial>
    <graphics type='vnc' port='5901' listen='127.0.0.1'/>
    <graphics type='spice' port='-1'><listen type='address' address='::1'/></graphics>
    <hostdev/>
    """,
    within="<vcpu>2</vcpu><cpu mode='custom'><model>qemu64</model></cpu>",
    machine="<type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><kernel>/i/vmlinuz</kernel>",
    kind="kvm",
)


def test_drover_sets_name_uuid_and_its_mark() -> None:
    own = xml(within="<name>mine</name><uuid>00000000-0000-0000-0000-00000000000f</uuid><name>again</name>")

    root = fromstring(from_xml(own, **IDENTITY))

    assert [name.text for name in root.findall("name")] == ["default_testvm"]
    assert [str(UUID(int=1))] == [uuid.text for uuid in root.findall("uuid")]
    assert IDENTITY["mark"] == read_mark(from_xml(own, **IDENTITY))


def test_a_forged_mark_is_replaced() -> None:
    forged = xml(within=f"<metadata><d:guest xmlns:d='{MARK_NAMESPACE}' vm='other/vm' released='yes'/></metadata>")

    assert IDENTITY["mark"] == read_mark(from_xml(forged, **IDENTITY))
    assert from_xml(forged, **IDENTITY).count("vm=") == 1


def test_a_second_metadata_cannot_hide_a_forged_mark() -> None:
    forged = f"<metadata><d:guest xmlns:d='{MARK_NAMESPACE}' vm='other/vm'/></metadata>"

    made = from_xml(xml(within="<metadata/>" + forged), **IDENTITY)

    assert IDENTITY["mark"] == read_mark(made)
    assert made.count("<metadata") == 1


def test_the_rest_stays() -> None:
    root = fromstring(from_xml(FULL, **IDENTITY))

    assert root.find("devices/disk/source").get("file") == "/i/a"  # type: ignore[union-attr]
    assert len(root.findall("devices/disk")) == 4
    assert (root.findtext("memory"), root.findtext("vcpu")) == ("64", "2")


def test_other_peoples_metadata_stay() -> None:
    theirs = xml(
        within="<metadata><o:libosinfo xmlns:o='http://libosinfo.org/x'><o:os id='d'/></o:libosinfo></metadata>"
    )

    root = fromstring(from_xml(theirs, **IDENTITY))

    assert root.find("metadata/{http://libosinfo.org/x}libosinfo/{http://libosinfo.org/x}os") is not None


def test_comments_and_declarations_do_not_reach_libvirt() -> None:
    made = from_xml("<?xml version='1.0' encoding='utf-8'?><!-- a --><?php b ?>" + xml(), **IDENTITY)

    assert made.startswith("<domain")
    assert "<!--" not in made
    assert "<?" not in made


def test_either_form_makes_a_definition() -> None:
    assert read(definition({"domainXML": FULL}, **IDENTITY)).name == "default_testvm"
    with pytest.raises(BadXml):
        definition({"domainXML": "<domain"}, **IDENTITY)


@given(MARKS)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert mark == read_mark(mark_xml(mark))
    assert mark == read_mark(from_xml(xml(), name="n", uuid=UUID(int=1), mark=mark))


@pytest.mark.parametrize("text", [xml(), "no xml", "<metadata/>", "<!DOCTYPE x><guest vm='a'/>"])
def test_a_domain_without_a_mark_has_none(text: str) -> None:
    assert read_mark(text) is None


def test_a_damaged_mark_reads_as_not_said() -> None:
    assert Mark(vm="a/b") == read_mark("<guest vm='a/b' attempt='many' released='perhaps'/>")


def test_what_is_read_of_a_domain() -> None:
    found = read(from_xml(FULL, **IDENTITY))

    assert ("default_testvm", UUID(int=1), "kvm", "x86_64", "pc-i440fx-7.2") == (
        found.name, found.uuid, found.type, found.arch, found.machine
    )  # fmt: skip
    assert (
        found.memory, found.vcpus, found.cpu, [blocked.by for blocked in found.blockers]
    ) == (64 * 2**20, 2, Cpu("custom", "qemu64"), [Blocker.HOST_DEVICE])  # fmt: skip
    assert (
        Disk("vda", "file", "disk", "/i/a", "qcow2", read_only=False, shareable=False),
        Disk("hdc", "file", "cdrom", None, "raw", read_only=True, shareable=False),
        Disk("vdb", "block", "disk", "/dev/vg/a", "raw", read_only=True, shareable=True),
        Disk("vdc", "network", "disk", None, "raw", read_only=False, shareable=False),
    ) == found.disks
    assert (Interface("bridge", "br0", "52:54:00:00:00:01", "virtio"),) == found.interfaces
    assert (Graphics("vnc", "127.0.0.1", 5901), Graphics("spice", "::1", None)) == found.graphics
    assert found.files == ("/i/vmlinuz", "/i/console.log", "/i/log")
    assert IDENTITY["mark"] == found.mark


@pytest.mark.parametrize(
    "running",
    [
        "<interface type='network'><source network='blue' portid='p' bridge='virbr0'/></interface>",
        "<interface type='bridge'><source network='blue' portid='p' bridge='br0'/></interface>",
        "<interface type='direct'><source network='blue' portid='p' dev='eth0' mode='bridge'/></interface>",
    ],
    ids=["made by libvirt", "a bridge of the host's", "a device of the host's"],
)
def test_a_running_guest_asks_for_its_network_whatever_that_leads_to(running: str) -> None:
    """As libvirt 9.0 tells of a guest that runs: on another host the network may lead to another bridge."""
    found = read(definition({"domainXML": FULL}, **IDENTITY).replace("</devices>", f"{running}</devices>"))

    assert (found.networks, found.host_interfaces) == (("blue",), ("br0",))


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        ("", 64 * 2**20),
        ("<cpu><numa><cell id='0' cpus='0' memory='8' unit='GiB'/><cell memory='1048576'/></numa></cpu>", 9 * 2**30),
        ("<cpu><numa><cell id='0' memory='1024'/></numa></cpu>", 64 * 2**20),
        ("<currentMemory unit='GiB'>9</currentMemory>", 64 * 2**20),
    ],
)
def test_cells_cannot_hide_how_much_memory_is_taken(within: str, expected: int) -> None:
    found = facts({"domainXML": xml(within=within)})

    assert (expected, 1) == (found.memory, found.vcpus)


def test_a_disk_is_elsewhere_on_the_target() -> None:
    moved = read(for_target(from_xml(FULL, **IDENTITY), disks={"vda": "/j/a", "vdb": "/dev/vh/a"}))

    assert {d.target: d.path for d in moved.disks} == {"vda": "/j/a", "vdb": "/dev/vh/a", "hdc": None, "vdc": None}


def test_the_target_may_carry_another_mark() -> None:
    mark = Mark(store="s", vm="default/testvm", migration="m", attempt=2)

    assert mark == read_mark(for_target(from_xml(FULL, **IDENTITY), mark=mark))
