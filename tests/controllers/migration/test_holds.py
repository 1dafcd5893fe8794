"""A hold is told, and decided by the operator's word or taint: of one process, and from the annotation to every object's end."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.controllers.documents import key_of
from app.controllers.guards import node_guard
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.messages import Holding, Told
from app.hypervisor.base import Job as HostJob
from app.hypervisor.base import Reason, State
from app.hypervisor.fake import FakeHypervisors
from app.kinds import EVENT, NODE, VIRTUAL_MACHINE, names
from app.kinds.migration import Word
from app.machinery.errors import ApiError
from app.machinery.objects import Document
from app.store.base import Key, Scope, edit
from app.store.postgres import PostgresStore
from tests.controllers.migration.process_scene import Scene, kill, left_paused
from tests.controllers.migration.simulation import Simulation, lead
from tests.controllers.migration.world import NAMESPACE, migration_key

OFF_TAINT = {"key": names.OUT_OF_SERVICE, "effect": "NoExecute"}


async def held(scene: Scene, *silent: str) -> Scene:
    await left_paused(scene)
    for name in silent:
        scene.cloud.cut_off(name)
    return scene


@pytest.mark.parametrize(
    ("silent", "told", "code", "runs"),
    [
        (("node1",), Told(resolve=Word.SOURCE), ExitCode.TARGET_UNREACHABLE, ["node0"]),
        (("node1",), Told(resolve=Word.SOURCE, off=("node1",)), ExitCode.TARGET_UNREACHABLE, ["node0"]),
        (("node1",), Told(off=("node1",)), ExitCode.TARGET_UNREACHABLE, []),
        (("node1",), Told(off=("node1",), arrived=True), ExitCode.MOVED, []),
        (("node1",), Told(resolve=Word.TARGET), ExitCode.MOVED, []),
        (("node2",), Told(resolve=Word.SOURCE), ExitCode.FAILED, ["node0"]),
        (("node2",), Told(off=("node2",)), ExitCode.FAILED, ["node0"]),
        (("node0",), Told(off=("node0",)), ExitCode.NODE_LOST, []),
        (("node0", "node1"), Told(off=("node0", "node1")), ExitCode.NODE_LOST, []),
        (("node0",), Told(resolve=Word.LOST), ExitCode.LOST, []),
    ],
    ids=str,
)
async def test_what_the_operator_says_decides(
    scene: Scene, silent: tuple[str, ...], told: Told, code: ExitCode, runs: list[str]
) -> None:
    """Said while the process waits: it hears of it by its worker."""
    process = (await held(scene, *silent)).process(fresh=False)
    await scene.until(lambda: scene.heard_of(Holding))
    # A host that is cut off does not run what it did: it is off, or the operator is wrong.
    scene.orders.take(told)

    outcome = await process

    assert (code, runs) == (outcome.code, [name for name in scene.runs_on() if name not in silent])


async def test_a_word_against_a_host_that_answers_is_refused_and_nothing_is_done(scene: Scene) -> None:
    process = (await held(scene, "node2")).process(fresh=False)
    await scene.until(lambda: scene.heard_of(Holding))

    scene.orders.take(Told(resolve=Word.TARGET))
    await scene.until(lambda: any(isinstance(report, Holding) and report.refused for report in scene.told))

    (said,) = {report.refused for report in scene.told if isinstance(report, Holding) and report.refused}
    assert said == "the target says that it does not know the guest"
    assert scene.active_on() == ["node0"] and not process.done()
    await kill(process)


@pytest.mark.parametrize("runs", [True, False], ids=["it runs there", "an old definition is there"])
async def test_a_word_is_refused_while_a_third_host_has_the_guest(scene: Scene, runs: bool) -> None:
    """Somebody started it there; what is paused may be the only other copy."""
    await held(scene, "node1")
    third = await FakeHypervisors(scene.cloud).connect(scene.cloud["node2"].uri)
    await third.define_and_start(scene.cloud["node0"].guests[scene.guest].definition)
    if not runs:
        await third.destroy(scene.guest)
    process = scene.process(fresh=False)
    await scene.until(lambda: scene.heard_of(Holding))

    scene.orders.take(Told(resolve=Word.TARGET))
    await scene.until(lambda: process.done() or any(isinstance(told, Holding) and told.refused for told in scene.told))

    refused = {report.refused for report in scene.told if isinstance(report, Holding) and report.refused}
    assert refused == ({"a third host has the guest"} if runs else set())
    assert ("node0" in scene.active_on()) is runs
    await kill(process)


class Held:
    """A Migration of vm0 in the store whose source was left paused, and whose target went away."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.store = simulation.store

    async def begin(self) -> Held:
        simulation = self.simulation
        await simulation.build(1)
        await simulation.ask_for("vm0", nodeSelector={"kubernetes.io/hostname": "node1"})
        await simulation.look()
        guest = simulation.cloud["node0"].guests[self.uuid]
        await simulation.pass_time(0.05)
        assert guest.domain.job is HostJob.MIGRATION_OUT
        await simulation.kill_worker()
        await simulation.loop.run(simulation.cloud.close())
        # Both daemons ended in the switch-over, and one host with its own.
        guest.become(State.PAUSED, Reason.MIGRATION)
        simulation.cloud["node1"].guests.clear()
        simulation.broken.clear()
        await simulation.cut("node1", told=True)
        await self.go_on()
        assert self.condition(await self.migration(), "Held") is not None
        return self

    @property
    def uuid(self) -> UUID:
        return next(uuid for uuid, name in self.simulation.guests.items() if name == "vm0")

    async def go_on(self, seconds: float = 3.0) -> None:
        for _ in range(3):
            await self.simulation.look()
            await self.simulation.pass_time(seconds)
        await self.simulation.look()

    async def annotate(self, word: str) -> None:
        def said(migration: Document) -> Document:
            migration["metadata"].setdefault("annotations", {})[names.RESOLVE] = word
            return migration

        await edit(self.store.objects, migration_key("m1"), said)

    async def taint(self, name: str) -> None:
        await self.simulation.edit_node(name, lambda node: node["spec"].update(taints=[OFF_TAINT]))

    async def migration(self) -> Document:
        return (await self.store.objects.get(migration_key("m1"))).document

    async def vm(self) -> Document:
        return (await self.store.objects.get(Key(VIRTUAL_MACHINE.resource, NAMESPACE, "vm0"))).document

    async def events(self) -> list[str]:
        listed = (await self.store.objects.list(Scope(EVENT.resource))).items
        return [stored.document["reason"] for stored in listed]

    async def delete_node(self, name: str) -> None:
        """As the API does. Raises ApiError while it is needed."""
        async with self.store.transaction(serial=True) as tx:
            node = (await tx.get(Key(NODE.resource, "", name))).document
            await node_guard(tx, node)
            tx.delete(key_of(NODE, node))

    @staticmethod
    def condition(migration: Document, type_: str) -> Document | None:
        conditions: list[Document] = migration["status"].get("conditions") or []
        return next((c for c in conditions if c["type"] == type_), None)


