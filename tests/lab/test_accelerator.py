"""Emulation unless the processor itself can help."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.lab.accelerator import choose, usable
from app.lab.account import Account, ordinary

CASES = {
    "Intel, with a device": ("flags\t: fpu vmx sse", True, "kvm"),
    "AMD, with a device": ("flags\t: fpu svm sse", True, "kvm"),
    "no device for this user": ("flags\t: fpu svm sse", False, "qemu"),
    "a paravirtual device": ("flags\t: fpu sse", True, "qemu"),
    "a word that only looks like it": ("vmx flags\t: none\nflags\t: svm_lock", True, "qemu"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_choice(case: tuple[str, bool, str]) -> None:
    cpuinfo, device_is_usable, expected = case

    assert choose(cpuinfo, device_is_usable) == expected


@pytest.mark.parametrize(("mode", "expected"), [(0o600, False), (0o660, False), (0o666, True), (0o664, False)])
def test_a_device_of_others_is_judged_by_its_last_bits(tmp_path: Path, mode: int, expected: bool) -> None:
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(mode)
    stranger = Account("stranger", ordinary().uid + 1000, ordinary().gid + 1000)

    assert usable(device, stranger) is expected


def test_no_device_is_not_usable(tmp_path: Path) -> None:
    stranger = Account("stranger", ordinary().uid + 1000, ordinary().gid + 1000)

    assert not usable(tmp_path / "kvm", stranger)
