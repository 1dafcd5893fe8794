"""KubeVirt 2017's DomainSpec, the JSON form of libvirt's domain XML, and what Drover adds to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.kinds.shape import ATOMIC, Shape

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=-1, le=65535)]
Text = Annotated[str, Field(max_length=4096)]
HexNumber = Annotated[str, Field(pattern=r"^(0x[0-9a-fA-F]{1,4}|[0-9]{1,5})$")]


MEMORY_UNITS = ("b", "bytes", "k", "KB", "KiB", "M", "MB", "MiB", "G", "GB", "GiB", "T", "TB", "TiB")
"""libvirt's."""


class DomainType(StrEnum):
    """What runs the guest."""

    QEMU = "qemu"
    """Emulation: runs everywhere, slowly."""
    KVM = "kvm"
    """The host's CPU: needs virtualization extensions there."""


class Memory(Shape):
    """How much memory the guest has."""

    value: Positive
    """How many units."""
    unit: Annotated[str, Field(json_schema_extra={"enum": list(MEMORY_UNITS)})]
    """KiB, MiB, GiB count by 1024; KB, MB, GB by 1000."""


class Presence(Shape):
    """Nothing but its presence counts."""


class BIOS(Presence):
    """The firmware's settings: there are none yet."""


class Clock(Presence):
    """The guest's clock: in UTC."""


class ReadOnly(Presence):
    """The guest may not write."""


class BandWidth(Presence):
    """An interface's bandwidth: unlimited."""


class OSType(Shape):
    """What kind of machine the guest sees."""

    os: Text
    """hvm: a whole machine."""
    arch: Text | None = None
    """x86_64, aarch64, …; unset is the host's."""
    machine: Text | None = None
    """pc, q35, virt, …; unset is the emulator's default."""


class SMBios(Shape):
    """Where the guest's SMBIOS data come from."""

    mode: Text
    """emulate, host or sysinfo."""


class Boot(Shape):
    """A device to boot from."""

    dev: Text
    """fd, hd, cdrom or network."""


class BootMenu(Shape):
    """Whether the firmware offers a boot menu."""

    enabled: bool | None = None
    """Whether it does."""
    timeout: Natural | None = None
    """For how many milliseconds."""


class OS(Shape):
    """How the guest boots."""

    type: OSType
    """What kind of machine the guest sees."""
    smbios: SMBios | None = Field(default=None, alias="smBIOS")
    """Where the guest's SMBIOS data come from."""
    boot_order: Annotated[list[Boot], ATOMIC] = Field(default_factory=list)
    """Devices to boot from, in this order."""
    boot_menu: BootMenu | None = None
    """Whether the firmware offers a boot menu."""
    bios: BIOS | None = None
    """The firmware's settings."""


class Entry(Shape):
    """A named value."""

    name: Text
    """The name."""
    value: Text
    """The value."""


class SysInfo(Shape):
    """What the guest reads from its SMBIOS."""

    type: Text
    """smbios."""
    system: Annotated[list[Entry], ATOMIC]
    """Block 1: manufacturer, product, version, serial, uuid, sku, family."""
    bios: Annotated[list[Entry], ATOMIC]
    """Block 0: vendor, version, date, release."""
    base_board: Annotated[list[Entry], ATOMIC]
    """Block 2: manufacturer, product, version, serial, asset, location."""


class DiskSourceHost(Shape):
    """A server of a network disk."""

    name: Text
    """Its name or address."""
    port: Text | None = None
    """Its port."""


class DiskSource(Shape):
    """Where a disk's data are."""

    file: Text | None = None
    """Path of an image, for disks of type file."""
    dev: Text | None = None
    """Path of a block device, for disks of type block."""
    startup_policy: Text | None = None
    """mandatory, requisite or optional: what to do when it is missing."""
    protocol: Text | None = None
    """iscsi, rbd, nbd, …, for disks of type network."""
    name: Text | None = None
    """The volume's name, for disks of type network."""
    host: DiskSourceHost | None = None
    """The server, for disks of type network."""


class DiskTarget(Shape):
    """How the guest sees a disk."""

    dev: Text
    """vda, sda, hdc, …"""
    bus: Text | None = None
    """virtio, sata, scsi, ide, …"""


class DiskDriver(Shape):
    """How the emulator reads and writes a disk."""

    cache: Text | None = None
    """none, writethrough, writeback, directsync or unsafe."""
    error_policy: Text | None = None
    """stop, report, ignore or enospace."""
    io: Text | None = None
    """native, threads or io_uring."""
    name: Text | None = None
    """qemu."""
    type: Text | None = None
    """raw, qcow2, …"""


