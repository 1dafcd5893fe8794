"""What a hostile definition tries, and what the operator's list says to it."""

from __future__ import annotations

import os.path
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hypervisor.domain_xml import Policy, problems
from app.lab.guest import COMMAND_LINE
from app.machinery.objects import Document
from tests.kinds.domains import domain, xml

POLICY = Policy(
    paths=("/images", "/run/guests/"),
    bridges=("br0", "default"),
    emulators=("/usr/bin/qemu-system-x86_64",),
    disk_hosts=("ceph:6789", "nbd"),
)


@dataclass(frozen=True)
class Attack:
    """A definition that must be refused, and the place that the refusal names."""

    name: str
    text: str
    place: str


def attack(name: str, devices: str, place: str) -> Attack:
    return Attack(name, xml(devices), f"spec.domainXML.devices.{place}")


def disk(inside: str, type_: str = "file", device: str = "disk") -> str:
    return f"<disk type='{type_}' device='{device}'>{inside}<target dev='vda'/></disk>"


def line(type_: str, inside: str = "", tag: str = "serial") -> str:
    return f"<{tag} type='{type_}'>{inside}</{tag}>"


def nic(type_: str, inside: str = "") -> str:
    return f"<interface type='{type_}'>{inside}</interface>"


def vnc(attributes: str = "", inside: str = "") -> str:
    return f"<graphics type='vnc' {attributes}>{inside}</graphics>"


QEMU = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
COMMANDLINE = "<qemu:commandline><qemu:arg value='-drive'/></qemu:commandline>"
OWN_NS = f"<domain type='qemu' {QEMU}><memory>9</memory><os><type>hvm</type></os>{COMMANDLINE}<devices/></domain>"
DEFAULT_NS = OWN_NS.replace("xmlns:qemu=", "xmlns=").replace("qemu:", "")

