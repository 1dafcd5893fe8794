"""What the process of a migration does, on simulated hosts: every fault ends where the hosts say, and nowhere else."""

from __future__ import annotations

import asyncio
import re

import pytest

from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.messages import (
    Arrived,
    Holding,
    Noticed,
    Reached,
    Renewed,
    Retuned,
    Sampled,
    Started,
    Steered,
    Told,
)
from app.controllers.migration.orders import Bounds, LeaseLapsed, Orders, boottime
from app.controllers.migration.plan import Copy
from app.controllers.migration.steps import Step
from app.hypervisor.base import Destination, Mark, Reason, State
from app.hypervisor.base import Job as HostJob
from app.hypervisor.fake import MIB, FakeHypervisors
from app.hypervisor.fake.cloud import stop
from app.hypervisor.precopy import Load
from app.kinds.migration import Word
from tests.controllers.migration.process_scene import MIGRATION, Scene, kill, left_paused


async def test_a_guest_moves_and_the_process_says_how(scene: Scene) -> None:
    outcome = await scene.process()

    assert outcome.code is ExitCode.MOVED
    assert scene.runs_on() == ["node1"]
    said = [report for report in scene.told if not isinstance(report, Sampled)]
    assert [type(report) for report in said if not isinstance(report, Reached)] == [Started, Arrived]
    assert [report.step for report in said if isinstance(report, Reached)] == [
        Step.PREPARING, Step.MARKED, Step.CALLED, Step.COPYING, Step.SWITCHING, Step.ARRIVED, Step.SETTLING, Step.KNOWN,
    ]  # fmt: skip
    assert sum(isinstance(report, Sampled) for report in scene.told) >= 2
    assert outcome.result["downtimeMs"] > 0


async def test_the_guest_bears_the_mark_of_the_attempt(scene: Scene) -> None:
    await scene.process()

    arrived = scene.cloud["node1"].guests[scene.guest].domain
    assert arrived.mark == Mark(store="store-a", vm="default/testvm", migration=MIGRATION, attempt=1)


def busy(scene: Scene, **plan: object) -> None:
    """A guest that writes faster than a link of 64 MiB/s carries; a plan with short timeouts."""
    scene.cloud.work(scene.guest, Load(64 * MIB, 400 * MIB, 48 * MIB))
    times: dict[str, object] = {"progress_s": 2, "completion_s_per_gib": 60, "memory": 64 * MIB}
    scene.plan = scene.plan.model_copy(update=times | plan)


def modes(scene: Scene) -> list[str]:
    return [report.mode.value for report in scene.told if isinstance(report, Steered)]


def noticed(scene: Scene) -> list[str]:
    return [report.reason for report in scene.told if isinstance(report, Noticed)]


async def test_a_guest_that_writes_too_fast_stays_and_that_is_said(scene: Scene) -> None:
    busy(scene)

    outcome = await scene.process()

    assert outcome.code is ExitCode.NOT_CONVERGING
    assert re.fullmatch(
        r"no pass left less than one \d+ s ago \(progressTimeout\): in pass \d+ \d+ of 64 MiB were left, sent at \d+ MiB/s"
        r" while the guest wrote \d+",
        outcome.result["message"],
    )
    assert scene.said.count("libvirt is asked to stop the copy") == 1
    assert (scene.runs_on(), scene.active_on()) == (["node0"], ["node0"])


async def test_with_post_copy_it_moves(scene: Scene) -> None:
    busy(scene, post_copy=True)

    outcome = await scene.process()

    assert (outcome.code, modes(scene)) == (ExitCode.MOVED, ["PostCopy"])
    assert noticed(scene) == ["PostCopy"]
    assert scene.active_on() == ["node1"]


async def test_stopped_it_moves(scene: Scene) -> None:
    busy(scene, disruption=True)

    outcome = await scene.process()

    assert (outcome.code, modes(scene)) == (ExitCode.MOVED, ["Paused"])
    assert outcome.result["downtimeMs"] > 300


async def test_slowed_down_it_moves(scene: Scene) -> None:
    busy(scene, auto_converge=True, progress_s=20)

    outcome = await scene.process()

    assert outcome.code is ExitCode.MOVED
    assert any(isinstance(report, Sampled) and report.throttle for report in scene.told)
    assert outcome.result["downtimeMs"] <= 300


