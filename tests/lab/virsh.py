"""Guests by libvirt's own tool: the lab is judged without Drover's driver."""

from __future__ import annotations

import subprocess
from uuid import uuid4

from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.guest import linux_images, linux_xml
from app.lab.hosts import LabHost, LabHosts


def virsh(host: LabHost, *words: str, given: str | None = None) -> str:
    """What it printed; fails the test with what it complained of."""
    command = ["virsh", "-q", "-c", host.uri, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, input=given)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start_linux(hosts: LabHosts, host: LabHost, name: str = "testvm") -> None:
    """Its console is `<name>.log`."""
    console = hosts.consoles / f"{name}.log"
    _start(host, name, linux_xml(name, str(uuid4()), linux_images(hosts.images), console))


def start_boot_sector(hosts: LabHosts, host: LabHost, name: str = "testvm") -> None:
    """Its console is `<name>.log`."""
    image = build_boot_sector(hosts.images / "boot.img", mib_per_second=8)
    _start(host, name, boot_sector_xml(name, str(uuid4()), image, console=hosts.consoles / f"{name}.log"))


def move(guest: str, source: LabHost, target: LabHost) -> None:
    """Live, peer to peer, over a unix socket; the definition stays on the source."""
    peer, memory = target.uri, f"unix://{target.migration_sockets}/{guest}.sock"
    virsh(source, "migrate", "--live", "--p2p", "--persistent", guest, peer, "--migrateuri", memory)


def _start(host: LabHost, name: str, domain_xml: str) -> None:
    virsh(host, "define", "/dev/stdin", given=domain_xml)
    virsh(host, "start", name)
