"""The Linux guest with a heartbeat: its images, its definition, and the VirtualMachine that asks for it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from app.lab.accelerator import accelerator
from app.lab.initramfs import initramfs
from app.lab.kernel import cache_folder, kernel

TICK_S = 0.1
"""The time between two lines of its console."""
COMMAND_LINE = "console=ttyS0 quiet nokaslr mitigations=off no_timer_check panic=1"
"""What keeps an emulated guest's start short."""


@dataclass(frozen=True, slots=True)
class Images:
    """A kernel and its initramfs, where the lab's hosts can read them."""

    kernel: Path
    initramfs: Path


def linux_images(folder: Path) -> Images:
    """Put there, from the cache; the first time on a machine that downloads 27 MB and compiles for a few seconds."""
    cache = cache_folder()
    found = kernel(cache)
    return Images(_put(found.image, folder / "vmlinuz"), _put(initramfs(found, cache), folder / "initramfs.gz"))


def linux_xml(
    name: str,
    uuid: str,
    images: Images,
    console: Path,
    *,
    memory_mib: int = 256,
    dirty_mib: int = 32,
    mib_per_second: int = 4,
    bridge: str = "",
    address: str = "",
) -> str:
    """
    Its libvirt definition. It writes to `dirty_mib` of its memory, over and over, at that rate, and appends
    `tick N` to the console file every 100 ms, on whichever host it is. Without a UUID one is given to it. With a host's
    `bridge` it has a network interface there, under that `address` (10.0.0.9/24).
    """
    identity = f"<uuid>{uuid}</uuid>" if uuid else ""
    command_line = f"{COMMAND_LINE} dirty_mib={dirty_mib} mib_per_second={mib_per_second}"
    interface = ""
    if bridge:
        command_line += f" address={address}"
        interface = f"<interface type='bridge'><source bridge={quoteattr(bridge)}/><model type='virtio'/></interface>"
    return f"""\
<domain type='{accelerator()}'>
  <name>{escape(name)}</name>{identity}
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{escape(str(images.kernel))}</kernel>
    <initrd>{escape(str(images.initramfs))}</initrd>
    <cmdline>{command_line}</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <controller type='usb' model='none'/>
    <serial type='file'><source path={quoteattr(str(console))} append='on'/><target port='0'/></serial>
    {interface}
    <memballoon model='none'/>
  </devices>
</domain>
"""


def virtual_machine(name: str, domain_xml: str, *, labels: Mapping[str, str], **spec: object) -> dict[str, object]:
    """A VirtualMachine that Drover starts from libvirt XML; it sets name and UUID itself."""
    return {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"domainXML": domain_xml, **spec},
    }


def _put(image: Path, place: Path) -> Path:
    if not place.exists():
        unfinished = place.with_name(f".{place.name}")
        shutil.copyfile(image, unfinished)
        unfinished.chmod(0o644)
        unfinished.replace(place)
    return place
