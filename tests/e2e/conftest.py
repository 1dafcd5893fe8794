"""One Drover with a lab of three hosts for a file of end-to-end tests; guests by the test."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.guest import virtual_machine
from app.lab.hosts import LabHosts
from app.lab.meter import Meter
from tests.e2e.harness import KUBEVIRT, Drover, eventually
from tests.e2e.harness import drover as running_drover

MakeGuest = Callable[..., str]


@pytest.fixture(scope="module")
def drover() -> Iterator[Drover]:
    directory = Path(tempfile.mkdtemp(prefix="drover-e2e-"))
    directory.chmod(0o711)  # as root the database runs as another user, who must pass
    lab = Path(tempfile.mkdtemp(prefix="dl-"))
    try:
        with running_drover(directory, lab, 3) as service:
            yield service
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(lab, ignore_errors=True)


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count()


def maker(drover: Drover, numbers: Iterator[int], made: list[str]) -> MakeGuest:
    """Makes running boot-sector guests of 64 MiB that tick on their consoles; `consoles/<name>` in the lab is the log."""
    hosts = LabHosts.of(drover.lab)

    def make(
        *, dirty_mib: int = 8, mib_per_second: float = 8, memory_mib: int = 64, warm_ticks: int = 1, **spec: Any
    ) -> str:
        name = f"guest{next(numbers)}"
        image = build_boot_sector(hosts.images / f"{name}.img", dirty_mib=dirty_mib, mib_per_second=mib_per_second)
        console = hosts.consoles / name
        xml = boot_sector_xml(name, "", image, memory_mib=memory_mib, console=console)
        body = virtual_machine(name, xml, labels={}, **({"terminationGracePeriodSeconds": 0} | spec))
        with Meter(console) as meter:
            answer = drover.request("POST", f"{KUBEVIRT}/namespaces/default/virtualmachines", body)
            assert answer.status_code == 201, answer.text
            made.append(name)
            eventually(f"{name} runs", lambda: drover.vm(name).get("status", {}).get("phase") == "Running")
            # Zero pages cost nothing to copy: a copy that is to be interrupted wants a guest that has written some.
            assert meter.wait_for_ticks(warm_ticks, 30), f"{name} does not tick"
        return name

    return make


@pytest.fixture
def doomed_guest(drover: Drover, numbers: Iterator[int]) -> MakeGuest:
    """Guests that end with their lab: after a kill -9 a deletion waits until the dead process can harm nobody."""
    return maker(drover, numbers, [])


@pytest.fixture
def make_guest(drover: Drover, numbers: Iterator[int]) -> Iterator[MakeGuest]:
    """Guests that go with the test."""
    made: list[str] = []
    yield maker(drover, numbers, made)
    for name in made:
        drover.kubectl("delete", "vm", name, "--ignore-not-found", "--timeout=60s")


@pytest.fixture
def guest(make_guest: MakeGuest) -> str:
    return make_guest()