class DiskSecret(Shape):
    """A secret that the host's libvirt keeps."""

    type: Text
    """iscsi, ceph, …"""
    usage: Text
    """What the secret is for."""


class DiskAuth(Shape):
    """How to log in to a network disk's server."""

    username: Text
    """As whom."""
    secret: DiskSecret | None = None
    """With which secret."""


class Disk(Shape):
    """A disk."""

    type: Text
    """file, block or network."""
    device: Text | None = None
    """disk, cdrom, floppy or lun; unset is disk."""
    snapshot: Text | None = None
    """no, internal or external."""
    source: DiskSource | None = None
    """Where its data are."""
    target: DiskTarget
    """How the guest sees it."""
    serial: Text | None = None
    """Its serial number."""
    driver: DiskDriver | None = None
    """How the emulator reads and writes it."""
    read_only: ReadOnly | None = None
    """The guest may not write to it."""
    auth: DiskAuth | None = None
    """How to log in to its server."""


class InterfaceSource(Shape):
    """What a network interface is connected to."""

    network: Text | None = None
    """A libvirt network, for interfaces of type network."""
    device: Text | None = None
    """A host's interface, for interfaces of type direct."""
    bridge: Text | None = None
    """A host's bridge, for interfaces of type bridge."""


class InterfaceTarget(Shape):
    """The host's end of a network interface."""

    dev: Text
    """Its name."""


class Model(Shape):
    """Which device is emulated."""

    type: Text
    """virtio, e1000, rtl8139, …"""


class MAC(Shape):
    """A hardware address."""

    address: Annotated[str, Field(pattern=r"^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$")]
    """Six bytes in hexadecimal, with colons."""


class BootOrder(Shape):
    """Where in the boot order a device stands."""

    order: Positive
    """From 1."""


class LinkState(Shape):
    """Whether the cable is plugged in."""

    state: Text
    """up or down."""


class FilterRef(Shape):
    """A network filter of the host's."""

    filter: Text
    """Its name."""


class Address(Shape):
    """Where on the guest's bus a device is."""

    type: Text
    """pci."""
    domain: HexNumber
    """The PCI domain, such as 0x0000."""
    bus: HexNumber
    """The PCI bus, such as 0x00."""
    slot: HexNumber
    """The PCI slot, such as 0x03."""
    function: HexNumber
    """The PCI function, such as 0x0."""


class Alias(Shape):
    """A name for a device."""

    name: Text
    """The name; libvirt keeps those that begin with `ua-`."""


class Interface(Shape):
    """A network interface."""

    type: Text
    """bridge, network or direct, as the operator allows."""
    source: InterfaceSource
    """What it is connected to."""
    target: InterfaceTarget | None = None
    """The host's end of it."""
    model: Model | None = None
    """Which device is emulated."""
    mac: MAC | None = None
    """Its hardware address; unset lets libvirt choose."""
    bandwidth: BandWidth | None = None
    """Its bandwidth: unlimited."""
    boot: BootOrder | None = None
    """Where in the boot order it stands."""
    link: LinkState | None = None
    """Whether its cable is plugged in."""
    filter_ref: FilterRef | None = None
    """A network filter of the host's."""
    address: Address | None = None
    """Where on the guest's bus it is."""
    alias: Alias | None = None
    """A name for it."""


class SerialTarget(Shape):
    """Which serial port."""

    port: Natural | None = None
    """From 0."""


class Serial(Shape):
    """A serial port."""

    type: Text
    """pty: a pseudo terminal on the host."""
    target: SerialTarget | None = None
    """Which port the guest sees."""


class ConsoleTarget(Shape):
    """Which console."""

    type: Text | None = None
    """serial or virtio."""
    port: Natural | None = None
    """From 0."""


class Console(Shape):
    """A console."""

    type: Text
    """pty: a pseudo terminal on the host."""
    target: ConsoleTarget | None = None
    """Which console the guest sees."""


class ChannelSource(Shape):
    """The host's end of a channel."""

    mode: Text
    """bind or connect."""
    path: Text
    """Path of a unix socket."""


class ChannelTarget(Shape):
    """The guest's end of a channel."""

    type: Text
    """virtio or guestfwd."""
    name: Text | None = None
    """Its name, such as org.qemu.guest_agent.0."""
    address: Text | None = None
    """Its address, for guestfwd."""
    port: Natural | None = None
    """Its port, for guestfwd."""


class Channel(Shape):
    """A private line between host and guest."""

    type: Text
    """unix, pty or spicevmc."""
    source: ChannelSource | None = None
    """The host's end."""
    target: ChannelTarget | None = None
    """The guest's end."""


