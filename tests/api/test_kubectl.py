"""kubectl, command by command, over a real connection."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import httpx

from app.kinds import POD
from app.machinery.objects import Document
from app.store.base import Key, Store, edit
from tests.api.builders import (
    MACHINES,
    MIGRATIONS,
    NODES,
    labelled,
    machine,
    make_pod,
    migration,
    node,
    pod,
)
from tests.api.kubectl import Kubectl, line


async def create(client: httpx.AsyncClient, path: str, document: Document) -> Document:
    answer = await client.post(path, json=document)
    assert answer.status_code == 201, answer.text
    created: Document = answer.json()
    return created


async def test_a_wrong_field_is_named(kubectl: Kubectl) -> None:
    document = migration()
    del document["spec"]["selector"]

    said = await kubectl("create", "--validate=false", "-f", "-", given=document, code=1)

    assert "The Migration" in said
    assert "spec.selector: Required value" in said


async def test_get_watches(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, NODES, node("node0"))
    watching = await kubectl.start("get", "nodes", "-w", "-o", "name")

    seen = [await line(watching)]
    await create(remote, NODES, node("node1"))
    seen.append(await line(watching))

    assert seen == ["node/node0", "node/node1"]


async def test_get_watches_a_table(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, MACHINES, machine("one"))
    watching = await kubectl.start("get", "vm", "-w", "--output-watch-events")

    seen = [(await line(watching)).split()[:2] for _ in range(2)]
    await create(remote, MACHINES, machine("two"))
    await remote.delete(f"{MACHINES}/two")
    seen += [(await line(watching)).split()[:2] for _ in range(2)]

    assert seen == [["EVENT", "NAME"], ["ADDED", "one"], ["ADDED", "two"], ["MODIFIED", "two"]]


async def test_describe_shows_events(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    created = await create(remote, MIGRATIONS, migration())
    metadata = created["metadata"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "testvm-migration.1", "namespace": "default"},
        "involvedObject": {
            "apiVersion": "kubevirt.io/v1alpha1",
            "kind": "Migration",
            "namespace": "default",
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "reason": "Scheduled",
        "message": "node1 was chosen",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": metadata["creationTimestamp"],
        "lastTimestamp": metadata["creationTimestamp"],
        "source": {"component": "tests"},
    }
    await create(remote, "/api/v1/namespaces/default/events", event)

    described = await kubectl("describe", "migration", "testvm-migration")
    listed = await kubectl("events", "--for", "migration/testvm-migration")

    assert "Self Link:" in described
    assert "node1 was chosen" in described
    assert "node1 was chosen" in listed


async def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    first = await kubectl("apply", "-f", "-", given=machine())
    same = await kubectl("apply", "-f", "-", given=machine())
    pinned = await kubectl("apply", "-f", "-", given=machine(nodeSelector={"kubernetes.io/hostname": "node0"}))
    free = await kubectl("apply", "-f", "-", given=machine())

    outcomes = [text.split()[-1] for text in (first, same, pinned, free)]
    assert outcomes == ["created", "unchanged", "configured", "configured"]
    assert "nodeSelector" not in (await kubectl.json("get", "vm", "testvm"))["spec"]


async def test_apply_merges_core_objects_strategically(kubectl: Kubectl) -> None:
    taint = {"key": "a", "effect": "NoSchedule", "value": "1"}
    first = await kubectl("apply", "-f", "-", given=node(taints=[taint]))
    second = await kubectl("apply", "-f", "-", given=labelled(node(taints=[taint]), disktype="ssd"))

    assert first == "node/node0 created\n"
    assert second == "node/node0 configured\n"
    assert (await kubectl.json("get", "node", "node0"))["metadata"]["labels"]["disktype"] == "ssd"


async def test_a_subresource_is_patched_alone(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, MIGRATIONS, migration())

    await kubectl(
        "patch", "migration", "testvm-migration", "--subresource=status", "--type=merge",
        "-p", '{"status":{"phase":"Running"},"metadata":{"labels":{"a":"b"}}}',
    )  # fmt: skip

    seen = await kubectl.json("get", "migration", "testvm-migration", "--subresource=status")
    assert seen["status"] == {"phase": "Running"}
    assert "labels" not in seen["metadata"]


async def test_delete_waits_for_finalizers(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, MACHINES, machine())
    deleting = await kubectl.start("delete", "vm", "testvm")
    said = await line(deleting)

    answer = await remote.patch(
        f"{MACHINES}/testvm",
        content=b'{"metadata":{"finalizers":null}}',
        headers={"content-type": "application/merge-patch+json"},
    )
    async with asyncio.timeout(20):
        code = await deleting.wait()

    assert said.startswith('virtualmachine.kubevirt.io "testvm" deleted')
    assert answer.status_code == 200
    assert code == 0
    assert (await remote.get(f"{MACHINES}/testvm")).status_code == 404


async def test_wait_sees_a_field_change(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, MIGRATIONS, migration())
    waiting = await kubectl.start(
        "wait", "migration/testvm-migration", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=20s"
    )

    await remote.patch(
        f"{MIGRATIONS}/testvm-migration/status",
        content=b'{"status":{"phase":"Succeeded"}}',
        headers={"content-type": "application/merge-patch+json"},
    )

    assert await line(waiting) == "migration.kubevirt.io/testvm-migration condition met"
    assert await waiting.wait() == 0


async def test_logs_follow_a_process_to_its_end(kubectl: Kubectl, store: Store) -> None:
    created = (await make_pod(store, pod())).document
    uid = UUID(created["metadata"]["uid"])
    await store.logs.append(uid, [(datetime.now(UTC), "connected"), (datetime.now(UTC), "copying")])
    following = await kubectl.start("logs", "-f", created["metadata"]["name"])

    seen = [await line(following), await line(following)]
    await store.logs.append(uid, [(datetime.now(UTC), "moved")])
    seen.append(await line(following))
    await edit(store.objects, Key(POD.resource, "default", created["metadata"]["name"]), terminated)

    assert seen == ["connected", "copying", "moved"]
    assert await line(following) == ""
    assert await following.wait() == 0
    assert await kubectl("logs", "--tail=1", created["metadata"]["name"]) == "moved\n"
    assert (await kubectl("logs", "--timestamps", created["metadata"]["name"])).startswith("20")


def terminated(document: Document) -> Document:
    status = {"name": "migration", "state": {"terminated": {"exitCode": 0}}}
    return {**document, "status": {"phase": "Succeeded", "containerStatuses": [status]}}


async def test_namespaces_are_made_by_protobuf(kubectl: Kubectl) -> None:
    assert await kubectl("create", "namespace", "other") == "namespace/other created\n"
    assert await kubectl("create", "-n", "other", "-f", "-", given=machine()) != ""
    assert 'namespaces "nowhere" not found' in await kubectl(
        "create", "-n", "nowhere", "-f", "-", given=machine(), code=1
    )
