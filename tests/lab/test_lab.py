"""A lab with a Drover: it stands, comes back, and goes without a trace, whatever died before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.kubeconfig import Way
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.guest import virtual_machine
from app.lab.hosts import LabHosts
from app.lab.kubectl import Kubectl
from app.lab.lab import down, up
from app.lab.manifests import console
from app.lab.meter import Meter
from app.lab.registration import trust
from app.lab.served import served
from tests.lab.test_hosts import mentioning

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.lab]

MACHINES = "/apis/kubevirt.io/v1alpha1/namespaces/default/virtualmachines"


@dataclass(frozen=True)
class Scene:
    """A Drover, and the folder of a lab that does not stand yet."""

    way: Way
    lab: Path
    kubectl: Kubectl
    api: httpx.AsyncClient

    async def items(self, path: str) -> list[dict[str, Any]]:
        answer = await self.api.get(path)
        found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return found

    async def guest(self, hosts: LabHosts) -> None:
        """A boot sector that ticks, somewhere."""
        image = build_boot_sector(hosts.images / "boot.img")
        machine = virtual_machine(
            "testvm", boot_sector_xml("testvm", "", image, console=console(hosts, "testvm")), labels={}
        )
        await self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=40s")
        with Meter(console(hosts, "testvm")) as meter:
            (await self.api.post(MACHINES, json=machine)).raise_for_status()
            assert meter.wait_for_ticks(1, 40)
        await self.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "vm/testvm", "--timeout=40s")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="drover-"))
    made.chmod(0o711)  # as root the database and the hosts run as another user, who must pass
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with served(folder, folder / "lab") as way, httpx.AsyncClient(base_url=way.server, verify=trust(way)) as api:
        try:
            yield Scene(way, folder / "lab", Kubectl(way, folder), api)
        finally:
            await down(folder / "lab", None)


async def test_down_takes_guests_nodes_processes_and_files(scene: Scene) -> None:
    hosts = await up(scene.lab, 2, scene.way)
    await scene.guest(hosts)

    await down(scene.lab, scene.way)

    assert await scene.items("/api/v1/nodes") == await scene.items(MACHINES) == []
    assert not scene.lab.exists()
    assert [line for line in mentioning(scene.lab) if "app.main" not in line] == []


async def test_down_leaves_nothing_after_every_libvirtd_was_killed(scene: Scene) -> None:
    hosts = await up(scene.lab, 2, scene.way)
    await scene.guest(hosts)
    for host in hosts:
        host.kill()

    await down(scene.lab, scene.way)

    assert await scene.items("/api/v1/nodes") == await scene.items(MACHINES) == []
    assert not scene.lab.exists()
    assert [line for line in mentioning(scene.lab) if "app.main" not in line] == []


async def test_up_brings_back_what_died_and_keeps_the_guest(scene: Scene) -> None:
    hosts = await up(scene.lab, 2, scene.way)
    await scene.guest(hosts)
    uids = [node["metadata"]["uid"] for node in await scene.items("/api/v1/nodes")]
    for host in hosts:
        host.kill()

    with Meter(console(hosts, "testvm")) as meter:
        again = await up(scene.lab, 1, scene.way)
        assert meter.wait_for_ticks(3, 30)

    assert [host.pid is not None for host in again] == [True, True]
    assert [node["metadata"]["uid"] for node in await scene.items("/api/v1/nodes")] == uids
    assert sum(len(host.guests()) for host in again) == 1
