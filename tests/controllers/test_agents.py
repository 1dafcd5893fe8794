"""What a frozen or dead agent may not do, and what its successor waits for: on simulated hosts, with the real store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

import pytest

from app.controllers.birth import Birth
from app.controllers.guest import definition
from app.controllers.lease import LeaseKeeper
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.tools import Tools
from app.controllers.virtualmachine.follow import Link, NodeGuests
from app.hypervisor.base import Domain, Mark, Reason, State
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.hypervisor.fake.driver import FakeHypervisor
from app.kinds import VIRTUAL_MACHINE
from app.machinery.objects import Document
from app.store.base import Key, LeaseLost, Store, edit
from tests.controllers.world import FAST, World, condition, running
from tests.store.builders import run

KEY = Key(VIRTUAL_MACHINE.resource, "default", "testvm")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Frozen:
    """An agent whose lease has less left than a verb needs: its process was stopped, and has just woken."""

    def __init__(self, store: Store, cloud: FakeCloud) -> None:
        self._store = store
        self._cloud = cloud
        self._now = 0.0

    async def guests(self) -> NodeGuests:
        keeper = LeaseKeeper(self._store.leases, "frozen", timedelta(seconds=9), clock=lambda: self._now)
        held = await keeper.try_acquire("node/node0")
        assert held is not None
        link = Link()
        link.host = await FakeHypervisors(self._cloud).connect(self._cloud["node0"].uri)
        self._now = 5.0
        return NodeGuests("node0", Tools(self._store), held, link)


async def test_an_agent_that_wakes_late_starts_nothing(store: Store) -> None:
    cloud, world = FakeCloud("node0"), World(store)
    await world.vm("testvm")
    await edit(store.objects, KEY, lambda vm: {**vm, "status": {"phase": "Scheduled", "nodeName": "node0"}})
    agent = await Frozen(store, cloud).guests()

    with pytest.raises(LeaseLost):
        await agent.reconcile(KEY)

    assert cloud["node0"].guests == {}


class Overtaken(FakeHypervisor):
    """Right after the first look at a guest the process of its migration writes its last word into it."""

    async def look(self, domain: UUID) -> Domain:
        seen = await super().look(domain)
        if seen.mark is not None and seen.mark.stopped:
            await self.mark(domain, replace(seen.mark, stopped=False))
        return seen


async def test_what_is_given_back_is_noted_in_the_mark_that_is_there_then(store: Store) -> None:
    """Else a guest that was started would count as one that waits to be."""
    cloud, world = FakeCloud("node0"), World(store)
    made = await world.vm("testvm")
    status = {"phase": "Running", "nodeName": "node0", "adopted": True, "domainUUID": made["metadata"]["uid"]}
    await edit(store.objects, KEY, lambda vm: {**vm, "status": status})
    host = Overtaken(cloud, cloud["node0"], 10.0)
    await host.define_and_start(definition(str(store.id), made))
    uuid = UUID(made["metadata"]["uid"])
    await host.mark(uuid, Mark(str(store.id), "default/testvm", "m1", 1, adopted=True, autostart=True, stopped=True))
    link = Link()
    link.host = host
    held = await LeaseKeeper(store.leases, "agent", timedelta(minutes=1)).try_acquire("node/node0")
    assert held is not None

    await NodeGuests("node0", Tools(store), held, link).reconcile(KEY)

    guest = cloud["node0"].guests[uuid].domain
    assert guest.autostart
    assert guest.mark == Mark(str(store.id), "default/testvm", "m1", 1, adopted=True)


async def test_an_agent_that_wakes_late_ends_nothing(store: Store) -> None:
    cloud, world = FakeCloud("node0"), World(store)
    await world.node("node0", cloud["node0"].uri)
    async with running(store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
    await world.delete(VIRTUAL_MACHINE, "testvm")
    agent = await Frozen(store, cloud).guests()

    with pytest.raises(LeaseLost):
        await agent.reconcile(KEY)

    assert cloud["node0"].guests[UUID(made["metadata"]["uid"])].domain.state is State.RUNNING


async def test_who_takes_over_from_the_dead_ends_no_guest_before_the_wait(store: Store) -> None:
    """It follows at once, all the same."""
    cloud, world = FakeCloud("node0"), World(store)
    await world.node("node0", cloud["node0"].uri)
    async with running(store, FakeHypervisors(cloud)):
        await world.vm("testvm")
        await world.phase("testvm", "Running")
    await store.leases.acquire(["node/node0"], "dead", timedelta(seconds=2))
    await world.delete(VIRTUAL_MACHINE, "testvm")

    async with running(store, FakeHypervisors(cloud), "two", replace(FAST, takeover_s=3.0)):
        held = await world.until(
            VIRTUAL_MACHINE, "testvm", lambda vm: condition(vm, "Ready").get("reason") == "BeingDeleted"
        )
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    assert "former agent" in condition(held, "Ready")["message"]
    assert cloud["node0"].guests == {}


async def test_who_takes_over_starts_what_the_dead_may_be_starting_only_after_the_wait(store: Store) -> None:
    """Its start could come late, when the guest has moved away already. What is bound to the host later starts at once."""
    cloud, world = FakeCloud("node0"), World(store)
    await world.node("node0", cloud["node0"].uri)
    await store.leases.acquire(["node/node0"], "dead", timedelta(seconds=1))
    inherited = await world.vm("testvm")
    await edit(store.objects, KEY, lambda vm: {**vm, "status": {"phase": "Scheduled", "nodeName": "node0"}})

    async with running(store, FakeHypervisors(cloud), "two", replace(FAST, takeover_s=6.0)):
        await world.settles(lambda: served_by(store), "two")
        await world.vm("later")
        await world.phase("later", "Running")
        early = UUID(inherited["metadata"]["uid"]) in cloud["node0"].guests
        await world.phase("testvm", "Running")

    assert early is False


async def served_by(store: Store) -> str:
    return next((lease.holder for lease in await store.leases.held() if lease.name == "node/node0"), "")


@dataclass
class Left:
    """A guest of ours that is paused on node0, as a migration that took it away left it, while it lives on node1."""

    store: Store
    cloud: FakeCloud
    uid: UUID
    agent: NodeGuests

    @classmethod
    async def behind(cls, store: Store, *, exit_code: int = 0, vm: Document | None = None) -> Self:
        cloud, world = FakeCloud("node0", "node1"), World(store)
        made = await world.vm("testvm")
        uid = UUID(made["metadata"]["uid"])
        await edit(store.objects, KEY, lambda vm_: {**vm_, "status": vm or {"phase": "Running", "nodeName": "node1"}})
        host = await FakeHypervisors(cloud).connect(cloud["node0"].uri)
        await host.define_and_start(definition(str(store.id), made))
        ended = run(domain=uid, source="node0", target="node1")
        mark = Mark(str(store.id), "default/testvm", str(ended.migration_uid), 1)
        await host.mark(uid, mark)
        cloud["node0"].guests[uid].become(State.PAUSED, Reason.MIGRATION)
        async with store.transaction() as tx:
            tx.start_run(ended)
        if exit_code >= 0:
            async with store.transaction() as tx:
                tx.finish_run(ended.id, 0, exit_code, {})
        keeper = LeaseKeeper(store.leases, "agent", timedelta(seconds=60))
        held = await keeper.try_acquire("node/node0")
        assert held is not None
        link = Link()
        link.host = host
        return cls(store, cloud, uid, NodeGuests("node0", Tools(store), held, link))

    async def tidy(self) -> None:
        """As the agent of node0 does now and then with all that is there."""
        host = await FakeHypervisors(self.cloud).connect(self.cloud["node0"].uri)
        await self.agent.leftovers.tidy(host, self.cloud["node0"].guests[self.uid].domain)

    async def is_there_after_looking(self) -> bool:
        await self.agent.reconcile(KEY)
        return self.uid in self.cloud["node0"].guests


async def test_a_copy_that_was_left_paused_goes_when_its_host_is_back(store: Store) -> None:
    """Resumed by anybody, it would be the guest's past beside its present."""
    left = await Left.behind(store)

    assert not await left.is_there_after_looking()


