"""People who create and cancel Migrations, drain hosts and let them in again, as long as they are let."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from app.kinds import MIGRATION
from tests.chaos.site import NAMESPACED, NODES, Site
from tests.chaos.watching import Watcher

Document = dict[str, Any]
OVER = ("Succeeded", "Failed")
EVICTION = "/api/v1/namespaces/default/pods/{}/eviction"


def is_over(migration: Document) -> bool:
    return (migration.get("status") or {}).get("phase") in OVER


@dataclass
class Clients:
    """All of them. They look at what a watcher was told."""

    site: Site
    migrations: Watcher
    machines: Watcher
    pods: Watcher
    at_once: int = 6
    working: asyncio.Event = field(default_factory=asyncio.Event)
    resting: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nobody does anything."""
    made: int = 0
    cancelled: int = 0
    drains: int = 0
    stopped: set[str] = field(default_factory=set)
    """Names of the Migrations whose guest arrives stopped, and is started when its source's copy is gone."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._create())
            tasks.create_task(self._drain())

    def unfinished(self) -> list[Document]:
        return [one for one in self.migrations.now.values() if not is_over(one)]

    async def _create(self) -> None:
        random = self.site.random
        while True:
            self.resting.set()
            await self.working.wait()
            self.resting.clear()
            busy = {one["spec"]["selector"]["name"] for one in self.unfinished()}
            idle = [guest for guest in self.site.guests.values() if guest.name not in busy and self._runs(guest.name)]
            if len(busy) >= self.at_once or not idle:
                await asyncio.sleep(0.1)
                continue
            guest = random.choice([one for one in idle if one.hot] or idle)
            name = f"m{self.made}"
            self.made += 1
            spec: Document = {"selector": {"name": guest.name}}
            if not guest.hot:
                spec["options"] = {"bandwidthPerMigration": random.choice(("6Mi", "10Mi", "20Mi"))}
                if random.random() < 0.35:
                    spec["options"]["arrivePaused"] = True
                    self.stopped.add(name)
            if random.random() < 0.15:
                spec["backoffLimit"] = 1
            if random.random() < 0.05:
                spec["activeDeadlineSeconds"] = 3
            body = {
                "apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": name}, "spec": spec
            }  # fmt: skip
            await self.site.create(f"{NAMESPACED}/migrations", MIGRATION.resource, body)
            if random.random() < 0.12:
                await self._cancel(name)
            await asyncio.sleep(0.15)

    def _runs(self, name: str) -> bool:
        vm = self.machines.now.get(f"default/{name}") or {}
        return (vm.get("status") or {}).get("phase") == "Running"

    async def _cancel(self, name: str) -> None:
        await asyncio.sleep(self.site.random.uniform(0.2, 3))
        self.cancelled += 1
        path = f"{NAMESPACED}/migrations/{name}"
        if self.site.random.random() < 0.5:
            await self.site.surely("DELETE", path)
        else:
            answer = await self.site.ask("PATCH", path, {"spec": {"cancel": True}})
            assert answer is None or answer.status_code in (200, 404, 409, 422, 429, 500, 503, 504), answer.text

    async def _drain(self) -> None:
        """Cordons a node, asks for evictions as kubectl does, and lets it in again; or says so by annotation."""
        random, site = self.site.random, self.site
        while True:
            await asyncio.sleep(random.uniform(10, 25))
            if not self.working.is_set():
                continue
            node, annotated = random.choice(NODES), random.random() < 0.3
            self.drains += 1
            if annotated:
                await self._let_in(node, {"metadata": {"annotations": {"kubevirt.io/drain": "true"}}})
                await asyncio.sleep(6)
            else:
                await self._let_in(node, {"spec": {"unschedulable": True}})
                for _ in range(5):
                    for pod in [one for one in self.pods.now.values() if is_guests_at(one, node)]:
                        name = pod["metadata"]["name"]
                        body = {
                            "apiVersion": "policy/v1", "kind": "Eviction",
                            "metadata": {"name": name, "namespace": "default"},
                        }  # fmt: skip
                        await site.ask("POST", EVICTION.format(name), body)
                    await asyncio.sleep(1.2)
            await self.let_in(node)

    async def let_in(self, node: str) -> None:
        """Whatever was said of it before."""
        await self._let_in(
            node, {"metadata": {"annotations": {"kubevirt.io/drain": None}}, "spec": {"unschedulable": None}}
        )

    async def _let_in(self, node: str, patch: Document) -> None:
        for _ in range(100):
            if (await self.site.surely("PATCH", f"/api/v1/nodes/{node}", patch)).status_code != 409:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"a patch of {node} conflicts again and again")


def is_guests_at(pod: Document, node: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return labels.get("kubevirt.io") == "virt-launcher" and pod["spec"].get("nodeName") == node
