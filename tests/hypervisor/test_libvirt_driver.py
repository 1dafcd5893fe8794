"""What only real libvirt can show: daemons that die or freeze, clients that are killed, workers that run out."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.hypervisor.base import (
    Abort,
    Aborted,
    Busy,
    HypervisorError,
    Job,
    Mark,
    MigrationFailed,
    Reason,
    State,
    Unreachable,
)
from app.hypervisor.libvirt_driver.driver import Deadlines, LibvirtHypervisors, connect_factory
from app.lab.hosts import LabHost, LabHosts
from tests.hypervisor.conftest import MIB, A, B, LibvirtSite
from tests.hypervisor.waiting import eventually

pytestmark = pytest.mark.libvirt

ROOT = Path(__file__).parents[2]
HASTY = Deadlines(connect_s=1, read_s=1, work_s=1, probe_s=0.3)
CLIENT = """
import asyncio, sys
from uuid import UUID
from app.hypervisor.base import Destination
from app.hypervisor.libvirt_driver.driver import Deadlines, LibvirtHypervisors

async def main(verb, uri, guest, peer, socket):
    hypervisor = await LibvirtHypervisors(Deadlines(read_s=1)).connect(uri)
    print("connected", flush=True)
    if verb == "migrate":
        await hypervisor.migrate(UUID(guest), Destination(peer, socket, bandwidth=4 << 20))
    sys.stdin.readline()
    await (hypervisor.look if verb == "look" else hypervisor.destroy)(UUID(guest))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def own_lab() -> Iterator[LabHosts]:
    """For tests that spoil their hosts."""
    with LabHosts.temporary(A, B) as standing:
        yield standing


async def busy_guest(site: LibvirtSite, host: str = A) -> UUID:
    guest = uuid4()
    hypervisor = await site.hypervisors.connect(site.uri(host))
    await hypervisor.define_and_start(site.definition(guest, f"g-{guest.hex[:8]}", busy=True))
    await hypervisor.mark(guest, Mark(store="s1", migration="m1", attempt=1))
    return guest


async def moving(site: LibvirtSite, guest: UUID) -> None:
    hypervisor = await site.hypervisors.connect(site.uri(A))
    await eventually(lambda: hypervisor.progress(guest), lambda now: now is not None and now.processed > 0)


async def outcome(site: LibvirtSite, guest: UUID, bandwidth: int = 4 * MIB) -> HypervisorError | None:
    hypervisor = await site.hypervisors.connect(site.uri(A))
    try:
        await hypervisor.migrate(guest, site.destination(B, bandwidth=bandwidth))
    except HypervisorError as error:
        return error
    return None


