"""Steering a running copy: each sample is judged, and what comes of it is said to the source."""

from __future__ import annotations

from dataclasses import replace

from app.controllers.migration.converge import (
    GIVEN_UP,
    End,
    Policy,
    Sample,
    State,
    begun,
    refused,
    steered,
    taken_over,
)
from app.controllers.migration.destination import policy
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.messages import Noticed, Steered
from app.controllers.migration.move import Move
from app.controllers.migration.steps import Step
from app.hypervisor.base import (
    CopyPhase,
    HypervisorError,
    Progress,
    Refused,
    SetBandwidth,
    SetDowntime,
    Steer,
    StopAndCopy,
    SwitchToPostCopy,
)
from app.kinds.migration import Mode

_CODES = {End.NOT_CONVERGING: ExitCode.NOT_CONVERGING, End.STUCK: ExitCode.TRANSFER_STUCK}
_MIB = 2**20


class Steering:
    """Of one process. What it remembers is only convenient: who takes over begins anew."""

    def __init__(self, move: Move) -> None:
        self._move = move
        self._state: State | None = None
        self._iteration = 0
        self._mode = Mode.PRE_COPY

    async def take(self, seen: Progress) -> None:
        """A sample. What the host refuses is tried again with the next. Raises LeaseLapsed."""
        move = self._move
        allowed = self._policy()
        state = self._state or (begun(allowed) if move.called else taken_over())
        boundary, self._iteration = seen.iteration > self._iteration, seen.iteration
        step = steered(state, allowed, Sample(seen, boundary))
        self._state = step.state
        if step.state.end in GIVEN_UP and step.state.end is not None:
            move.abandon(_CODES[step.state.end], f"{step.why}: {_as_it_was(seen)}{self._not_granted()}")
        if step.steers:
            move.say(f"{step.why or 'as it is wished now'}: {', '.join(map(_words, step.steers))}")
        for steer in step.steers:
            await self._send(steer, step.why)
        if seen.phase is CopyPhase.POST_COPY:
            move.reach(Step.POST_COPY)
            self._tell(Mode.POST_COPY)

    def _policy(self) -> Policy:
        allowed = policy(self._move.plan, self._move.orders.retuned)
        return replace(allowed, post_copy=allowed.post_copy and self._move.post_copy)

    def _not_granted(self) -> str:
        """What is allowed and was no way out."""
        move = self._move
        return "; allowPostCopy is set, but the hosts' QEMU may not do it" if move.lacks_post_copy else ""

    async def _send(self, steer: Steer, why: str) -> None:
        move = self._move
        await move.orders.leave_to_steer()
        try:
            await move.source.ask(lambda host: host.steer(move.plan.domain, steer))
        except HypervisorError as error:
            move.say(f"{_words(steer)}: {error.text}")
            if isinstance(steer, SwitchToPostCopy) and isinstance(error, Refused):
                move.post_copy = False
            if self._state is not None:
                self._state = replace(refused(self._state), downtime_ms=None, cap_known=False)
            return
        if isinstance(steer, SwitchToPostCopy):
            text = f"{why}: the guest goes on at {move.target.node}, and the rest of its memory follows"
            move.tell(Noticed(reason="PostCopy", message=text))
        if isinstance(steer, StopAndCopy):
            text = f"{why}: the guest is stopped until the rest of its memory is sent"
            move.tell(Noticed(reason="Paused", message=text, warning=True))
            self._tell(Mode.PAUSED)

    def _tell(self, mode: Mode) -> None:
        if mode is not self._mode:
            self._mode = mode
            self._move.tell(Steered(mode=mode))


def _as_it_was(seen: Progress) -> str:
    """What the guest writes is known from the second pass on."""
    left, total = seen.remaining / _MIB, seen.total / _MIB
    words = (
        f"in pass {seen.iteration} {left:.0f} of {total:.0f} MiB were left, sent at {seen.memory_rate / _MIB:.0f} MiB/s"
    )
    return f"{words} while the guest wrote {seen.dirty_rate / _MIB:.0f}" if seen.iteration > 1 else words


def _words(steer: Steer) -> str:
    match steer:
        case SetDowntime(ms):
            return f"a downtime of {ms} ms is allowed"
        case SetBandwidth(rate):
            return "the cap is lifted" if rate is None else f"at most {rate / _MIB:.0f} MiB/s"
        case SwitchToPostCopy():
            return "post-copy"
        case StopAndCopy():
            return "the guest is stopped"
        case _:
            return "abort"