async def test_a_resolved_hold_ends_truly_and_lets_the_node_go(store: PostgresStore) -> None:
    async with lead(store, seed=7) as simulation:
        world = await Held(simulation).begin()
        with pytest.raises(ApiError, match="unfinished migration"):
            await world.delete_node("node1")

        await world.annotate("lost")
        await world.go_on()
        refused = await world.migration()
        await world.annotate("source")
        await world.go_on()
        migration, vm = await world.migration(), await world.vm()
        with pytest.raises(ApiError, match="arriving guest"):
            await world.delete_node("node1")
        await world.taint("node1")
        await world.go_on(30)
        await world.delete_node("node1")
        events = await world.events()

    told = Held.condition(refused, "Resolved")
    assert told is not None and told["message"] == (
        "the source says paused/migration: end that copy by hand if it is not the guest"
    )
    assert (refused["status"]["phase"], migration["status"]["phase"]) == ("Running", "Failed")
    assert (vm["status"]["phase"], vm["status"]["nodeName"]) == ("Running", "node0")
    assert simulation.place(world.uuid) == "node0"
    assert names.RESOLVE not in migration["metadata"].get("annotations", {})
    assert "operator says" in migration["status"]["migrationState"]["failureReason"]
    assert {"ResolveRefused", "TargetUnreachable"} <= set(events)


async def test_a_taint_decides_a_hold(store: PostgresStore) -> None:
    async with lead(store, seed=7) as simulation:
        world = await Held(simulation).begin()

        await world.taint("node1")
        await world.go_on(30)
        migration, vm = await world.migration(), await world.vm()
        await world.delete_node("node1")

    assert migration["status"]["phase"] == "Failed"
    assert (vm["status"]["phase"], vm["status"]["nodeName"]) == ("Running", "node0")
    assert simulation.cloud["node0"].guests[world.uuid].domain.state is State.PAUSED
    assert "left paused" in migration["status"]["migrationState"]["failureReason"]
