"""
One attempt of a migration: prepare the target, copy, and find out from both hosts where the guest is.

    fresh ──▶ prepare ──▶ copy ──the call returned──▶ settle ──▶ an exit code
                 ▲                                      ▲  │
                 └───────── nothing had been begun ─────┼──┘
    taken over ─────────────────────────────────────────┘

However the call ended, only the hosts say what became of the guest. While they do not, the process waits and says so.
"""

from __future__ import annotations

from dataclasses import replace

from app.controllers.migration.copies import with_disks
from app.controllers.migration.destination import destination
from app.controllers.migration.exit_codes import MEANINGS, ExitCode, Where
from app.controllers.migration.follow import followed
from app.controllers.migration.job import Job
from app.controllers.migration.messages import Noticed, Started
from app.controllers.migration.move import Move, Outcome, Say, Tell, stamp
from app.controllers.migration.orders import Orders
from app.controllers.migration.prepare import prepare
from app.controllers.migration.settle import settle
from app.controllers.migration.stale import ending_stale_copies
from app.controllers.migration.steps import Step
from app.hypervisor.base import Destination, HypervisorError, Hypervisors, MigrationFailed, State
from app.hypervisor.base import Job as HostJob
from app.tracing import inside

_MAY = "unless it is root's, it takes the host's sysctl vm.unprivileged_userfaultfd=1"


async def run_migration(job: Job, hypervisors: Hypervisors, orders: Orders, tell: Tell, say: Say) -> Outcome:
    """Returns when both hosts have said where the guest is. Raises LeaseLapsed; then nothing more was sent to a host."""
    move = Move(job, hypervisors, orders, tell, say)
    plan = job.plan
    say(f"moving {plan.vm} ({plan.domain}) from {plan.source.node} to {plan.target.node}")
    outcome = None if job.fresh else await _take_over(move)
    if outcome is None:
        with inside("prepare"):
            outcome = _as_wished(move, await prepare(move))
        outcome = outcome or await _copy(move)
    move.reach(Step.KNOWN)
    say(f"{outcome.result['message']} (exit code {int(outcome.code)}, {outcome.code.name})")
    return outcome


def _as_wished(move: Move, outcome: Outcome | None) -> Outcome | None:
    """What stands in the way of a move that nobody wants any more is no failure of it: nothing was begun."""
    if outcome is None or not move.orders.cancelled.is_set() or MEANINGS[outcome.code].where is not Where.SOURCE:
        return outcome
    return move.ended(ExitCode.CANCELLED, f"cancelled before the copy began: {outcome.result['message']}")


async def _take_over(move: Move) -> Outcome | None:
    """None when the processes before this one had begun nothing."""
    move.reach(Step.TAKEN_OVER)
    move.say("taken over: both hosts are asked where the guest is")
    with inside("take over"):
        async with followed(move):
            return await settle(move)


async def _copy(move: Move) -> Outcome:
    if move.orders.cancelled.is_set():
        return move.ended(ExitCode.CANCELLED, "cancelled before the copy began", targetFree=True)
    await move.orders.leave_to_steer()
    async with followed(move):
        with inside("copy"):
            await _call(move)
        move.reach(Step.SETTLING)
        with inside("settle"):
            outcome = await settle(move)
    assert outcome is not None, "BUG: a migration that was called had not begun"
    return outcome


async def _call(move: Move) -> None:
    to = replace(destination(move.plan), paused=move.mark.stopped)
    move.called = True
    move.reach(Step.CALLED)
    move.tell(Started(at=stamp(), autostart=move.mark.autostart))

    async def send(there: Destination) -> None:
        await _send(move, there)

    try:
        async with ending_stale_copies(move):
            await with_disks(move, to, send)
        move.left = True
    except HypervisorError as error:
        move.error = error
        move.say(f"libvirt ended the copy: {error.text}")


async def _send(move: Move, to: Destination) -> None:
    try:
        await move.source.ask(lambda host: host.migrate(move.plan.domain, to, still=move.orders.require))
    except MigrationFailed as error:
        if not to.post_copy or not await _may_lack_post_copy(move):
            raise
        move.say(f"{error.text}: once more, without post-copy, which the hosts' QEMU may not be allowed to do")
        text = f"allowPostCopy is set, but the hosts' QEMU may not do it, so it goes on without: {error.text} ({_MAY})"
        move.tell(Noticed(reason="NoPostCopy", message=text, warning=True))
        move.post_copy = False
        await _send(move, replace(to, post_copy=False))


async def _may_lack_post_copy(move: Move) -> bool:
    """libvirt has no code for that: it failed before anything moved, and both hosts say so."""
    if move.copying or move.orders.cancelled.is_set():
        return False
    source, target = await move.look()
    stayed = source is not None and source.state in (State.RUNNING, State.PAUSED) and source.job is HostJob.NONE
    return stayed and target is not None and target.state is State.ABSENT