@contextmanager
def frozen(host: LabHost) -> Iterator[None]:
    pid = host.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def client(verb: str, site: LibvirtSite, guest: UUID) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that uses the driver; it ends with the test."""
    to = site.destination(B)
    command = [sys.executable, "-c", CLIENT, verb, site.uri(A), str(guest), to.peer_uri, str(to.migration_uri)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
            yield process
        finally:
            process.kill()


async def test_a_killed_target_daemon_leaves_the_guest_on_the_source(libvirt_site: LibvirtSite) -> None:
    site = libvirt_site
    guest = await busy_guest(site)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(outcome(site, guest))
        await moving(site, guest)

        await asyncio.to_thread(site.lab[B].kill)

    assert isinstance(move.result(), HypervisorError)
    source = await site.hypervisors.connect(site.uri(A))
    seen = await eventually(lambda: source.look(guest), lambda now: now.job is Job.NONE)
    assert seen.state is State.RUNNING
    await asyncio.to_thread(site.lab[B].start)
    target = await site.hypervisors.connect(site.uri(B))
    # A daemon that has just come back takes its time to end what was arriving.
    await eventually(lambda: target.look(guest), lambda now: now.state is State.ABSENT)


async def test_a_killed_source_daemon_leaves_the_guest_on_the_source(libvirt_site: LibvirtSite) -> None:
    site = libvirt_site
    guest = await busy_guest(site)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(outcome(site, guest))
        await moving(site, guest)

        await asyncio.to_thread(site.lab[A].kill)

    assert isinstance(move.result(), Unreachable)
    await asyncio.to_thread(site.lab[A].start)
    source = await site.hypervisors.connect(site.uri(A))
    seen = await eventually(lambda: source.look(guest), lambda now: now.job is Job.NONE)
    assert (seen.state, seen.mark) == (State.RUNNING, Mark(store="s1", migration="m1", attempt=1))
    target = await site.hypervisors.connect(site.uri(B))
    await eventually(lambda: target.look(guest), lambda now: now.state is State.ABSENT)


async def test_the_job_outlives_its_killed_client_and_another_ends_it(libvirt_site: LibvirtSite) -> None:
    site = libvirt_site
    guest = await busy_guest(site)
    with client("migrate", site, guest) as process:
        await moving(site, guest)

        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)

        source = await site.hypervisors.connect(site.uri(A))
        first = await source.progress(guest)
        assert first is not None
        later = await eventually(
            lambda: source.progress(guest), lambda now: now is None or now.processed > first.processed
        )
        assert later is not None
        await source.steer(guest, Abort())
        seen = await eventually(lambda: source.look(guest), lambda now: now.job is Job.NONE)
        assert seen.state is State.RUNNING


async def test_a_frozen_host_is_unreachable_in_time_and_holds_up_no_other(lab: LabHosts) -> None:
    hypervisors = LibvirtHypervisors(HASTY)
    ice, other = await hypervisors.connect(lab[A].uri), await hypervisors.connect(lab[B].uri)
    with frozen(lab[A]):
        began = time.monotonic()
        waiting = asyncio.create_task(ice.look(uuid4()))
        assert (await other.look(uuid4())).state is State.ABSENT
        assert not waiting.done()

        with pytest.raises(Unreachable):
            await waiting
        assert time.monotonic() - began < 3
        assert not ice.connected
        with pytest.raises(Unreachable):
            await hypervisors.connect(lab[A].uri)
        await hypervisors.close()

    again = await connect_factory().connect(lab[A].uri)
    assert (await again.look(uuid4())).state is State.ABSENT
    await again.close()


async def test_a_frozen_host_breaks_a_migration_by_keepalive(libvirt_site: LibvirtSite) -> None:
    """The call has no deadline of its own: keepalive notices after about 12 s."""
    site = libvirt_site
    guest = await busy_guest(site)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(outcome(site, guest))
        await moving(site, guest)
        with frozen(site.lab[A]):
            began = time.monotonic()
            await asyncio.wait({move}, timeout=25)
            assert move.done()
            assert time.monotonic() - began < 20

    assert isinstance(move.result(), Unreachable)
    source = await site.hypervisors.connect(site.uri(A))
    assert (await source.look(guest)).job is Job.MIGRATION_OUT
    await source.steer(guest, Abort())
    await eventually(lambda: source.look(guest), lambda now: now.job is Job.NONE)


async def test_a_process_ends_while_a_call_hangs_and_libvirt_prints_nothing(libvirt_site: LibvirtSite) -> None:
    site = libvirt_site
    guest = await busy_guest(site)
    with client("look", site, guest) as process, frozen(site.lab[A]):
        began = time.monotonic()

        _, said = await asyncio.to_thread(process.communicate, "look\n", 10)

        assert time.monotonic() - began < 8
        assert process.returncode == 1
    assert "Unreachable" in said
    assert "libvirt:" not in said


async def test_a_host_without_a_free_worker_still_says_the_state(own_lab: LabHosts) -> None:
    """One worker, taken by the migration itself: neither job nor mark can be asked."""
    for host in own_lab:
        host.stop()
        with (host.directory / "libvirtd.conf").open("a") as conf:
            conf.write("min_workers = 1\nmax_workers = 1\n")
        host.start()
    site = LibvirtSite(own_lab, Deadlines(probe_s=0.5, worker_s=0.5))
    guest = await busy_guest(site)
    source = await site.hypervisors.connect(site.uri(A))
    assert (await source.host()).cpus > 0
    move = asyncio.create_task(outcome(site, guest, bandwidth=16 * MIB))

    seen = await eventually(lambda: source.look(guest), lambda now: now.job is not Job.NONE)

    for _ in range(3):
        with pytest.raises(Busy, match="takes no work"):
            await source.host()
    assert source.connected
    assert (seen.state, seen.job, seen.mark) == (State.RUNNING, Job.OTHER, None)
    later = await (await site.hypervisors.connect(site.uri(A))).look(guest)
    assert (later.state, later.job, later.mark) == (State.RUNNING, Job.OTHER, None)
    await source.destroy(guest)
    assert (await source.look(guest)).state is State.SHUTOFF
    assert isinstance(await move, HypervisorError)
    assert (await source.host()).cpus > 0
    await site.hypervisors.close()


async def test_reasons_survive_what_libvirt_does_to_them(libvirt_site: LibvirtSite) -> None:
    """After a restart of both daemons a moved guest is still RUNNING/MIGRATED there, and only SHUTOFF here."""
    site = libvirt_site
    guest = await busy_guest(site)
    assert await outcome(site, guest, bandwidth=1024 * MIB) is None

    for host in (A, B):
        await site.lose(host)

    source, target = [await site.hypervisors.connect(site.uri(host)) for host in (A, B)]
    here, there = await source.look(guest), await target.look(guest)
    assert (here.state, here.reason) == (State.SHUTOFF, Reason.OTHER)
    assert (there.state, there.reason) == (State.RUNNING, Reason.MIGRATED)
    assert here.mark == there.mark == Mark(store="s1", migration="m1", attempt=1)


async def test_an_abort_from_elsewhere_is_told_to_the_caller(libvirt_site: LibvirtSite) -> None:
    """As a failure where libvirt hears first that the target's QEMU has ended: every third time or so."""
    site = libvirt_site
    guest = await busy_guest(site)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(outcome(site, guest))
        await moving(site, guest)
        other = await connect_factory().connect(site.uri(A))

        await other.steer(guest, Abort())
        await other.close()

    assert isinstance(move.result(), (Aborted, MigrationFailed))