async def test_where_post_copy_is_not_possible_the_migration_goes_on_without(scene: Scene) -> None:
    busy(scene, post_copy=True, disruption=True)
    scene.cloud["node1"].faults.lacks_post_copy = True

    outcome = await scene.process()

    assert (outcome.code, modes(scene)) == (ExitCode.MOVED, ["Paused"])
    assert noticed(scene) == ["NoPostCopy", "Paused"]


async def test_one_that_may_not_go_over_to_post_copy_says_so_when_it_is_given_up(scene: Scene) -> None:
    busy(scene, post_copy=True)
    scene.cloud["node1"].faults.lacks_post_copy = True

    outcome = await scene.process()

    assert outcome.code is ExitCode.NOT_CONVERGING
    assert outcome.result["message"].endswith("; allowPostCopy is set, but the hosts' QEMU may not do it")


async def test_a_post_copy_that_breaks_is_recovered_when_the_hosts_reach_one_another_again(scene: Scene) -> None:
    busy(scene, post_copy=True, bandwidth=16 * MIB)
    process = scene.process()
    await scene.until(lambda: modes(scene) == ["PostCopy"], 20)
    scene.cloud.unplug("node1")
    await scene.until(lambda: scene.heard_of(Holding))
    assert scene.runs_on() == ["node1"]
    await asyncio.sleep(2.5)
    scene.cloud.mend("node1")

    outcome = await process

    assert outcome.code is ExitCode.MOVED
    assert (scene.runs_on(), scene.active_on()) == (["node1"], ["node1"])
    progress = [line for line in scene.said if line.startswith("pass ")]
    assert len(progress) == len(set(progress)) > 0, "what does not go on is said once"
    assert [report.message for report in scene.told if isinstance(report, Holding)][-1] == ""


async def test_who_takes_over_a_broken_post_copy_recovers_it(scene: Scene) -> None:
    busy(scene, post_copy=True, bandwidth=16 * MIB)
    first = scene.process()
    await scene.until(lambda: modes(scene) == ["PostCopy"], 20)
    scene.cloud.unplug("node1")
    await scene.until(lambda: scene.heard_of(Holding))
    await kill(first)
    scene.cloud.mend("node1")

    outcome = await scene.process(fresh=False)

    assert outcome.code is ExitCode.MOVED
    assert scene.active_on() == ["node1"]


async def test_a_broken_post_copy_that_is_given_up_has_not_moved(scene: Scene) -> None:
    busy(scene, post_copy=True, bandwidth=16 * MIB)
    process = scene.process()
    await scene.until(lambda: modes(scene) == ["PostCopy"], 20)
    scene.cloud.unplug("node1")
    await scene.until(lambda: scene.heard_of(Holding))
    target = scene.cloud["node1"]
    stop(target, target.guests[scene.guest], Reason.CRASHED, "crashed", scene.cloud.time.now())
    scene.orders.told = Told(resolve=Word.LOST)

    outcome = await process

    assert (outcome.code, outcome.result["message"]) == (ExitCode.LOST, "the operator says that the guest is lost")
    assert scene.active_on() == []


@pytest.mark.parametrize("remains", [True, False], ids=["the target's remains", "nothing on the target"])
async def test_who_takes_over_after_a_guest_was_given_up_says_so(scene: Scene, remains: bool) -> None:
    """The first process ends the source's half, and dies before it has said so."""
    busy(scene, post_copy=True, bandwidth=16 * MIB)
    first = scene.process()
    await scene.until(lambda: modes(scene) == ["PostCopy"], 20)
    scene.cloud.unplug("node1")
    await scene.until(lambda: scene.heard_of(Holding))
    source, target = scene.cloud["node0"], scene.cloud["node1"]
    stop(target, target.guests[scene.guest], Reason.CRASHED, "crashed", scene.cloud.time.now())
    scene.orders.told = Told(resolve=Word.LOST)
    await scene.until(lambda: source.guests[scene.guest].domain.reason is Reason.DESTROYED)
    unsaid = not first.done()
    await kill(first)
    scene.cloud.mend("node1")
    if not remains:
        del target.guests[scene.guest]

    scene.orders = Orders(Bounds(boottime() + 600))
    outcome = await scene.process(fresh=False, told=Told(resolve=Word.LOST))

    assert unsaid
    assert (outcome.code, outcome.result["message"]) == (ExitCode.LOST, "the operator says that the guest is lost")


async def test_a_cancel_in_post_copy_comes_too_late(scene: Scene) -> None:
    busy(scene, post_copy=True)
    process = scene.process()
    await scene.until(lambda: modes(scene) == ["PostCopy"], 20)
    scene.orders.cancelled.set()

    outcome = await process

    assert outcome.code is ExitCode.MOVED


