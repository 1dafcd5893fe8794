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
from tests.api.kubectl import Kubectl, line, rows


async def create(client: httpx.AsyncClient, path: str, document: Document) -> Document:
    answer = await client.post(path, json=document)
    assert answer.status_code == 201, answer.text
    created: Document = answer.json()
    return created


async def test_version_and_resources_are_told(kubectl: Kubectl) -> None:
    versions = await kubectl("version", "-o", "json")
    resources = rows(await kubectl("api-resources", "--no-headers"))

    assert '"gitVersion": "v1.36.0+drover-test"' in versions
    assert ["migrations", "mig", "kubevirt.io/v1alpha1", "true", "Migration"] in resources
    assert ["nodes", "no", "v1", "false", "Node"] in resources
    assert ["nodes", "kubevirt.io/v1alpha1", "false", "Node"] in resources


async def test_create_validates_and_get_prints_the_columns(kubectl: Kubectl) -> None:
    created = await kubectl("create", "-f", "-", given=migration())
    again = await kubectl("create", "-f", "-", given=migration(), code=1)
    table = rows(await kubectl("get", "migrations"))

    assert created == "migration.kubevirt.io/testvm-migration created\n"
    assert 'migrations.kubevirt.io "testvm-migration" already exists' in again
    assert table[0] == ["NAME", "VM", "PHASE", "SOURCE", "TARGET", "PROGRESS", "AGE"]
    assert table[1][:2] == ["testvm-migration", "testvm"]


async def test_create_refuses_a_field_that_nobody_knows(kubectl: Kubectl) -> None:
    said = await kubectl("create", "-f", "-", given=migration(warp=9), code=1)
    absent = await kubectl("get", "migrations")

    assert 'strict decoding error: unknown field "spec.warp"' in said
    assert "No resources found in default namespace." in absent


async def test_a_wrong_field_is_named(kubectl: Kubectl) -> None:
    document = migration()
    del document["spec"]["selector"]

    said = await kubectl("create", "--validate=false", "-f", "-", given=document, code=1)

    assert "The Migration" in said
    assert "spec.selector: Required value" in said


async def test_get_in_every_output(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, MACHINES, labelled(machine("one"), tier="a"))
    await create(remote, MACHINES, labelled(machine("two"), tier="b"))
    await create(remote, NODES, node())

    assert (await kubectl("get", "vms", "-o", "name")).split() == [
        "virtualmachine.kubevirt.io/one",
        "virtualmachine.kubevirt.io/two",
    ]
    assert (await kubectl("get", "vm", "one", "-o", "jsonpath={.metadata.selfLink}")) == f"{MACHINES}/one"
    assert "kind: VirtualMachine\n" in await kubectl("get", "vm", "one", "-o", "yaml")
    assert (await kubectl.json("get", "vm"))["kind"] == "List"
    assert rows(await kubectl("get", "vm", "-A"))[0][0] == "NAMESPACE"
    assert [row[0] for row in rows(await kubectl("get", "vm", "-l", "tier=b", "--no-headers"))] == ["two"]
    assert [row[0] for row in rows(await kubectl("get", "vm", "--chunk-size=1", "--no-headers"))] == ["one", "two"]
    assert rows(await kubectl("get", "vm", "-o", "custom-columns=N:.metadata.name"))[1:] == [["one"], ["two"]]
    assert "tier=a" in await kubectl("get", "vm", "--show-labels")
    assert [row[0] for row in rows(await kubectl("get", "vm", "--sort-by=.metadata.uid", "--no-headers"))] != []
    assert rows(await kubectl("get", "vm,nodes", "--no-headers"))[2][0] == "node/node0"
    assert [r[0] for r in rows(await kubectl("get", "vm", "--field-selector=metadata.name=two", "--no-headers"))] == [
        "two"
    ]
    assert rows(await kubectl("get", "vm", "-o", "wide"))[0][0] == "NAME"
    assert rows(await kubectl("get", "nodes.kubevirt.io", "--no-headers"))[0][0] == "node0"
    assert '"kind":"VirtualMachineList"' in await kubectl("get", "--raw", MACHINES)
    assert 'virtualmachines.kubevirt.io "three" not found' in await kubectl("get", "vm", "three", code=1)


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


