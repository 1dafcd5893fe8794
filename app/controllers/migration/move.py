"""What one process knows of the migration that it runs, shared by its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.controllers.migration.end import End
from app.controllers.migration.exit_codes import MEANINGS, ExitCode
from app.controllers.migration.job import Job as Task
from app.controllers.migration.messages import Arrived, Holding, Reached
from app.controllers.migration.orders import Orders
from app.controllers.migration.plan import Plan
from app.controllers.migration.steps import Step
from app.hypervisor.base import Domain, HypervisorError, Hypervisors, Job, Mark, Reason, State
from app.machinery.objects import Document, Wire

Tell = Callable[[Wire], None]
"""Sends a report to the worker."""
Say = Callable[[str], None]
"""Prints a line for people."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended, and what was learned."""

    code: ExitCode
    result: Document = field(default_factory=dict)


def stamp() -> str:
    """Now, in microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Move:
    """Both hosts, the worker's word, and what was noticed so far."""

    def __init__(self, job: Task, hypervisors: Hypervisors, orders: Orders, tell: Tell, say: Say) -> None:
        plan = job.plan
        self.plan: Plan = plan
        self.fresh = job.fresh
        self.orders = orders
        self.tell = tell
        self.say = say
        self.source = End(job.plan.source, hypervisors)
        self.target = End(job.plan.target, hypervisors)
        if job.cancelled:
            orders.cancelled.set()
        if job.told is not None:
            orders.take(job.told)
        self.others = [End(place, hypervisors) for place in job.others]
        self.changed = asyncio.Event()
        """Something happened to the guest on a host: look again."""
        self.error: HypervisorError | None = None
        """What the call ended with."""
        self.arrived = ""
        """When it began to run on the target."""
        self._arrived_s: float | None = None
        self.left = False
        """The source said that it ended its copy because the guest had moved."""
        self._stopped_s: float | None = None
        self._idle_since_s: float | None = None
        """Since when the source has answered, and had no job for the guest."""
        self.too_late = False
        """A cancel was heard after the switch-over had begun."""
        self.called = False
        """libvirt was asked to move the guest, by this process."""
        self.quiet = job.fresh
        """No former process's call can be obeyed any more: what the hosts say is so, stays so."""
        self.turned = asyncio.Event()
        """A pass over the guest's memory has begun."""
        self.copying = False
        """Bytes of the guest have left the source."""
        self.post_copy = job.plan.post_copy
        """Allowed, and not known to be beyond the hosts."""
        self.abandoned = asyncio.Event()
        """The copy is to be aborted, for that code and reason."""
        self.abandoned_with: tuple[ExitCode, str] | None = None
        self.mark = Mark(
            store=plan.store, vm=plan.vm, migration=plan.migration_uid, attempt=plan.attempt, adopted=plan.adopted
        )
        """This attempt's mark in the guest's metadata: it travels, so the copy on the target bears it too."""
        self._reached: set[Step] = set()
        self._said: set[str] = set()
        self.held = ""
        """Why nobody can say where the guest is."""
        self._may_be_told_held = not job.fresh
        """By a process before this one."""
        self.resolved = ""
        """What was done because the operator said so."""
        self.given_up = False
        """A half of the guest was ended because the operator said that it is lost, by this process or one before it."""
        self.refused = ""
        """What speaks against the operator's word about that."""

    @property
    def lacks_post_copy(self) -> bool:
        """It is allowed, and the hosts' QEMU may not do it."""
        return self.plan.post_copy and not self.post_copy

    def is_marked(self, seen: Domain) -> bool:
        """Whether that copy was touched by this attempt."""
        mark = seen.mark
        return mark is not None and mark.migration == self.plan.migration_uid and mark.attempt == self.plan.attempt

    async def look(self) -> tuple[Domain | None, Domain | None]:
        """What both hosts say now; None for one that does not answer."""
        source, target = await asyncio.gather(self.source.look(self.plan.domain), self.target.look(self.plan.domain))
        if source is not None and (source.state, source.reason) == (State.SHUTOFF, Reason.MIGRATED):
            self.left = True
        if source is None or source.job is not Job.NONE:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = asyncio.get_running_loop().time()
        return source, target

    def reach(self, step: Step) -> None:
        """Told once."""
        if step not in self._reached:
            self._reached.add(step)
            self.tell(Reached(step=step))

    def has_reached(self, step: Step) -> bool:
        return step in self._reached

    def arrive(self) -> None:
        """The guest runs on the target: said once."""
        self.reach(Step.ARRIVED)
        if not self.arrived:
            self.arrived, self._arrived_s = stamp(), asyncio.get_running_loop().time()
            self.say(f"the guest runs on {self.target.node}")
            self.tell(Arrived(at=self.arrived))

    def stop(self) -> None:
        """The guest is stopped on the source for the switch-over."""
        self.reach(Step.SWITCHING)
        if self._stopped_s is None:
            self._stopped_s = asyncio.get_running_loop().time()
        self.say(f"the guest is stopped on {self.source.node} for the switch-over")

    def stopped_ms(self) -> int | None:
        """From there until it ran on the target, as far as this process heard of both."""
        if self._stopped_s is None or self._arrived_s is None:
            return None
        return int(1000 * (self._arrived_s - self._stopped_s))

    def ran_for_s(self) -> float:
        """Since this process saw it run on the target; 0 where it has not."""
        return 0.0 if self._arrived_s is None else asyncio.get_running_loop().time() - self._arrived_s

    def idle_for_s(self) -> float:
        """How long the source has had no job for the guest, as far as this process saw."""
        return 0.0 if self._idle_since_s is None else asyncio.get_running_loop().time() - self._idle_since_s

    def abandon(self, code: ExitCode, why: str) -> None:
        """Once."""
        if self.abandoned_with is None:
            self.abandoned_with = code, why
            self.say(f"given up: {why}")
            self.abandoned.set()

    def say_once(self, line: str) -> None:
        """However often it is done."""
        if line not in self._said:
            self._said.add(line)
            self.say(line)

    def hold(self, why: str, refused: str = "", *, busy: bool = False) -> None:
        """Nobody can say where the guest is; an empty reason ends it. Said when it changes, with what speaks against the
        operator's word."""
        before, self.held, self.refused = (self.held, self.refused), why, refused
        if (why, refused) != before or self._may_be_told_held:
            self._may_be_told_held = False
            if (why, refused) != before:
                self.say(f"holding: {why}" if why else "holding no longer")
            if refused:
                self.say(f"the operator's word is refused: {refused}")
            self.tell(Holding(message=why, refused=refused, busy=busy and bool(why)))

    def ended(self, code: ExitCode, message: str = "", **learned: object) -> Outcome:
        """The outcome with that code, with what libvirt said if it said anything."""
        result: Document = {"message": message or MEANINGS[code].meaning, "endedAt": stamp()}
        if self.error is not None:
            result["libvirtText"] = self.error.text
            if self.error.code is not None:
                result["libvirtCode"] = self.error.code
        if self.arrived:
            result["arrivedAt"] = self.arrived
        return Outcome(code, result | {key: value for key, value in learned.items() if value is not None})
