"""KubeVirt 2017's DomainSpec as libvirt XML: one row a field, and no field without a row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree.ElementTree import fromstring

import pytest

from app.hypervisor.base import Mark
from app.hypervisor.domain_xml import Policy, definition, facts, from_json, problems
from app.kinds.domain import MEMORY_UNITS, DomainSpec
from app.machinery.objects import Document
from app.machinery.schema import Schema
from app.machinery.structural import structural
from tests.kinds.domains import domain

DEFINITIONS: dict[str, Document] = json.loads((Path(__file__).parent / "data" / "domain_spec.json").read_text())
"""v1.DomainSpec of KubeVirt's API in 2017 and everything reachable from it, without the descriptions."""
LEFT_OUT = {"v1.CloudInitSpec", "v1.CloudInitDataSourceNoCloud"}
IDENTITY: dict[str, Any] = {"name": "default_testvm", "uuid": UUID(int=1), "mark": Mark(vm="default/testvm")}


@dataclass(frozen=True)
class Row:
    """A field, a domain that has it, and where its value is found in the XML: `element/element@attribute`."""

    field: str
    spec: Document
    place: str
    value: str | None
    """None: the element is there, and that is all."""


def devices(**of: Any) -> Document:
    return domain(devices=of)


def disk(**more: Any) -> Document:
    return devices(disks=[{"type": "file", "source": {"file": "/i/a"}, "target": {"dev": "vda"}} | more])


def network_disk(**source: Any) -> Document:
    return disk(type="network", source={"protocol": "iscsi", "name": "iqn.a/1", "host": {"name": "h"}} | source)


def interface(**more: Any) -> Document:
    return devices(interfaces=[{"type": "network", "source": {"network": "default"}} | more])


def guest_os(**more: Any) -> Document:
    return domain(os={"type": {"os": "hvm"}} | more)


def smbios(**more: Any) -> Document:
    blocks: Document = {"type": "smbios", "system": [], "bios": [], "baseBoard": []}
    return domain(sysInfo=blocks | more, os={"type": {"os": "hvm"}, "smBIOS": {"mode": "sysinfo"}})


def channel(**more: Any) -> Document:
    return devices(channels=[{"type": "unix", "target": {"type": "virtio", "name": "org.qemu.guest_agent.0"}} | more])


def guestfwd(**target: Any) -> Document:
    return devices(
        channels=[{"type": "pty", "target": {"type": "guestfwd", "address": "10.0.2.1", "port": 4600} | target}]
    )


def graphics(**more: Any) -> Document:
    return devices(graphics=[{"type": "vnc"} | more])


def video(**more: Any) -> Document:
    return devices(video=[{"type": "qxl"} | more])


PCI = {"type": "pci", "domain": "0x0000", "bus": "0x00", "slot": "0x07", "function": "0x0"}
AUTH = {"username": "me", "secret": {"type": "iscsi", "usage": "store"}}
WATCHDOG = {"model": "i6300esb", "action": "reset"}
AGENT = {"mode": "bind", "path": "/run/agent.sock"}

AUTHENTICATED = disk(type="network", source={"protocol": "iscsi", "name": "iqn.a/1", "host": {"name": "h"}}, auth=AUTH)

