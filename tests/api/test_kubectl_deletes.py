"""kubectl delete in every cascade, namespaces that kubectl waits for, and who may do it: with the controllers running."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from app.machinery.objects import Document
from app.store.base import Store
from tests.api.builders import KV, MIGRATIONS, finalized, migration
from tests.api.kubectl import Kubectl, line
from tests.controllers.world import leading

MERGE = {"content-type": "application/merge-patch+json"}
FREE = b'{"metadata":{"finalizers":null}}'


@pytest.fixture
async def led(store: Store) -> AsyncIterator[None]:
    async with leading(store):
        yield


async def made(client: httpx.AsyncClient, document: Document, path: str = MIGRATIONS) -> Document:
    """Without the finalizers of its kind, which nobody here would take off."""
    answer = await client.post(path, json=document)
    assert answer.status_code == 201, answer.text
    answer = await client.patch(f"{path}/{document['metadata']['name']}", content=FREE, headers=MERGE)
    found: Document = answer.json()
    return found


def owned(name: str, owner: Document) -> Document:
    document = migration(name)
    document["metadata"]["ownerReferences"] = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
    ]
    return document


@pytest.mark.usefixtures("led")
@pytest.mark.parametrize(("cascade", "left"), [("background", []), ("foreground", []), ("orphan", ["child"])])
async def test_delete_cascades(kubectl: Kubectl, remote: httpx.AsyncClient, cascade: str, left: list[str]) -> None:
    owner = await made(remote, migration("owner"))
    await made(remote, owned("child", owner))

    said = await kubectl("delete", "migration", "owner", f"--cascade={cascade}")
    if not left:
        await kubectl("wait", "--for=delete", "migration/child", "--timeout=20s")

    assert said.startswith('migration.kubevirt.io "owner" deleted')
    listed = (await remote.get(MIGRATIONS)).json()["items"]
    assert [item["metadata"]["name"] for item in listed] == left
    assert all("ownerReferences" not in item["metadata"] for item in listed)


@pytest.mark.usefixtures("led")
async def test_delete_in_the_foreground_waits_for_what_blocks(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    owner = await made(remote, migration("owner"))
    await remote.post(MIGRATIONS, json=finalized(owned("child", owner), "a.io/b"))

    deleting = await kubectl.start("delete", "migration", "owner", "--cascade=foreground")
    await line(deleting)
    await kubectl("wait", "migration/child", "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=20s")
    meanwhile = await remote.get(f"{MIGRATIONS}/owner")
    await remote.patch(f"{MIGRATIONS}/child", content=FREE, headers=MERGE)

    assert meanwhile.json()["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert await deleting.wait() == 0
    assert (await remote.get(f"{MIGRATIONS}/owner")).status_code == 404


@pytest.mark.usefixtures("led")
async def test_delete_namespace_waits_until_it_is_gone(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    path = f"{KV}/namespaces/room/migrations"
    await kubectl("create", "namespace", "room")
    await made(remote, migration("free"), path)
    await remote.post(path, json=finalized(migration("held"), "a.io/b"))

    deleting = await kubectl.start("delete", "namespace", "room")
    said = await line(deleting)
    await kubectl("wait", "namespace/room", "--for=condition=NamespaceFinalizersRemaining", "--timeout=20s")
    shown = await kubectl("get", "namespace", "room")
    refused = await kubectl("create", "-n", "room", "-f", "-", given=migration("late"), code=1)
    await remote.patch(f"{path}/held", content=FREE, headers=MERGE)

    assert said.startswith('namespace "room" deleted')
    assert "Terminating" in shown
    assert "unable to create new content in namespace room because it is being terminated" in refused
    assert await deleting.wait() == 0
    assert (await remote.get("/api/v1/namespaces/room")).status_code == 404
    assert (await remote.get(path)).json()["items"] == []


@pytest.mark.usefixtures("led")
async def test_many_are_deleted_at_once(kubectl: Kubectl, remote: httpx.AsyncClient) -> None:
    for number in range(12):
        await made(remote, migration(f"m{number}"))

    said = await kubectl("delete", "migrations", "--all")

    assert said.count("deleted") == 12
    assert (await remote.get(MIGRATIONS)).json()["items"] == []
