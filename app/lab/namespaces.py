"""
Libvirt hosts with addresses of their own, on one machine and as root: each in namespaces that the kernel ends with us.

    switch, 10.77.0.1 ── bridge `lan` ──┬── node0, 10.77.0.2 (bridge `br0`: libvirtd, guests)
                                        └── node1, 10.77.0.3 (…)

Nothing is made outside: no interface, no route, no mount. The switch holds all the others; it ends when its standard input
does, also when whoever made the lab is killed, and with it the kernel ends every process and every interface inside.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

from app.lab import capabilities, processes
from app.lab.account import Account
from app.lab.enclosure import Enclosure
from app.lab.errors import LabError
from app.lab.hosts import EMULATOR
from app.lab.processes import Process
from app.lab.programs import program, require
from app.lab.standing import Standing, listens

START_S = 30.0
BRIDGE = "br0"
"""On every node: guests' interfaces hang here, and reach one another through the switch."""
ROOT = Account("root", 0, 0)
LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
{more}"""
QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
stdio_handler = "file"
cgroup_controllers = [ ]
namespaces = [ ]
migration_host = "{address}"
migrate_tls_x509_cert_dir = "/etc/libvirt/pki"
migrate_tls_x509_verify = 1
{more}"""
WAIT = "exec env --ignore-signal=CHLD cat >/dev/null"
"""For the first process of its namespace: until its input ends. Whose parent dies becomes its child: ignoring that, it leaves
no zombies, for whose end libvirt would wait 40 s each."""
SWITCH_ADDRESS = "10.77.0.1"
LIBVIRTD_PORT = 16509
SWITCH = f"""\
set -e
ip link set lo up
ip link add lan type bridge forward_delay 0
ip addr add {SWITCH_ADDRESS}/24 dev lan
ip link set lan up
echo ready
{WAIT}
"""
NODE = """\
set -e
hostname {name}
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir /run/libvirt
mount --bind {folder}/run /run/libvirt
mount --bind {folder}/lib /var/lib/libvirt
mount --bind {folder}/etc /etc/libvirt
mount --bind {folder}/cache /var/cache/libvirt
mount --bind {folder}/log /var/log/libvirt
ip link set lo up
ip link add {bridge} type bridge forward_delay 0
ip addr add {address}/24 dev {bridge}
ip link set {bridge} up
echo ready
{wait}
"""


def require_root() -> None:
    """Raises LabError: nobody else may make what these hosts need."""
    if os.geteuid() != 0:
        raise LabError("hosts in network namespaces need root: run this as root")