ROWS = [
    Row("v1.DomainSpec.type", domain(), "@type", "qemu"),
    Row("v1.DomainSpec.memory", domain(), "memory", "64"),
    Row("v1.DomainSpec.os", domain(), "os", None),
    Row("v1.DomainSpec.devices", domain(), "devices", None),
    Row("v1.DomainSpec.clock", domain(clock={}), "clock@offset", "utc"),
    Row("v1.DomainSpec.sysInfo", smbios(), "sysinfo", None),
    Row("v1.Memory.value", domain(memory={"value": 128, "unit": "MiB"}), "memory", "128"),
    Row("v1.Memory.unit", domain(memory={"value": 128, "unit": "MiB"}), "memory@unit", "MiB"),
    Row("v1.OS.type", guest_os(), "os/type", "hvm"),
    Row("v1.OS.smBIOS", guest_os(smBIOS={"mode": "emulate"}), "os/smbios", None),
    Row("v1.OS.bootOrder", guest_os(bootOrder=[{"dev": "hd"}, {"dev": "network"}]), "os/boot[2]@dev", "network"),
    Row("v1.OS.bootMenu", guest_os(bootMenu={"enabled": True}), "os/bootmenu", None),
    Row("v1.OS.bios", guest_os(bios={}), "os/bios", None),
    Row("v1.OSType.os", guest_os(), "os/type", "hvm"),
    Row("v1.OSType.arch", domain(os={"type": {"os": "hvm", "arch": "x86_64"}}), "os/type@arch", "x86_64"),
    Row("v1.OSType.machine", domain(os={"type": {"os": "hvm", "machine": "q35"}}), "os/type@machine", "q35"),
    Row("v1.SMBios.mode", guest_os(smBIOS={"mode": "emulate"}), "os/smbios@mode", "emulate"),
    Row("v1.Boot.dev", guest_os(bootOrder=[{"dev": "cdrom"}]), "os/boot@dev", "cdrom"),
    Row("v1.BootMenu.enabled", guest_os(bootMenu={"enabled": False}), "os/bootmenu@enable", "no"),
    Row("v1.BootMenu.timeout", guest_os(bootMenu={"enabled": True, "timeout": 3000}), "os/bootmenu@timeout", "3000"),
    Row("v1.SysInfo.type", smbios(), "sysinfo@type", "smbios"),
    Row("v1.SysInfo.system", smbios(system=[{"name": "product", "value": "p"}]), "sysinfo/system/entry", "p"),
    Row("v1.SysInfo.bios", smbios(bios=[{"name": "vendor", "value": "v"}]), "sysinfo/bios/entry", "v"),
    Row("v1.SysInfo.baseBoard", smbios(baseBoard=[{"name": "asset", "value": "a"}]), "sysinfo/baseBoard/entry", "a"),
    Row("v1.Entry.name", smbios(system=[{"name": "product", "value": "p"}]), "sysinfo/system/entry@name", "product"),
    Row("v1.Entry.value", smbios(system=[{"name": "product", "value": "p"}]), "sysinfo/system/entry", "p"),
    Row(
        "v1.Devices.emulator",
        devices(emulator="/usr/bin/qemu-system-x86_64"),
        "devices/emulator",
        "/usr/bin/qemu-system-x86_64",
    ),
    Row("v1.Devices.disks", disk(), "devices/disk", None),
    Row("v1.Devices.interfaces", interface(), "devices/interface", None),
    Row("v1.Devices.channels", channel(), "devices/channel", None),
    Row("v1.Devices.serials", devices(serials=[{"type": "pty"}]), "devices/serial", None),
    Row("v1.Devices.consoles", devices(consoles=[{"type": "pty"}]), "devices/console", None),
    Row("v1.Devices.graphics", graphics(), "devices/graphics", None),
    Row("v1.Devices.video", video(), "devices/video", None),
    Row("v1.Devices.watchdog", devices(watchdog=WATCHDOG), "devices/watchdog", None),
    Row("v1.Devices.memballoon", devices(memballoon={"model": "none"}), "devices/memballoon", None),
    Row("v1.Disk.type", disk(), "devices/disk@type", "file"),
    Row("v1.Disk.device", disk(device="cdrom", target={"dev": "hdc", "bus": "ide"}), "devices/disk@device", "cdrom"),
    Row("v1.Disk.snapshot", disk(snapshot="external", source={"file": "/i/a"}), "devices/disk@snapshot", "external"),
    Row("v1.Disk.source", disk(source={"file": "/i/a"}), "devices/disk/source", None),
    Row("v1.Disk.target", disk(), "devices/disk/target", None),
    Row("v1.Disk.serial", disk(serial="WD-1"), "devices/disk/serial", "WD-1"),
    Row("v1.Disk.driver", disk(driver={"name": "qemu"}), "devices/disk/driver", None),
    Row("v1.Disk.readOnly", disk(readOnly={}), "devices/disk/readonly", None),
    Row("v1.Disk.auth", AUTHENTICATED, "devices/disk/auth", None),
    Row("v1.DiskAuth.username", AUTHENTICATED, "devices/disk/auth@username", "me"),
    Row("v1.DiskAuth.secret", AUTHENTICATED, "devices/disk/auth/secret", None),
    Row("v1.DiskSecret.type", AUTHENTICATED, "devices/disk/auth/secret@type", "iscsi"),
    Row("v1.DiskSecret.usage", AUTHENTICATED, "devices/disk/auth/secret@usage", "store"),
    Row("v1.DiskSource.file", disk(source={"file": "/i/a"}), "devices/disk/source@file", "/i/a"),
    Row(
        "v1.DiskSource.startupPolicy",
        disk(device="cdrom", source={"file": "/i/a", "startupPolicy": "optional"}, target={"dev": "hdc", "bus": "ide"}),
        "devices/disk/source@startupPolicy",
        "optional",
    ),
    Row("v1.DiskSource.protocol", network_disk(), "devices/disk/source@protocol", "iscsi"),
    Row("v1.DiskSource.name", network_disk(), "devices/disk/source@name", "iqn.a/1"),
    Row("v1.DiskSource.host", network_disk(), "devices/disk/source/host", None),
    Row("v1.DiskSourceHost.name", network_disk(), "devices/disk/source/host@name", "h"),
    Row(
        "v1.DiskSourceHost.port",
        network_disk(host={"name": "h", "port": "3260"}),
        "devices/disk/source/host@port",
        "3260",
    ),
    Row("v1.DiskTarget.dev", disk(), "devices/disk/target@dev", "vda"),
    Row("v1.DiskTarget.bus", disk(target={"dev": "sda", "bus": "sata"}), "devices/disk/target@bus", "sata"),
    Row("v1.DiskDriver.cache", disk(driver={"cache": "none"}), "devices/disk/driver@cache", "none"),
    Row("v1.DiskDriver.errorPolicy", disk(driver={"errorPolicy": "stop"}), "devices/disk/driver@error_policy", "stop"),
    Row("v1.DiskDriver.io", disk(driver={"io": "threads"}), "devices/disk/driver@io", "threads"),
    Row("v1.DiskDriver.name", disk(driver={"name": "qemu"}), "devices/disk/driver@name", "qemu"),
    Row("v1.DiskDriver.type", disk(driver={"name": "qemu", "type": "qcow2"}), "devices/disk/driver@type", "qcow2"),
    Row("v1.Interface.type", interface(), "devices/interface@type", "network"),
    Row("v1.Interface.source", interface(), "devices/interface/source", None),
    Row("v1.Interface.target", interface(target={"dev": "tap7"}), "devices/interface/target", None),
    Row("v1.Interface.model", interface(model={"type": "virtio"}), "devices/interface/model", None),
    Row("v1.Interface.mac", interface(mac={"address": "52:54:00:00:00:01"}), "devices/interface/mac", None),
    Row("v1.Interface.bandwidth", interface(bandwidth={}), "devices/interface/bandwidth", None),
    Row("v1.Interface.boot", interface(boot={"order": 1}), "devices/interface/boot", None),
    Row("v1.Interface.link", interface(link={"state": "down"}), "devices/interface/link", None),
    Row(
        "v1.Interface.filterRef", interface(filterRef={"filter": "clean-traffic"}), "devices/interface/filterref", None
    ),
    Row("v1.Interface.address", interface(address=PCI), "devices/interface/address", None),
    Row("v1.Interface.alias", interface(alias={"name": "ua-net"}), "devices/interface/alias", None),
    Row("v1.InterfaceSource.network", interface(), "devices/interface/source@network", "default"),
    Row(
        "v1.InterfaceSource.bridge",
        interface(type="bridge", source={"bridge": "br0"}),
        "devices/interface/source@bridge",
        "br0",
    ),
    Row(
        "v1.InterfaceSource.device",
        interface(type="direct", source={"device": "eth0"}),
        "devices/interface/source@dev",
        "eth0",
    ),
    Row("v1.InterfaceTarget.dev", interface(target={"dev": "tap7"}), "devices/interface/target@dev", "tap7"),
    Row("v1.Model.type", interface(model={"type": "virtio"}), "devices/interface/model@type", "virtio"),
    Row(
        "v1.MAC.address",
        interface(mac={"address": "52:54:00:00:00:01"}),
        "devices/interface/mac@address",
        "52:54:00:00:00:01",
    ),
    Row("v1.BootOrder.order", interface(boot={"order": 1}), "devices/interface/boot@order", "1"),
    Row("v1.LinkState.state", interface(link={"state": "down"}), "devices/interface/link@state", "down"),
    Row("v1.FilterRef.filter", interface(filterRef={"filter": "clean"}), "devices/interface/filterref@filter", "clean"),
    *[
        Row(f"v1.Address.{name}", interface(address=PCI), f"devices/interface/address@{name}", PCI[name])
        for name in PCI
    ],
    Row("v1.Alias.name", interface(alias={"name": "ua-net"}), "devices/interface/alias@name", "ua-net"),
    Row("v1.Channel.type", channel(), "devices/channel@type", "unix"),
    Row("v1.Channel.source", channel(source=AGENT), "devices/channel/source", None),
    Row("v1.Channel.target", channel(), "devices/channel/target", None),
    Row("v1.ChannelSource.mode", channel(source=AGENT), "devices/channel/source@mode", "bind"),
    Row("v1.ChannelSource.path", channel(source=AGENT), "devices/channel/source@path", "/run/agent.sock"),
    Row("v1.ChannelTarget.type", channel(), "devices/channel/target@type", "virtio"),
    Row("v1.ChannelTarget.name", channel(), "devices/channel/target@name", "org.qemu.guest_agent.0"),
    Row("v1.ChannelTarget.address", guestfwd(), "devices/channel/target@address", "10.0.2.1"),
    Row("v1.ChannelTarget.port", guestfwd(), "devices/channel/target@port", "4600"),
    Row("v1.Serial.type", devices(serials=[{"type": "pty"}]), "devices/serial@type", "pty"),
    Row("v1.Serial.target", devices(serials=[{"type": "pty", "target": {"port": 0}}]), "devices/serial/target", None),
    Row(
        "v1.SerialTarget.port",
        devices(serials=[{"type": "pty", "target": {"port": 0}}]),
        "devices/serial/target@port",
        "0",
    ),
    Row("v1.Console.type", devices(consoles=[{"type": "pty"}]), "devices/console@type", "pty"),
    Row("v1.Console.target", devices(consoles=[{"type": "pty", "target": {}}]), "devices/console/target", None),
    Row(
        "v1.ConsoleTarget.type",
        devices(consoles=[{"type": "pty", "target": {"type": "serial", "port": 0}}]),
        "devices/console/target@type",
        "serial",
    ),
    Row(
        "v1.ConsoleTarget.port",
        devices(consoles=[{"type": "pty", "target": {"type": "serial", "port": 0}}]),
        "devices/console/target@port",
        "0",
    ),
    Row("v1.Graphics.type", graphics(), "devices/graphics@type", "vnc"),
    Row("v1.Graphics.autoPort", graphics(autoPort="yes"), "devices/graphics@autoport", "yes"),
    Row(
        "v1.Graphics.defaultMode",
        graphics(type="spice", defaultMode="secure"),
        "devices/graphics@defaultMode",
        "secure",
    ),
    Row("v1.Graphics.listen", graphics(listen={"type": "none"}), "devices/graphics/listen", None),
    Row(
        "v1.Graphics.passwdValidTo",
        graphics(passwdValidTo="2030-01-01T00:00:00"),
        "devices/graphics@passwdValidTo",
        "2030-01-01T00:00:00",
    ),
    Row("v1.Graphics.port", graphics(port=5901), "devices/graphics@port", "5901"),
    Row("v1.Graphics.tlsPort", graphics(type="spice", tlsPort=-1), "devices/graphics@tlsPort", "-1"),
    Row(
        "v1.Listen.type",
        graphics(listen={"type": "address", "address": "127.0.0.1"}),
        "devices/graphics/listen@type",
        "address",
    ),
    Row(
        "v1.Listen.address",
        graphics(listen={"type": "address", "address": "127.0.0.1"}),
        "devices/graphics/listen@address",
        "127.0.0.1",
    ),
    Row(
        "v1.Listen.network",
        graphics(listen={"type": "network", "network": "default"}),
        "devices/graphics/listen@network",
        "default",
    ),
    Row("v1.Video.type", video(), "devices/video/model@type", "qxl"),
    Row("v1.Video.heads", video(heads=1), "devices/video/model@heads", "1"),
    Row("v1.Video.ram", video(ram=65536), "devices/video/model@ram", "65536"),
    Row("v1.Video.vRam", video(vRam=32768), "devices/video/model@vram", "32768"),
    Row("v1.Video.vgaMem", video(vgaMem=16384), "devices/video/model@vgamem", "16384"),
    Row("v1.Watchdog.model", devices(watchdog=WATCHDOG), "devices/watchdog@model", "i6300esb"),
    Row("v1.Watchdog.action", devices(watchdog=WATCHDOG), "devices/watchdog@action", "reset"),
    Row("v1.Ballooning.model", devices(memballoon={"model": "none"}), "devices/memballoon@model", "none"),
]

