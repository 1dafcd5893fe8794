"""The lab's hosts as Nodes of a Drover: registered, and taken off again, through its API."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx

from app.kubeconfig import Way
from app.lab.errors import LabError
from app.lab.hosts import LabHost, LabHosts

NODES = "/api/v1/nodes"
KUBEVIRT = "/apis/kubevirt.io/v1alpha1"
MACHINES = f"{KUBEVIRT}/virtualmachines"
MERGE = {"Content-Type": "application/merge-patch+json"}
ANSWER_S = 15.0
LEAVE_S = 30.0
"""How long guests may take to go; they are not asked, so only a Drover that hangs takes that long."""
CPU_RATIO = 10
"""Virtual CPUs per physical one, as Drover offers them by default."""
MEMORY_SHARE = 0.75
"""The rest is for the machine itself."""

Document = dict[str, Any]


class Registration:
    """Speaks to one Drover. It touches only Nodes whose URI is one of the lab's own hosts."""

    def __init__(self, hosts: LabHosts, client: httpx.AsyncClient) -> None:
        self._hosts = hosts
        self._client = client

    async def register(self) -> None:
        """Twice is harmless: a Node of an earlier lab that is gone is given its new host."""
        for host in self._hosts:
            node = manifest(host, self._hosts)
            answer = await self._client.post(NODES, json=node)
            if answer.status_code == 409:
                await self._renew(host, node)
            else:
                _expect(answer, 201)

    async def knows_us(self) -> bool:
        """Whether any Node there is a host of this lab."""
        return bool(await self._registered())

    async def withdraw(self) -> None:
        """Deletes the guests' VirtualMachines, then the Nodes. Raises LabError with what stays and why."""
        nodes = await self._registered()
        deadline = time.monotonic() + LEAVE_S
        while (left := await self._machines(nodes)) and time.monotonic() < deadline:
            for machine in left:
                await self._delete_machine(machine)
            await asyncio.sleep(0.1)
        for node in nodes:
            _expect(await self._client.delete(f"{NODES}/{node}"), 200, 404)

    async def _renew(self, host: LabHost, node: Document) -> None:
        path = f"{NODES}/{host.name}"
        held = _expect(await self._client.get(path), 200)["spec"].get("providerID", "")
        if held != host.uri and _answers(held):
            raise LabError(f"Node {host.name} is another host already, and it runs: {held}; use another Drover")
        patch = {"metadata": {"annotations": node["metadata"]["annotations"]}, "spec": node["spec"]}
        _expect(await self._client.patch(path, json=patch, headers=MERGE), 200)

    async def _registered(self) -> list[str]:
        ours = {host.uri for host in self._hosts}
        nodes = _expect(await self._client.get(NODES), 200)["items"]
        return [str(node["metadata"]["name"]) for node in nodes if node["spec"].get("providerID") in ours]

    async def _machines(self, nodes: Sequence[str]) -> list[Document]:
        listed: list[Document] = _expect(await self._client.get(MACHINES), 200)["items"]
        return [machine for machine in listed if (machine.get("status") or {}).get("nodeName") in nodes]

    async def _delete_machine(self, machine: Document) -> None:
        metadata = machine["metadata"]
        if "deletionTimestamp" in metadata:
            return
        path = f"{KUBEVIRT}/namespaces/{metadata['namespace']}/virtualmachines/{metadata['name']}"
        at_once = {"spec": {"terminationGracePeriodSeconds": 0}}
        _expect(await self._client.patch(path, json=at_once, headers=MERGE), 200, 404)
        _expect(await self._client.delete(path), 200, 404)


@asynccontextmanager
async def registration(hosts: LabHosts, way: Way) -> AsyncIterator[Registration]:
    """
    Speaks to the server of the way, trusted by its authority and by the system's. Raises Silent if nobody answers there, and
    LabError for an answer that is not Drover's.
    """
    server = way.server
    headers = {"Authorization": f"Bearer {way.token}"} if way.token else {}
    async with httpx.AsyncClient(
        base_url=server, timeout=ANSWER_S, trust_env=False, verify=trust(way), headers=headers
    ) as client:
        try:
            yield Registration(hosts, client)
        except httpx.TimeoutException as error:
            raise LabError(f"{server} did not answer within {ANSWER_S:.0f} s: see what Drover says there") from error
        except httpx.TransportError as error:
            if _is_mistrust(error):
                raise LabError(f"{server} is not trusted ({error}): name its authority with --server-ca") from error
            raise Silent(f"no Drover answers at {server} ({error}): start one with `drover serve`") from error
        except httpx.InvalidURL as error:
            raise LabError(f"{server} is not a URL: {error}") from error


def trust(way: Way) -> ssl.SSLContext:
    """What a client of the way verifies the server by, and what it shows itself. Raises LabError."""
    context = ssl.create_default_context()
    try:
        if way.authority:
            context.load_verify_locations(cadata=way.authority)
    except ssl.SSLError as error:
        raise LabError(f"the server's authority is no certificate: {error.reason or error}") from error
    if way.certificate:
        _show(context, way)
    return context


def _show(context: ssl.SSLContext, way: Way) -> None:
    """Our own certificate, which Python's TLS takes from a file only."""
    with tempfile.NamedTemporaryFile(prefix="drover-", suffix=".pem") as file:
        file.write(f"{way.certificate}{way.key}".encode())
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise LabError(f"the kubeconfig's certificate and key are none: {error.reason or error}") from error


def _is_mistrust(error: BaseException | None) -> bool:
    """Whether somebody answers, whose certificate was refused: httpx tells that only by the error's origin."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


class Silent(LabError):
    """Nobody answers at the server's address."""


def manifest(host: LabHost, hosts: LabHosts) -> Document:
    """The Node. Its share of the machine's memory and CPUs; guests arrive over unix sockets, which need no port."""
    memory, cpu = share(_machine_memory(), os.cpu_count() or 1, len(list(hosts)))
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": host.name,
            "annotations": {
                "kubevirt.io/migration-uri": f"unix://{host.migration_sockets}/",
                "kubevirt.io/shared-paths": str(hosts.directory),
                "kubevirt.io/allocatable-memory": f"{memory}Mi",
                "kubevirt.io/allocatable-cpu": str(cpu),
            },
        },
        "spec": {"providerID": host.uri},
    }


def share(memory: int, cpus: int, hosts: int) -> tuple[int, int]:
    """MiB and virtual CPUs for each of the hosts that share one machine."""
    return int(memory * MEMORY_SHARE) // hosts >> 20, max(1, cpus * CPU_RATIO // hosts)


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _answers(uri: str) -> bool:
    """Whether a host stands behind it; one that is not a local socket is taken to."""
    path = parse_qs(urlsplit(uri).query).get("socket", [""])[0]
    if not path:
        return bool(uri)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(path) == 0


def _expect(answer: httpx.Response, *codes: int) -> Document:
    """The document, or what the server said instead."""
    try:
        document = answer.json()
    except ValueError:
        raise LabError(f"{answer.request.url} is not Drover's: it answered {answer.status_code}") from None
    if answer.status_code not in codes:
        said = document.get("message", "") if isinstance(document, dict) else ""
        raise LabError(f"{answer.request.method} {answer.request.url}: {answer.status_code} {said}")
    return cast(Document, document)