ATTACKS = [
    # Files of the host
    attack("another disk", disk("<source file='/etc/shadow'/>"), "disk[0].source"),
    attack("a way up", disk("<source file='/images/../etc/shadow'/>"), "disk[0].source"),
    attack("a sibling of the prefix", disk("<source file='/images-secret/a'/>"), "disk[0].source"),
    attack("a relative path", disk("<source file='images/a'/>"), "disk[0].source"),
    attack("a path with a space before", disk("<source file=' /images/a'/>"), "disk[0].source"),
    attack("a path with a line break", disk("<source file='/images/a&#10;b'/>"), "disk[0].source"),
    attack("a pseudo protocol", disk('<source file=\'json:{"driver":"file"}\'/>'), "disk[0].source"),
    attack("the prefix itself", disk("<source file='/images'/>"), "disk[0].source"),
    attack("a host's disk", disk("<source dev='/dev/sda'/>", "block"), "disk[0].source"),
    attack("a folder as a disk", disk("<source dir='/etc'/>", "dir"), "disk[0].source"),
    attack("a volume of a pool", disk("<source pool='p' volume='v'/>", "volume"), "disk[0].source"),
    attack("an NVMe controller", disk("<source type='pci'/>", "nvme"), "disk[0].source"),
    attack("a vhost-user disk", disk("<source type='unix' path='/images/s'/>", "vhostuser"), "disk[0].source"),
    attack("SCSI commands", disk("<source dev='/images/d'/>", "block", "lun"), "disk[0]"),
    attack(
        "a backing file",
        disk("<source file='/images/a'/><backingStore type='file'><source file='/etc/shadow'/></backingStore>"),
        "disk[0].backingStore.source",
    ),
    attack(
        "a backing file's backing file",
        disk(
            "<source file='/images/a'/><backingStore type='file'><source file='/images/b'/>"
            "<backingStore type='block'><source dev='/dev/sda'/></backingStore></backingStore>"
        ),
        "disk[0].backingStore.backingStore.source",
    ),
    attack("a mirror", disk("<source file='/images/a'/><mirror type='file' file='/etc/passwd'/>"), "disk[0].mirror"),
    attack(
        "a reservation daemon",
        disk("<source file='/images/a'><reservations managed='no'/></source>"),
        "disk[0].source.reservations",
    ),
    attack("a secret of the host's", disk("<source file='/images/a'/><encryption/>"), "disk[0].encryption"),
    attack("a label of its own", disk("<source file='/images/a'><seclabel/></source>"), "disk[0].source.seclabel"),
    attack("an overlay beside the image", disk("<source file='/images/a'/><transient/>"), "disk[0].transient"),
    attack("raw I/O", "<disk type='file' rawio='yes'/>", "disk[0]"),
    # Servers that the host can reach
    attack(
        "a server",
        disk("<source protocol='rbd' name='p/v'><host name='other'/></source>", "network"),
        "disk[0].source.host",
    ),
    attack(
        "another port",
        disk("<source protocol='rbd' name='v'><host name='ceph' port='22'/></source>", "network"),
        "disk[0].source.host",
    ),
    attack("no server", disk("<source protocol='rbd' name='p/v'/>", "network"), "disk[0].source"),
    attack(
        "metadata over http",
        disk("<source protocol='http' name='x'><host name='nbd'/></source>", "network"),
        "disk[0].source",
    ),
    attack(
        "a socket as a server",
        disk("<source protocol='nbd'><host name='nbd' transport='unix' socket='/run/x'/></source>", "network"),
        "disk[0].source.host",
    ),
    # Serial ports, consoles, channels
    attack("a file to write", line("file", "<source path='/etc/cron.d/x'/>"), "serial[0]"),
    attack("a way up to write", line("file", "<source path='/images/../etc/x'/>"), "serial[0]"),
    attack("a second source", line("file", "<source path='/images/a'/><source path='/etc/x'/>"), "serial[0]"),
    attack("a log", line("pty", "<log file='/etc/cron.d/x'/>"), "serial[0].log"),
    attack("a device", line("dev", "<source path='/dev/mem'/>"), "serial[0]"),
    attack("a pipe", line("pipe", "<source path='/run/x'/>"), "serial[0]"),
    attack(
        "libvirt's own socket", line("unix", "<source mode='connect' path='/run/libvirt/libvirt-sock'/>"), "serial[0]"
    ),
    attack("a channel to a socket", line("unix", "<source path='/run/x'/>", "channel"), "channel[0]"),
    attack("a console to a file", line("file", "<source path='/x'/>", "console"), "console[0]"),
    attack("a parallel port to a device", line("dev", "<source path='/dev/x'/>", "parallel"), "parallel[0]"),
    attack("a TCP listener", line("tcp", "<source mode='bind' host='0.0.0.0' service='1'/>"), "serial[0]"),
    attack("a TCP client", line("tcp", "<source mode='connect' host='10.0.0.1' service='22'/>"), "serial[0].source"),
    attack("UDP", line("udp", "<source mode='connect' host='h' service='1'/>"), "serial[0]"),
    attack("the daemon's terminal", line("stdio"), "serial[0]"),
    attack("D-Bus", line("dbus", "<source channel='x'/>"), "serial[0]"),
    attack("a path that is no terminal", line("pty", "<source path='/dev/pts/../mem'/>"), "serial[0]"),
    # Programs
    attack("an emulator", "<emulator>/tmp/evil</emulator>", "emulator"),
    attack("an emulator by its prefix", "<emulator>/usr/bin/qemu-system-x86_64.sh</emulator>", "emulator"),
    attack(
        "a second emulator",
        "<emulator>/usr/bin/qemu-system-x86_64</emulator><emulator>/tmp/evil</emulator>",
        "emulator[1]",
    ),
    attack("a script", nic("ethernet", "<script path='/tmp/evil'/>"), "interface[0].script"),
    attack("a virtiofs daemon", "<filesystem><binary path='/tmp/evil'/></filesystem>", "filesystem[0].binary"),
    Attack("QEMU's command line", OWN_NS, "spec.domainXML.commandline"),
    Attack("QEMU's namespace as the default", DEFAULT_NS, "spec.domainXML"),
    # Networks
    attack("a bridge", nic("bridge", "<source bridge='br-admin'/>"), "interface[0].source"),
    attack("a network", nic("network", "<source network='admin'/>"), "interface[0].source"),
    attack("a host's interface", nic("direct", "<source dev='eth0' mode='bridge'/>"), "interface[0].source"),
    attack("a whole interface", nic("direct", "<source dev='br0' mode='passthrough'/>"), "interface[0].source"),
    attack("the host's loopback", nic("user"), "interface[0]"),
    attack("a tap of its own", nic("ethernet", "<target dev='tap0' managed='no'/>"), "interface[0]"),
    attack("no source", nic("bridge"), "interface[0]"),
    attack("a vhost-user socket", nic("vhostuser", "<source type='unix' path='/x' mode='server'/>"), "interface[0]"),
    attack("a virtual function", nic("hostdev", "<source/>"), "interface[0]"),
    attack("another VLAN", nic("bridge", "<source bridge='br0'/><vlan trunk='yes'/>"), "interface[0].vlan"),
    attack("a port profile", nic("bridge", "<source bridge='br0'/><virtualport/>"), "interface[0].virtualport"),
    attack("a tap device", nic("bridge", "<source bridge='br0'/><backend tap='/dev/x'/>"), "interface[0].backend"),
    attack("a boot ROM", nic("bridge", "<source bridge='br0'/><rom file='/etc/shadow'/>"), "interface[0].rom"),
    attack("a multicast group", nic("mcast", "<source address='230.0.0.1' port='5'/>"), "interface[0]"),
    # Consoles that others reach
    attack("VNC for everybody", vnc("listen='0.0.0.0'"), "graphics[0]"),
    attack("VNC for everybody, IPv6", vnc("listen='::'"), "graphics[0]"),
    attack("VNC by an element", vnc("", "<listen type='address' address='0.0.0.0'/>"), "graphics[0].listen"),
    attack(
        "VNC by a second element",
        vnc("", "<listen type='none'/><listen type='address' address='10.0.0.1'/>"),
        "graphics[0].listen[1]",
    ),
    attack("VNC on a network", vnc("", "<listen type='network' network='admin'/>"), "graphics[0].listen"),
    attack("VNC on a socket", vnc("socket='/run/x'"), "graphics[0]"),
    attack("VNC on a socket by an element", vnc("", "<listen type='socket' socket='/run/x'/>"), "graphics[0].listen"),
    attack("a window on the host", "<graphics type='sdl' display=':0' xauth='/root/.Xauthority'/>", "graphics[0]"),
    attack(
        "a render node", "<graphics type='spice'><gl enable='yes' rendernode='/dev/x'/></graphics>", "graphics[0].gl"
    ),
    attack("a power button for viewers", vnc("powerControl='yes'"), "graphics[0]"),
    # Devices of the host
    attack("a PCI device", "<hostdev mode='subsystem' type='pci'/>", "hostdev[0]"),
    attack("an input device", "<input type='evdev'><source dev='/dev/input/event0'/></input>", "input[0]"),
    attack("a TPM", "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>", "tpm[0].backend"),
    attack("an entropy socket", "<rng model='virtio'><backend model='egd' type='tcp'/></rng>", "rng[0].backend"),
    attack(
        "an entropy file", "<rng model='virtio'><backend model='random'>/etc/shadow</backend></rng>", "rng[0].backend"
    ),
    attack("a smartcard", "<smartcard mode='host'/>", "smartcard[0]"),
    attack("a redirected device", "<redirdev bus='usb' type='tcp'/>", "redirdev[0]"),
    attack("shared memory", "<shmem name='x'/>", "shmem[0]"),
    attack("persistent memory", "<memory model='nvdimm'><source><path>/x</path></source></memory>", "memory[0]"),
    attack("a folder", "<filesystem><source dir='/etc'/><target dir='x'/></filesystem>", "filesystem[0].source"),
    attack("a folder with the host's rights", "<filesystem accessmode='passthrough'/>", "filesystem[0]"),
    attack("a sound file", "<audio id='1' type='file' path='/x'/>", "audio[0]"),
    attack("a vhost-user card", "<video><driver name='vhostuser'/></video>", "video[0].driver"),
    attack("a memory dump", "<watchdog model='i6300esb' action='dump'/>", "watchdog[0]"),
    attack("an unknown device", "<teleporter/>", "teleporter[0]"),
    # Firmware and boot
    Attack("a kernel", xml(machine="<type>hvm</type><kernel>/etc/shadow</kernel>"), "spec.domainXML.os.kernel"),
    Attack("an initrd", xml(machine="<type>hvm</type><initrd>/etc/shadow</initrd>"), "spec.domainXML.os.initrd"),
    Attack("a device tree", xml(machine="<type>hvm</type><dtb>/etc/shadow</dtb>"), "spec.domainXML.os.dtb"),
    Attack("a loader", xml(machine="<type>hvm</type><loader>/etc/shadow</loader>"), "spec.domainXML.os.loader"),
    Attack("variables", xml(machine="<type>hvm</type><nvram>/etc/passwd</nvram>"), "spec.domainXML.os.nvram"),
    Attack("a template", xml(machine="<type>hvm</type><nvram template='/etc/x'/>"), "spec.domainXML.os.nvram"),
    Attack(
        "an ACPI table",
        xml(machine="<type>hvm</type><acpi><table type='slic'>/etc/shadow</table></acpi>"),
        "spec.domainXML.os.acpi.table",
    ),
    Attack("a program", xml(machine="<type>exe</type><init>/bin/sh</init>"), "spec.domainXML.os.init"),
    Attack("the host's SMBIOS", xml(machine="<type>hvm</type><smbios mode='host'/>"), "spec.domainXML.os.smbios"),
    Attack("a container", xml(kind="lxc"), "spec.domainXML"),
    # The whole domain
    Attack("root's rights", xml(within="<seclabel type='static' model='dac'/>"), "spec.domainXML.seclabel"),
    Attack(
        "another cgroup",
        xml(within="<resource><partition>/</partition></resource>"),
        "spec.domainXML.resource.partition",
    ),
    Attack(
        "firmware files",
        xml(within="<sysinfo type='fwcfg'><entry name='o' file='/x'/></sysinfo>"),
        "spec.domainXML.sysinfo",
    ),
    Attack("dumps", xml(within="<on_crash>coredump-destroy</on_crash>"), "spec.domainXML.on_crash"),
    Attack("weights on host devices", xml(within="<blkiotune/>"), "spec.domainXML.blkiotune"),
    Attack("a real-time priority", xml(within="<cputune><vcpusched/></cputune>"), "spec.domainXML.cputune.vcpusched"),
    Attack(
        "memory that cannot be swapped",
        xml(within="<memoryBacking><locked/></memoryBacking>"),
        "spec.domainXML.memoryBacking.locked",
    ),
    Attack("threads without end", xml(within="<iothreads>100000</iothreads>"), "spec.domainXML.iothreads"),
    Attack(
        "an attribute of another namespace",
        xml().replace("<os>", "<os x:y='1' xmlns:x='http://x'>"),
        "spec.domainXML.os",
    ),
    Attack("user ids", xml(within="<idmap/>"), "spec.domainXML.idmap"),
    Attack("a second set of devices", xml(within="<devices><hostdev/></devices>"), "spec.domainXML.devices.hostdev[0]"),
    Attack("another root", "<network><name>x</name></network>", "spec.domainXML"),
    Attack("no machine", "<domain type='qemu'><memory>9</memory></domain>", "spec.domainXML.os.type"),
]

