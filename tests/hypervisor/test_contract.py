"""What every driver of the hypervisor's port keeps, the simulated one and libvirt's alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from app.hypervisor import domain_facts, domain_xml
from app.hypervisor.base import (
    Abort,
    Aborted,
    Busy,
    Candidate,
    Change,
    Compression,
    Destination,
    DomainExists,
    DomainGone,
    Hypervisor,
    Incompatible,
    Job,
    Mark,
    MigrationFailed,
    PeerRefused,
    Progress,
    Reason,
    Refused,
    SetBandwidth,
    SetDowntime,
    State,
    Steer,
    StopAndCopy,
    SwitchToPostCopy,
    Throttling,
    Unreachable,
    Unsafe,
)
from tests.hypervisor.conftest import MIB, A, B, Site
from tests.hypervisor.waiting import eventually, heard

SLOW = 4 * MIB
"""A cap at which a busy guest never converges."""
BRISK = 12 * MIB
"""Another, at which a pass over all of its memory takes 4 s."""
ABORTED = (Aborted, MigrationFailed)
"""libvirt tells an abort as a failure where it hears first that the target's QEMU has ended, and the other way round."""


async def started(site: Site, hypervisor: Hypervisor, *, busy: bool = False, paused: bool = False) -> UUID:
    guest = uuid4()
    await hypervisor.define_and_start(site.definition(guest, f"g-{guest.hex[:8]}", busy=busy), paused=paused)
    return guest


async def copying(hypervisor: Hypervisor, guest: UUID) -> Progress:
    """Bytes move."""
    seen = await eventually(lambda: hypervisor.progress(guest), lambda now: now is not None and now.processed > 0)
    assert seen is not None
    return seen


async def settled(hypervisor: Hypervisor, guest: UUID, state: State) -> None:
    await eventually(lambda: hypervisor.look(guest), lambda seen: seen.state is state and seen.job is Job.NONE)


async def test_a_host_says_what_it_is(source: Hypervisor, target: Hypervisor) -> None:
    host = await source.host()

    assert host.uuid != (await target.host()).uuid
    assert host.arch == "x86_64"
    assert 0 < host.memory_free <= host.memory
    assert host.cpus > 0
    assert "qemu" in host.domain_types
    assert "q35" in host.machine_types


async def test_a_host_says_what_guests_may_have(source: Hypervisor) -> None:
    host = await source.host()

    (cpus,) = [cpus for cpus in host.guest_cpus if cpus.domain_type == "qemu"]
    assert {"qemu64", "Nehalem"} <= set(cpus.models)
    assert cpus.model == host.cpu_model or "kvm" in host.domain_types
    assert host.networks is not None and host.interfaces is not None
    assert not {name for name in host.interfaces if name == "lo" or name.startswith("vnet")}


