"""What of a definition keeps a guest on its host: one row a rule. Pure."""

from __future__ import annotations

import pytest

from app.hypervisor.domain_blockers import Blocker, blockers
from app.hypervisor.domain_tree import parse

BLOCKED = {
    "a passed-through device": ("<devices><hostdev mode='subsystem' type='pci'/></devices>", Blocker.HOST_DEVICE),
    "a passed-through interface": ("<devices><interface type='hostdev'/></devices>", Blocker.HOST_DEVICE),
    "a teamed interface that stays": (
        "<devices><interface type='hostdev'><teaming type='persistent'/></interface></devices>",
        Blocker.HOST_DEVICE,
    ),
    "shared memory": ("<devices><shmem name='x'/></devices>", Blocker.SHARED_MEMORY),
    "shared memory of a peer": ("<devices><shmem name='x' role='peer'/></devices>", Blocker.SHARED_MEMORY),
    "a mounted directory": (
        "<devices><filesystem type='mount'><driver type='virtiofs'/><target dir='d'/></filesystem></devices>",
        Blocker.FILESYSTEM,
    ),
    "vDPA": ("<devices><interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface></devices>", Blocker.VDPA),
    "a transient disk": ("<devices><disk><target dev='vda'/><transient/></disk></devices>", Blocker.TRANSIENT_DISK),
    "an NVMe drive": ("<devices><disk type='nvme'><target dev='vda'/></disk></devices>", Blocker.NVME_DISK),
    "an invariant TSC": ("<cpu><feature policy='require' name='invtsc'/></cpu>", Blocker.INVARIANT_TSC),
    "an invariant TSC with a timer of no frequency": (
        "<cpu><feature name='invtsc'/></cpu><clock><timer name='tsc' mode='native'/></clock>",
        Blocker.INVARIANT_TSC,
    ),
}


@pytest.mark.parametrize("case", BLOCKED.values(), ids=BLOCKED.keys())
def test_a_guest_is_kept_by(case: tuple[str, Blocker]) -> None:
    within, by = case

    (blocked,) = blockers(parse(f"<domain>{within}</domain>"))

    assert blocked.by is by
    assert blocked.because


FREE = {
    "an ordinary guest": "<devices><disk type='file'/><interface type='bridge'/></devices>",
    "a device that is taken off for the way": (
        "<devices><interface type='hostdev'><teaming type='transient' persistent='ua-n'/></interface></devices>"
    ),
    "shared memory that it owns": "<devices><shmem name='x' role='master'/></devices>",
    "an invariant TSC of a fixed frequency": (
        "<cpu><feature policy='require' name='invtsc'/></cpu><clock><timer name='tsc' frequency='2500000000'/></clock>"
    ),
    "an invariant TSC that is off": "<cpu><feature policy='disable' name='invtsc'/></cpu>",
}


@pytest.mark.parametrize("within", FREE.values(), ids=FREE.keys())
def test_a_guest_is_not_kept_by(within: str) -> None:
    assert blockers(parse(f"<domain>{within}</domain>")) == ()


def test_all_of_them_are_told() -> None:
    both = "<domain><devices><hostdev/><hostdev/><shmem name='x'/></devices></domain>"

    assert [blocked.because for blocked in blockers(parse(both))] == [
        "the guest holds 2 device(s) of its host",
        "shared memory x moves only with role='master'",
    ]
