"""Further attempts, cancels and VirtualMachines that go, on the real store: what each gives back, and what stays."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from app.controllers.birth import Birth
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.exit_codes import ExitCode
from app.controllers.migration.reconcile import Reconciler
from app.controllers.migration.slots import Limits
from app.kinds import NODE
from app.machinery.objects import Document
from app.store.base import Key, edit
from app.store.postgres import PostgresStore
from tests.controllers.migration.test_reconcile import VM_KEY, Controller, controller_of, failure
from tests.controllers.migration.world import (
    BIRTH,
    create,
    migration_document,
    migration_key,
    node_document,
    phase_of,
    pods_where,
    running_vm,
)

pytestmark = pytest.mark.postgres


class Later(Controller):
    """One whose clock can be put forward."""

    ahead = timedelta(0)

    def pass_time(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)

    def now(self) -> datetime:
        return BIRTH.now() + self.ahead


@pytest.fixture
async def controller(store: PostgresStore) -> Later:
    """Three nodes and testvm on node0."""
    await create(store, *(node_document(f"node{n}") for n in range(3)))
    await running_vm(store, "testvm", "node0")
    plain = await controller_of(store, Limits())
    later = Later(store, plain.held, Limits())
    later.reconciler = Reconciler(store, plain.held, MigrationConfig(Limits()), Birth(now=later.now))
    return later


def conditions(migration: Document) -> dict[str, str]:
    return {c["type"]: c["status"] for c in migration["status"]["conditions"]}


async def launchers(controller: Controller) -> list[str]:
    """Where the guest has pods."""
    vm = await controller.vm()
    return sorted(
        pod["spec"]["nodeName"]
        for pod in await pods_where(controller.store, domain="testvm", vmUID=vm["metadata"]["uid"])
    )


async def test_between_attempts_everything_is_given_back(controller: Later) -> None:
    await controller.request("m1", backoffLimit=1)

    await controller.finish("m1", ExitCode.TARGET_UNREACHABLE, message="no answer", targetFree=True)

    migration = await controller.get("m1")
    assert (phase_of(migration), conditions(migration)["Retrying"]) == ("Running", "True")
    assert await controller.store.runs.unfinished() == []
    assert await launchers(controller) == ["node0"]
    assert (await controller.vm())["status"] == {"phase": "Running", "nodeName": "node0"}


async def test_the_next_attempt_goes_elsewhere_with_pods_of_its_own(controller: Later) -> None:
    await controller.request("m1", backoffLimit=1)
    first = await controller.run_of("m1")
    await controller.finish("m1", ExitCode.TARGET_UNREACHABLE, targetFree=True)

    await controller.look("m1")
    waits = await controller.store.runs.unfinished()
    controller.pass_time(11)
    await controller.look("m1")

    second = await controller.run_of("m1")
    workers = [p for p in await pods_where(controller.store, migration="m1") if "nodeName" not in p["spec"]]
    assert waits == []
    assert (first.attempt, second.attempt) == (1, 2)
    assert {first.target, second.target} == {"node1", "node2"}
    assert len(workers) == 2
    await controller.finish("m1", ExitCode.MOVED)
    migration = await controller.get("m1")
    assert (phase_of(migration), migration["status"]["migrationState"]["attempt"]) == ("Succeeded", 2)
    assert "Retrying" not in conditions(migration)
    assert (await controller.vm())["status"] == {"phase": "Running", "nodeName": second.target}


async def test_the_last_attempt_fails_with_its_own_reason(controller: Later) -> None:
    await controller.request("m1", backoffLimit=1)
    await controller.finish("m1", ExitCode.TARGET_UNREACHABLE, targetFree=True)
    controller.pass_time(11)
    await controller.look("m1")

    await controller.finish("m1", ExitCode.FAILED, message="no", libvirtCode=9, libvirtText="no", targetFree=True)

    migration = await controller.get("m1")
    state = migration["status"]["migrationState"]
    why, message = failure(migration)
    assert (why, state["failureClass"], state["libvirtCode"]) == ("MigrationFailed", "Host", 9)
    assert message.startswith("attempt 2 of 2: no; ")
    assert await launchers(controller) == ["node0"]


async def test_a_target_that_may_hold_a_copy_keeps_its_pod_until_it_answers(controller: Later) -> None:
    await controller.request("m1", backoffLimit=1)
    first = await controller.run_of("m1")
    await controller.finish("m1", ExitCode.TARGET_UNREACHABLE, targetFree=False)
    controller.pass_time(11)
    await controller.look("m1")
    second = await controller.run_of("m1")
    await controller.finish("m1", ExitCode.MOVED)
    kept = await launchers(controller)

    controller.pass_time(61)
    await controller.look("m1")

    assert kept == sorted((first.target, second.target))
    assert await launchers(controller) == [second.target]


@pytest.mark.parametrize("forgotten", [False, True], ids=["", "its run was forgotten too"])
async def test_a_reservation_outlives_its_deleted_migration_only_until_its_host_has_answered_for_a_while(
    controller: Later, forgotten: bool
) -> None:
    await controller.request("m1")
    target = (await controller.run_of("m1")).target
    await controller.finish("m1", ExitCode.TARGET_UNREACHABLE, targetFree=False)
    await controller.store.objects.delete(migration_key("m1"))
    if forgotten:
        await controller.store.compact(older_than=timedelta(days=1), keep=1000)
    await controller.look("m1")
    controller.pass_time(59)
    await controller.look("m1")
    kept = await launchers(controller)

    controller.pass_time(2)
    await controller.look("m1")

    assert kept == sorted(("node0", target))
    assert await launchers(controller) == ["node0"]


async def test_the_pod_of_a_guest_that_moved_outlives_its_deleted_migration(controller: Later) -> None:
    await controller.request("m1")
    target = (await controller.run_of("m1")).target
    await controller.finish("m1", ExitCode.MOVED)
    await controller.store.objects.delete(migration_key("m1"))

    for _ in range(2):
        await controller.look("m1")
        controller.pass_time(61)

    assert await launchers(controller) == [target]


async def test_the_slot_between_attempts_is_another_ones(store: PostgresStore, controller: Later) -> None:
    controller.reconciler = Reconciler(
        store, controller.held, MigrationConfig(Limits(cluster=1)), Birth(now=controller.now)
    )
    await running_vm(store, "other", "node0")
    await controller.request("m1", backoffLimit=1)
    await controller.request("m2", "other")
    before = phase_of(await controller.get("m2"))

    await controller.finish("m1", ExitCode.TARGET_UNREACHABLE, targetFree=True)
    await controller.look("m2")
    controller.pass_time(11)
    await controller.look("m1")

    migration = await controller.get("m1")
    assert (before, phase_of(await controller.get("m2"))) == ("Pending", "Running")
    assert (phase_of(migration), conditions(migration)["Scheduled"]) == ("Running", "False")


async def test_one_that_may_not_go_back_keeps_no_place_there_from_others(
    store: PostgresStore, controller: Later
) -> None:
    """Its former target may hold a copy, so it waits; who comes after it need not."""
    controller.reconciler = Reconciler(
        store, controller.held, MigrationConfig(Limits(inbound=1)), Birth(now=controller.now)
    )
    await controller.request("m1", backoffLimit=1)
    former = (await controller.run_of("m1")).target
    await controller.finish("m1", ExitCode.TARGET_UNREACHABLE, targetFree=False)
    (left,) = {"node1", "node2"} - {former}
    await cordon(store, True, left)
    controller.pass_time(11)
    await controller.look("m1")
    await running_vm(store, "other", "node0")

    phase = await controller.request("m2", "other")

    assert conditions(await controller.get("m1"))["Scheduled"] == "False"
    assert (phase, (await controller.run_of("m2")).target) == ("Running", former)


async def test_a_cancel_keeps_the_record(controller: Later) -> None:
    await controller.request("m1")
    await controller.claimed("m1")
    await cancel(controller, "m1")
    cancelled = (await controller.run_of("m1")).cancelled

    await controller.finish("m1", ExitCode.CANCELLED, targetFree=True)

    migration = await controller.get("m1")
    assert cancelled
    assert failure(migration)[0] == "Cancelled"
    assert migration["status"]["migrationState"]["abortStatus"] == "Succeeded"
    assert "failureClass" not in migration["status"]["migrationState"]


async def test_a_cancel_of_what_no_worker_took_on_needs_no_worker(controller: Later) -> None:
    await controller.request("m1")

    await cancel(controller, "m1")

    assert failure(await controller.get("m1"))[0] == "Cancelled"
    assert await controller.store.runs.unfinished() == []
    assert await launchers(controller) == ["node0"]
    (worker,) = await pods_where(controller.store, migration="m1")
    assert worker["status"]["phase"] == "Failed"


async def test_a_late_cancel_ends_succeeded(controller: Later) -> None:
    await controller.request("m1")
    await controller.claimed("m1")
    await cancel(controller, "m1")

    await controller.finish("m1", ExitCode.MOVED)

    assert phase_of(await controller.get("m1")) == "Succeeded"


@pytest.mark.parametrize("phase", ["Pending", "Scheduling", "Running"])
async def test_the_migration_of_a_vm_that_is_deleted_is_kept_as_cancelled(controller: Later, phase: str) -> None:
    match phase:
        case "Pending":
            controller.reconciler = Reconciler(
                controller.store, controller.held, MigrationConfig(Limits(outbound=0)), Birth(now=controller.now)
            )
            reached = await controller.request("m1")
        case "Scheduling":
            reached = await controller.request("m1", nodeSelector={"nowhere": "yes"})
        case _:
            reached = await controller.request("m1")
            await controller.claimed("m1")
    await edit(
        controller.store.objects,
        VM_KEY,
        lambda vm: {**vm, "metadata": {**vm["metadata"], "deletionTimestamp": BIRTH.stamp()}},
    )

    await controller.look("m1")
    if phase == "Running":
        await controller.finish("m1", ExitCode.CANCELLED, targetFree=True)

    migration = await controller.get("m1")
    assert reached == phase
    assert failure(migration)[0] == "Cancelled"
    assert "the VirtualMachine is being deleted" in failure(migration)[1]


async def test_a_pair_that_failed_three_times_is_avoided_and_the_message_says_so(store: PostgresStore) -> None:
    await create(store, node_document("node0"), node_document("node1"))
    controller = await controller_of(store, Limits())
    for number in range(3):
        await running_vm(store, f"vm{number}", "node0")
        await controller.request(f"m{number}", f"vm{number}")
        await controller.finish(f"m{number}", ExitCode.TARGET_UNREACHABLE, targetFree=True)
    await running_vm(store, "testvm", "node0")

    phase = await controller.request("m4")

    (scheduled,) = [c for c in (await controller.get("m4"))["status"]["conditions"] if c["type"] == "Scheduled"]
    assert (phase, scheduled["reason"]) == ("Scheduling", "Unschedulable")
    assert "1 node(s) failed 3 moves from node0 within 10 min" in scheduled["message"]


async def cancel(controller: Controller, name: str) -> None:
    """As the API writes it."""
    key = migration_key(name)
    await edit(controller.store.objects, key, lambda m: {**m, "spec": {**m["spec"], "cancel": True}})
    await controller.look(name)


async def test_one_that_is_cancelled_from_the_start_never_begins(controller: Later) -> None:
    await create(controller.store, migration_document("m1", cancel=True))
    await controller.look("m1")

    assert failure(await controller.get("m1"))[0] == "Cancelled"


async def test_a_node_that_is_cordoned_while_it_is_chosen_receives_nothing_after_that(store: PostgresStore) -> None:
    """Whichever commits first wins: a reservation on a cordoned node is older than its cordon."""
    await create(store, *(node_document(f"node{n}") for n in range(2)))
    controller = await controller_of(store, Limits(cluster=100, outbound=100, inbound=100))
    outcomes = []
    for number in range(12):
        await running_vm(store, f"vm{number}", "node0")
        await cordon(store, False)
        await create(store, migration_document(f"m{number}", f"vm{number}"))

        await asyncio.gather(controller.look(f"m{number}"), cordon(store, True))

        node = (await store.objects.get(Key(NODE.resource, "", "node1"))).document
        began = phase_of(await controller.get(f"m{number}")) == "Running"
        arriving = [p for p in await pods_where(store, migration=f"m{number}") if "nodeName" in p["spec"]]
        assert [p["spec"]["nodeName"] for p in arriving] == (["node1"] if began else [])
        cordoned_at = int(node["metadata"]["resourceVersion"])
        assert all(int(p["metadata"]["resourceVersion"]) < cordoned_at for p in arriving)
        outcomes.append(began)
    print(f"the cordon lost {sum(outcomes)} of {len(outcomes)} races")


async def cordon(store: PostgresStore, closed: bool, name: str = "node1") -> None:
    key = Key(NODE.resource, "", name)
    await edit(store.objects, key, lambda node: {**node, "spec": {**node["spec"], "unschedulable": closed}})
