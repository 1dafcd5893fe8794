"""Processes that are stopped and wake again, and hosts' parts that die: whatever was under way, the guest runs on exactly one
host with nothing of its memory lost or revived, every object says where, and the next migration succeeds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.lab.hosts import LabHosts
from app.lab.meter import Meter, Silence
from tests.e2e.conftest import MakeGuest, maker
from tests.e2e.harness import Drover, definers, eventually, qemus
from tests.e2e.harness import drover as running_drover

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres]

SLOW = {"options": {"bandwidthPerMigration": "8Mi"}}
DIRTY_MIB = 32
WARM_TICKS = 30
TAKEN_OVER_S = 15 + 40 + 35
"""After a freeze: the lease lapses, the former holder's calls are waited for, and what then remains to be done."""


# Where it strikes.


@dataclass(frozen=True)
class Watched:
    """What a host's libvirtd tells of its guests, as it happens."""

    process: subprocess.Popen[str]

    def wait(self, words: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                return
        raise AssertionError(f"libvirtd never told of {words}")


@contextmanager
def watched(drover: Drover, node: str) -> Iterator[Watched]:
    process = subprocess.Popen(
        ["stdbuf", "-oL", "virsh", "-c", LabHosts.of(drover.lab)[node].uri, "event", "--event", "lifecycle", "--loop",
         "--timeout", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield Watched(process)
    finally:
        process.kill()
        process.communicate()


Moment = Callable[[Drover, str, Watched], None]


def while_bytes_move(drover: Drover, name: str, source: Watched) -> None:
    eventually("bytes move", lambda: moved_bytes(drover, name) > 0)


def at_the_switch_over(drover: Drover, name: str, source: Watched) -> None:
    source.wait("Suspended Migrated")


def as_the_call_ends(drover: Drover, name: str, source: Watched) -> None:
    source.wait("Stopped Migrated")


def moved_bytes(drover: Drover, name: str) -> int:
    progress = (drover.migration(name).get("status") or {}).get("progress") or {}
    return int(progress.get("dataProcessedBytes") or 0)


# Whom it strikes.


@dataclass(frozen=True)
class Mover:
    """A migration process, and the process whose worker started it."""

    pid: int
    worker: int


def mover(drover: Drover) -> Mover:
    """The only one: it names itself, and is in its worker's session."""
    assert drover.process is not None
    sessions = {drover.process.pid, *(worker.pid for worker in drover.workers)}
    found = [
        Mover(int(entry.name), session)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (session := session_of(entry)) in sessions
    ]
    assert len(found) == 1, found
    return found[0]


def session_of(entry: Path) -> int:
    """Of a migration process; -1 of any other."""
    try:
        if not (entry / "comm").read_text().startswith("drover-migrate"):
            return -1
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
    except OSError:
        return -1


def process(found: Mover) -> list[int]:
    return [found.pid]


def worker(found: Mover) -> list[int]:
    return [found.worker]


def both(found: Mover) -> list[int]:
    return [found.worker, found.pid]


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """SIGSTOP, and SIGCONT to those that still live: a pidfd never means another process."""
    with ExitStack() as stack:
        handles = [os.pidfd_open(pid) for pid in pids]
        for handle in handles:
            stack.callback(os.close, handle)
        for handle in handles:
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
        try:
            yield
        finally:
            for handle in handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGCONT)


# What is promised.


@dataclass(frozen=True)
class Seen:
    """How one ended."""

    phase: str
    reason: str
    moved: bool
    processes: int
    """How many it took, one after the other."""
    ended_s: float
    silence: Silence


def check(
    drover: Drover, guest: str, name: str, source: str, meter: Meter, patience_s: float, *, reserved: str = ""
) -> Seen:
    """Every promise, and then that the guest can still be moved. On the node `reserved` the target's pod may stay for a
    minute, because the host did not answer when the migration ended."""
    began = time.monotonic()
    ended = drover.finished(name, patience_s)["status"]
    ended_s = time.monotonic() - began
    uid = drover.vm(guest)["metadata"]["uid"]
    holders = eventually("one QEMU holds the guest", lambda: h if len(h := qemus(drover.lab, uid)) == 1 else None, 40)
    now = holders[0].node
    assert ended["phase"] == ("Failed" if now == source else "Succeeded"), ended
    vm = eventually("the VM runs there", lambda: v if is_at(v := drover.vm(guest), now) else None, 60)
    assert "migrationNodeName" not in vm["status"]
    eventually("no other host knows the guest", lambda: definers(drover.lab, uid) == [now], 60)
    eventually("its pod is the only one", lambda: set(launcher_nodes(drover, guest)) - {reserved} == {now}, 60)
    assert meter.wait_for_ticks(3, 10), "the guest no longer ticks"

    drover.migrate(guest, f"{name}-next")
    after = drover.finished(f"{name}-next", 60)
    assert after["status"]["phase"] == "Succeeded", after["status"]
    assert meter.wait_for_ticks(3, 10), "the guest no longer ticks"
    silence = meter.read()
    assert silence.unbroken, silence
    reason = ended["conditions"][-1]["reason"]
    return Seen(ended["phase"], reason, now != source, processes(drover, name), ended_s, silence)


def processes(drover: Drover, name: str) -> int:
    (pod,) = drover.pods(f"kubevirt.io/migration={name},kubevirt.io=migration")
    restarts: int = pod["status"]["containerStatuses"][0]["restartCount"]
    return 1 + restarts


def is_at(vm: dict[str, dict[str, str]], node: str) -> bool:
    return (vm["status"]["nodeName"], vm["status"]["phase"]) == (node, "Running")


def launcher_nodes(drover: Drover, guest: str) -> list[str]:
    pods = drover.pods(f"kubevirt.io/domain={guest},kubevirt.io=virt-launcher")
    return [pod["spec"]["nodeName"] for pod in pods]


def freeze(drover: Drover, guest: str, who: Callable[[Mover], list[int]], moment: Moment, seconds: float) -> Seen:
    source, name = drover.node_of(guest), f"{guest}-frozen"
    with Meter(LabHosts.of(drover.lab).consoles / guest) as meter, watched(drover, source) as events:
        assert meter.wait_until_listening(10)
        drover.migrate(guest, name, **SLOW)
        eventually("bytes move", lambda: moved_bytes(drover, name) > 0)
        struck = who(mover(drover))
        moment(drover, name, events)
        with stopped(struck):
            time.sleep(seconds)
        seen = check(drover, guest, name, source, meter, TAKEN_OVER_S)
    how = f"{seen.phase} {seen.reason} {'moved' if seen.moved else 'stayed'}, {seen.processes} process(es)"
    print(
        f"\n{moment.__name__:<18} {who.__name__:<8} {seconds:>3.0f} s: {how:<50}"
        f"{seen.ended_s:5.1f} s after, silent {seen.silence.longest_s:.2f} s"
    )
    return seen


# What is short enough for every run.


@pytest.fixture(scope="module")
def traveller(drover: Drover, numbers: Iterator[int]) -> str:
    """A guest that survives all of them, and goes with its lab."""
    return busy(maker(drover, numbers, []))


def busy(make: MakeGuest) -> str:
    """With enough memory that changes to be interrupted in its copy."""
    return make(dirty_mib=DIRTY_MIB, mib_per_second=4, warm_ticks=WARM_TICKS)


@pytest.mark.xdist_group("freezes")
@pytest.mark.timeout(180)
@pytest.mark.slow
def test_a_migration_process_that_was_stopped_for_five_seconds_goes_on(drover: Drover, traveller: str) -> None:
    seen = freeze(drover, traveller, process, while_bytes_move, 5)

    assert seen.moved


@pytest.mark.xdist_group("freezes")
@pytest.mark.timeout(180)
@pytest.mark.slow
def test_a_qemu_of_the_target_that_dies_while_bytes_move(drover: Drover, traveller: str) -> None:
    with moving(drover, traveller, f"{traveller}-qemu") as (name, source, target, meter):
        uid = drover.vm(traveller)["metadata"]["uid"]
        (arriving,) = [one for one in qemus(drover.lab, uid) if one.node == target]
        os.kill(arriving.pid, signal.SIGKILL)
        seen = check(drover, traveller, name, source, meter, 60)

    assert not seen.moved


@pytest.mark.xdist_group("freezes")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_libvirtd_that_dies_while_bytes_move(drover: Drover, traveller: str, end: str) -> None:
    """libvirt gives the copy up; Drover says so, and the restarted daemon is left with nothing that it should not have."""
    with moving(drover, traveller, f"{traveller}-{end}") as (name, source, target, meter):
        host = LabHosts.of(drover.lab)[source if end == "source" else target]
        host.kill()
        host.start()
        seen = check(drover, traveller, name, source, meter, 60, reserved=target)

    assert not seen.moved


@contextmanager
def moving(drover: Drover, guest: str, name: str) -> Iterator[tuple[str, str, str, Meter]]:
    """The guest's bytes move: the Migration's name, its source, its target, and the guest's meter."""
    source = drover.node_of(guest)
    with Meter(LabHosts.of(drover.lab).consoles / guest) as meter:
        assert meter.wait_until_listening(10)
        drover.migrate(guest, name, **SLOW)
        eventually("bytes move", lambda: moved_bytes(drover, name) > 0)
        yield name, source, drover.migration(name)["status"]["migrationState"]["targetNode"], meter


# Freezes of every length, with a second worker that takes over.


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Drover]:
    """An API without workers, and two `drover work` on its database."""
    directory = Path(tempfile.mkdtemp(prefix="drover-frz-"))
    directory.chmod(0o711)
    lab = Path(tempfile.mkdtemp(prefix="dl-"))
    try:
        with running_drover(directory, lab, 3, "--no-workers", workers=2) as service:
            yield service
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(lab, ignore_errors=True)


CASES = [
    pytest.param(who, moment, seconds, id=f"{seconds}s-{who.__name__}-{moment.__name__}", marks=group)
    for seconds, whom, moments in (
        (5, (process, worker, both), (while_bytes_move, at_the_switch_over, as_the_call_ends)),
        (20, (process, worker, both), (while_bytes_move, at_the_switch_over, as_the_call_ends)),
        (60, (process, worker, both), (while_bytes_move, at_the_switch_over)),
    )
    for who in whom
    for moment in moments
    for group in (pytest.mark.xdist_group(f"freezes-{seconds}-{moment.__name__ if seconds > 5 else ''}"),)
]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("who", "moment", "seconds"), CASES)
def test_whoever_is_stopped_for_however_long(
    two_workers: Drover,
    numbers: Iterator[int],
    who: Callable[[Mover], list[int]],
    moment: Moment,
    seconds: int,
) -> None:
    seen = freeze(two_workers, busy(maker(two_workers, numbers, [])), who, moment, seconds)

    # A process that is silent for 30 s, and one whose worker is silent for 15 s, does not go on when it wakes.
    gone = seconds > (30 if who is process else 15)
    assert (seen.processes > 1) is gone