@pytest.mark.slow
async def test_a_frozen_holder_is_hung_up_on_and_its_late_word_is_not_heard(libvirt_site: LibvirtSite) -> None:
    """libvirtd gives a silent client about 30 s: what it meant to say before is refused when it wakes."""
    site = libvirt_site
    guest = await busy_guest(site)
    await site.hypervisors.close()
    daemon = site.lab[A].pid
    with client("destroy", site, guest) as process:
        connections = open_files(daemon)
        process.send_signal(signal.SIGSTOP)

        await eventually(lambda: asyncio.to_thread(open_files, daemon), lambda now: now < connections, timeout_s=60)
        process.send_signal(signal.SIGCONT)
        _, said = await asyncio.to_thread(process.communicate, "now\n", 10)

    assert "Unreachable" in said
    source = await site.hypervisors.connect(site.uri(A))
    assert (await source.look(guest)).state is State.RUNNING


def open_files(pid: int | None) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_undefining_makes_libvirt_complain_of_nothing(libvirt_site: LibvirtSite) -> None:
    guest = await busy_guest(libvirt_site)
    hypervisor = await libvirt_site.hypervisors.connect(libvirt_site.uri(A))
    await hypervisor.destroy(guest)
    log = libvirt_site.lab[A].log
    said = log.read_text().count("unsupported flags")

    await hypervisor.undefine(guest)

    assert (await hypervisor.look(guest)).state is State.ABSENT
    assert log.read_text().count("unsupported flags") == said