@pytest.mark.parametrize(("target", "stays"), [("node2", False), ("node0", True)])
async def test_a_copy_that_was_left_paused_goes_while_the_guest_is_between_two_others(
    store: Store, target: str, stays: bool
) -> None:
    """The later move may be held until no third host knows the guest: it would be for ever."""
    left = await Left.behind(store, vm={"phase": "Migrating", "nodeName": "node1"})
    async with store.transaction() as tx:
        tx.start_run(run(domain=left.uid, source="node1", target=target))

    assert await left.is_there_after_looking() is stays


async def test_a_copy_that_was_left_paused_stays_where_its_migration_is_not_over(store: Store) -> None:
    left = await Left.behind(store, exit_code=-1)

    assert await left.is_there_after_looking()


async def test_a_copy_that_was_left_paused_stays_where_its_migration_did_not_move_it(store: Store) -> None:
    left = await Left.behind(store, exit_code=72)

    assert await left.is_there_after_looking()


@pytest.mark.parametrize("phase", ["Migrating", "Unknown", "Failed"])
async def test_a_copy_that_was_left_paused_stays_unless_the_guest_runs_elsewhere(store: Store, phase: str) -> None:
    left = await Left.behind(store, vm={"phase": phase, "nodeName": "node1"})

    assert await left.is_there_after_looking()