BEYOND = [
    Row("vcpu", domain(vcpu=4), "vcpu", "4"),
    Row("vcpu, unset", domain(), "vcpu", "1"),
    Row("cpu.mode", domain(cpu={"mode": "host-passthrough"}), "cpu@mode", "host-passthrough"),
    Row("cpu.match", domain(cpu={"match": "exact", "model": "qemu64"}), "cpu@match", "exact"),
    Row("cpu.check", domain(cpu={"mode": "custom", "check": "none", "model": "qemu64"}), "cpu@check", "none"),
    Row("cpu.model", domain(cpu={"model": "qemu64"}), "cpu/model", "qemu64"),
    Row(
        "cpu.topology.sockets",
        domain(cpu={"topology": {"sockets": 1, "cores": 2, "threads": 1}}, vcpu=2),
        "cpu/topology@sockets",
        "1",
    ),
    Row(
        "cpu.topology.cores",
        domain(cpu={"topology": {"sockets": 1, "cores": 2, "threads": 1}}, vcpu=2),
        "cpu/topology@cores",
        "2",
    ),
    Row(
        "cpu.topology.threads",
        domain(cpu={"topology": {"sockets": 1, "cores": 1, "threads": 2}}, vcpu=2),
        "cpu/topology@threads",
        "2",
    ),
    Row("cpu.features.name", domain(cpu={"model": "qemu64", "features": [{"name": "svm"}]}), "cpu/feature@name", "svm"),
    Row(
        "cpu.features.policy",
        domain(cpu={"model": "qemu64", "features": [{"name": "svm", "policy": "disable"}]}),
        "cpu/feature@policy",
        "disable",
    ),
    Row(
        "cpu.features.policy, unset",
        domain(cpu={"model": "qemu64", "features": [{"name": "svm"}]}),
        "cpu/feature@policy",
        "require",
    ),
    Row("features.acpi", domain(features={"acpi": {}}), "features/acpi", None),
    Row("features.apic", domain(features={"apic": {}}), "features/apic", None),
    Row("features.pae", domain(features={"pae": {}}), "features/pae", None),
    Row("features, unset", domain(), "features/acpi", None),
    Row("disk.source.dev", disk(type="block", source={"dev": "/dev/vg/a"}), "devices/disk/source@dev", "/dev/vg/a"),
]
"""What Drover adds to KubeVirt 2017's definitions, and what it fills in."""


