"""However the call ended, both hosts are asked until they say where the guest is; what is left over is tidied."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import assert_never

from app.controllers.migration.copies import copied as copied_disks
from app.controllers.migration.end import End
from app.controllers.migration.evidence import Action, Ruling, Verdict
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.judging import HOLD_S, PATIENCE_S, act, judged, third_hosts
from app.controllers.migration.move import Move, Outcome
from app.controllers.migration.recovery import Recovery, recovering
from app.controllers.migration.word import IS_LOST, was_given_up
from app.hypervisor.base import (
    Busy,
    Completed,
    Domain,
    DomainExists,
    HypervisorError,
    Incompatible,
    Job,
    Reason,
    State,
    Unreachable,
)

LOOK_S = 0.2
CONFIRM_S = 2.0
"""After a call whose connection broke: it may have been on its way to a host that had not begun it."""
NOT_BEGUN = None
"""What `settle` returns of a run whose first process ended before it marked the guest: begin it."""


async def settle(move: Move) -> Outcome | None:
    """Returns when the guest's place is known, or NOT_BEGUN."""
    async with recovering(move) as recovery:
        return await _until_known(move, recovery)


async def _until_known(move: Move, recovery: Recovery) -> Outcome | None:
    loop = asyncio.get_running_loop()
    since_s, last, copied_s = loop.time(), None, loop.time()
    while True:
        move.changed.clear()
        source, target = await move.look()
        ruling = await judged(move, source, target)
        if not move.fresh and not move.given_up and was_given_up(move.orders.told.resolve, source, target):
            move.resolved, move.given_up = IS_LOST, True
        if ruling.verdict is Verdict.ENDED_ON_TARGET and move.given_up:
            # It looks like a guest that had moved, but the rest of its memory was ended on the source.
            ruling = replace(ruling, verdict=Verdict.LOST, why=move.resolved, told=True)
        if ruling.verdict is not last:
            since_s, last = loop.time(), ruling.verdict
        if ruling.action not in (Action.NONE, Action.WAIT, Action.RECOVER):
            failed = await act(move, ruling)
            if failed and loop.time() - since_s > PATIENCE_S:
                move.hold(f"{ruling.why}; {failed}", busy=True)
            continue
        if source is not None and source.job is Job.MIGRATION_OUT:
            copied_s = loop.time()
        match ruling.verdict:
            case Verdict.IN_PROGRESS:
                move.hold(_works_on(source, target) if loop.time() - copied_s > PATIENCE_S else "", busy=True)
            case Verdict.POST_COPY:
                _notice(move, target)
                move.hold("")
            case Verdict.BROKEN:
                move.hold(ruling.why, ruling.refused)
                await recovery.attempt()
            case Verdict.SWITCHOVER:
                _notice(move, target)
                move.hold(ruling.why if loop.time() - since_s > PATIENCE_S else "")
            case Verdict.HOLD | Verdict.SPLIT:
                move.hold(ruling.why, ruling.refused)
            case Verdict.ON_TARGET | Verdict.ENDED_ON_TARGET:
                _notice(move, target)
                return await _moved(move, ruling, source, target)
            case Verdict.LOST if (third := await third_hosts(move)).why_not_lost(ruling.told):
                move.hold(f"neither host has the guest; {third.why_not_lost(ruling.told)}")
            case Verdict.ON_SOURCE | Verdict.ENDED_ON_SOURCE | Verdict.LOST:
                if await _stays_so(move, loop.time() - since_s):
                    return await _stayed(move, ruling, source, target)
            case Verdict.ORPHAN_INCOMING | Verdict.RESUME_SOURCE | Verdict.STALE_SOURCE:
                raise AssertionError(f"BUG: {ruling.verdict} without an action")
            case unhandled:
                assert_never(unhandled)
        await _pause(move, HOLD_S if move.held else LOOK_S)


def _works_on(source: Domain | None, target: Domain | None) -> str:
    """Nothing is copied: what libvirt does may be of its host's, or somebody's."""
    jobs = (f"{host.job} on the {name}" for name, host in (("source", source), ("target", target)) if host is not None)
    return f"nothing is copied any more, and libvirt still works on the guest ({', '.join(jobs)})"


async def _stays_so(move: Move, stood_s: float) -> bool:
    """Whether no call that was sent before can still change what the hosts say; else they are asked again."""
    if not move.quiet:
        await move.orders.leave_to_act()
        move.quiet = True
        return False
    return stood_s >= CONFIRM_S or not isinstance(move.error, Unreachable)


def _notice(move: Move, target: Domain | None) -> None:
    if target is not None and target.state is State.RUNNING:
        move.arrive()


async def _pause(move: Move, wait_s: float) -> None:
    try:
        async with asyncio.timeout(wait_s):
            await move.changed.wait()
    except TimeoutError:
        return


async def _moved(move: Move, ruling: Ruling, source: Domain | None, target: Domain | None) -> Outcome:
    move.hold("")
    if source is not None and source.autostart:
        await _disarm(move)
    waited = move.mark.stopped or (target is not None and target.mark is not None and target.mark.stopped)
    if target is not None:
        await _started(move, move.target, target)
    stats = await _statistics(move)
    copied = await _disks_copied(move)
    downtime = None if stats is None else stats.downtime_ms
    if waited:  # which libvirt's figure says nothing of
        downtime = move.stopped_ms()
    why = _told(move, ruling) or ruling.why
    message = why if downtime is None else f"{why}; it was stopped for {downtime} ms"
    return move.ended(
        ExitCode.MOVED,
        message,
        downtimeMs=downtime,
        totalBytes=None if stats is None else stats.total,
        iterations=None if stats is None else stats.iterations,
        disksCopied=copied,
        evidence=_evidence(source, target),
    )


