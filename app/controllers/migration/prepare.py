"""Before anything moves: the source has the guest, the target does not know it, and the guest bears our mark."""

from __future__ import annotations

from dataclasses import replace

from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.move import Move, Outcome
from app.controllers.migration.steps import Step
from app.hypervisor.base import Busy, Domain, HypervisorError, Job, Mark, Reason, State, Unreachable

_LEFT = "resume it by hand if it has run nowhere else since"
_LIVING = (State.RUNNING, State.PAUSED)


async def prepare(move: Move) -> Outcome | None:
    """None when the copy may begin; else nothing was begun, and the outcome says why."""
    move.reach(Step.PREPARING)
    return await _judge_source(move) or await _clear_target(move) or await _mark(move)


async def _judge_source(move: Move) -> Outcome | None:
    try:
        seen = await move.source.ask(lambda host: host.look(move.plan.domain))
    except HypervisorError as error:
        return _failed(move, ExitCode.SOURCE_UNREACHABLE, f"{move.source.node} does not answer: {error.text}", error)
    if seen.state not in _LIVING:
        return move.ended(ExitCode.GUEST_STOPPED, f"the guest is {seen.state} on {move.source.node} ({seen.reason})")
    if seen.mark is not None and seen.mark.store not in ("", move.plan.store):
        return move.ended(ExitCode.FAILED, f"the guest bears the mark of another Drover ({seen.mark.store})")
    if (seen.state, seen.reason) == (State.PAUSED, Reason.MIGRATION) and seen.job is Job.NONE:
        return move.ended(ExitCode.FAILED, f"an earlier move left the guest paused on {move.source.node}: {_LEFT}")
    if seen.job is not Job.NONE:
        return move.ended(ExitCode.BUSY, f"libvirt on {move.source.node} has another job for the guest")
    return None


async def _clear_target(move: Move) -> Outcome | None:
    try:
        return await _undefine_leftover(move)
    except Unreachable as error:
        return _failed(move, ExitCode.TARGET_UNREACHABLE, f"{move.target.node} does not answer: {error.text}", error)
    except HypervisorError as error:
        return _failed(move, ExitCode.FAILED, f"{move.target.node} could not be prepared: {error.text}", error)


async def _undefine_leftover(move: Move) -> Outcome | None:
    """A shut-off definition of ours, left by an earlier move, goes; anything else of that UUID is not ours to touch."""
    await move.orders.leave_to_act()
    seen = await move.target.ask(lambda host: host.look(move.plan.domain))
    if seen.state is State.ABSENT:
        return None
    if seen.state is not State.SHUTOFF or not _is_ours(move, seen):
        return move.ended(
            ExitCode.NAME_TAKEN, f"{move.target.node} has a domain {seen.name}, {seen.state}, of that UUID"
        )
    move.orders.require()
    await move.target.ask(lambda host: host.undefine(move.plan.domain))
    move.say(f"removed an old definition from {move.target.node}")
    return None


def _is_ours(move: Move, seen: Domain) -> bool:
    return seen.mark is not None and seen.mark.store == move.plan.store and seen.mark.vm == move.plan.vm


async def _mark(move: Move) -> Outcome | None:
    """Written once, before the call: during a job libvirt would wait for half a minute and refuse."""
    domain = move.plan.domain
    try:
        await move.orders.leave_to_steer()
        seen = await move.source.ask(lambda host: host.look(domain))
        move.mark = replace(move.mark, stopped=move.plan.arrive_paused and seen.state is State.RUNNING)
        if move.plan.adopted:
            move.mark = _with_what_is_taken(move.mark, seen)
        await move.source.ask(lambda host: host.mark(domain, move.mark))
        if seen.autostart:
            await _take_off_autostart(move)
        move.reach(Step.MARKED)
    except Busy as error:
        return _failed(
            move, ExitCode.BUSY, f"libvirt on {move.source.node} is busy with the guest: {error.text}", error
        )
    except Unreachable as error:
        return _failed(move, ExitCode.SOURCE_UNREACHABLE, f"{move.source.node} does not answer: {error.text}", error)
    except HypervisorError as error:
        return _failed(move, ExitCode.FAILED, f"the guest could not be marked: {error.text}", error)
    return None


async def _take_off_autostart(move: Move) -> None:
    """A source that is started again after the move would start the guest a second time."""
    await move.source.ask(lambda host: host.set_autostart(move.plan.domain, False))
    why = "it is set again where the guest is afterwards" if move.plan.adopted else "Drover starts its guests itself"
    move.say(f"autostart taken off on {move.source.node}: {why}")


def _with_what_is_taken(mark: Mark, seen: Domain) -> Mark:
    """Noted in the guest before it is taken; what an earlier move took and nobody gave back yet is still owed."""
    owed = seen.mark or Mark()
    return replace(mark, autostart=seen.autostart or owed.autostart, transient=not seen.persistent or owed.transient)


def _failed(move: Move, code: ExitCode, message: str, error: HypervisorError) -> Outcome:
    move.error = error
    return move.ended(code, message)