def every_field() -> set[str]:
    return {
        f"{name}.{field}"
        for name, schema in DEFINITIONS.items()
        if name not in LEFT_OUT
        for field in schema.get("properties", {})
        if (name, field) != ("v1.Disk", "cloudinit")
    }


def test_the_table_has_a_row_for_every_field_of_2017() -> None:
    assert every_field() == {row.field for row in ROWS}


@pytest.mark.parametrize("row", [*ROWS, *BEYOND], ids=lambda row: row.field)
def test_a_field_is_found_in_the_xml(row: Row) -> None:
    root = fromstring(from_json(row.spec, **IDENTITY))

    place, _, attribute = row.place.partition("@")
    element = root.find(place) if place else root
    assert element is not None
    if row.value is not None:
        assert row.value == (element.get(attribute) if attribute else element.text)


@pytest.mark.parametrize("row", [*ROWS, *BEYOND], ids=lambda row: row.field)
def test_the_schema_knows_the_field(row: Row) -> None:
    schema = Schema(structural(DomainSpec))

    assert (schema.check(row.spec), schema.prune(row.spec)) == ([], [])


def test_the_schema_requires_what_2017_required() -> None:
    schema = structural(DomainSpec)

    assert set(DEFINITIONS["v1.DomainSpec"]["required"]) == set(schema["required"])
    assert {"type", "target"} == set(schema["properties"]["devices"]["properties"]["disks"]["items"]["required"])