class Listen(Shape):
    """Where a graphical console listens."""

    type: Text
    """address, network or none."""
    address: Text | None = None
    """An address of the host's."""
    network: Text | None = None
    """A libvirt network."""


class Graphics(Shape):
    """A graphical console."""

    type: Text
    """vnc or spice."""
    auto_port: Annotated[str, Field(json_schema_extra={"enum": ["yes", "no"]})] | None = None
    """yes lets libvirt choose the port."""
    default_mode: Text | None = None
    """secure, insecure or any: whether channels of spice are encrypted."""
    listen: Listen | None = None
    """Where it listens."""
    passwd_valid_to: Text | None = None
    """Until when the password holds."""
    port: Port | None = None
    """Its TCP port; -1 lets libvirt choose."""
    tls_port: Port | None = None
    """Its TLS port; -1 lets libvirt choose."""


class Video(Shape):
    """A graphics card."""

    type: Text
    """vga, cirrus, qxl, virtio, …"""
    heads: Positive | None = None
    """How many screens."""
    ram: Natural | None = None
    """KiB of its primary bar, for qxl."""
    vram: Natural | None = Field(default=None, alias="vRam")
    """KiB of its video memory."""
    vga_mem: Natural | None = None
    """KiB of its VGA framebuffer, for qxl."""


class Watchdog(Shape):
    """Hardware watchdog device."""

    model: Text
    """Which one, typically i6300esb."""
    action: Text
    """poweroff, reset, shutdown, pause, dump, none or inject-nmi."""


class Ballooning(Shape):
    """The memory balloon."""

    model: Text
    """virtio, or none."""


class Devices(Shape):
    """The guest's devices."""

    emulator: Text | None = None
    """Path of the emulator; unset is the host's default."""
    disks: Annotated[list[Disk], ATOMIC] = Field(default_factory=list)
    """Disks."""
    interfaces: Annotated[list[Interface], ATOMIC] = Field(default_factory=list)
    """Network interfaces."""
    channels: Annotated[list[Channel], ATOMIC] = Field(default_factory=list)
    """Private lines between host and guest."""
    serials: Annotated[list[Serial], ATOMIC] = Field(default_factory=list)
    """Serial ports."""
    consoles: Annotated[list[Console], ATOMIC] = Field(default_factory=list)
    """Consoles."""
    graphics: Annotated[list[Graphics], ATOMIC] = Field(default_factory=list)
    """Graphical consoles."""
    video: Annotated[list[Video], ATOMIC] = Field(default_factory=list)
    """Graphics cards."""
    watchdog: Watchdog | None = None
    """Hardware watchdog device."""
    memballoon: Ballooning | None = None
    """The memory balloon."""


class CPUTopology(Shape):
    """How virtual CPUs are arranged."""

    sockets: Positive
    """How many sockets."""
    cores: Positive
    """Cores of each."""
    threads: Positive
    """Threads of each core."""


class CPUFeature(Shape):
    """A feature of the guest's CPU."""

    name: Text
    """Its name."""
    policy: Text | None = None
    """force, require, optional, disable or forbid; unset is require."""


class CPU(Shape):
    """Which CPU the guest sees."""

    mode: Text | None = None
    """custom, host-model, host-passthrough or maximum."""
    match: Text | None = None
    """minimum, exact or strict."""
    check: Text | None = None
    """none, partial or full."""
    model: Text | None = None
    """Its name, for mode custom."""
    topology: CPUTopology | None = None
    """How virtual CPUs are arranged."""
    features: Annotated[list[CPUFeature], ATOMIC] = Field(default_factory=list)
    """Features beyond the model's, or fewer."""


class Features(Shape):
    """The machine's features."""

    acpi: Presence | None = None
    """ACPI: without it a guest cannot be asked to power off."""
    apic: Presence | None = None
    """The APIC."""
    pae: Presence | None = None
    """PAE."""


class DomainSpec(Shape):
    """The guest."""

    type: DomainType
    """qemu or kvm."""
    memory: Memory
    """How much memory the guest has."""
    vcpu: Annotated[int, Field(ge=1, le=4096)] | None = None
    """How many virtual CPUs the guest has; unset is 1."""
    os: OS
    """How the guest boots."""
    cpu: CPU | None = None
    """Which CPU the guest sees; unset is the emulator's default."""
    features: Features | None = None
    """The machine's features; unset is ACPI, and the APIC where there is one."""
    clock: Clock | None = None
    """The guest's clock: in UTC."""
    sys_info: SysInfo | None = None
    """What the guest reads from its SMBIOS."""
    devices: Devices
    """The guest's devices."""