async def test_what_is_changed_on_the_way_reaches_the_host(scene: Scene) -> None:
    busy(scene, bandwidth=4 * MIB, progress_s=60)
    process = scene.process()
    await scene.copying()
    migration = scene.cloud["node0"].guests[scene.guest].migration
    assert migration is not None

    scene.orders.take(Retuned(bandwidth=64 * MIB, max_downtime_ms=5000))
    await scene.until(lambda: migration.bandwidth == 64 * MIB)

    outcome = await process
    assert outcome.code is ExitCode.MOVED


async def test_a_paused_guest_stays_paused(scene: Scene) -> None:
    source = await FakeHypervisors(scene.cloud).connect(scene.cloud["node0"].uri)
    await source.suspend(scene.guest)

    outcome = await scene.process()

    assert outcome.code is ExitCode.MOVED
    assert scene.cloud["node1"].guests[scene.guest].domain.state is State.PAUSED


async def test_a_cancel_in_mid_copy_leaves_the_guest_on_its_source(scene: Scene) -> None:
    process = scene.process()
    await scene.copying()
    scene.orders.cancelled.set()

    outcome = await process

    assert outcome.code is ExitCode.CANCELLED
    assert (scene.runs_on(), scene.active_on()) == (["node0"], ["node0"])


async def test_a_cancel_before_the_copy_moves_nothing(scene: Scene) -> None:
    outcome = await scene.process(cancelled=True)

    assert outcome.code is ExitCode.CANCELLED
    assert scene.runs_on() == ["node0"]
    assert not scene.heard_of(Started)


@pytest.mark.parametrize("silent", ["node0", "node1"])
async def test_a_cancel_before_the_copy_is_one_whatever_the_hosts_say(scene: Scene, silent: str) -> None:
    scene.cloud.cut_off(silent)

    outcome = await scene.process(cancelled=True)

    assert outcome.code is ExitCode.CANCELLED
    assert scene.runs_on() == ["node0"]


async def test_a_cancel_after_the_switch_over_comes_too_late(scene: Scene) -> None:
    process = scene.process()
    await scene.until(lambda: scene.heard_of(Arrived))
    scene.orders.cancelled.set()

    outcome = await process

    assert outcome.code is ExitCode.MOVED
    assert scene.runs_on() == ["node1"]


async def test_an_unreachable_target_moves_nothing(scene: Scene) -> None:
    scene.cloud.cut_off("node1")

    outcome = await scene.process()

    assert outcome.code is ExitCode.TARGET_UNREACHABLE
    assert scene.runs_on() == ["node0"]
    assert not scene.heard_of(Started)


async def test_an_unreachable_source_moves_nothing(scene: Scene) -> None:
    scene.cloud.cut_off("node0")

    outcome = await scene.process()

    assert outcome.code is ExitCode.SOURCE_UNREACHABLE
    assert not scene.heard_of(Started)


async def test_a_foreign_domain_of_that_uuid_is_left_alone(scene: Scene) -> None:
    target = await FakeHypervisors(scene.cloud).connect(scene.cloud["node1"].uri)
    await target.define_and_start(scene.cloud["node0"].guests[scene.guest].definition)
    await target.destroy(scene.guest)

    outcome = await scene.process()

    assert outcome.code is ExitCode.NAME_TAKEN
    assert scene.guest in scene.cloud["node1"].guests
    assert scene.runs_on() == ["node0"]


async def test_our_own_leftover_is_undefined_first(scene: Scene) -> None:
    target = await FakeHypervisors(scene.cloud).connect(scene.cloud["node1"].uri)
    await target.define_and_start(scene.cloud["node0"].guests[scene.guest].definition)
    await target.mark(scene.guest, Mark(store="store-a", vm="default/testvm", migration="an-older-one"))
    await target.destroy(scene.guest)

    outcome = await scene.process()

    assert outcome.code is ExitCode.MOVED
    assert scene.runs_on() == ["node1"]


async def test_a_guest_that_is_off_is_not_moved(scene: Scene) -> None:
    scene.cloud.die("node0", scene.guest)

    outcome = await scene.process()

    assert outcome.code is ExitCode.GUEST_STOPPED


async def test_a_guest_that_ends_while_it_moves_is_said_to_have_ended(scene: Scene) -> None:
    process = scene.process()
    await scene.copying()
    scene.cloud.die("node0", scene.guest, Reason.SHUTDOWN)

    outcome = await process

    assert outcome.code is ExitCode.GUEST_STOPPED
    assert scene.active_on() == []