ATTACKS += [
    # Formats that name files of their own, and images that others wrote
    *(
        attack(
            f"an image of format {form}",
            disk(f"<driver name='qemu' type='{form}'/><source file='/images/a'/>"),
            "disk[0].driver",
        )
        for form in ("vmdk", "vdi", "qed", "parallels", "luks", "dmg", "fat", "dir", "iso", "vpc", "auto")
    ),
    attack(
        "a layer of another format",
        disk(
            "<source file='/images/a'/><backingStore type='file'><format type='vmdk'/><source file='/images/b'/></backingStore>"
        ),
        "disk[0].backingStore.format",
    ),
    attack("a slice", disk("<source file='/images/a'><slices/></source>"), "disk[0].source.slices"),
    attack(
        "a data file", disk("<source file='/images/a'><dataStore type='file'/></source>"), "disk[0].source.dataStore"
    ),
    attack(
        "cookies",
        disk("<source protocol='nbd'><host name='nbd'/><cookies/></source>", "network"),
        "disk[0].source.cookies",
    ),
    attack(
        "a key",
        disk("<source protocol='nbd'><host name='nbd'/><identity keyfile='/k'/></source>", "network"),
        "disk[0].source.identity",
    ),
    attack(
        "known hosts",
        disk("<source protocol='nbd'><host name='nbd'/><knownHosts path='/k'/></source>", "network"),
        "disk[0].source.knownHosts",
    ),
    attack(
        "a configuration of ceph",
        disk("<source protocol='rbd' name='p/v'><host name='ceph:6789'/><config file='/etc/x'/></source>", "network"),
        "disk[0].source.config",
    ),
    attack(
        "a domain of a backend", disk("<source file='/images/a'/><backenddomain name='x'/>"), "disk[0].backenddomain"
    ),
    attack("throttling with others", disk("<source file='/images/a'/><throttlefilters/>"), "disk[0].throttlefilters"),
    # Serial ports
    *(
        attack(f"a line of type {kind}", line(kind), "serial[0]")
        for kind in ("nmdm", "spiceport", "telnet", "stdio", "udp", "")
    ),
    attack(
        "a channel of another machine",
        line("unix", "<source mode='bind' path='/images/../run/libvirt/x'/>", "channel"),
        "channel[0]",
    ),
    # Networks
    *(
        attack(f"an interface of type {kind}", nic(kind), "interface[0]")
        for kind in ("vdpa", "internal", "server", "client", "udp", "null", "vds", "")
    ),
    attack(
        "a backend with a log",
        nic("bridge", "<source bridge='br0'/><backend type='passt' logFile='/x'/>"),
        "interface[0].backend",
    ),
    attack(
        "forwarded ports", nic("bridge", "<source bridge='br0'/><portForward proto='tcp'/>"), "interface[0].portForward"
    ),
    attack(
        "a script for going down",
        nic("bridge", "<source bridge='br0'/><downscript path='/x'/>"),
        "interface[0].downscript",
    ),
    attack(
        "an interface's domain",
        nic("bridge", "<source bridge='br0'/><backenddomain name='x'/>"),
        "interface[0].backenddomain",
    ),
    # Consoles
    *(
        attack(f"graphics of type {kind}", f"<graphics type='{kind}'/>", "graphics[0]")
        for kind in ("sdl", "rdp", "desktop", "egl-headless", "dbus")
    ),
    *(
        attack(f"audio of type {kind}", f"<audio id='1' type='{kind}'/>", "audio[0]")
        for kind in ("file", "oss", "alsa", "sdl", "jack", "pulseaudio", "pipewire", "coreaudio", "dbus")
    ),
    attack(
        "an input on the host's sound card",
        "<audio id='1' type='none'><input dev='/dev/dsp'/></audio>",
        "audio[0].input",
    ),
    # Devices of the host
    *(
        attack(f"a device <{tag}>", f"<{tag}/>", f"{tag}[0]")
        for tag in ("smartcard", "shmem", "memory", "crypto", "pstore", "lease", "hostdev", "bus")
    ),
    attack(
        "a TPM of the host's",
        "<tpm><backend type='external'><source type='unix' mode='connect' path='/x'/></backend></tpm>",
        "tpm[0].backend",
    ),
    attack(
        "a TPM with a secret",
        "<tpm><backend type='emulator'><encryption secret='x'/></backend></tpm>",
        "tpm[0].backend.encryption",
    ),
    attack(
        "a TPM's state",
        "<tpm><backend type='emulator'><source type='file' path='/x'/></backend></tpm>",
        "tpm[0].backend.source",
    ),
    attack(
        "a TPM's log", "<tpm><backend type='emulator' debug='9'><log file='/x'/></backend></tpm>", "tpm[0].backend.log"
    ),
    attack(
        "an input passed through", "<input type='passthrough'><source evdev='/dev/input/event0'/></input>", "input[0]"
    ),
    attack("a socket of vhost-user input", "<input type='tablet'><source path='/x'/></input>", "input[0].source"),
    attack(
        "a folder where links are links",
        "<filesystem accessmode='squash'><source dir='/images/d'/></filesystem>",
        "filesystem[0]",
    ),
    attack(
        "a virtiofs socket",
        "<filesystem><driver type='virtiofs'/><source socket='/x'/></filesystem>",
        "filesystem[0].driver",
    ),
    attack(
        "a file system of a block device",
        "<filesystem type='block'><source dev='/dev/sda'/></filesystem>",
        "filesystem[0]",
    ),
    attack(
        "a file system in a file", "<filesystem type='file'><source file='/images/f'/></filesystem>", "filesystem[0]"
    ),
    attack(
        "a boot ROM of a disk controller",
        "<controller type='scsi'><rom file='/etc/shadow'/></controller>",
        "controller[0].rom",
    ),
    attack(
        "a path in an address", disk("<source file='/images/a'/><address type='pci' file='/x'/>"), "disk[0].address"
    ),
    attack(
        "a path in a limit",
        disk("<source file='/images/a'/><iotune><group_name>/x</group_name></iotune>"),
        "disk[0].iotune.group_name",
    ),
    # Firmware and boot
    Attack(
        "variables from elsewhere",
        xml(machine="<type>hvm</type><nvram type='file'><source file='/etc/passwd'/></nvram>"),
        "spec.domainXML.os.nvram.source",
    ),
    Attack("variables on a server", xml(machine="<type>hvm</type><nvram type='network'/>"), "spec.domainXML.os.nvram"),
    Attack("a shim", xml(machine="<type>hvm</type><shim>/x</shim>"), "spec.domainXML.os.shim"),
    Attack(
        "a firmware's path",
        xml(machine="<type>hvm</type><firmware><feature name='x' file='/x'/></firmware>"),
        "spec.domainXML.os.firmware.feature",
    ),
    Attack(
        "a table of another kind",
        xml(machine="<type>hvm</type><acpi><table type='raw'>/images/../etc/x</table></acpi>"),
        "spec.domainXML.os.acpi.table",
    ),
    # The whole domain
    *(
        Attack(f"an element <{tag}>", xml(within=f"<{tag}/>"), f"spec.domainXML.{tag}")
        for tag in (
            "bootloader",
            "bootloader_args",
            "launchSecurity",
            "keywrap",
            "seclabel",
            "idmap",
            "perf",
            "blkiotune",
            "throttlegroups",
            "iothreadids",
            "defaultiothread",
            "fibrechannel",
            "cachetune",
            "backenddomain",
        )
    ),
    Attack(
        "cache of the host's",
        xml(within="<cputune><cachetune vcpus='0'/></cputune>"),
        "spec.domainXML.cputune.cachetune",
    ),
    Attack(
        "an application's id",
        xml(within="<resource><fibrechannel appid='x'/></resource>"),
        "spec.domainXML.resource.fibrechannel",
    ),
    Attack(
        "memory in files",
        xml(within="<memoryBacking><source type='file'/></memoryBacking>"),
        "spec.domainXML.memoryBacking.source",
    ),
    Attack(
        "threads for memory",
        xml(within="<memoryBacking><allocation threads='9999'/></memoryBacking>"),
        "spec.domainXML.memoryBacking.allocation",
    ),
    Attack(
        "a feature's file",
        xml(within="<features><smm state='on' file='/x'/></features>"),
        "spec.domainXML.features.smm",
    ),
    Attack(
        "a clock's file",
        xml(within="<clock offset='utc'><timer name='/dev/rtc'/></clock>"),
        "spec.domainXML.clock.timer",
    ),
    Attack(
        "a path in a feature's text",
        xml(within="<features><hyperv><x>/etc/shadow</x></hyperv></features>"),
        "spec.domainXML.features.hyperv.x",
    ),
    *(
        Attack(f"QEMU's {what}", OWN_NS.replace(COMMANDLINE, f"<qemu:{what}/>"), f"spec.domainXML.{what}")
        for what in ("override", "capabilities", "deprecation")
    ),
    Attack(
        "QEMU's arguments in a harmless place",
        xml(within="<features><q:arg xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'/></features>"),
        "spec.domainXML.features.arg",
    ),
    Attack(
        "an inclusion",
        xml(within="<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>"),
        "spec.domainXML.include",
    ),
    Attack(
        "an inclusion among devices",
        xml("<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>"),
        "spec.domainXML.devices.include[0]",
    ),
]