@pytest.mark.parametrize("code", [ExitCode.MOVED, ExitCode.GUEST_STOPPED], ids=["it moved", "it died"])
@pytest.mark.parametrize("again", [False, True], ids=["gone", "made anew"])
async def test_a_copy_that_was_left_paused_goes_with_its_virtual_machine(
    store: Store, code: ExitCode, again: bool
) -> None:
    """The guest died where it had gone, and its VirtualMachine was deleted: nobody asks for the copy any more."""
    left = await Left.behind(store, exit_code=code, vm={"phase": "Failed", "nodeName": "node1"})
    async with store.transaction() as tx:
        tx.delete(KEY)
    if again:
        await World(store).vm("testvm")

    await left.tidy()

    assert left.uid not in left.cloud["node0"].guests


async def test_a_copy_of_an_adopted_guest_that_died_elsewhere_stays(store: Store) -> None:
    """Deleting its VirtualMachine only released it."""
    left = await Left.behind(store, exit_code=ExitCode.GUEST_STOPPED)
    guest = left.cloud["node0"].guests[left.uid]
    assert guest.domain.mark is not None
    guest.domain = replace(guest.domain, mark=replace(guest.domain.mark, adopted=True))
    async with store.transaction() as tx:
        tx.delete(KEY)

    await left.tidy()

    assert left.uid in left.cloud["node0"].guests


async def test_a_copy_that_was_left_paused_stays_where_its_migration_is_not_over_and_its_virtual_machine_is_gone(
    store: Store,
) -> None:
    left = await Left.behind(store, exit_code=-1)
    async with store.transaction() as tx:
        tx.delete(KEY)

    await left.tidy()

    assert left.uid in left.cloud["node0"].guests


@pytest.mark.parametrize(
    ("state", "reason"),
    [(State.RUNNING, Reason.MIGRATED), (State.PAUSED, Reason.USER), (State.PAUSED, Reason.POSTCOPY)],
)
async def test_any_other_copy_stays(store: Store, state: State, reason: Reason) -> None:
    left = await Left.behind(store)
    left.cloud["node0"].guests[left.uid].become(state, reason)

    assert await left.is_there_after_looking()


async def waiting_on(
    store: Store, *, exit_code: int, vm: Document | None = None, marked: bool = True, adopted: bool = False
) -> Left:
    """A copy of a guest that was to move to node0, and that waits there; the guest lives on node1."""
    left = await Left.behind(store, exit_code=-1)
    sent = run(domain=left.uid, source="node1", target="node0")
    mark = Mark(str(store.id), "default/testvm", str(sent.migration_uid), 1, stopped=marked, adopted=adopted)
    guest = left.cloud["node0"].guests[left.uid]
    guest.domain = replace(guest.domain, mark=mark)
    guest.become(State.PAUSED, Reason.USER)
    (former,) = await store.runs.unfinished()
    async with store.transaction() as tx:
        tx.finish_run(former.id, 0, 0, {})
    async with store.transaction() as tx:
        tx.start_run(sent)
    if exit_code >= 0:
        async with store.transaction() as tx:
            tx.finish_run(sent.id, 0, exit_code, {})
    return left


@pytest.mark.parametrize("adopted", [False, True])
async def test_a_copy_that_waits_goes_when_its_migration_has_said_that_the_guest_stayed(
    store: Store, adopted: bool
) -> None:
    left = await waiting_on(store, exit_code=64, adopted=adopted)

    assert not await left.is_there_after_looking()


@pytest.mark.parametrize("exit_code", [-1, 0, 72, 75])
async def test_a_copy_that_waits_stays_while_it_may_be_the_guest(store: Store, exit_code: int) -> None:
    left = await waiting_on(store, exit_code=exit_code)

    assert await left.is_there_after_looking()


async def test_a_copy_that_somebody_paused_stays(store: Store) -> None:
    left = await waiting_on(store, exit_code=64, marked=False)

    assert await left.is_there_after_looking()


def test_new_objects_carry_what_the_api_would_have_filled() -> None:
    birth = Birth(now=lambda: NOON, uid=lambda: "u", suffix=lambda: "x2x2x")

    document = birth.document(VIRTUAL_MACHINE, "default", "testvm", spec={})

    assert document == {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {
            "name": "testvm",
            "namespace": "default",
            "uid": "u",
            "creationTimestamp": "2026-01-01T12:00:00Z",
            "selfLink": "/apis/kubevirt.io/v1alpha1/namespaces/default/virtualmachines/testvm",
            "generation": 1,
            "finalizers": ["kubevirt.io/virtualmachine"],
        },
        "spec": {},
    }