async def test_a_target_that_is_cut_off_in_mid_copy_leaves_the_guest_on_its_source(scene: Scene) -> None:
    process = scene.process()
    await scene.copying()
    scene.cloud.cut_off("node1")

    outcome = await process

    assert outcome.code is ExitCode.TARGET_UNREACHABLE
    assert outcome.result["targetFree"] is False
    assert scene.runs_on() == ["node0"]


async def test_a_source_that_does_not_answer_is_waited_for(scene: Scene) -> None:
    process = scene.process()
    await scene.copying()
    scene.cloud.cut_off("node0")
    await scene.until(lambda: scene.heard_of(Holding))
    assert not process.done()
    scene.cloud.mend("node0")

    outcome = await process

    assert outcome.code in (ExitCode.MOVED, ExitCode.FAILED)
    assert scene.runs_on() == (["node1"] if outcome.code is ExitCode.MOVED else ["node0"])


async def test_cancelled_is_judged_by_wish_and_place_not_by_libvirts_code(scene: Scene) -> None:
    process = scene.process()
    await scene.copying()
    scene.cloud.cut_off("node1")
    scene.orders.cancelled.set()

    outcome = await process

    assert outcome.code is ExitCode.CANCELLED
    assert scene.runs_on() == ["node0"]


async def test_a_job_that_outlives_its_process_is_followed_to_its_end(scene: Scene) -> None:
    first = scene.process()
    await scene.copying()
    await kill(first)

    outcome = await scene.process(fresh=False)

    assert outcome.code is ExitCode.MOVED
    assert scene.runs_on() == ["node1"]


async def test_who_takes_over_says_that_the_guest_is_held_no_longer(scene: Scene) -> None:
    """The process before it may have said that it was, and then its host came back."""
    first = scene.process()
    await scene.copying()
    await kill(first)
    scene.told.clear()

    second = scene.process(fresh=False)
    await scene.copying()
    said = [report for report in scene.told if isinstance(report, Holding)]
    outcome = await second

    assert said == [Holding(message="")]
    assert "holding no longer" not in scene.said
    assert outcome.code is ExitCode.MOVED


async def test_who_takes_over_may_cancel(scene: Scene) -> None:
    first = scene.process()
    await scene.copying()
    await kill(first)

    outcome = await scene.process(fresh=False, cancelled=True)

    assert outcome.code is ExitCode.CANCELLED
    assert (scene.runs_on(), scene.active_on()) == (["node0"], ["node0"])


async def test_who_takes_over_after_the_end_finds_the_guest_on_the_target(scene: Scene) -> None:
    await scene.process()

    outcome = await scene.process(fresh=False)

    assert outcome.code is ExitCode.MOVED
    assert scene.runs_on() == ["node1"]


async def test_a_run_that_was_never_begun_is_begun_by_who_takes_over(scene: Scene) -> None:
    outcome = await scene.process(fresh=False)

    assert outcome.code is ExitCode.MOVED
    assert scene.runs_on() == ["node1"]


async def test_a_copy_that_failed_unseen_is_failed(scene: Scene) -> None:
    first = scene.process()
    await scene.copying()
    await kill(first)
    await scene.cloud.close()

    outcome = await scene.process(fresh=False)

    assert outcome.code is ExitCode.FAILED
    assert scene.runs_on() == ["node0"]


async def test_a_source_that_was_left_paused_is_resumed_when_nobody_else_has_the_guest(scene: Scene) -> None:
    await left_paused(scene)

    outcome = await scene.process(fresh=False)

    assert outcome.code is ExitCode.FAILED
    assert scene.runs_on() == ["node0"]


async def test_a_source_that_was_left_paused_is_not_resumed_while_any_host_is_away(scene: Scene) -> None:
    await left_paused(scene)
    scene.cloud.cut_off("node2")

    process = scene.process(fresh=False)
    await scene.until(lambda: scene.heard_of(Holding))

    assert scene.runs_on() == []
    assert not process.done()
    await kill(process)


