"""A lab touches only its own Nodes, and takes its guests' VirtualMachines with it."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.kubeconfig import Way
from app.lab.errors import LabError
from app.lab.hosts import LabHosts
from app.lab.registration import Registration, Silent, registration, share

LAB = Path("/tmp/drover-lab")
FOREIGN = "qemu+tls://elsewhere/system"


class Drover:
    """Nodes and VirtualMachines behind the transport; deleting a Node that has guests is refused, as Drover does."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.machines: dict[str, str] = {}
        self.refuses_machines = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        *_, plural, name = ("", *request.url.path.split("/"))
        if request.url.path.endswith(("/nodes", "/virtualmachines")):
            plural, name = name, ""
        body = json.loads(request.content) if request.content else {}
        answer = self.node(request.method, name, body) if plural == "nodes" else self.machine(request.method, name)
        return httpx.Response(answer[0], json=answer[1])

    def node(self, method: str, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        match method:
            case "POST" if body["metadata"]["name"] in self.nodes:
                return 409, {"message": "exists"}
            case "POST" | "PATCH":
                self.nodes[name or body["metadata"]["name"]] = body
                return (201 if method == "POST" else 200), body
            case "DELETE" if name in self.machines.values():
                return 409, {"message": f"{name} has guests"}
            case "DELETE":
                return (200, {}) if self.nodes.pop(name, None) else (404, {})
            case _ if name:
                return 200, self.nodes[name]
        return 200, {"items": [{"metadata": {"name": name}, **node} for name, node in self.nodes.items()]}

    def machine(self, method: str, name: str) -> tuple[int, dict[str, Any]]:
        if self.refuses_machines:
            return 403, {"message": "not yours"}
        if method == "DELETE":
            self.machines.pop(name, None)
        listed = [
            {"metadata": {"namespace": "default", "name": name}, "status": {"nodeName": node}}
            for name, node in self.machines.items()
        ]
        return 200, {"items": listed}


@pytest.fixture
def drover() -> Drover:
    return Drover()


@pytest.fixture
def hosts() -> LabHosts:
    """Only named, not started."""
    return LabHosts(LAB, ["node0", "node1"])


@pytest.fixture
async def lab(hosts: LabHosts, drover: Drover) -> AsyncIterator[Registration]:
    async with httpx.AsyncClient(base_url="http://drover", transport=httpx.MockTransport(drover)) as client:
        yield Registration(hosts, client)


async def test_hosts_are_registered_by_their_uri(lab: Registration, drover: Drover, hosts: LabHosts) -> None:
    await lab.register()
    await lab.register()

    assert {name: node["spec"]["providerID"] for name, node in drover.nodes.items()} == {
        "node0": hosts["node0"].uri,
        "node1": hosts["node1"].uri,
    }


async def test_a_node_of_a_lab_that_is_gone_gets_its_new_host(
    lab: Registration, drover: Drover, hosts: LabHosts
) -> None:
    drover.nodes["node0"] = {"spec": {"providerID": "qemu+unix:///session?socket=/tmp/gone/libvirt-sock"}}

    await lab.register()

    assert drover.nodes["node0"]["spec"]["providerID"] == hosts["node0"].uri


async def test_a_node_of_a_host_that_answers_is_not_taken(lab: Registration, drover: Drover, tmp_path: Path) -> None:
    taken = f"qemu+unix:///session?socket={tmp_path}/s"
    drover.nodes["node0"] = {"spec": {"providerID": taken}}
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{tmp_path}/s")
        other.listen()

        with pytest.raises(LabError, match="node0 is another host already"):
            await lab.register()

    assert drover.nodes["node0"]["spec"]["providerID"] == taken


async def test_only_the_labs_own_nodes_and_guests_go(lab: Registration, drover: Drover) -> None:
    await lab.register()
    drover.nodes["foreign"] = {"spec": {"providerID": FOREIGN}}
    drover.machines = {"ours": "node0", "theirs": "foreign"}

    assert await lab.knows_us()
    await lab.withdraw()

    assert set(drover.nodes) == {"foreign"}
    assert drover.machines == {"theirs": "foreign"}
    assert not await lab.knows_us()


async def test_what_is_refused_is_told(lab: Registration, drover: Drover) -> None:
    await lab.register()
    drover.refuses_machines = True

    with pytest.raises(LabError, match="403 not yours"):
        await lab.withdraw()


async def test_a_server_that_is_not_there_is_told(hosts: LabHosts) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(Silent, match="drover serve"):
        async with registration(hosts, Way(f"http://127.0.0.1:{port}")) as lab:
            await lab.register()


@pytest.mark.parametrize("hosts_count", [1, 3, 40])
def test_the_hosts_share_one_machine(hosts_count: int) -> None:
    memory, cpus = 24 << 30, 2

    mib, cpu = share(memory, cpus, hosts_count)

    assert 0 < mib * hosts_count << 20 <= memory
    assert cpu >= 1
