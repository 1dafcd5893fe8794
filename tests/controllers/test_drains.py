"""Draining on simulated hosts, under the real controllers and the real store: emptied within the limits, nothing stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from app.controllers.migration.slots import Limits
from app.kinds import MIGRATION, NODE
from app.machinery.objects import Document
from app.store.base import Key, Scope, Store
from tests.controllers.simulation import Simulation, simulated
from tests.controllers.skipping_loop import SkippingLoop

pytestmark = pytest.mark.postgres

GIB = 1 << 30
HOST_DEVICE = (
    "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='6' slot='2' function='0'/></source>"
    "</hostdev>"
)
NODE0 = Key(NODE.resource, "", "node0")


class SkippingPolicy(asyncio.DefaultEventLoopPolicy):
    """Idle time is skipped."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return SkippingLoop()


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return SkippingPolicy()


@asynccontextmanager
async def draining(simulation: Simulation, node: str) -> AsyncIterator[list[str]]:
    """`kubectl drain` beside the block, which goes on for as long as guests are left; what was answered."""
    said: list[str] = []
    task = asyncio.create_task(simulation.drain(node, said))
    try:
        yield said
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def migrations(store: Store) -> list[Document]:
    return [stored.document for stored in (await store.objects.list(Scope(MIGRATION.resource))).items]


async def reasons(store: Store) -> list[str]:
    """Why those that failed did."""
    found = [c for m in await migrations(store) for c in m["status"].get("conditions", []) if c["type"] == "Failed"]
    return sorted(condition["reason"] for condition in found)


def drained(node: Document) -> Document:
    conditions = node["status"].get("conditions", [])
    found: Document = next((c for c in conditions if c["type"] == "Drained"), {})
    return found


async def test_a_host_of_many_guests_is_emptied_and_none_is_stopped(store: Store) -> None:
    async with simulated(store, "node0", "node1", "node2", bandwidth=GIB, limits=Limits(5, 2, 2)) as simulation:
        uids = {await simulation.guest(f"vm{n}", "node0", GIB) for n in range(12)}

        said: list[str] = []
        await simulation.drain("node0", said)
        await simulation.all_quiet()

        where = [simulation.runs_on(node) for node in ("node0", "node1", "node2")]
        made = await migrations(store)

    assert where[0] == []
    assert sorted(where[1] + where[2]) == sorted(uids)
    assert [m["status"]["phase"] for m in made] == ["Succeeded"] * 12
    assert simulation.most_at_once == 2
    assert all(word.startswith('Eviction triggered evacuation of VMI "default/vm') for word in said)
    assert any("is Running to node" in word for word in said)
    assert any("is Pending: as many migrations run from node0 as may" in word for word in said)


async def test_uncordoning_calls_off_what_has_not_begun_and_nothing_more_leaves(store: Store) -> None:
    async with simulated(store, "node0", "node1", bandwidth=GIB // 8, limits=Limits(5, 2, 2)) as simulation:
        for number in range(5):
            await simulation.guest(f"vm{number}", "node0", GIB)
        async with draining(simulation, "node0") as said:
            await simulation.until(lambda: simulation.most_at_once == 2)
            await simulation.cordon("node0", closed=False)
            await simulation.until(lambda: len(simulation.runs_on("node1")) == 2)
            await asyncio.sleep(60)
            stayed, last = len(simulation.runs_on("node0")), said[-1]
            called_off = await reasons(store)
            await simulation.cordon("node0")
            await simulation.until(lambda: simulation.runs_on("node0") == [])

    assert (stayed, called_off) == (3, ["Cancelled"] * 3)
    assert "node0 takes guests again, so nothing more leaves it" in last


async def test_the_nodes_annotation_does_the_same_by_itself(store: Store) -> None:
    async with simulated(store, "node0", "node1", bandwidth=GIB) as simulation:
        for number in range(3):
            await simulation.guest(f"vm{number}", "node0", GIB)

        await simulation.annotate("node0", "true")
        left = await simulation.node_when("node0", lambda node: drained(node).get("status") == "False")
        empty = await simulation.node_when("node0", lambda node: drained(node).get("status") == "True")
        gone = simulation.runs_on("node0")
        await simulation.annotate("node0", None)
        over = await simulation.node_when("node0", lambda node: not drained(node))

    assert drained(left)["message"] == "3 guests are left"
    assert (drained(empty)["reason"], gone) == ("Empty", [])
    assert not over["spec"].get("unschedulable")
    assert [m["metadata"]["annotations"] for m in await migrations(store)] == [{"kubevirt.io/drain": "true"}] * 3


async def test_taking_the_annotation_off_calls_off_what_has_not_begun(store: Store) -> None:
    async with simulated(store, "node0", "node1", bandwidth=GIB // 8, limits=Limits(5, 1, 1)) as simulation:
        for number in range(3):
            await simulation.guest(f"vm{number}", "node0", GIB)
        await simulation.annotate("node0", "true")
        await simulation.until(lambda: simulation.most_at_once == 1)
        await simulation.annotate("node0", "false")
        await simulation.until(lambda: len(simulation.runs_on("node1")) == 1)
        await asyncio.sleep(60)
        stayed = len(simulation.runs_on("node0"))

    assert (stayed, await reasons(store)) == (2, ["Cancelled"] * 2)


async def test_after_failures_the_next_comes_after_20_s_doubled_each_time(store: Store) -> None:
    async with simulated(store, "node0", "node1", bandwidth=GIB) as simulation:
        uid = await simulation.guest("vm0", "node0", GIB)
        simulation.cloud["node1"].faults.refuses_to_start = "no such machine type"
        await simulation.annotate("node0", "true")
        await simulation.until_migrations(4)
        simulation.cloud.mend("node1")
        await simulation.until(lambda: simulation.runs_on("node1") == [uid])
        await simulation.all_quiet()

    made = sorted(await migrations(store), key=lambda m: str(m["metadata"]["creationTimestamp"]))
    ends = [datetime.fromisoformat(m["status"]["migrationState"]["endTimestamp"]) for m in made]
    begins = [datetime.fromisoformat(m["metadata"]["creationTimestamp"]) for m in made]
    waits = [(begin - end).total_seconds() for end, begin in zip(ends, begins[1:], strict=False)]
    assert [round(wait / 20) for wait in waits[:3]] == [1, 2, 4]
    assert [m["metadata"]["annotations"].get("kubevirt.io/evacuation-failures") for m in made[:3]] == [None, "1", "2"]


async def test_a_guest_that_cannot_move_keeps_nobody_else(store: Store) -> None:
    async with simulated(store, "node0", "node1", bandwidth=GIB) as simulation:
        stuck = await simulation.guest("vm0", "node0", GIB, devices=HOST_DEVICE)
        await simulation.guest("vm1", "node0", GIB)
        await simulation.annotate("node0", "true")
        await simulation.until(lambda: simulation.runs_on("node0") == [stuck])
        told = await simulation.node_when("node0", lambda node: "1 guest is left" in drained(node).get("message", ""))

    assert "default/vm0: VirtualMachine vm0 cannot be moved while it runs: HostDevices" in drained(told)["message"]