def test_the_smallest_domain_passes_the_strictest_policy() -> None:
    assert list(problems({"domain": domain()}, Policy())) == []


def test_a_domain_carries_the_objects_name_and_uid() -> None:
    root = fromstring(definition({"domain": domain()}, **IDENTITY))

    assert ("default_testvm", str(UUID(int=1))) == (root.findtext("name"), root.findtext("uuid"))


def test_a_guest_of_another_architecture_gets_no_acpi_that_it_may_not_have() -> None:
    arm = domain(os={"type": {"os": "hvm", "arch": "aarch64", "machine": "virt"}})

    assert fromstring(from_json(arm, **IDENTITY)).find("features") is None


def test_text_from_the_user_stays_text() -> None:
    hostile = "</serial><driver name='x'/>"

    root = fromstring(from_json(disk(serial=hostile), **IDENTITY))

    assert hostile == root.findtext("devices/disk/serial")
    assert root.find("devices/disk/driver") is None


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("MB", 64 * 10**6),
        ("MiB", 64 * 2**20),
        ("M", 64 * 2**20),
        ("KiB", 64 * 2**10),
        ("GB", 64 * 10**9),
        ("bytes", 64),
    ],
)
def test_memory_is_counted_as_libvirt_counts_it(unit: str, expected: int) -> None:
    read = facts({"domain": domain(memory={"value": 64, "unit": unit})})

    assert (expected, 1) == (read.memory, read.vcpus)


@pytest.mark.parametrize("unit", MEMORY_UNITS)
def test_every_unit_of_the_schema_can_be_counted(unit: str) -> None:
    assert facts({"domain": domain(memory={"value": 3, "unit": unit})}).memory % 3 == 0
