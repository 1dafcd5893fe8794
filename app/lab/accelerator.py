"""How guests run here: with the processor's help where it is of use, else emulated."""

from __future__ import annotations

import os
from pathlib import Path

from app.lab.account import Account, ordinary

DEVICE = Path("/dev/kvm")
CPU = Path("/proc/cpuinfo")


def accelerator() -> str:
    """`kvm` or `qemu`, as in `<domain type=…>`."""
    return choose(CPU.read_text(), usable(DEVICE, ordinary()))


def choose(cpuinfo: str, device_is_usable: bool) -> str:
    """Without vmx or svm there may be a /dev/kvm all the same, paravirtual, on which a stock kernel crawls."""
    flags = {flag for line in cpuinfo.splitlines() if line.startswith("flags") for flag in line.split()}
    return "kvm" if device_is_usable and flags & {"vmx", "svm"} else "qemu"


def usable(device: Path, account: Account) -> bool:
    """May that user open it? Groups other than its own do not count for root's helper: they are dropped."""
    if account.is_me:
        return os.access(device, os.R_OK | os.W_OK)
    try:
        seen = device.stat()
    except FileNotFoundError:
        return False
    shift = 6 if seen.st_uid == account.uid else 3 if seen.st_gid == account.gid else 0
    return (seen.st_mode >> shift) & 0o6 == 0o6
