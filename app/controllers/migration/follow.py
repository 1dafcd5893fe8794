"""While bytes move: samples, the hosts' events, and the worker's cancel. What comes of a sample is in `steering`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.controllers.migration.end import End
from app.controllers.migration.messages import Sampled
from app.controllers.migration.move import Move
from app.controllers.migration.steering import Steering
from app.controllers.migration.steps import Step
from app.hypervisor.base import (
    Abort,
    Change,
    Domain,
    HypervisorError,
    Job,
    Lifecycle,
    Progress,
    Reason,
    State,
)

FIRST_SAMPLE_S = 0.05
SAMPLE_S = 0.4
SAY_S = 1.0
TELL_S = 0.2
_POST_COPY = (Reason.POSTCOPY, Reason.POSTCOPY_FAILED)
_LEFT = (Reason.MIGRATION, *_POST_COPY)
_MIB = 2**20


@asynccontextmanager
async def followed(move: Move) -> AsyncIterator[None]:
    """The block's migration is sampled, listened to and, when that is asked, called off."""
    tasks = [
        asyncio.create_task(part)
        for part in (
            _sample(move),
            _listen(move, move.source),
            _listen(move, move.target),
            _obey(move),
            _abandon(move),
        )
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sample(move: Move) -> None:
    loop, steering = asyncio.get_running_loop(), Steering(move)
    wait_s, told_at, said_at, said = FIRST_SAMPLE_S, 0.0, loop.time() - SAY_S, ""
    while True:
        await _turn(move, wait_s)
        try:
            sample = await move.source.ask(lambda host: host.progress(move.plan.domain))
        except HypervisorError:
            sample = None
        if sample is None or not sample.total:
            continue
        wait_s, move.copying = SAMPLE_S, move.copying or sample.processed > 0
        if move.copying:
            move.reach(Step.COPYING)
        if loop.time() - told_at >= TELL_S:
            told_at = loop.time()
            move.tell(_report(sample))
        if loop.time() - said_at >= SAY_S and (words := _words(sample)) != said:
            # One that is held copies nothing, perhaps for hours.
            said_at, said = loop.time(), words
            move.say(words)
        await steering.take(sample)


async def _turn(move: Move, wait_s: float) -> None:
    """Until the next sample is due: at once where a pass begins."""
    try:
        async with asyncio.timeout(wait_s):
            await move.turned.wait()
    except TimeoutError:
        return
    move.turned.clear()


def _report(sample: Progress) -> Sampled:
    return Sampled(
        total=sample.total,
        processed=sample.processed,
        remaining=sample.remaining,
        memory_rate=sample.memory_rate,
        dirty_rate=sample.dirty_rate,
        iteration=sample.iteration,
        elapsed_ms=sample.elapsed_ms,
        throttle=sample.throttle,
        postcopy_requests=sample.postcopy_requests,
    )


def _words(sample: Progress) -> str:
    return (
        f"pass {sample.iteration}: {sample.processed / _MIB:.0f} MiB sent, {sample.remaining / _MIB:.0f} of"
        f" {sample.total / _MIB:.0f} MiB left, {sample.memory_rate / _MIB:.0f} MiB/s"
    )


async def _listen(move: Move, end: End) -> None:
    """Events only say when; what is so, the hosts are asked."""
    while True:
        try:
            host = await end.host()
            async for event in host.lifecycle():
                if event.domain == move.plan.domain:
                    _note(move, end, event)
                if event.change is Change.DISCONNECTED:
                    break
        except HypervisorError:
            pass
        await asyncio.sleep(SAMPLE_S)


def _note(move: Move, end: End, event: Lifecycle) -> None:
    if event.change is Change.ITERATED:
        move.turned.set()
        return
    move.changed.set()
    match event.change:
        case Change.SUSPENDED if end is move.source:
            move.stop()
        case Change.SUSPENDED if move.mark.stopped:
            move.say(
                f"the guest has arrived on {end.node}, and waits there until its copy on {move.source.node} is gone"
            )
        case Change.RESUMED if end is move.target:
            move.arrive()
        case Change.STOPPED if end is move.source:
            move.left = move.left or event.detail == "migrated"
            move.say(f"the copy on {end.node} has stopped ({event.detail or 'no detail'})")


async def _obey(move: Move) -> None:
    """A cancel aborts the job, again until it is over; after the source was paused it comes too late."""
    await move.orders.cancelled.wait()
    move.say("asked to cancel")
    while True:
        seen = await move.source.look(move.plan.domain)
        if seen is not None:
            if seen.state is State.PAUSED and seen.reason in _LEFT:
                move.too_late = True
                move.say("too late to cancel: the switch-over has begun, the move ends")
                return
            if seen.job is not Job.NONE:
                await _abort(move, seen)
        await asyncio.sleep(SAMPLE_S / 2)


async def _abandon(move: Move) -> None:
    """What does not end by itself is aborted, again until it is over; never in post-copy."""
    await move.abandoned.wait()
    while True:
        seen = await move.source.look(move.plan.domain)
        if seen is not None and seen.job is not Job.NONE and seen.reason not in _POST_COPY:
            await _abort(move, seen)
        await asyncio.sleep(SAMPLE_S / 2)


async def _abort(move: Move, seen: Domain) -> None:
    await move.orders.leave_to_steer()
    try:
        await move.source.ask(lambda host: host.steer(seen.uuid, Abort()))
    except HypervisorError as error:
        move.say_once(f"the copy is not stopped: {error.text}")
    else:
        move.say_once("libvirt is asked to stop the copy")
