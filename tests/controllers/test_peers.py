"""What a Node says of the ways to the others, and of its certificates: on simulated hosts, with the real store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from app.controllers.metrics import HostMetrics
from app.controllers.nodestatus import with_certificates
from app.controllers.peers import LATE_AT_ONCE
from app.hypervisor.base import Certificate, Holder
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.kinds import NODE
from app.machinery.objects import Document
from app.store.base import Store
from tests.controllers.migration.world import node_document
from tests.controllers.world import FAST, World, condition, running

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
STAMP = "2026-11-26T12:00:00Z"
BRISK = replace(FAST, peer_look_s=0.05, peer_pause_s=0.0, peer_bad_s=0.1, expiry_s=0.1)


def expiring(**days: float) -> tuple[Certificate, ...]:
    return tuple(Certificate(Holder(holder), NOW + timedelta(days=left)) for holder, left in days.items())


async def test_a_node_says_whom_it_does_not_reach_and_takes_it_back(store: Store) -> None:
    cloud, world = FakeCloud("node0", "node1", "node2"), World(store)
    for name in ("node0", "node1", "node2"):
        await world.node(name, cloud[name].uri)
    cloud["node0"].faults.shut_out_of = frozenset({"node2"})

    async with running(store, FakeHypervisors(cloud), "one", BRISK):
        shut_out = await world.until(
            NODE, "node0", lambda node: condition(node, "PeersReachable").get("status") == "False"
        )
        well = await world.until(
            NODE, "node1", lambda node: "2 other" in condition(node, "PeersReachable").get("message", "")
        )
        cloud["node0"].faults.shut_out_of = frozenset()
        mended = await world.until(
            NODE, "node0", lambda node: condition(node, "PeersReachable").get("status") == "True"
        )

    told = condition(shut_out, "PeersReachable")
    assert (told["reason"], told["message"]) == (
        "NotReached", "node2: unable to connect to server at 'fake://node2'"
    )  # fmt: skip
    assert [peer["name"] for peer in shut_out["status"]["unreachablePeers"]] == ["node2"]
    assert condition(well, "PeersReachable")["status"] == "True"
    assert "unreachablePeers" not in mended["status"]


async def test_a_silent_peer_is_told_of_and_its_late_answer_counts(store: Store) -> None:
    """It is asked once: libvirtd's worker still tries when the network is mended."""
    cloud, world = FakeCloud("node0", "node1", "node2"), World(store)
    for name in ("node0", "node1", "node2"):
        await world.node(name, cloud[name].uri)
    mended = cloud["node0"].faults.dropped_to["node1"] = asyncio.Event()
    patient = replace(BRISK, peer_answer_s=0.2, peer_good_s=0.1, peer_bad_s=3600.0)

    async with running(store, FakeHypervisors(cloud), "one", patient):
        silent = await world.until(
            NODE, "node0", lambda node: condition(node, "PeersReachable").get("status") == "False"
        )
        cloud["node0"].faults.shut_out_of = frozenset({"node2"})
        await world.until(
            NODE, "node0", lambda node: "node2" in condition(node, "PeersReachable").get("message", "")
        )  # others are asked meanwhile
        mended.set()
        await world.until(
            NODE, "node0", lambda node: "node1" not in condition(node, "PeersReachable").get("message", "")
        )

    assert condition(silent, "PeersReachable")["message"] == "node1: no answer"