ENTITY = "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
BOMB = "<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]>"
UNREADABLE = {
    "an entity": ENTITY + xml().replace("hvm", "&x;"),
    "a bomb": BOMB + xml().replace("hvm", "&b;"),
    "a document type": "<!DOCTYPE domain>" + xml(),
    "an external one": "<!DOCTYPE domain SYSTEM 'http://example.com/x.dtd'>" + xml(),
    "a parameter entity": "<!DOCTYPE d [<!ENTITY % p SYSTEM 'file:///x'> %p;]>" + xml(),
    "an unknown entity": xml().replace("hvm", "&nbsp;"),
    "two roots": xml() + xml(),
    "no end": xml()[:-3],
    "no XML": "virsh",
    "a lone surrogate": xml(within="<title>\ud800</title>"),
    "a null": xml(within="<title>\0</title>"),
    "too deep": xml(within="<metadata>" + "<a>" * 40 + "</a>" * 40 + "</metadata>"),
    "too many": xml(within="<metadata>" + "<a/>" * 20_000 + "</metadata>"),
    "too long": xml(within="<title>" + "a" * 300_000 + "</title>"),
    "no memory": "<domain type='qemu'><os><type>hvm</type></os></domain>",
    "memory in no unit": xml().replace("MiB", "parsecs"),
    "memory that is no number": xml().replace("64", "-1"),
    "endless memory": xml().replace("64", "9" * 40),
    "CPUs that are no number": xml(within="<vcpu>many</vcpu>"),
    "no CPU": xml(within="<vcpu>0</vcpu>"),
}