@pytest.mark.parametrize("runs", [False, True])
async def test_a_guest_that_both_hosts_lost_is_not_held_for_a_third_ones_old_definition(
    scene: Scene, runs: bool
) -> None:
    source, third = [await FakeHypervisors(scene.cloud).connect(scene.cloud[name].uri) for name in ("node0", "node2")]
    await third.define_and_start(
        f"<domain type='qemu'><name>default_testvm</name><uuid>{scene.guest}</uuid><memory unit='MiB'>64</memory>"
        "<vcpu>1</vcpu><os><type>hvm</type></os></domain>"
    )
    if not runs:
        await third.destroy(scene.guest)
    await source.destroy(scene.guest)
    await source.undefine(scene.guest)

    process = scene.process(fresh=False)
    await scene.until(lambda: process.done() or scene.told_held)

    assert process.done() is not runs
    if runs:
        await kill(process)
    else:
        assert (await process).code is ExitCode.LOST


async def test_nothing_is_ended_or_resumed_before_the_former_holders_calls_are_over(scene: Scene) -> None:
    await left_paused(scene)
    now = 1000.0
    scene.orders = Orders(Bounds(now + 600, quiet_until_s=now + 40), clock=lambda: now)

    process = scene.process(fresh=False)
    await scene.until(lambda: len(scene.said) > 1)
    await asyncio.wait({process}, timeout=0.3)
    early = scene.runs_on(), process.done()
    now += 41
    outcome = await process

    assert early == ([], False)
    assert outcome.code is ExitCode.FAILED
    assert scene.runs_on() == ["node0"]


async def test_a_host_that_goes_away_while_a_verb_waits_for_its_leave_forbids_it(scene: Scene) -> None:
    """What was asked before the wait is not what is so after it."""
    await left_paused(scene)
    now = 1000.0
    scene.orders = Orders(Bounds(now + 600, quiet_until_s=now + 40), clock=lambda: now)

    process = scene.process(fresh=False)
    await scene.until(lambda: len(scene.said) > 1 or scene.cloud["node2"].connections != set())
    await asyncio.wait({process}, timeout=0.3)
    scene.cloud.cut_off("node2")
    now += 41
    await scene.until(lambda: scene.heard_of(Holding))

    assert scene.runs_on() == []
    await kill(process)


async def test_a_connection_that_took_too_long_moves_nothing(scene: Scene) -> None:
    """The lease is looked at again once the connection for the copy stands."""
    source = await FakeHypervisors(scene.cloud).connect(scene.cloud["node0"].uri)
    orders = Orders(Bounds(boottime() + 1))

    with pytest.raises(LeaseLapsed):
        await source.migrate(scene.guest, Destination(scene.cloud["node1"].uri), still=orders.require)

    assert (scene.active_on(), scene.cloud["node0"].guests[scene.guest].domain.job) == (["node0"], HostJob.NONE)


async def test_nothing_is_removed_from_the_target_unless_the_source_has_the_guest(scene: Scene) -> None:
    target = await FakeHypervisors(scene.cloud).connect(scene.cloud["node1"].uri)
    await target.define_and_start(scene.cloud["node0"].guests[scene.guest].definition)
    await target.mark(scene.guest, Mark(store="store-a", vm="default/testvm", migration="an-older-one"))
    await target.destroy(scene.guest)
    scene.cloud.die("node0", scene.guest)

    outcome = await scene.process()

    assert outcome.code is ExitCode.GUEST_STOPPED
    assert scene.guest in scene.cloud["node1"].guests


async def test_without_a_lease_no_verb_is_sent(scene: Scene) -> None:
    await left_paused(scene)
    scene.orders = Orders(Bounds(boottime() - 1))

    with pytest.raises(LeaseLapsed):
        await scene.process(fresh=False)

    assert scene.runs_on() == []


async def test_a_verb_waits_for_the_next_renewal(scene: Scene) -> None:
    scene.orders = Orders(Bounds(boottime() + 4))

    process = scene.process()
    await asyncio.wait({process}, timeout=0.2)
    early = scene.heard_of(Started)
    scene.orders.take(Renewed(deadline_s=boottime() + 60))
    outcome = await process

    assert early is False
    assert outcome.code is ExitCode.MOVED


LOCAL = Copy(disk="vda", format="qcow2", source_path="/i/a", target_path="/i/a.5c2b0000")


async def with_local_disk(scene: Scene) -> None:
    """The guest writes to a disk that nobody declared shared."""
    source = scene.cloud["node0"]
    definition = source.guests[scene.guest].definition
    disk = "<devices><disk type='file'><source file='/i/a'/><target dev='vda'/></disk></devices>"
    source.guests[scene.guest].definition = definition.replace("</domain>", f"{disk}</domain>")
    source.files["/i/a"] = 3 * MIB
    scene.plan = scene.plan.model_copy(update={"copies": (LOCAL,)})


