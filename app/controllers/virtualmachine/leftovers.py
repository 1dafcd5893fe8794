"""What is left on a host of guests of ours that must never run there again: definitions, and copies that stand still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from app.controllers.documents import domain_uuid
from app.controllers.lease import Held
from app.controllers.migration.exit_codes import MEANINGS, ExitCode, Where, known
from app.controllers.tools import Tools
from app.controllers.virtualmachine.decide import is_ours
from app.controllers.virtualmachine.schedule import node_of, phase_of
from app.hypervisor.base import Domain, Hypervisor, Job, Mark, Reason, State
from app.kinds import VIRTUAL_MACHINE
from app.kinds.virtualmachine import Phase
from app.store.base import Key, NotFound, Run

log = structlog.get_logger()


def is_left_paused(domain: Domain) -> bool:
    """As libvirt leaves a source whose daemon died at the end of the switch-over: it waits to be told what became of it."""
    return domain.state is State.PAUSED and domain.reason is Reason.MIGRATION and domain.job is Job.NONE


def is_left_waiting(domain: Domain) -> bool:
    """It has arrived stopped, and nobody has started it."""
    waits = domain.mark is not None and domain.mark.stopped
    return waits and domain.state is State.PAUSED and domain.reason is Reason.USER and domain.job is Job.NONE


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Those of one node, removed while its lease is held."""

    node: str
    tools: Tools
    held: Held
    quiet_until: float
    """Wall-clock seconds; before that, calls of a former agent may still be on their way to the host."""

    async def tidy(self, host: Hypervisor, domain: Domain) -> bool:
        """
        Remove what is left of a guest of ours that must never run here again: its VM lives elsewhere, or is gone. Only a
        definition, or a copy that a migration which has ended left paused; none that a migration has in hand. Whether
        the definition is gone.
        """
        paused = is_left_paused(domain) or is_left_waiting(domain)
        if (domain.state is not State.SHUTOFF and not paused) or not is_ours(domain, self.tools.store_id):
            return False
        if not await self._is_leftover(domain):
            return False
        if domain.mark is not None and domain.mark.adopted and not await self._is_of_ended_move(domain, domain.mark):
            return False
        if is_left_paused(domain) and await self._moved_away(domain):
            await self._end_copy(host, domain)
        if is_left_waiting(domain) and await self._never_came(domain):
            await self._end_copy(host, domain)
        again = await host.look(domain.uuid)
        if again.state is not State.SHUTOFF or not is_ours(again, self.tools.store_id):
            return False
        with self.held.call():
            await host.undefine(domain.uuid)
        log.info("leftover definition removed", node=self.node, domain=str(domain.uuid), name=domain.name)
        return True

    async def _end_copy(self, host: Hypervisor, domain: Domain) -> None:
        """Its host was away when the guest arrived elsewhere, or stayed. Resumed by anybody, it would be the guest's past."""
        again = await host.look(domain.uuid)
        if (is_left_paused(again) or is_left_waiting(again)) and again.mark == domain.mark:
            with self.held.call():
                await host.destroy(domain.uuid, unless_running=True)
            log.warning("paused copy ended", node=self.node, domain=str(domain.uuid), name=domain.name)

    async def _moved_away(self, domain: Domain) -> bool:
        """The migration whose mark the copy bears took the guest from here, and the guest runs where it went, or is on its
        way from there to a third host: such a move may be held until nobody else knows the guest. Or that migration is over,
        however it ended, and the VirtualMachine is gone: whoever deleted it will not go back to the copy."""
        assert domain.mark is not None, "BUG: a domain of ours without a mark"
        if self.tools.birth.now().timestamp() < self.quiet_until:
            return False
        namespace, _, name = domain.mark.vm.partition("/")
        try:
            vm = (await self.tools.store.objects.get(Key(VIRTUAL_MACHINE.resource, namespace, name))).document
        except NotFound:
            return await self._is_over(domain, domain.mark)
        if domain_uuid(vm) != domain.uuid:
            return await self._is_over(domain, domain.mark)
        if not await self._was_taken(domain, domain.mark) or node_of(vm) in ("", self.node):
            return False
        return phase_of(vm) is Phase.RUNNING or (
            phase_of(vm) is Phase.MIGRATING and await self._is_between_others(domain.uuid)
        )

    async def _is_over(self, domain: Domain, mark: Mark) -> bool:
        """The migration whose mark the domain bears is known here, was this guest's, and has ended."""
        runs = await self._runs(mark)
        return bool(runs) and all(run.exit_code is not None and run.domain == domain.uuid for run in runs)

    async def _never_came(self, domain: Domain) -> bool:
        """The migration that let the copy arrive stopped has ended, and said that the guest stayed on its source."""
        assert domain.mark is not None, "BUG: a domain of ours without a mark"
        if self.tools.birth.now().timestamp() < self.quiet_until:
            return False
        return await self._was_sent(domain, domain.mark)

    async def _was_sent(self, domain: Domain, mark: Mark) -> bool:
        runs = await self._runs(mark)
        code = next((run.exit_code for run in runs if (run.attempt, run.target) == (mark.attempt, self.node)), None)
        ended = None if code is None else known(code)
        stayed = ended is not None and (ended is ExitCode.GUEST_STOPPED or MEANINGS[ended].where is Where.SOURCE)
        return stayed and all(run.domain == domain.uuid for run in runs)

    async def _is_of_ended_move(self, domain: Domain, mark: Mark) -> bool:
        """A migration brought the definition of an adopted guest there, or took the guest away from it."""
        return await self._was_taken(domain, mark) or (mark.stopped and await self._was_sent(domain, mark))

    async def _is_between_others(self, domain: UUID) -> bool:
        """A run has the guest in hand, and neither of its hosts is this one."""
        runs = await self.tools.store.runs.unfinished(domain)
        return bool(runs) and not any(self.node in (run.source, run.target) for run in runs)

    async def _was_taken(self, domain: Domain, mark: Mark) -> bool:
        """The migration whose mark the domain bears took the guest from here, and said so."""
        runs = await self._runs(mark)
        last = max(runs, key=lambda run: run.attempt, default=None)
        if last is None or last.source != self.node or last.exit_code != ExitCode.MOVED:
            return False
        return last.domain == domain.uuid

    async def _is_leftover(self, domain: Domain) -> bool:
        runs = await self.tools.store.runs.unfinished(domain.uuid)
        if any(self.node in (run.source, run.target) for run in runs):
            return False
        namespace, _, name = domain.mark.vm.partition("/") if domain.mark else ("", "", "")
        try:
            vm = (await self.tools.store.objects.get(Key(VIRTUAL_MACHINE.resource, namespace, name))).document
        except NotFound:
            return True
        if domain_uuid(vm) != domain.uuid:
            return True
        # Between two other hosts a guest may be held until nobody else knows it: what an earlier move left here must not wait.
        is_between_others = bool(runs) or phase_of(vm) is not Phase.MIGRATING
        return is_between_others and node_of(vm) not in ("", self.node)

    async def _runs(self, mark: Mark) -> Sequence[Run]:
        """Of the migration that the mark names."""
        return await self.tools.store.runs.of(UUID(mark.migration)) if mark.migration else ()