LINUX = (
    "<type arch='x86_64' machine='pc'>hvm</type><kernel>/images/vmlinuz</kernel><initrd>/images/initramfs.gz</initrd>"
    f"<cmdline>{COMMAND_LINE}</cmdline>"
)
ALLOWED = {
    "the smallest": xml(),
    "the lab's guest": xml(
        "<controller type='usb' model='none'/><memballoon model='none'/>"
        "<serial type='file'><source path='/images/console.log' append='on'/><target port='0'/></serial>",
        within="<vcpu>1</vcpu><features><acpi/></features><on_poweroff>destroy</on_poweroff><on_crash>destroy</on_crash>",
        machine=LINUX,
    ),
    "a disk with its chain": xml(
        disk(
            "<driver name='qemu' type='qcow2' cache='none'/><source file='/images/a.qcow2'/><backingStore/><readonly/>"
        )
    ),
    "an empty drive": xml("<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>"),
    "a network disk": xml(
        disk(
            "<auth username='u'><secret type='ceph' usage='x'/></auth>"
            "<source protocol='rbd' name='p/v'><host name='ceph' port='6789'/></source>",
            "network",
        )
    ),
    "interfaces": xml(
        nic("bridge", "<source bridge='br0'/><model type='virtio'/>") + nic("network", "<source network='default'/>")
    ),
    "a socket": xml(line("unix", "<source mode='bind' path='/run/guests/agent.sock'/>", "channel")),
    "consoles on loopback": xml(
        vnc("port='-1' autoport='yes' listen='127.0.0.1'", "<listen type='address' address='127.0.0.1'/>")
    ),
    "an emulator": xml("<emulator>/usr/bin/qemu-system-x86_64</emulator>"),
    "entropy": xml("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"),
    "other people's metadata": xml(
        within="<metadata><o:os xmlns:o='http://libosinfo.org'><o:id>x</o:id></o:os></metadata>"
    ),
    "doubled slashes": xml(disk("<source file='//images//a'/>")),
}


