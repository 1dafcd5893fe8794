"""Every process of Drover is replaced, one after another, in the middle of a migration: it ends as if nothing had been."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.lab.hosts import LabHosts
from app.lab.meter import Meter
from tests.e2e.conftest import MakeGuest, maker
from tests.e2e.harness import Drover, eventually
from tests.e2e.harness import drover as running_drover
from tests.e2e.test_freezes import busy, check, moved_bytes

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(300)]

SLOW = {"options": {"bandwidthPerMigration": "2Mi"}}
"""It takes longer than all the restarts."""


@pytest.fixture(scope="module")
def service() -> Iterator[Drover]:
    """An API without workers, and two `drover work`."""
    directory = Path(tempfile.mkdtemp(prefix="drover-roll-"))
    directory.chmod(0o711)
    lab = Path(tempfile.mkdtemp(prefix="dl-"))
    try:
        with running_drover(directory, lab, 3, "--no-workers", workers=2) as made:
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(lab, ignore_errors=True)


@pytest.fixture(scope="module")
def make(service: Drover, numbers: Iterator[int]) -> MakeGuest:
    return maker(service, numbers, [])


def test_replacing_every_process_does_not_disturb_a_migration(service: Drover, make: MakeGuest) -> None:
    guest = busy(make)
    source, name = service.node_of(guest), f"{guest}-m"
    with Meter(LabHosts.of(service.lab).consoles / guest) as meter:
        assert meter.wait_until_listening(10)
        service.migrate(guest, name, **SLOW)
        sent = [eventually("bytes move", lambda: moved_bytes(service, name))]
        replace_api(service)
        sent.append(moved_bytes(service, name))
        for worker in tuple(service.workers):
            service.start_worker()
            worker.terminate()
            assert worker.wait(40) == 0
            service.workers.remove(worker)
            sent.append(moved_bytes(service, name))
        assert service.phase(name) == "Running", "it ended before all were replaced"
        seen = check(service, guest, name, source, meter, 200)

    print(f"\nsent at each replacement: {sent}; {seen}")
    assert seen.moved
    assert sent == sorted(sent), "the copy began anew"
    assert seen.processes > 1, "the process that steers was never replaced"


def replace_api(drover: Drover) -> None:
    """On the same port."""
    port = drover.port
    assert drover.stop() == 0
    drover.start(port)