async def _started(move: Move, end: End, seen: Domain) -> None:
    """Where the guest is it waits no longer: if somebody pauses it from now on, it stays so."""
    if not move.is_marked(seen) or seen.mark is None or not seen.mark.stopped:
        return
    mark = replace(seen.mark, stopped=False)
    await move.orders.leave_to_steer()
    try:
        await end.ask(lambda host: host.mark(move.plan.domain, mark))
    except HypervisorError as error:
        move.say(f"the mark on {end.node} stays: {error.text}")


async def _disks_copied(move: Move) -> list[str] | None:
    """None where nobody can say: then no file is taken for left behind."""
    try:
        return await copied_disks(move)
    except HypervisorError as error:
        move.say(f"{move.target.node} does not say which files the guest uses: {error.text}")
        return None


async def _disarm(move: Move) -> None:
    """Somebody set the flag while the guest moved: its host, started again, would start the guest a second time."""
    await move.orders.leave_to_steer()
    try:
        await move.source.ask(lambda host: host.set_autostart(move.plan.domain, False))
    except HypervisorError as error:
        move.say(f"autostart not taken off on {move.source.node}: {error.text}")


async def _statistics(move: Move) -> Completed | None:
    """They are lost when libvirtd was restarted meanwhile; the target keeps them too."""
    for end in (move.source, move.target):
        try:
            stats = await end.ask(lambda host: host.completed(move.plan.domain))
        except HypervisorError:
            continue
        if stats is not None and stats.downtime_ms is not None:
            return stats
    return None


async def _stayed(move: Move, ruling: Ruling, source: Domain | None, target: Domain | None) -> Outcome | None:
    move.hold("")
    evidence = _evidence(source, target)
    if ruling.verdict is Verdict.LOST:
        said = _told(move, ruling)
        off = move.source.node in move.orders.told.off and source is None
        return move.ended(
            ExitCode.NODE_LOST if off else ExitCode.LOST, said, evidence=evidence, targetFree=ruling.target_free
        )
    if ruling.verdict is Verdict.ENDED_ON_SOURCE or (source is not None and source.state is State.CRASHED):
        if move.given_up and source is not None and source.reason is Reason.DESTROYED:
            # It was given up: its copy was ended by this very migration.
            return move.ended(ExitCode.LOST, move.resolved, evidence=evidence, targetFree=ruling.target_free)
        return move.ended(ExitCode.GUEST_STOPPED, evidence=evidence, targetFree=ruling.target_free)
    if _was_never_begun(move, source):
        return NOT_BEGUN
    if target is not None and target.state is State.SHUTOFF and move.is_marked(target):
        await _undefine(move)
    if source is not None:
        await _started(move, move.source, source)
    code, said = _why_stayed(move, target)
    if (told := _told(move, ruling)) and code is not ExitCode.CANCELLED:
        said = f"{said}; {told}" if said else told
    return move.ended(code, said, evidence=evidence, targetFree=ruling.target_free)


def _told(move: Move, ruling: Ruling) -> str:
    """What was decided by the operator's word or taint, now or by an action before."""
    return ruling.why if ruling.told else move.resolved


def _was_never_begun(move: Move, source: Domain | None) -> bool:
    """The mark is written before the call: without it there was none."""
    unmarked = source is not None and not move.is_marked(source)
    return not move.fresh and not move.called and unmarked and not move.orders.cancelled.is_set()


def _why_stayed(move: Move, target: Domain | None) -> tuple[ExitCode, str]:
    """Cancelled and given up are judged by the wish and the place, never by libvirt's code: a cut network has many."""
    if move.orders.cancelled.is_set():
        return ExitCode.CANCELLED, ""
    if move.abandoned_with is not None:
        return move.abandoned_with
    code = _what_failed(move, target)
    if move.error is None:
        return (
            code,
            "the copy ended while nobody followed it: the guest was not moved" if code is ExitCode.FAILED else "",
        )
    return code, move.error.text


def _what_failed(move: Move, target: Domain | None) -> ExitCode:
    match move.error:
        case Incompatible():
            return ExitCode.INCOMPATIBLE
        case DomainExists():
            return ExitCode.NAME_TAKEN
        case Busy():
            return ExitCode.BUSY
        case _ if target is None:
            return ExitCode.TARGET_UNREACHABLE
        case _:
            return ExitCode.FAILED


async def _undefine(move: Move) -> None:
    await move.orders.leave_to_steer()
    try:
        await move.target.ask(lambda host: host.undefine(move.plan.domain))
    except HypervisorError as error:
        move.say(f"a definition stays on {move.target.node}: {error.text}")


def _evidence(source: Domain | None, target: Domain | None) -> dict[str, str]:
    return {"source": _words(source), "target": _words(target)}


def _words(seen: Domain | None) -> str:
    return (
        "unreachable" if seen is None else f"{seen.state}/{seen.reason}" if seen.state is not State.ABSENT else "absent"
    )