def found(spec: Document, policy: Policy = POLICY) -> list[str]:
    return [problem.path for problem in problems(spec, policy)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_refused_by_its_place(attack: Attack) -> None:
    assert attack.place in found({"domainXML": attack.text})


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_is_refused_as_a_whole(text: str) -> None:
    assert found({"domainXML": text}) == ["spec.domainXML"]


@pytest.mark.parametrize("text", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_the_operator_allows_passes(text: str) -> None:
    assert [str(problem) for problem in problems({"domainXML": text}, POLICY)] == []


@pytest.mark.parametrize(
    ("devices", "place"),
    [
        ({"emulator": "/tmp/evil"}, "emulator"),
        ({"disks": [{"type": "file", "target": {"dev": "a"}, "source": {"file": "/etc/shadow"}}]}, "disks[0].source"),
        ({"disks": [{"type": "block", "target": {"dev": "a"}, "source": {"dev": "/dev/sda"}}]}, "disks[0].source"),
        ({"disks": [{"type": "dir", "target": {"dev": "a"}}]}, "disks[0]"),
        ({"interfaces": [{"type": "network", "source": {"network": "admin"}}]}, "interfaces[0].source"),
        ({"interfaces": [{"type": "user", "source": {}}]}, "interfaces[0]"),
        ({"channels": [{"type": "unix", "source": {"mode": "bind", "path": "/run/x"}}]}, "channels[0]"),
        ({"serials": [{"type": "stdio"}]}, "serials[0]"),
        ({"consoles": [{"type": "pty"}, {"type": "udp"}]}, "consoles[1]"),
        ({"graphics": [{"type": "vnc", "listen": {"type": "address", "address": "0.0.0.0"}}]}, "graphics[0].listen"),
        ({"watchdog": {"model": "i6300esb", "action": "dump"}}, "watchdog"),
    ],
)
def test_the_json_form_is_judged_by_the_same_rules(devices: Document, place: str) -> None:
    assert [f"spec.domain.devices.{place}"] == found({"domain": domain(devices=devices)})


def test_without_permission_nothing_of_the_host_may_be_named() -> None:
    assert found(
        {
            "domainXML": xml(
                disk("<source file='/images/a'/>")
                + nic("bridge", "<source bridge='br0'/>")
                + "<emulator>/usr/bin/qemu-system-x86_64</emulator>"
            )
        },
        Policy(),
    ) == [
        "spec.domainXML.devices.disk[0].source",
        "spec.domainXML.devices.interface[0].source",
        "spec.domainXML.devices.emulator",
    ]


def test_a_prefix_of_everything_allows_everything() -> None:
    assert found({"domainXML": xml(disk("<source file='/srv/a'/>"))}, Policy(paths=("/",))) == []


def test_a_refusal_says_what_would_help() -> None:
    (problem,) = problems({"domainXML": xml(disk("<source file='/etc/shadow'/>"))}, POLICY)

    assert problem.reason == "FieldValueForbidden"
    assert "path '/etc/shadow' is not below any that the operator allows" in problem.message


@given(st.lists(st.sampled_from(["..", ".", "images", "etc", "a", ""]), max_size=8).map("/".join))
def test_no_spelling_of_a_path_leads_out_of_the_prefix(path: str) -> None:
    allowed = not found({"domainXML": xml(disk(f"<source file='/{path}'/>"))})

    if allowed:
        assert os.path.normpath("/" + path.lstrip("/")).startswith("/images/")


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    found({"domainXML": text})


def test_an_entry_with_a_namespace_counts_there_alone() -> None:
    policy = Policy(
        paths=("/images", "blue:/blue", "red:/red"), bridges=("br0", "blue:br1"), emulators=("blue:/usr/bin/q",),
        disk_hosts=("ceph:6789",),
    )  # fmt: skip

    assert policy.within("blue") == Policy(("/images", "/blue"), ("br0", "br1"), ("/usr/bin/q",), ("ceph:6789",))
    assert policy.within("green") == Policy(("/images",), ("br0",), (), ("ceph:6789",))
    assert policy.within("") == policy.within("green")


@pytest.mark.parametrize(
    ("namespace", "found_at"), [("blue", []), ("red", ["spec.domainXML.devices.disk[0].source"])]
)  # fmt: skip
def test_a_guest_of_another_namespace_is_refused_its_path(namespace: str, found_at: list[str]) -> None:
    policy = Policy(paths=("blue:/blue",)).within(namespace)

    assert found({"domainXML": xml(disk("<source file='/blue/a'/>"))}, policy) == found_at
