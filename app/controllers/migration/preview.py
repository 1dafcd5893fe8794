"""What would become of a Migration, told before it is created: from what is stored, without asking a host."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.controllers import guest as guests
from app.controllers.birth import Birth
from app.controllers.census import Census
from app.controllers.migration import tuning
from app.controllers.migration.commit import to_be_brought, two_nodes
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.decide import decide
from app.controllers.migration.effects import Decision, StartRun
from app.controllers.migration.forecast import RECENT, SECONDS_PER_GIB, Copied, Measured, Move, forecast, measured
from app.controllers.migration.observe import Ground, Scene, observe, vm_name
from app.hypervisor.domain_xml import BadXml
from app.kinds.migration import MigrationForecast, MigrationState, Phase
from app.machinery.objects import Document
from app.store.base import Store

REMEMBERED = 1000
"""So many of the latest moves are looked through for some on the same way."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Answers a dry run's create; bound by wiring."""

    store: Store
    config: MigrationConfig
    birth: Birth = field(default_factory=Birth)
    census: Census = field(default_factory=Census)

    async def answer(self, migration: Document) -> Document:
        """The Migration with the status that it would have at first. Nothing is written."""
        async with self.store.transaction() as tx:
            scene = await observe(tx, migration, Ground(self.birth.now(), self.config, self.census))
            decision = decide(scene.seen)
            status = decision.status.dump()
            if (target := _target(decision)) is not None:
                assert scene.guest is not None, "BUG: a move without a guest"
                nodes = await two_nodes(tx, scene.guest.node, target)
                status["migrationState"] |= _options(scene, *nodes)
                status["forecast"] = _forecast(
                    scene, target, _copied(scene, *nodes), await self._history(migration)
                ).dump()
        return {**migration, "status": status}

    async def _history(self, migration: Document) -> list[Measured]:
        """What is remembered of moves: the latest, and the guest's own."""
        read, moved = self.store.history.read, Phase.SUCCEEDED.value
        namespace, vm = migration["metadata"]["namespace"], vm_name(migration)
        own = await read(namespace=namespace, subject=vm, outcome=moved, limit=RECENT)
        others = await read(outcome=moved, limit=REMEMBERED)
        return list(measured({past.uid: past.record for past in (*own, *others)}.values()))


def _target(decision: Decision) -> str | None:
    return next((effect.target for effect in decision.effects if isinstance(effect, StartRun)), None)


def _options(scene: Scene, source: Document, target: Document) -> Document:
    """As they would be frozen."""
    assert scene.options is not None, "BUG: a move without options"
    annotations = [node["metadata"].get("annotations") or {} for node in (source, target)]
    state = MigrationState(
        migration_configuration=scene.options.configuration,
        migration_policy_name=scene.options.policy,
        encrypted=scene.options.encrypts(*annotations),
    ).dump()
    return {
        name: state[name] for name in ("migrationConfiguration", "migrationPolicyName", "encrypted") if name in state
    }


def _copied(scene: Scene, source: Document, target: Document) -> tuple[Copied, ...]:
    """The disks that the target would be given."""
    assert scene.guest is not None and scene.options is not None, "BUG: a move without a guest"
    brought = to_be_brought(scene.guest.vm, source, target) if scene.options.copies else ()
    return tuple(Copied(disk.target, disk.size) for disk in brought)


def _forecast(scene: Scene, target: str, copied: tuple[Copied, ...], history: list[Measured]) -> MigrationForecast:
    assert scene.guest is not None and scene.options is not None, "BUG: a move without a guest"
    told = scene.options.configuration
    granted = tuning.granted(told)
    move = Move(
        guest=scene.guest.uid,
        source=scene.guest.node,
        target=target,
        memory=_memory(scene),
        cap=granted.bandwidth,
        max_downtime_ms=granted.max_downtime_ms,
        seconds_per_gib=told.completion_timeout_per_gib or SECONDS_PER_GIB,
        copied=copied,
    )
    return forecast(move, history)


def _memory(scene: Scene) -> int:
    """The guest's own; of one whose spec does not tell, what its pod reserves."""
    assert scene.guest is not None and scene.need is not None, "BUG: a move without a guest"
    try:
        return guests.facts(scene.guest.vm).memory
    except BadXml:
        return scene.need.memory