class NamespaceHost:
    """One node: a libvirtd as root with an address, a disk and a bridge of its own."""

    def __init__(self, directory: Path, name: str, number: int, switch: Enclosure, more: tuple[str, str]) -> None:
        self.name = name
        self.directory = directory / name
        self.address = f"10.77.0.{number + 2}"
        self._switch = switch
        self.port = f"to{number}"
        """Its cable's end at the switch."""
        self._furnish(*more)
        folder = str(self.directory)
        script = NODE.format(name=name, folder=folder, bridge=BRIDGE, address=self.address, wait=WAIT)
        self.enclosure = Enclosure(script, within=switch)
        self._plug()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """As whoever made the lab reaches it: by its socket, whatever becomes of the network."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def peer_uri(self) -> str:
        """As the other hosts reach it, and whoever runs inside the lab's network."""
        return f"qemu+tcp://{self.address}/system"

    @property
    def migration_uri(self) -> str:
        return f"tcp://{self.address}"

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "libvirt-sock"

    @property
    def pki(self) -> Path:
        """Where its QEMUs look for certificates before they encrypt a migration's stream; empty at first."""
        return self.directory / "etc/pki"

    @property
    def log(self) -> Path:
        return self.directory / "libvirtd.log"

    def guests(self) -> list[Process]:
        """QEMU's processes here, whether or not libvirtd knows of them."""
        return self.enclosure.processes(EMULATOR)

    def start(self) -> None:
        """Returns when libvirtd answers. Running already is success."""
        if self._answers():
            return
        self.kill()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.enclosure.command(
                    program("libvirtd"), "--listen", "-p", "/run/libvirtd.pid", "-f", str(self._conf)
                ),
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            )  # fmt: skip
        child = self._child
        up = processes.wait_until(lambda: self._answers() or child.poll() is not None, START_S)
        if not up or child.poll() is not None:
            self.kill()
            raise LabError(f"libvirtd of {self.name} did not start: {self.log.read_text(errors='replace')[-500:]}")

    def kill(self) -> None:
        """libvirtd dies as in a crash; its guests go on without it."""
        for daemon in self.enclosure.processes("libvirtd"):
            daemon.send(signal.SIGKILL)
        self._see_end()

    def power_off(self) -> None:
        """As if somebody had pulled its plug: libvirtd, guests and network are gone for good. Twice is harmless."""
        self.enclosure.end()
        self._see_end()

    def cut(self) -> None:
        """What it sends is lost from now on, and nothing says so, as when a switch fails. Twice is harmless."""
        self._switch.ip("link", "set", self.port, "nomaster")

    def heal(self) -> None:
        self._switch.ip("link", "set", self.port, "master", "lan")

    def part(self) -> None:
        """What it and other parted hosts send one another is lost; from the switch it is reached still."""
        self._switch.ip("link", "set", self.port, "type", "bridge_slave", "isolated", "on")

    def rejoin(self) -> None:
        """Twice is harmless, as with the others."""
        self._switch.ip("link", "set", self.port, "type", "bridge_slave", "isolated", "off")

    def mute(self, other: NamespaceHost) -> None:
        """What its libvirtd answers that one's is lost; all else arrives, the guests' memory too."""
        self.enclosure.ip("rule", "add", *self._answers_to(other))

    def unmute(self, other: NamespaceHost) -> None:
        self.enclosure.ip("rule", "del", *self._answers_to(other))

    @staticmethod
    def _answers_to(other: NamespaceHost) -> tuple[str, ...]:
        return ("to", other.address, "ipproto", "tcp", "sport", str(LIBVIRTD_PORT), "blackhole")

    def hide(self) -> None:
        """What it and the switch send one another is lost; from other hosts it is reached still."""
        self._switch.ip("route", "replace", "blackhole", self.address)
        self.enclosure.ip("route", "replace", "blackhole", SWITCH_ADDRESS)

    def show(self) -> None:
        self._switch.ip("route", "flush", "exact", self.address)
        self.enclosure.ip("route", "flush", "exact", SWITCH_ADDRESS)

    def keep(self) -> None:
        """What its libvirt learned of QEMU, for labs to come."""
        capabilities.keep(self._learned, ROOT, kind="system")

    def _see_end(self) -> None:
        """Its nsenter stops itself when libvirtd is stopped, and would never see it end."""
        if self._child is not None:
            self._child.send_signal(signal.SIGCONT)
            self._child.wait(timeout=START_S)
            self._child = None

    @property
    def _conf(self) -> Path:
        return self.directory / "libvirtd.conf"

    @property
    def _learned(self) -> Path:
        return self.directory / "cache/qemu/capabilities"

    def _furnish(self, libvirtd_conf: str, qemu_conf: str) -> None:
        for folder in ("run", "lib", "etc/pki", "log", "cache"):
            (self.directory / folder).mkdir(parents=True)
        self._conf.write_text(LIBVIRTD_CONF.format(uuid=uuid.uuid4(), more=libvirtd_conf))
        (self.directory / "etc/qemu.conf").write_text(QEMU_CONF.format(address=self.address, more=qemu_conf))
        capabilities.lend(self._learned, kind="system")

    def _plug(self) -> None:
        """A cable from its bridge to the switch's."""
        self._switch.ip(
            "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", str(self.enclosure.pid)
        )
        for words in (("set", self.port, "master", "lan"), ("set", self.port, "up")):
            self._switch.ip("link", *words)
        for words in (("set", "eth0", "master", BRIDGE), ("set", "eth0", "up")):
            self.enclosure.ip("link", *words)

    def _answers(self) -> bool:
        return bool(self.enclosure.processes("libvirtd")) and listens(self.socket)


class NamespaceLab(Standing[NamespaceHost]):
    """Hosts below one folder of the temporary directory, on one switch. A context: all is gone afterwards."""

    def __init__(self, *names: str, libvirtd_conf: str = "", qemu_conf: str = "") -> None:
        """Two hosts where none is named. The texts are added to every host's settings."""
        super().__init__(Path(tempfile.gettempdir(), f"drover-ns-{secrets.token_hex(3)}"))
        self._names = names or ("node0", "node1")
        self._more = (libvirtd_conf, qemu_conf)
        self._switch: Enclosure | None = None

    @property
    def switch(self) -> Enclosure:
        """10.77.0.1: from here the nodes and their guests are pinged, listened to and connected to."""
        assert self._switch is not None, "BUG: the lab is not up"
        return self._switch

    def start(self) -> None:
        """Raises LabError, saying what would help."""
        require_root()
        require("libvirtd", EMULATOR, "ip", "unshare", "nsenter", "mount")
        for folder in (self.directory, self.images, self.consoles):
            folder.mkdir(mode=0o755)
        self._switch = Enclosure(SWITCH)
        for number, name in enumerate(self._names):
            self._hosts[name] = NamespaceHost(self.directory, name, number, self._switch, self._more)
        for host in self:
            host.start()

    def cut(self, name: str) -> None:
        """See NamespaceHost.cut: its `uri` still answers, its `peer_uri` does not."""
        self._hosts[name].cut()

    def heal(self, name: str) -> None:
        self._hosts[name].heal()

    def remove(self) -> None:
        """No process, no interface and no file is left. Twice is harmless."""
        for host in self:
            host.keep()
            host.power_off()
        if self._switch is not None:
            self._switch.end()
        self._hosts, self._switch = {}, None
        if self.directory.exists():
            shutil.rmtree(self.directory)
