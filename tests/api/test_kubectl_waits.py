"""What kubectl waits for, it waits for on a streaming list; a server that ignored one would keep it waiting for ever."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process

import httpx

from tests.api.builders import MACHINES, NODES, finalized, machine, node
from tests.api.kubectl import DEADLINE_S, Kubectl
from tests.api.watched import changed

STREAMED = "sendInitialEvents=true"


async def told(process: Process, text: str) -> None:
    """Returns when it has printed that."""
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        async for printed in process.stdout:
            if text in printed.decode():
                return
    raise AssertionError(f"it never said {text}")


async def the_end(process: Process) -> str:
    """What else it prints; it must end well."""
    async with asyncio.timeout(DEADLINE_S):
        printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_wait_hears_of_a_change_on_a_streaming_list(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await remote.post(NODES, json=node("node0"))
    waiting = await kubectl.start(
        "wait", "--for=jsonpath={.spec.unschedulable}=true", "node/node0", "--timeout=20s", "-v=8"
    )
    await told(waiting, STREAMED)
    await told(waiting, "200 OK")

    await changed(remote, f"{NODES}/node0", {"spec": {"unschedulable": True}})
    printed = await the_end(waiting)

    assert "node/node0 condition met" in printed
    assert "limit=500" not in printed


async def test_wait_sees_what_is_so_already(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await remote.post(NODES, json=node("node0", unschedulable=True))

    printed = await kubectl("wait", "--for=jsonpath={.spec.unschedulable}=true", "node/node0", "--timeout=20s")

    assert printed == "node/node0 condition met\n"


async def test_delete_waits_on_a_streaming_list_until_the_finalizer_is_gone(
    kubectl: Kubectl, remote: httpx.AsyncClient
) -> None:
    await remote.post(MACHINES, json=finalized(machine(), "example.com/hold"))
    deleting = await kubectl.start("delete", "vm", "testvm", "--wait", "--timeout=20s", "-v=8")
    await told(deleting, STREAMED)
    await told(deleting, "200 OK")

    await changed(remote, f"{MACHINES}/testvm", {"metadata": {"finalizers": None}})
    printed = await the_end(deleting)

    assert "limit=500" not in printed
    assert (await remote.get(f"{MACHINES}/testvm")).status_code == 404


async def test_wait_for_deletion_ends_with_it(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await remote.post(MACHINES, json=finalized(machine(), "example.com/hold"))
    waiting = await kubectl.start("wait", "--for=delete", "vm/testvm", "--timeout=20s", "-v=8")
    await told(waiting, STREAMED)

    await remote.delete(f"{MACHINES}/testvm")
    await changed(remote, f"{MACHINES}/testvm", {"metadata": {"finalizers": None}})

    assert "testvm condition met" in await the_end(waiting)