async def test_patch_label_and_annotate(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, MACHINES, machine())
    await create(remote, NODES, node())

    await kubectl("patch", "vm", "testvm", "--type=merge", "-p", '{"spec":{"nodeSelector":{"a":"b"}}}')
    await kubectl("patch", "vm", "testvm", "--type=json", "-p", '[{"op":"remove","path":"/spec/nodeSelector/a"}]')
    refused = await kubectl("patch", "vm", "testvm", "--type=strategic", "-p", "{}", code=1)
    await kubectl("patch", "node", "node0", "-p", '{"spec":{"unschedulable":true}}')
    await kubectl("label", "vm", "testvm", "colour=red", "size=s")
    await kubectl("label", "vm", "testvm", "size-")
    await kubectl("annotate", "node", "node0", "kubevirt.io/drain=true")

    seen = await kubectl.json("get", "vm", "testvm")
    assert not seen["spec"].get("nodeSelector")
    assert seen["metadata"]["labels"] == {"colour": "red"}
    assert "strategic-merge-patch+json is not supported by kubevirt.io/v1alpha1" in refused
    assert (await kubectl.json("get", "node", "node0"))["spec"]["unschedulable"] is True
    assert "kubevirt.io/drain" in (await kubectl.json("get", "node", "node0"))["metadata"]["annotations"]


async def test_a_subresource_is_patched_alone(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, MIGRATIONS, migration())

    await kubectl(
        "patch", "migration", "testvm-migration", "--subresource=status", "--type=merge",
        "-p", '{"status":{"phase":"Running"},"metadata":{"labels":{"a":"b"}}}',
    )  # fmt: skip

    seen = await kubectl.json("get", "migration", "testvm-migration", "--subresource=status")
    assert seen["status"] == {"phase": "Running"}
    assert "labels" not in seen["metadata"]


async def test_replace_and_edit_style_writes(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", given=machine())

    await kubectl("replace", "-f", "-", given=machine(nodeSelector={"a": "b"}))
    differing = await kubectl("diff", "-f", "-", given=machine(nodeSelector={"a": "c"}), code=1)

    assert (await kubectl.json("get", "vm", "testvm"))["spec"]["nodeSelector"] == {"a": "b"}
    assert "+    a: c" in differing


async def test_cordon_and_uncordon(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    await create(remote, NODES, node())

    assert await kubectl("cordon", "node0") == "node/node0 cordoned\n"
    assert (await kubectl.json("get", "node", "node0"))["spec"]["unschedulable"] is True
    assert await kubectl("cordon", "node0") == "node/node0 already cordoned\n"
    assert await kubectl("uncordon", "node0") == "node/node0 uncordoned\n"
    assert "unschedulable" not in (await kubectl.json("get", "node", "node0"))["spec"]
    assert await kubectl("taint", "node", "node0", "a=b:NoSchedule") == "node/node0 tainted\n"


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


async def test_delete_in_all_its_forms(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    for name in ("node0", "node1", "node2", "node3"):
        await create(remote, NODES, labelled(node(name), odd=str(name in ("node1", "node3"))))

    await kubectl("delete", "node", "node0", "--cascade=background")
    await kubectl("delete", "nodes", "-l", "odd=True")
    dry = await kubectl("delete", "node", "node2", "--dry-run=server")
    missing = await kubectl("delete", "node", "node9", code=1)

    assert "server dry run" in dry
    assert 'nodes "node9" not found' in missing
    assert (await kubectl("get", "nodes", "-o", "name")).split() == ["node/node2"]


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


async def test_explain_reads_the_schema(kubectl: Kubectl) -> None:
    explained = await kubectl("explain", "migration.spec.selector")

    assert "KIND:       Migration" in explained
    assert "name" in explained


async def test_the_administrator_may_do_anything(kubectl: Kubectl) -> None:
    assert await kubectl("auth", "can-i", "create", "migrations") == "yes\n"
    assert "system:admin" in await kubectl("auth", "whoami")
    assert "*.*" in await kubectl("auth", "can-i", "--list")
