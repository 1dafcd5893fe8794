"""What a reconcile commits, on the real store: pods, run, VirtualMachine and Events together, within the limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import pytest

from app.controllers.lease import Held, LeaseKeeper
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.plan import Plan
from app.controllers.migration.reconcile import Reconciler
from app.controllers.migration.slots import Limits
from app.controllers.outcome import Again
from app.kinds import EVENT, MIGRATION, POD, VIRTUAL_MACHINE
from app.machinery.lifecycle import prepare_delete
from app.machinery.objects import Document
from app.store.base import Key, Run, Scope, Stored, edit
from app.store.postgres import PostgresStore
from tests.controllers.migration.world import (
    BIRTH,
    NAMESPACE,
    create,
    document_at,
    migration_document,
    migration_key,
    node_document,
    phase_of,
    pods_where,
    running_vm,
    vm_document,
)

pytestmark = pytest.mark.postgres

LEASE = timedelta(seconds=60)
VM_KEY = Key(VIRTUAL_MACHINE.resource, NAMESPACE, "testvm")


class Controller:
    """Reconciles when the test says so; it hears of Migrations as its watch would tell it."""

    def __init__(self, store: PostgresStore, held: Held, limits: Limits) -> None:
        self.store = store
        self.held = held
        self.reconciler = Reconciler(store, held, MigrationConfig(limits))

    async def look(self, *names: str) -> None:
        """Hears of every Migration and pod, then reconciles those."""
        for source in self.reconciler.sources():
            if source.scope.resource in (MIGRATION.resource, POD.resource):
                heard = (await self.store.objects.list(source.scope)).items
                for stored in sorted(heard, key=lambda one: one.revision):
                    list(source.keys(stored))
        for name in names:
            await self.reconciler.reconcile(migration_key(name))

    async def migrations(self) -> Iterable[Stored]:
        return (await self.store.objects.list(Scope(MIGRATION.resource))).items

    async def request(self, name: str, vm: str = "testvm", **spec: object) -> str:
        """Created and looked at; its phase."""
        await create(self.store, migration_document(name, vm, **spec))
        await self.look(name)
        return phase_of(await self.get(name))

    async def get(self, name: str) -> Document:
        found = await document_at(self.store, migration_key(name))
        assert found is not None
        return found

    async def vm(self) -> Document:
        found = await document_at(self.store, VM_KEY)
        assert found is not None
        return found

    async def finish(self, name: str, code: ExitCode, **result: object) -> None:
        """Its run ends with that exit code, and the Migration is looked at."""
        run = await self.run_of(name)
        claimed = {one.id: one for one in await self.store.runs.claim("worker", LEASE, 100)}
        token = claimed[run.id].token if run.id in claimed else run.token
        async with self.store.transaction() as tx:
            tx.finish_run(run.id, token, int(code), result)
        await self.look(name)

    async def claimed(self, name: str) -> None:
        """A worker takes its run."""
        await self.run_of(name)
        await self.store.runs.claim("worker", LEASE, 100)

    async def run_of(self, name: str) -> Run:
        (run,) = [run for run in await self.store.runs.unfinished() if run.migration == migration_key(name)]
        return run

    async def delete(self, name: str) -> None:
        """As the API does."""
        now = BIRTH.stamp()
        await edit(self.store.objects, migration_key(name), lambda d: prepare_delete(MIGRATION, d, None, now=now))
        await self.look(name)


async def controller_of(store: PostgresStore, limits: Limits) -> Controller:
    held = await LeaseKeeper(store.leases, "test", LEASE).try_acquire("controllers")
    assert held is not None
    return Controller(store, held, limits)


@pytest.fixture
async def controller(store: PostgresStore) -> Controller:
    """Three nodes and testvm on node0."""
    await create(store, *(node_document(f"node{n}") for n in range(3)))
    await running_vm(store, "testvm", "node0")
    return await controller_of(store, Limits())


def failure(migration: Document) -> tuple[str, str]:
    (condition,) = [c for c in migration["status"]["conditions"] if c["type"] == "Failed"]
    assert migration["status"]["migrationState"]["failureReason"].startswith(condition["reason"])
    return condition["reason"], condition["message"]


async def events_about(store: PostgresStore, kind: str) -> set[str]:
    listing = await store.objects.list(Scope(EVENT.resource, NAMESPACE))
    found = [stored.document for stored in listing.items]
    return {event["reason"] for event in found if event["involvedObject"]["kind"] == kind}


async def test_events_of_the_virtual_machine_say_which_migration_they_speak_of(controller: Controller) -> None:
    await controller.request("m1", nodeSelector={"disktype": "ssd"})

    listing = await controller.store.objects.list(Scope(EVENT.resource, NAMESPACE))
    told = {event["involvedObject"]["kind"]: event["message"] for event in (one.document for one in listing.items)}
    assert told["VirtualMachine"] == f"Migration m1: {told['Migration']}"


async def test_pods_run_and_phase_are_there_together(controller: Controller) -> None:
    assert await controller.request("m1") == "Running"

    run = await controller.run_of("m1")
    pods = await pods_where(controller.store, migration="m1")
    vm = await controller.vm()
    assert run.source == "node0"
    assert {pod["metadata"]["labels"]["kubevirt.io"] for pod in pods} == {"virt-launcher", "migration"}
    assert (vm["status"]["phase"], vm["status"]["migrationNodeName"]) == ("Migrating", run.target)
    assert {"Scheduled"} <= await events_about(controller.store, "Migration")
    assert {"Scheduled"} <= await events_about(controller.store, "VirtualMachine")


async def test_a_run_knows_how_much_of_its_disks_is_copied(controller: Controller) -> None:
    disk = {"target": "vda", "type": "file", "path": "/srv/local/a.img", "format": "raw", "copyable": True}
    disks = [disk | {"size": 768 * 2**20}, disk | {"target": "vdb", "path": "/srv/local/b.img"}]
    told = {"hostRequirements": {"disks": disks}}
    await edit(controller.store.objects, VM_KEY, lambda vm: {**vm, "status": vm["status"] | told})

    assert await controller.request("m1") == "Running"

    (run,) = await controller.store.runs.claim("worker", LEASE, 1)
    assert Plan.read(run.plan).disks == 768 * 2**20


async def test_the_target_pod_keeps_the_vms_affinity_first_and_flees_the_source(controller: Controller) -> None:
    own = {"key": "disktype", "operator": "In", "values": ["ssd"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [own]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    await label(controller, "node2", "disktype", "ssd")
    await change_spec(controller, affinity=affinity, nodeSelector={"zone": "a"})
    await label(controller, "node2", "zone", "a")
    await label(controller, "node2", "rack", "7")

    assert await controller.request("m1", nodeSelector={"rack": "7"}) == "Running"

    (target,) = [pod for pod in await pods_where(controller.store, migration="m1") if "nodeName" in pod["spec"]]
    (term,) = target["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert target["spec"]["nodeName"] == "node2"
    assert target["spec"]["nodeSelector"] == {"zone": "a", "rack": "7"}
    assert term["matchExpressions"] == [
        own,
        {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node0"]},
    ]


async def test_a_missing_vm_fails_with_an_event(controller: Controller) -> None:
    assert await controller.request("m1", "nobody") == "Failed"

    migration = await controller.get("m1")
    assert failure(migration) == ("VMNotFound", 'there is no VirtualMachine "nobody" in this namespace')
    assert "finalizers" not in migration["metadata"]
    assert await events_about(controller.store, "Migration") == {"VMNotFound"}


async def test_contradicting_selectors_fail_and_name_key_and_values(controller: Controller) -> None:
    await change_spec(controller, nodeSelector={"kubernetes.io/hostname": "node0"})

    assert await controller.request("m1", nodeSelector={"kubernetes.io/hostname": "node1"}) == "Failed"

    reason, message = failure(await controller.get("m1"))
    assert reason == "NodeSelectorConflict"
    assert all(part in message for part in ("kubernetes.io/hostname", "node0", "node1"))
    assert {"NodeSelectorConflict"} <= await events_about(controller.store, "VirtualMachine")


async def test_a_pinned_vm_cannot_leave_until_the_key_is_removed(controller: Controller) -> None:
    await change_spec(controller, nodeSelector={"kubernetes.io/hostname": "node0"})
    assert await controller.request("m1") == "Scheduling"

    await change_spec(controller, nodeSelector={})
    await controller.look("m1")

    assert phase_of(await controller.get("m1")) == "Running"


async def test_a_second_unfinished_migration_fails_and_leaves_the_first_alone(controller: Controller) -> None:
    await controller.request("m1")

    assert await controller.request("m2") == "Failed"

    assert failure(await controller.get("m2"))[0] == "MigrationInProgress"
    assert phase_of(await controller.get("m1")) == "Running"


async def test_success_moves_the_vm_and_removes_the_sources_pod(controller: Controller) -> None:
    await controller.request("m1")
    target = (await controller.run_of("m1")).target

    await controller.finish("m1", ExitCode.MOVED, message="the guest runs on the target", downtimeMs=42)

    migration, vm = await controller.get("m1"), await controller.vm()
    (launcher,) = await pods_where(controller.store, domain="testvm", vmUID=vm["metadata"]["uid"])
    assert phase_of(migration) == "Succeeded"
    assert migration["status"]["migrationState"]["downtimeMs"] == 42
    assert "finalizers" not in migration["metadata"]
    assert vm["status"] == {"phase": "Running", "nodeName": target}
    assert vm["metadata"]["labels"]["kubevirt.io/nodeName"] == target
    assert launcher["spec"]["nodeName"] == target


async def test_failure_leaves_the_vm_and_removes_the_targets_pod(controller: Controller) -> None:
    await controller.request("m1")

    await controller.finish("m1", ExitCode.FAILED, message="unable to connect", targetFree=True)

    vm = await controller.vm()
    (launcher,) = await pods_where(controller.store, domain="testvm", vmUID=vm["metadata"]["uid"])
    assert failure(await controller.get("m1"))[0] == "MigrationFailed"
    assert vm["status"] == {"phase": "Running", "nodeName": "node0"}
    assert launcher["spec"]["nodeName"] == "node0"


async def test_the_targets_pod_stays_while_its_host_may_hold_a_copy(controller: Controller) -> None:
    await controller.request("m1")

    await controller.finish("m1", ExitCode.TARGET_UNREACHABLE, targetFree=False)

    vm = await controller.vm()
    launchers = await pods_where(controller.store, domain="testvm", vmUID=vm["metadata"]["uid"])
    assert phase_of(await controller.get("m1")) == "Failed"
    assert len(launchers) == 2


async def test_a_pod_that_stayed_goes_when_its_host_has_answered_for_a_while(controller: Controller) -> None:
    await controller.request("m1")
    await controller.finish("m1", ExitCode.FAILED, targetFree=False, endedAt="2020-01-01T00:00:00.000000Z")
    uid = (await controller.vm())["metadata"]["uid"]

    await controller.look("m1")
    early = await pods_where(controller.store, domain="testvm", vmUID=uid)
    await edit(controller.store.objects, migration_key("m1"), _failed_long_ago)
    await controller.look("m1")

    (launcher,) = await pods_where(controller.store, domain="testvm", vmUID=uid)
    assert launcher["spec"]["nodeName"] == "node0"
    assert len(early) == 2, "what a worker's clock says is not counted from"


def _failed_long_ago(migration: Document) -> Document:
    told = [
        {**one, "phaseTransitionTimestamp": "2020-01-01T00:00:00.000000Z"}
        for one in migration["status"]["phaseTransitionTimestamps"]
    ]
    return {**migration, "status": {**migration["status"], "phaseTransitionTimestamps": told}}


async def test_a_finished_migration_never_changes(controller: Controller) -> None:
    await controller.request("m1")
    await controller.finish("m1", ExitCode.MOVED)
    before = await controller.get("m1")

    await controller.store.objects.delete(VM_KEY)
    await controller.look("m1")

    assert await controller.get("m1") == before


async def test_deleting_one_that_waits_lets_it_go_at_once(controller: Controller) -> None:
    await change_spec(controller, nodeSelector={"nowhere": "yes"})
    assert await controller.request("m1") == "Scheduling"

    await controller.delete("m1")

    assert await document_at(controller.store, migration_key("m1")) is None
    assert await controller.store.runs.unfinished() == []
    assert (await controller.vm())["status"]["phase"] == "Running"


async def test_deleting_one_that_runs_cancels_its_run_and_waits_for_it(controller: Controller) -> None:
    await controller.request("m1")
    await controller.claimed("m1")

    await controller.delete("m1")

    assert (await controller.run_of("m1")).cancelled
    assert (await controller.get("m1"))["status"]["migrationState"]["abortRequested"] is True
    await controller.finish("m1", ExitCode.CANCELLED, targetFree=True)
    assert await document_at(controller.store, migration_key("m1")) is None
    assert (await controller.vm())["status"] == {"phase": "Running", "nodeName": "node0"}


@pytest.mark.parametrize("phase", ["Pending", "Scheduling", "Running", "Running, claimed"])
async def test_deleting_the_vm_cancels_its_migration_in_every_phase_and_keeps_the_record(
    store: PostgresStore, phase: str
) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(3)))
    await running_vm(store, "testvm", "node0")
    await running_vm(store, "other", "node1")
    controller = await controller_of(store, Limits(cluster=1))
    if phase == "Pending":
        await controller.request("m0", "other")
    if phase == "Scheduling":
        await change_spec(controller, nodeSelector={"nowhere": "yes"})
    assert await controller.request("m1") == phase.partition(",")[0]
    if phase == "Running, claimed":
        await controller.claimed("m1")

    await edit(
        store.objects,
        VM_KEY,
        lambda vm: {**vm, "metadata": {**vm["metadata"], "deletionTimestamp": BIRTH.stamp(), "finalizers": ["guest"]}},
    )
    await controller.look("m1")
    if phase == "Running, claimed":
        assert (await controller.run_of("m1")).cancelled
        await controller.finish("m1", ExitCode.CANCELLED, targetFree=True)

    ended = await controller.get("m1")
    assert phase_of(ended) == "Failed"
    reason, message = failure(ended)
    assert (reason, message.partition(":")[0]) == ("Cancelled", "the VirtualMachine is being deleted")
    assert [run.migration for run in await store.runs.unfinished() if run.migration == migration_key("m1")] == []


async def test_one_that_is_taken_away_by_force_is_cancelled_and_tidied(controller: Controller) -> None:
    await controller.request("m1")
    run = await controller.run_of("m1")

    await controller.store.objects.delete(migration_key("m1"))
    await controller.look("m1")
    cancelled = (await controller.run_of("m1")).cancelled
    await controller.finish("m1", ExitCode.MOVED)

    assert cancelled
    assert (await controller.vm())["status"] == {"phase": "Running", "nodeName": run.target}


async def test_one_that_is_taken_away_by_force_is_tidied_also_when_its_name_is_used_again(
    controller: Controller,
) -> None:
    await controller.request("m1")
    run = await controller.run_of("m1")
    await controller.store.objects.delete(migration_key("m1"))
    again = await controller.request("m1")
    await controller.look("m1")
    cancelled = (await controller.run_of("m1")).cancelled

    await controller.finish("m1", ExitCode.MOVED)

    assert (again, cancelled) == ("Failed", True)
    assert (await controller.vm())["status"] == {"phase": "Running", "nodeName": run.target}


async def test_another_vm_of_that_name_is_not_told_of_the_former_ones_move(controller: Controller) -> None:
    """Its deletion was forced: the new one may be started on a node of its own at this moment."""
    await controller.request("m1")
    await controller.claimed("m1")
    await controller.store.objects.delete(VM_KEY)
    await create(controller.store, vm_document("testvm", "node0", phase="Scheduled"))
    await controller.look("m1")
    cancelled = (await controller.run_of("m1")).cancelled

    await controller.finish("m1", ExitCode.MOVED)

    assert cancelled
    assert phase_of(await controller.get("m1")) == "Succeeded"
    assert (await controller.vm())["status"] == {"phase": "Scheduled", "nodeName": "node0"}


async def test_limits_are_never_exceeded_and_the_oldest_goes_first(store: PostgresStore) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(3)))
    controller = await controller_of(store, Limits(cluster=5, outbound=2, inbound=2))
    for number in range(6):
        await running_vm(store, f"vm{number}", "node0")
        await controller.request(f"m{number}", f"vm{number}")

    first = await phases(controller, 6)
    await controller.finish("m1", ExitCode.MOVED)
    # The youngest is looked at first: it must leave the slot to those that wait for longer.
    await controller.look("m5", "m4", "m3", "m2")

    assert first == ["Running", "Running", "Pending", "Pending", "Pending", "Pending"]
    assert await phases(controller, 6) == ["Running", "Succeeded", "Running", "Pending", "Pending", "Pending"]


async def test_those_of_one_second_are_served_in_the_order_of_their_creation(store: PostgresStore) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(2)))
    controller = await controller_of(store, Limits(cluster=1))
    second = BIRTH.stamp()
    for name in ("running", "zebra", "ant"):
        await running_vm(store, name, "node0")
        document = migration_document(name, name)
        document["metadata"]["creationTimestamp"] = second
        await create(store, document)
    # The youngest is looked at first, as happens when several are looked at side by side.
    await controller.look("running", "ant", "zebra")

    await controller.finish("running", ExitCode.MOVED)
    await controller.look("ant", "zebra")

    assert [phase_of(await controller.get(name)) for name in ("zebra", "ant")] == ["Running", "Pending"]


async def test_the_most_urgent_goes_first(store: PostgresStore) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(2)))
    controller = await controller_of(store, Limits(cluster=1))
    for name, priority in (
        ("first", None),
        ("chore", "system-maintenance"),
        ("user", None),
        ("drain", "system-critical"),
    ):
        await running_vm(store, name, "node0")
        await controller.request(name, name, **({"priority": priority} if priority else {}))

    served = []
    for _ in range(3):
        (run,) = await store.runs.unfinished()
        await controller.finish(run.migration.name, ExitCode.MOVED)
        await controller.look("chore", "user", "drain")
        served.append((await store.runs.unfinished())[0].migration.name)

    assert served == ["drain", "user", "chore"]


async def test_two_that_reconcile_at_once_share_the_limits(store: PostgresStore) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(6)))
    controller = await controller_of(store, Limits(cluster=3, outbound=2, inbound=2))
    for number in range(8):
        await running_vm(store, f"vm{number}", f"node{number % 4}")
        await create(store, migration_document(f"m{number}", f"vm{number}"))
    await controller.look()

    for _ in range(3):
        await asyncio.gather(*(controller.reconciler.reconcile(migration_key(f"m{n}")) for n in range(8)))

    runs = await store.runs.unfinished()
    assert len(runs) == 3
    assert max(sum(run.source == node for run in runs) for node in {run.source for run in runs}) <= 2


async def test_memory_of_the_target_is_never_reserved_twice(store: PostgresStore) -> None:
    small = node_document("node1")
    small["status"]["allocatable"]["memory"] = "100Mi"
    await create(store, node_document("node0"), small)
    controller = await controller_of(store, Limits())
    for number in range(2):
        await running_vm(store, f"vm{number}", "node0")

    answers = [await controller.request(f"m{number}", f"vm{number}") for number in range(2)]

    assert answers == ["Running", "Scheduling"]


async def phases(controller: Controller, count: int) -> list[str]:
    return [phase_of(await controller.get(f"m{number}")) for number in range(count)]


async def label(controller: Controller, node: str, key: str, value: str) -> None:
    def change(document: Document) -> Document:
        document["metadata"].setdefault("labels", {})[key] = value
        return document

    await edit(controller.store.objects, Key("nodes", "", node), change)


async def change_spec(controller: Controller, **spec: object) -> None:
    def change(document: Document) -> Document:
        document["spec"].update(spec)
        return document

    await edit(controller.store.objects, VM_KEY, change)


async def test_who_still_queues_holds_up_nobody_and_goes_on_when_it_may(store: PostgresStore) -> None:
    await create(store, *(node_document(f"node{n}") for n in range(3)))
    controller = await controller_of(store, Limits(cluster=1))
    for number in range(3):
        await running_vm(store, f"vm{number}", "node0")
        await controller.request(f"m{number}", f"vm{number}")

    async with store.transaction(serial=True):
        async with asyncio.timeout(5):
            waits = await controller.reconciler.reconcile(migration_key("m1"))
    await edit(
        store.objects,
        Key(VIRTUAL_MACHINE.resource, "default", "vm2"),
        lambda vm: {**vm, "status": {**vm["status"], "phase": "Succeeded"}},
    )
    await controller.look("m2")
    before = phase_of(await controller.get("m1"))
    await controller.finish("m0", ExitCode.MOVED)
    await controller.look("m1")

    assert (waits, before, phase_of(await controller.get("m1"))) == (Again(5.0), "Pending", "Running")
    assert failure(await controller.get("m2"))[0] == "VMNotRunning"