async def test_a_disk_that_the_hosts_do_not_share_is_made_and_copied(scene: Scene) -> None:
    await with_local_disk(scene)

    outcome = await scene.process()

    assert (outcome.code, outcome.result["disksCopied"]) == (ExitCode.MOVED, ["vda"])
    assert scene.cloud["node1"].files == {"/i/a.5c2b0000": 3 * MIB}
    assert "/i/a.5c2b0000" in scene.cloud["node1"].guests[scene.guest].definition
    assert scene.cloud["node0"].files == {"/i/a": 3 * MIB}


async def test_a_file_that_is_there_is_not_written_over(scene: Scene) -> None:
    await with_local_disk(scene)
    scene.cloud["node1"].files["/i/a.5c2b0000"] = 7

    outcome = await scene.process()

    assert (outcome.code, scene.runs_on()) == (ExitCode.FAILED, ["node0"])
    assert "exists already" in outcome.result["message"]
    assert scene.cloud["node1"].files == {"/i/a.5c2b0000": 7}


async def test_who_takes_over_makes_anew_what_the_same_attempt_had_made(scene: Scene) -> None:
    await with_local_disk(scene)
    scene.cloud["node1"].files["/i/a.5c2b0000"] = 7

    outcome = await scene.process(fresh=False)

    assert (outcome.code, scene.runs_on()) == (ExitCode.MOVED, ["node1"])
    assert scene.cloud["node1"].files == {"/i/a.5c2b0000": 3 * MIB}


CD = Copy(disk="sda", format="raw", source_path="/i/cd", target_path="/i/cd.5c2b0000")


async def with_cd(scene: Scene) -> None:
    source = scene.cloud["node0"]
    definition = source.guests[scene.guest].definition
    disk = "<disk type='file' device='cdrom'><source file='/i/cd'/><target dev='sda'/><readonly/></disk>"
    source.guests[scene.guest].definition = definition.replace("</domain>", f"<devices>{disk}</devices></domain>")
    source.files["/i/cd"], source.contents["/i/cd"] = 5, b"hello"
    scene.plan = scene.plan.model_copy(update={"images": (CD,)})


async def test_a_cd_that_the_target_lacks_is_brought_and_used(scene: Scene) -> None:
    await with_cd(scene)

    outcome = await scene.process()

    assert (outcome.code, outcome.result["disksCopied"]) == (ExitCode.MOVED, ["sda"])
    assert scene.cloud["node1"].contents == {"/i/cd.5c2b0000": b"hello"}
    assert "/i/cd.5c2b0000" in scene.cloud["node1"].guests[scene.guest].definition


@pytest.mark.parametrize(("there", "brought"), [(b"hello", []), (b"other", ["sda"]), (b"hello!", ["sda"])])
async def test_a_file_of_that_path_is_used_only_where_it_has_the_same_bytes(
    scene: Scene, there: bytes, brought: list[str]
) -> None:
    await with_cd(scene)
    scene.cloud["node1"].files["/i/cd"], scene.cloud["node1"].contents["/i/cd"] = len(there), there

    outcome = await scene.process()

    assert (outcome.code, outcome.result["disksCopied"]) == (ExitCode.MOVED, brought)
    assert scene.cloud["node1"].contents["/i/cd"] == there


async def test_who_reads_an_image_waits_for_the_next_renewal(scene: Scene) -> None:
    """The database may be slow for some seconds: that is no reason to end a migration."""
    await with_cd(scene)
    source, target = scene.cloud["node0"], scene.cloud["node1"]
    target.files["/i/cd"], target.contents["/i/cd"] = 5, b"hello"
    now = 1000.0
    scene.orders = Orders(Bounds(now + 60), clock=lambda: now)
    source.faults.slow_s = 0.2

    process = scene.process()
    await scene.until(lambda: scene.heard_of(Started))
    now += 57
    await asyncio.wait({process}, timeout=1.0)
    early = process.done() or target.arriving
    scene.orders.take(Renewed(deadline_s=now + 60))
    outcome = await process

    assert not early
    assert outcome.code is ExitCode.MOVED


async def test_a_file_of_the_new_name_stops_the_move_before_it_begins(scene: Scene) -> None:
    await with_cd(scene)
    scene.cloud["node1"].files["/i/cd.5c2b0000"] = 7

    outcome = await scene.process()

    assert (outcome.code, scene.runs_on()) == (ExitCode.FAILED, ["node0"])
    assert scene.cloud["node1"].files == {"/i/cd.5c2b0000": 7}
