"""What the table says of both hosts now, and the one verb that it asks for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from app.controllers.migration.end import End
from app.controllers.migration.evidence import Action, Facts, Ruling, Verdict
from app.controllers.migration.location import location
from app.controllers.migration.move import Move
from app.hypervisor.base import Domain, HypervisorError, State

HOLD_S = 1.0
OVERDUE_S = 5.0
"""How long the target has run the guest when the source should long have heard so. libvirt on the source gives up after 30 s
(qemu.conf: keepalive_interval, keepalive_count) and resumes its copy."""

PATIENCE_S = 60.0
"""A switch-over takes seconds: one that takes longer is said to be held."""


async def act(move: Move, meant: Ruling) -> str:
    """Sent only with enough of the lease left, and the state is read again just before. What fails is seen next time; its host's
    words are answered."""
    action = meant.action
    if meant.verdict is Verdict.STALE_SOURCE or (action is Action.RESUME_TARGET and not meant.told):
        # Nothing that a former process sent can start the source again, or end the target, while the target runs; nor once the
        # source has ended its copy because the guest had moved.
        await move.orders.leave_to_steer()
    else:
        await move.orders.leave_to_act()
    # Again, for the leave may have taken long to come; and the guest's two hosts last, for those are the ones that change.
    resumes = action is Action.RESUME_SOURCE
    third = await third_hosts(move) if resumes or meant.told else Third()
    source, target = await move.look()
    ruling = location(source, target, _knowing(_facts(move), third, resumes=resumes))
    if ruling.action is not action:
        return ""
    end = move.target if action in (Action.DESTROY_TARGET, Action.RESUME_TARGET) else move.source
    move.say_once(f"{ruling.why}: {action} ({end.node})")
    if ruling.told:
        move.resolved, move.given_up = ruling.why, ruling.verdict is Verdict.LOST
    move.orders.require()
    try:
        await _send(move, end, action)
    except HypervisorError as error:
        said = f"{end.node}: {error.text}"
        move.say_once(said)
        await asyncio.sleep(HOLD_S)
        return said
    return ""


async def _send(move: Move, end: End, action: Action) -> None:
    domain = move.plan.domain
    match action:
        case Action.DESTROY_TARGET | Action.DESTROY_SOURCE:
            await end.ask(lambda host: host.destroy(domain, unless_running=True))
        case Action.RESUME_SOURCE | Action.RESUME_TARGET:
            await end.ask(lambda host: host.resume(domain))
        case Action.NONE | Action.WAIT | Action.RECOVER:
            raise AssertionError(f"BUG: {action} is nothing to send")


@dataclass(frozen=True, slots=True)
class Third:
    """What the other hosts say of the guest."""

    knows: str | None = None
    """The first that knows it, be it by an old definition."""
    has: str | None = None
    """The first where it is active: an old definition is no guest, and stays while a migration of its guest is under way."""
    silent: str | None = None
    """The first that does not answer, and was not declared to be off."""

    def why_not_lost(self, told: bool) -> str:
        """Where the operator said so, a host that does not answer is no evidence."""
        if self.has is not None:
            return f"{self.has} has it"
        return f"{self.silent} does not answer" if self.silent is not None and not told else ""


async def judged(move: Move, source: Domain | None, target: Domain | None) -> Ruling:
    """The other hosts are asked only where their answer decides."""
    facts = _facts(move)
    ruling = location(source, target, facts)
    alone = location(source, target, replace(facts, nowhere_else=True))
    resumes = Action.RESUME_SOURCE in (ruling.action, alone.action)
    if not resumes and not ruling.told:
        return ruling
    return location(source, target, _knowing(facts, await third_hosts(move), resumes=resumes))


def _knowing(facts: Facts, third: Third, *, resumes: bool) -> Facts:
    """Before a source is resumed an old definition counts too: against another word only the guest itself."""
    surely = third.knows is None and third.silent is None
    known = third.knows if resumes else third.has
    return replace(facts, nowhere_else=surely, elsewhere=known is not None)


def _facts(move: Move) -> Facts:
    orders = move.orders
    return Facts(
        move.plan.migration_uid,
        persist_dest=True,
        arrived=bool(move.arrived) or orders.told.arrived,
        source_off=move.source.node in orders.told.off,
        target_off=move.target.node in orders.told.off,
        word=orders.told.resolve,
        overdue=move.ran_for_s() >= OVERDUE_S,
        idle=move.idle_for_s() >= PATIENCE_S,
        left=move.left,
    )


async def third_hosts(move: Move) -> Third:
    third = Third()
    for end in move.others:
        seen = await end.look(move.plan.domain)
        if seen is None:
            if end.node not in move.orders.told.off:
                third = replace(third, silent=third.silent or end.node)
        elif seen.state is not State.ABSENT:
            third = replace(third, knows=third.knows or end.node)
            if seen.state is not State.SHUTOFF:
                third = replace(third, has=third.has or end.node)
    return third