async def test_no_more_silent_peers_hold_workers_than_a_libvirtd_can_spare(store: Store) -> None:
    names = [f"node{number}" for number in range(LATE_AT_ONCE + 3)]
    cloud, world = FakeCloud(*names), World(store)
    for name in names:
        await world.node(name, cloud[name].uri)
    never = {name: asyncio.Event() for name in names[1:]}
    cloud["node0"].faults.dropped_to = never

    async with running(store, FakeHypervisors(cloud), "one", replace(BRISK, peer_answer_s=0.05)):
        await world.until(
            NODE, "node0", lambda node: len(node.get("status", {}).get("unreachablePeers", ())) == LATE_AT_ONCE
        )
        await asyncio.sleep(10 * BRISK.peer_look_s)
        held = (await world.until(NODE, "node0", lambda _: True))["status"]["unreachablePeers"]
        never[held[0]["name"]].set()
        more = await world.until(
            NODE, "node0", lambda node: held[0] not in node["status"]["unreachablePeers"]
            and len(node["status"]["unreachablePeers"]) == LATE_AT_ONCE
        )  # fmt: skip

    assert len(held) == LATE_AT_ONCE
    assert len(more["status"]["unreachablePeers"]) == LATE_AT_ONCE


async def test_of_a_node_that_is_away_only_its_own_condition_tells(store: Store) -> None:
    cloud, world = FakeCloud("node0", "node1"), World(store)
    for name in ("node0", "node1"):
        await world.node(name, cloud[name].uri)

    async with running(store, FakeHypervisors(cloud), "one", BRISK):
        await world.until(NODE, "node0", lambda node: bool(condition(node, "PeersReachable")))
        cloud.cut_off("node1")
        alone = await world.until(
            NODE, "node0", lambda node: not condition(node, "PeersReachable"), within_s=20
        )  # fmt: skip

    assert condition(alone, "Ready")["status"] == "True"


async def test_certificates_are_told_of_also_while_the_host_is_away(store: Store) -> None:
    cloud, world = FakeCloud("node0"), World(store)
    await world.node("node0", cloud["node0"].uri)
    cloud["node0"].certificates = (Certificate(Holder.CLIENT, datetime.now(UTC) + timedelta(days=12, hours=1)),)

    async with running(store, FakeHypervisors(cloud), "one", BRISK):
        soon = await world.until(NODE, "node0", lambda node: bool(condition(node, "CertificatesExpiring")))
        cloud["node0"].certificates = (Certificate(Holder.SERVER, datetime.now(UTC) - timedelta(days=1)),)
        cloud.cut_off("node0")
        late = await world.until(
            NODE, "node0", lambda node: condition(node, "CertificatesExpiring").get("reason") == "Expired", within_s=20
        )

    told = condition(soon, "CertificatesExpiring")
    assert (told["status"], told["reason"]) == ("True", "Soon")
    assert told["message"].startswith("12 day(s) left: the client certificate expires on 20")
    assert condition(late, "CertificatesExpiring")["message"].startswith(
        "0 day(s) left: the server certificate expired on"
    )


def test_thirty_days_are_soon_and_the_first_counts() -> None:
    def told(**days: float) -> Document:
        return condition(
            with_certificates(node_document("node0"), expiring(**days), NOW, STAMP), "CertificatesExpiring"
        )

    assert told(client=30.5, server=400)["status"] == "False"
    assert told(client=29.5, server=400)["status"] == "True"
    assert told(client=400, server=29.5)["message"].startswith(
        "29 day(s) left: the client certificate expires on 2027-12-31"
    )
    assert told(client=400, server=0)["reason"] == "Expired"


def test_without_certificates_nothing_is_said() -> None:
    node = with_certificates(node_document("node0"), expiring(client=1), NOW, STAMP)

    assert not condition(with_certificates(node, (), NOW, STAMP), "CertificatesExpiring")


def test_a_certificates_seconds_are_told_until_its_host_is_served_elsewhere() -> None:
    registry = CollectorRegistry()
    hosts, name = HostMetrics(registry), "drover_host_certificate_left_seconds"
    hosts.certificates("node0", (Certificate(Holder.CLIENT, datetime.now(UTC) + timedelta(days=1)),))

    left = registry.get_sample_value(name, {"node": "node0", "certificate": "client"})
    hosts.forget("node0")

    assert left == pytest.approx(86_400, abs=60)
    assert registry.get_sample_value(name, {"node": "node0", "certificate": "client"}) is None
