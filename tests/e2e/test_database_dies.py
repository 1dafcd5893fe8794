"""The database killed, or stopped, while libvirt moves a guest: the copy goes on, the process ends before its lease does, and
when the database is back the truth is recorded and the guest has not missed a tick."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import httpx
import pytest

from app.lab.hosts import LabHosts
from app.lab.meter import Meter
from app.lab.processes import process
from app.store.embedded import EmbeddedPostgres
from tests.chaos.site import Database
from tests.e2e.conftest import MakeGuest
from tests.e2e.harness import Drover, definers, eventually, qemus
from tests.e2e.test_what_dies import exit_codes, migration_process, moved_bytes

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.slow, pytest.mark.xdist_group("database-dies")]

LEASE_S = 8.0
ENDED_S = 120.0
"""After the database is back: 40 s until no former holder's call is obeyed, and what remains of the copy."""
Outage = Callable[[Database], None]


def killed(database: Database) -> None:
    """Its first process with -9; the others end by themselves, and its keeper starts it anew."""
    database.processes()[0].send(signal.SIGKILL)


def frozen(seconds: float) -> Outage:
    def stop_and_go_on(database: Database) -> None:
        stopped = database.processes()
        for one in stopped:
            one.send(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            for one in stopped:
                one.send(signal.SIGCONT)

    return stop_and_go_on


def answers(drover: Drover) -> bool:
    try:
        return drover.request("GET", "/readyz").status_code == 200
    except httpx.TransportError:
        return False


def job(drover: Drover, node: str, uid: str) -> str:
    """libvirt's word for what it does with the guest there; empty for nothing, or where there is none."""
    done = subprocess.run(
        ["virsh", "-q", "-c", LabHosts.of(drover.lab)[node].uri, "domjobinfo", uid],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return "" if done.returncode else done.stdout.split("\n")[0].partition(":")[2].strip()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("outage", "outlives_lease"),
    [
        pytest.param(killed, None, id="killed"),
        *(
            pytest.param(frozen(seconds), seconds > LEASE_S, id=f"frozen-{seconds:.0f}-s")
            for seconds in (4.0, 20.0, 60.0)
        ),
    ],
)
def test_a_migration_lives_through_the_loss_of_the_database(
    drover: Drover, make_guest: MakeGuest, outage: Outage, outlives_lease: bool | None
) -> None:
    """`outlives_lease`: whether the run's lease ends meanwhile; None where that depends on how fast the server is back."""
    guest = make_guest(dirty_mib=32, mib_per_second=2, warm_ticks=20)
    source, uid, name = drover.node_of(guest), drover.vm(guest)["metadata"]["uid"], f"{guest}-m"
    data = drover.directory / "data"
    database = Database(data, EmbeddedPostgres(data).url)
    with Meter(LabHosts.of(drover.lab).consoles / guest) as meter:
        # Slow enough to be met on its way, and over before the longest outage.
        drover.migrate(guest, name, options={"bandwidthPerMigration": "4Mi"})
        eventually("bytes move", lambda: moved_bytes(drover, name) > 0)
        pid = migration_process(drover)
        mover = None if pid is None else process(pid)
        assert mover is not None

        outage(database)
        goes_on = job(drover, source, uid)
        lives = mover.alive
        eventually("the API answers again", lambda: answers(drover), 90)
        ended = drover.finished(name, ENDED_S)

        assert meter.wait_for_ticks(3, 20)
        ticks = meter.read()
    now = eventually("one QEMU holds it", lambda: h if len(h := qemus(drover.lab, uid)) == 1 else None, 60)[0].node
    assert ended["status"]["phase"] == ("Failed" if now == source else "Succeeded"), ended["status"]
    eventually("its VirtualMachine says where", lambda: drover.vm(guest)["status"].get("nodeName") == now)
    assert ticks.unbroken, ticks
    eventually("no other host knows it", lambda: definers(drover.lab, uid) == [now], 60)
    # libvirt moves it whether or not anybody asks.
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    if outlives_lease is None:
        assert goes_on == "Unbounded"
    else:
        assert lives is not outlives_lease
        assert (137 in exit_codes(drover, name) or 1 in exit_codes(drover, name)) is outlives_lease