async def test_a_running_guest_is_inspected(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    seen = await source.inspect(guest)
    assert domain_facts.read(seen.definition).uuid == guest
    assert (seen.snapshots, seen.block_jobs) == (0, ())

    await source.destroy(guest)
    with pytest.raises(Refused):
        await source.inspect(guest)


async def test_a_host_judges_a_guest_by_its_cpu(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source)
    read = domain_facts.read((await source.inspect(guest)).definition)
    candidate = Candidate(guest, read.name, "qemu", read.arch or "x86_64", read.machine)
    own = domain_facts.cpu_xml(read.cpu) if read.cpu else ""

    await target.judge(replace(candidate, cpu_xml=own))
    await target.judge(replace(candidate, cpu_xml=domain_facts.cpu_xml(domain_facts.Cpu("custom", "Nehalem"))))
    with pytest.raises(Incompatible):
        await target.judge(replace(candidate, cpu_xml=domain_facts.cpu_xml(domain_facts.Cpu("custom", "EPYC-Milan"))))


async def test_a_host_has_one_domain_of_a_name(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source)
    name = (await source.look(guest)).name

    await target.judge(Candidate(guest, name))
    for candidate in (Candidate(guest, "another"), Candidate(uuid4(), name)):
        with pytest.raises(DomainExists):
            await source.judge(candidate)

    await source.destroy(guest)
    await source.judge(Candidate(guest, name))


async def test_a_host_reaches_another_and_nothing_is_left_of_asking(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    before = {domain.uuid for host in (source, target) for domain in await host.domains()}

    await source.reach(site.uri(B))

    assert {domain.uuid for host in (source, target) for domain in await host.domains()} == before


async def test_a_host_that_cannot_reach_another_says_why(site: Site, source: Hypervisor) -> None:
    before = await source.domains()

    with pytest.raises(PeerRefused, match=r"nowhere|Failed to connect"):
        await source.reach(site.uri(B).replace("node1", "nowhere"))

    assert await source.domains() == before


async def test_an_unknown_domain_is_absent_and_every_verb_says_gone(source: Hypervisor) -> None:
    guest = uuid4()

    assert (await source.look(guest)).state is State.ABSENT
    for call in (source.destroy(guest), source.suspend(guest), source.definition(guest), source.progress(guest)):
        with pytest.raises(DomainGone):
            await call


async def test_a_started_guest_runs_persistent_without_autostart(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    seen = await source.look(guest)
    assert (seen.state, seen.reason, seen.job) == (State.RUNNING, Reason.BOOTED, Job.NONE)
    assert seen.persistent
    assert not seen.autostart
    assert (seen.memory, seen.vcpus) == (48 * MIB, 1)
    assert seen in await source.domains()


async def test_starting_twice_is_harmless(site: Site, source: Hypervisor) -> None:
    guest = uuid4()
    definition = site.definition(guest, f"g-{guest.hex[:8]}")

    await source.define_and_start(definition)
    await source.define_and_start(definition)

    assert [guest] == [domain.uuid for domain in await source.domains()]


async def test_a_shut_off_guest_is_started_again(site: Site, source: Hypervisor) -> None:
    guest = uuid4()
    definition = site.definition(guest, f"g-{guest.hex[:8]}")
    await source.define_and_start(definition)
    await source.destroy(guest)

    await source.define_and_start(definition)

    assert (await source.look(guest)).state is State.RUNNING


async def test_a_taken_name_is_refused_and_nothing_stays(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    name = (await source.look(guest)).name
    other = uuid4()

    with pytest.raises(DomainExists):
        await source.define_and_start(site.definition(other, name))

    assert (await source.look(other)).state is State.ABSENT


async def test_a_definition_that_cannot_be_read_is_refused(source: Hypervisor) -> None:
    with pytest.raises(Refused):
        await source.define_and_start("<domain")


async def test_stopping_twice_is_harmless(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    await source.destroy(guest)
    await source.destroy(guest)

    seen = await source.look(guest)
    assert (seen.state, seen.reason) == (State.SHUTOFF, Reason.DESTROYED)


async def test_a_running_guest_is_not_destroyed_where_that_was_excluded(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    with pytest.raises(Refused):
        await source.destroy(guest, unless_running=True)

    assert (await source.look(guest)).state is State.RUNNING
    await source.suspend(guest)
    await source.destroy(guest, unless_running=True)
    assert (await source.look(guest)).state is State.SHUTOFF


async def test_an_active_guest_is_not_undefined(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    with pytest.raises(Refused):
        await source.undefine(guest)

    assert (await source.look(guest)).persistent


async def test_undefining_twice_is_harmless(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    await source.destroy(guest)

    await source.undefine(guest)
    await source.undefine(guest)

    assert (await source.look(guest)).state is State.ABSENT


async def test_a_guest_runs_on_without_its_definition(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    await source.make_transient(guest)
    await source.make_transient(guest)
    without = await source.look(guest)
    await source.destroy(guest)

    assert (without.state, without.persistent) == (State.RUNNING, False)
    assert (await source.look(guest)).state is State.ABSENT


async def test_nothing_is_made_transient_that_does_not_run(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    await source.destroy(guest)

    with pytest.raises(Refused):
        await source.make_transient(guest)


async def test_suspend_and_resume_may_be_said_twice(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    await source.suspend(guest)
    await source.suspend(guest)
    assert (await source.look(guest)).state is State.PAUSED

    await source.resume(guest)
    await source.resume(guest)
    assert (await source.look(guest)).state is State.RUNNING


async def test_a_guest_may_be_started_paused(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source, paused=True)

    assert (await source.look(guest)).state is State.PAUSED


async def test_autostart_is_set_and_taken_off(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    await source.set_autostart(guest, True)
    assert (await source.look(guest)).autostart

    await source.set_autostart(guest, False)
    assert not (await source.look(guest)).autostart


async def test_a_mark_is_read_back_and_outlives_the_guests_end(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    assert (await source.look(guest)).mark is None
    mark = Mark(
        store="s1", vm="default/testvm", migration=str(uuid4()), attempt=2, released=True, adopted=True, autostart=True
    )

    await source.mark(guest, mark)

    assert (await source.look(guest)).mark == mark
    await source.destroy(guest)
    assert (await source.look(guest)).mark == mark


async def test_a_definition_names_the_guest(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    assert str(guest) in await source.definition(guest)


async def test_events_tell_of_start_and_end(site: Site, source: Hypervisor) -> None:
    events = source.lifecycle()

    guest = await started(site, source)
    assert (await heard(events, Change.STARTED, "booted")).domain == guest
    await source.destroy(guest)
    assert (await heard(events, Change.STOPPED, "destroyed")).domain == guest


async def test_a_moved_guest_runs_on_the_target_and_stays_defined_on_the_source(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    guest = await started(site, source)
    mark = Mark(store="s1", vm="default/testvm", migration=str(uuid4()), attempt=1)
    await source.mark(guest, mark)

    await source.migrate(guest, site.destination(B))

    here, there = await source.look(guest), await target.look(guest)
    assert (here.state, here.reason, here.job) == (State.SHUTOFF, Reason.MIGRATED, Job.NONE)
    assert (there.state, there.reason, there.job) == (State.RUNNING, Reason.MIGRATED, Job.NONE)
    assert here.persistent
    assert there.persistent
    assert not there.autostart
    assert there.mark == mark


async def test_a_finished_move_leaves_its_statistics_on_both_hosts(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    guest = await started(site, source)
    assert await source.completed(guest) is None

    await source.migrate(guest, site.destination(B))

    for host in (source, target):
        completed = await host.completed(guest)
        assert completed is not None
        assert completed.total >= 48 * MIB
        assert completed.downtime_ms is not None
    assert await source.progress(guest) is None


async def test_a_guest_moves_there_and_back(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source)
    await source.migrate(guest, site.destination(B))
    await source.undefine(guest)

    await target.migrate(guest, site.destination(A))

    assert (await source.look(guest)).state is State.RUNNING
    assert (await target.look(guest)).state is State.SHUTOFF


async def test_the_targets_event_comes_before_the_sources_end(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    guest = await started(site, source)
    leaving, arriving = source.lifecycle(), target.lifecycle()

    await source.migrate(guest, site.destination(B))

    begun = await heard(arriving, Change.STARTED, "migrated")
    paused = await heard(leaving, Change.SUSPENDED, "migrated")
    over = await heard(arriving, Change.RESUMED, "migrated")
    ended = await heard(leaving, Change.STOPPED, "migrated")
    assert begun.at <= paused.at <= over.at <= ended.at


async def test_a_paused_guest_moves_and_stays_paused(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source)
    await source.suspend(guest)

    await source.migrate(guest, site.destination(B))

    there = await target.look(guest)
    assert (there.state, there.reason) == (State.PAUSED, Reason.USER)
    assert (await source.look(guest)).state is State.SHUTOFF


async def test_a_guest_may_arrive_stopped_and_is_resumed_there(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    guest = await started(site, source)
    mark = Mark(store="s1", vm="default/testvm", migration=str(uuid4()), attempt=1, stopped=True)
    await source.mark(guest, mark)
    arriving = target.lifecycle()

    await source.migrate(guest, replace(site.destination(B), paused=True))

    here, there = await source.look(guest), await target.look(guest)
    assert (here.state, here.reason) == (State.SHUTOFF, Reason.MIGRATED)
    assert (there.state, there.reason, there.job) == (State.PAUSED, Reason.USER, Job.NONE)
    assert (there.persistent, there.mark) == (True, mark)
    assert (await heard(arriving, Change.SUSPENDED, "paused")).domain == guest
    await target.resume(guest)
    assert (await heard(arriving, Change.RESUMED, "unpaused")).domain == guest
    await target.mark(guest, replace(mark, stopped=False))
    there = await target.look(guest)
    assert (there.state, there.mark) == (State.RUNNING, replace(mark, stopped=False))


async def test_a_guest_that_waits_outlives_its_hosts_daemon(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source)
    await source.migrate(guest, replace(site.destination(B), paused=True))

    await site.lose(B)

    again = await site.hypervisors.connect(site.uri(B))
    there = await again.look(guest)
    assert (there.state, there.reason, there.job) == (State.PAUSED, Reason.USER, Job.NONE)


async def test_in_post_copy_no_guest_arrives_stopped(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source)

    with pytest.raises(Incompatible):
        await source.migrate(guest, replace(site.destination(B), paused=True, post_copy=True))

    assert (await source.look(guest)).state is State.RUNNING
    assert (await target.look(guest)).state is State.ABSENT


async def test_an_aborted_guest_runs_on_the_source_and_is_gone_on_the_target(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(_outcome(source, guest, site))
        await copying(source, guest)

        await source.steer(guest, Abort())

    assert isinstance(move.result(), ABORTED)
    await settled(source, guest, State.RUNNING)
    await settled(target, guest, State.ABSENT)


async def test_a_guest_can_be_moved_after_an_abort(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(_outcome(source, guest, site))
        await copying(source, guest)
        await source.steer(guest, Abort())

    await source.migrate(guest, site.destination(B))

    assert (await target.look(guest)).state is State.RUNNING


async def test_while_bytes_move_both_hosts_say_so(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(_outcome(source, guest, site))
        await copying(source, guest)

        here, there = await source.look(guest), await target.look(guest)
        await source.steer(guest, Abort())

    assert (here.state, here.job) == (State.RUNNING, Job.MIGRATION_OUT)
    assert (there.state, there.reason, there.job) == (State.PAUSED, Reason.MIGRATION, Job.MIGRATION_IN)
    assert not there.persistent


async def test_a_second_migration_is_busy(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(_outcome(source, guest, site))
        await copying(source, guest)

        with pytest.raises(Busy):
            await source.migrate(guest, site.destination(B))
        await source.steer(guest, Abort())


async def test_a_mark_is_not_written_during_a_job(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(_outcome(source, guest, site))
        await copying(source, guest)

        with pytest.raises(Busy):
            await source.mark(guest, Mark(store="other"))
        await source.steer(guest, Abort())


async def test_progress_grows_and_the_cap_is_obeyed(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(_outcome(source, guest, site))
        first = await copying(source, guest)
        later = await eventually(
            lambda: source.progress(guest),
            lambda now: (
                now is not None and now.elapsed_ms > first.elapsed_ms + 1000 and now.processed > first.processed
            ),
        )
        await source.steer(guest, Abort())

    assert later is not None
    assert later.iteration >= first.iteration
    assert later.total == first.total
    rate = 1000 * (later.processed - first.processed) / (later.elapsed_ms - first.elapsed_ms)
    assert rate < 2 * SLOW


async def test_a_lifted_cap_ends_the_move(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(_outcome(source, guest, site))
        await copying(source, guest)

        await source.steer(guest, SetDowntime(500))
        await source.steer(guest, SetBandwidth(1024 * MIB))

    assert move.result() is None
    assert (await target.look(guest)).state is State.RUNNING


@pytest.mark.parametrize("steer", [SetDowntime(60_000), StopAndCopy()], ids=["by its downtime", "at once"])
async def test_a_guest_that_is_stopped_for_as_long_as_it_takes_arrives_running(
    site: Site, source: Hypervisor, target: Hypervisor, steer: Steer
) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(_outcome(source, guest, site, site.destination(B, bandwidth=BRISK)))
        await copying(source, guest)

        await source.steer(guest, steer)

    assert move.result() is None
    there = await target.look(guest)
    assert (there.state, there.reason) == (State.RUNNING, Reason.MIGRATED)


async def test_a_downtime_may_be_allowed_from_the_start(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source, busy=True)

    to = replace(site.destination(B, bandwidth=BRISK), max_downtime_ms=60_000)
    await source.migrate(guest, to)

    assert (await source.look(guest)).state is State.SHUTOFF


async def test_every_pass_is_told_of(site: Site, source: Hypervisor) -> None:
    guest, events = await started(site, source, busy=True), source.lifecycle()

    await source.migrate(guest, site.destination(B))

    assert (await heard(events, Change.ITERATED, "1")).domain == guest


async def test_a_guest_that_writes_too_fast_is_held_back_where_that_is_allowed(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    to = replace(site.destination(B, bandwidth=SLOW * 2), auto_converge=Throttling(90, 9), max_downtime_ms=1)
    async with asyncio.TaskGroup() as group:
        group.create_task(_outcome(source, guest, site, to))

        seen = await eventually(lambda: source.progress(guest), lambda now: now is not None and now.throttle > 0, 60)
        await source.steer(guest, Abort())

    assert seen is not None
    assert seen.throttle >= 90


@pytest.mark.parametrize("how", ["parallel", "compressed"])
async def test_memory_travels_side_by_side_or_packed(
    site: Site, source: Hypervisor, target: Hypervisor, how: str
) -> None:
    guest, to = await started(site, source), site.destination(B)
    to = replace(to, parallel_connections=2) if how == "parallel" else replace(to, compression=Compression.XBZRLE)

    await source.migrate(guest, to)

    assert (await target.look(guest)).state is State.RUNNING


async def test_without_a_broken_post_copy_nothing_is_recovered(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    with pytest.raises(Refused):
        await source.recover(guest, site.destination(B))

    assert (await source.look(guest)).state is State.RUNNING


async def test_post_copy_that_was_not_allowed_from_the_start_is_refused(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(_outcome(source, guest, site))
        await copying(source, guest)

        with pytest.raises(Refused):
            await source.steer(guest, SwitchToPostCopy())
        await source.steer(guest, Abort())

    await settled(source, guest, State.RUNNING)


async def in_post_copy(site: Site, source: Hypervisor, target: Hypervisor, guest: UUID) -> None:
    await copying(source, guest)
    await source.steer(guest, SwitchToPostCopy())
    await eventually(lambda: target.look(guest), lambda seen: seen.reason is Reason.POSTCOPY)


def post_copy(site: Site) -> Destination:
    return replace(site.destination(B, bandwidth=BRISK), post_copy=True)


async def test_in_post_copy_the_guest_runs_on_the_target_and_fetches_the_rest(post_copy_site: Site) -> None:
    site = post_copy_site
    source, target = await _pair(site)
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(_outcome(source, guest, site, post_copy(site)))
        await in_post_copy(site, source, target, guest)

        here, there = await source.look(guest), await target.look(guest)

    assert (here.state, here.reason) == (State.PAUSED, Reason.POSTCOPY)
    assert (there.state, there.reason) == (State.RUNNING, Reason.POSTCOPY)
    assert move.result() is None
    there = await target.look(guest)
    assert (there.state, there.reason, there.job) == (State.RUNNING, Reason.MIGRATED, Job.NONE)
    assert (await source.look(guest)).state is State.SHUTOFF


async def test_post_copy_is_not_aborted(post_copy_site: Site) -> None:
    site = post_copy_site
    source, target = await _pair(site)
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(_outcome(source, guest, site, post_copy(site)))
        await in_post_copy(site, source, target, guest)

        with pytest.raises(Refused):
            await source.steer(guest, Abort())

    assert move.result() is None


async def test_a_broken_post_copy_is_recovered_and_ends_on_the_target(post_copy_site: Site) -> None:
    site = post_copy_site
    source, target = await _pair(site)
    guest, to = await started(site, source, busy=True), replace(post_copy(site), bandwidth=SLOW)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(_outcome(source, guest, site, to))
        await in_post_copy(site, source, target, guest)

        await site.break_post_copy(A, guest)

    assert isinstance(move.result(), MigrationFailed)
    here = await eventually(lambda: source.look(guest), lambda seen: seen.reason is Reason.POSTCOPY_FAILED)
    there = await eventually(lambda: target.look(guest), lambda seen: seen.reason is Reason.POSTCOPY_FAILED)
    assert (here.state, there.state) == (State.PAUSED, State.RUNNING)
    await recovered(source, guest, post_copy(site))
    there = await target.look(guest)
    assert (there.state, there.reason, there.job) == (State.RUNNING, Reason.MIGRATED, Job.NONE)
    assert (await source.look(guest)).state is State.SHUTOFF


async def recovered(source: Hypervisor, guest: UUID, to: Destination) -> None:
    """As the engine does it: QEMU may find for a moment after libvirt that its copy is broken, and refuses until then."""
    async with asyncio.timeout(20):
        while True:
            try:
                await source.recover(guest, to)
                return
            except Refused as error:
                assert "still running" in error.text
                await asyncio.sleep(0.2)


async def test_where_post_copy_is_not_supported_nothing_moves(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    site.forbid_post_copy()

    with pytest.raises(MigrationFailed):
        await source.migrate(guest, post_copy(site))

    seen = await source.look(guest)
    assert (seen.state, seen.job) == (State.RUNNING, Job.NONE)


async def test_without_a_job_nothing_is_steered(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)

    for steer in (Abort(), SetDowntime(100), SetBandwidth(MIB), SetBandwidth(None), SwitchToPostCopy(), StopAndCopy()):
        with pytest.raises(Refused):
            await source.steer(guest, steer)


async def test_a_name_taken_on_the_target_leaves_the_guest_on_the_source(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    guest, stranger = await started(site, source), uuid4()
    await target.define_and_start(site.definition(stranger, (await source.look(guest)).name))

    with pytest.raises(MigrationFailed):
        await source.migrate(guest, site.destination(B))

    assert (await source.look(guest)).state is State.RUNNING
    assert (await target.look(guest)).state is State.ABSENT


async def test_an_unreachable_target_leaves_the_guest_on_the_source(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    to = site.destination(B)
    nowhere = type(to)(to.peer_uri.replace(B, "nowhere"), to.migration_uri)

    with pytest.raises(MigrationFailed):
        await source.migrate(guest, nowhere)

    seen = await source.look(guest)
    assert (seen.state, seen.job) == (State.RUNNING, Job.NONE)


async def test_an_inactive_guest_is_not_moved(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    await source.destroy(guest)

    with pytest.raises(Refused):
        await source.migrate(guest, site.destination(B))


async def test_a_guest_that_dies_on_the_way_is_on_neither_host(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    guest = await started(site, source, busy=True)
    async with asyncio.TaskGroup() as group:
        move = group.create_task(_outcome(source, guest, site))
        await copying(source, guest)

        await source.destroy(guest)

    assert isinstance(move.result(), ABORTED)
    await settled(source, guest, State.SHUTOFF)
    await settled(target, guest, State.ABSENT)


async def test_a_job_is_followed_and_ended_through_another_connection(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source, busy=True)
    other = await site.hypervisors.connect(site.uri(A))
    async with asyncio.TaskGroup() as group:
        move = group.create_task(_outcome(source, guest, site))
        await copying(other, guest)

        await other.steer(guest, Abort())

    assert isinstance(move.result(), ABORTED)


async def test_a_lost_connection_is_told_and_every_later_call_is_unreachable(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    events = source.lifecycle()

    await site.lose(A)

    assert (await heard(events, Change.DISCONNECTED, "")).change is Change.DISCONNECTED
    assert [event async for event in events] == []
    assert not source.connected
    with pytest.raises(Unreachable):
        await source.look(guest)
    again = await site.hypervisors.connect(site.uri(A))
    assert (await again.look(guest)).state is State.RUNNING


async def test_closing_twice_is_harmless_and_disturbs_no_guest(site: Site, source: Hypervisor) -> None:
    guest = await started(site, source)
    other = await site.hypervisors.connect(site.uri(A))

    await other.close()
    await other.close()

    with pytest.raises(Unreachable):
        await other.host()
    assert [event.change async for event in other.lifecycle()] == [Change.DISCONNECTED]
    assert (await source.look(guest)).state is State.RUNNING


async def test_nobody_answers_at_a_wrong_address(site: Site) -> None:
    with pytest.raises(Unreachable):
        await site.hypervisors.connect(site.uri(A).replace(A, "nowhere"))


async def _pair(site: Site) -> tuple[Hypervisor, Hypervisor]:
    return await site.hypervisors.connect(site.uri(A)), await site.hypervisors.connect(site.uri(B))


async def _outcome(source: Hypervisor, guest: UUID, site: Site, to: Destination | None = None) -> Exception | None:
    """How a migration ended: a capped one, where nothing else is said."""
    try:
        await source.migrate(guest, to or site.destination(B, bandwidth=SLOW))
    except (Aborted, MigrationFailed, Unreachable) as error:
        return error
    return None


async def test_a_disk_is_made_once_and_never_over_another(site: Site, target: Hypervisor) -> None:
    path = site.disk(B, "new.qcow2")

    await target.make_disk(path, "qcow2", 64 * MIB)
    with pytest.raises(Refused):
        await target.make_disk(path, "qcow2", 64 * MIB)

    await target.remove_disk(path)
    await target.remove_disk(path)
    await target.make_disk(path, "raw", 8 * MIB)


CONTENT = b"".join(number.to_bytes(4, "little") for number in range(300_000)) + b"end"
"""Several chunks, none of them like another, and no whole number of sectors."""


async def bytes_of(content: bytes, *, broken_off: bool = False) -> AsyncIterator[bytes]:
    half = len(content) // 2
    yield content[:half]
    if broken_off:
        raise Refused("called off")
    yield content[half:]


async def everything_in(host: Hypervisor, path: str) -> bytes:
    return b"".join([chunk async for chunk in host.read_file(path)])


async def test_a_file_is_written_and_read_byte_by_byte(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    here, there = site.disk(A, "cd.iso"), site.disk(B, "cd.iso")

    await source.write_file(here, len(CONTENT), bytes_of(CONTENT))
    await target.write_file(there, len(CONTENT), source.read_file(here))

    assert await everything_in(target, there) == CONTENT
    assert len(CONTENT) == await target.find_file(there)


async def test_a_file_is_never_written_over_another(site: Site, target: Hypervisor) -> None:
    path = site.disk(B, "cd.iso")
    await target.write_file(path, len(CONTENT), bytes_of(CONTENT))

    with pytest.raises(Refused):
        await target.write_file(path, 4, bytes_of(b"mine"))

    assert await everything_in(target, path) == CONTENT


async def test_of_a_file_that_was_not_finished_nothing_is_left(site: Site, target: Hypervisor) -> None:
    path = site.disk(B, "cd.iso")

    with pytest.raises(Refused, match="called off"):
        await target.write_file(path, len(CONTENT), bytes_of(CONTENT, broken_off=True))

    assert await target.find_file(path) is None
    await target.write_file(path, len(CONTENT), bytes_of(CONTENT))


async def test_of_a_file_whose_writer_was_cancelled_nothing_is_left(site: Site, target: Hypervisor) -> None:
    path, begun = site.disk(B, "cd.iso"), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield CONTENT
        begun.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(target.write_file(path, 64 * MIB, endless()))
    await begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert await target.find_file(path) is None


async def test_a_file_that_is_not_there_is_not_found_and_not_read(site: Site, target: Hypervisor) -> None:
    path = site.disk(B, "cd.iso")
    assert await target.find_file(path) is None
    await target.write_file(site.disk(B, "other.iso"), 4, bytes_of(b"here"))

    assert await target.find_file(path) is None
    with pytest.raises(Refused):
        await everything_in(target, path)


async def test_a_host_says_how_much_room_it_has(site: Site, target: Hypervisor) -> None:
    path = site.disk(B, "new.img")
    await target.make_disk(path, "raw", MIB)

    free = await target.free_space(path)

    assert free is not None and MIB < free < 1 << 60


async def with_local_disk(site: Site, source: Hypervisor) -> UUID:
    guest, path = uuid4(), site.disk(A, "local.img")
    await source.make_disk(path, "raw", 8 * MIB)
    await source.define_and_start(site.with_disk(guest, f"g-{guest.hex[:8]}", path))
    return guest


async def test_a_guest_with_a_disk_that_only_its_host_reaches_is_not_moved_without_it(
    site: Site, source: Hypervisor, target: Hypervisor
) -> None:
    guest = await with_local_disk(site, source)

    with pytest.raises(Unsafe):
        await source.migrate(guest, site.destination(B))

    assert (await source.look(guest)).state is State.RUNNING
    assert (await target.look(guest)).state is State.ABSENT


async def test_a_disk_that_is_copied_moves_with_its_guest(site: Site, source: Hypervisor, target: Hypervisor) -> None:
    guest, path = await with_local_disk(site, source), site.disk(B, "copy.img")
    sizes, usage = await source.disk_sizes(guest), await source.disk_usage(guest)
    await target.make_disk(path, "raw", sizes["vdb"])
    there = domain_xml.for_target(await source.definition(guest), disks={"vdb": path})

    to = replace(site.destination(B), domain_xml=there, disks=("vdb",), disks_uri=site.disks_uri(B))
    await source.migrate(guest, to)

    moved = domain_facts.read(await target.definition(guest))
    assert sizes == {"vdb": 8 * MIB}
    assert usage.keys() == sizes.keys() and 0 <= usage["vdb"] <= 8 * MIB
    assert (await target.look(guest)).state is State.RUNNING
    assert next(disk.path for disk in moved.disks if disk.target == "vdb") == path
