"""Deletions, owners and the warnings of writes, request by request."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.machinery.objects import Document
from tests.api.builders import KV, MIGRATIONS, NODES, finalized, labelled, machine, migration, node

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
MOVE = f"{MIGRATIONS}/testvm-migration"


def warnings(answer: httpx.Response) -> list[str]:
    return [value for name, value in answer.headers.multi_items() if name == "warning"]


def told(text: str) -> str:
    escaped = text.replace('"', '\\"')
    return f'299 - "{escaped}"'


TWICE: list[tuple[str, str, bytes, list[str]]] = [
    (MOVE, MERGE, b'{"metadata":{"labels":{"a":"1","a":"2"}}}', ['duplicate field "metadata.labels.a"']),
    (MOVE, MERGE, b'{"spec":{"selector":{"name":"x"}},"spec":{}}', ['duplicate field "spec"']),
    (
        MOVE,
        MERGE,
        b'{"spec":{"what":1},"metadata":{"labels":{"a":"1","a":"2"}}}',
        ['duplicate field "metadata.labels.a"', 'unknown field "spec.what"'],
    ),
    (
        MOVE,
        JSON_PATCH,
        b'[{"op":"add","op":"add","path":"/metadata/labels","value":{"a":"b"}}]',
        ['json patch duplicate field "[0].op"'],
    ),
    (f"{NODES}/node0", STRATEGIC, b'{"spec":{"unschedulable":true,"unschedulable":false}}',
     ['duplicate field "spec.unschedulable"']),
]  # fmt: skip


@pytest.mark.parametrize(("path", "type_", "patch", "complaints"), TWICE)
async def test_what_a_patch_says_twice_is_told_or_refused(
    client: httpx.AsyncClient, path: str, type_: str, patch: bytes, complaints: list[str]
) -> None:
    await client.post(MIGRATIONS, json=migration())
    await client.post(NODES, json=node())
    headers = {"content-type": type_}

    strict = await client.patch(f"{path}?fieldValidation=Strict", content=patch, headers=headers)
    warned = await client.patch(path, content=patch, headers=headers)
    ignored = await client.patch(f"{path}?fieldValidation=Ignore", content=patch, headers=headers)

    assert strict.status_code == 422
    assert strict.json()["message"].endswith(f"strict decoding error: {', '.join(complaints)}")
    assert (warned.status_code, warnings(warned)) == (200, [told(complaint) for complaint in complaints])
    assert (ignored.status_code, warnings(ignored)) == (200, [])


async def test_a_finalizer_that_others_might_use_is_warned_of_once(client: httpx.AsyncClient) -> None:
    warning = told(
        'metadata.finalizers: "bad": prefer a domain-qualified finalizer name to avoid accidental '
        "conflicts with other finalizer writers"
    )

    made = await client.post(f"{MIGRATIONS}?fieldValidation=Ignore", json=finalized(migration(), "bad", "a.io/b"))
    same = await client.put(MOVE, json=labelled(made.json(), a="b"))
    another = await client.patch(MOVE, content=b'{"metadata":{"finalizers":["bad"]}}', headers={"content-type": MERGE})

    assert warnings(made) == [warning]
    assert warnings(same) == []
    assert warnings(another) == []


async def test_an_owner_named_twice_is_kept_once(client: httpx.AsyncClient) -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node0", "uid": "1"}
    document = migration()
    document["metadata"]["ownerReferences"] = [owner, owner]

    made = await client.post(MIGRATIONS, json=document)
    again = await client.put(MOVE, json=made.json() | {"metadata": made.json()["metadata"] | document["metadata"]})

    warning = told(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may "
        "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: 1"
    )
    assert (made.status_code, warnings(made)) == (201, [warning])
    assert (again.status_code, warnings(again)) == (200, [warning])
    assert made.json()["metadata"]["ownerReferences"] == [owner]
    assert made.json()["metadata"]["resourceVersion"] == again.json()["metadata"]["resourceVersion"]


async def test_a_collection_is_deleted_by_its_selector_page_and_policy(client: httpx.AsyncClient) -> None:
    for number in range(6):
        await client.post(NODES, json=labelled(node(f"node{number}"), odd=str(number % 2)))

    async def names() -> list[str]:
        return [item["metadata"]["name"] for item in (await client.get(NODES)).json()["items"]]

    dry = await client.delete(f"{NODES}?labelSelector=odd%3D1&dryRun=All")
    assert len(dry.json()["items"]) == 3
    assert len(await names()) == 6

    await client.delete(f"{NODES}?labelSelector=odd%3D1&limit=2")
    assert await names() == ["node0", "node2", "node4", "node5"]

    await client.delete(f"{NODES}?fieldSelector=metadata.name%3Dnode5")
    assert await names() == ["node0", "node2", "node4"]

    answer = await client.request("DELETE", NODES, json={"propagationPolicy": "Foreground"})
    assert [item["metadata"].get("finalizers") for item in answer.json()["items"]] == [None, None, None]
    marked = (await client.get(NODES)).json()["items"]
    assert [item["metadata"]["finalizers"] for item in marked] == [["foregroundDeletion"]] * 3


async def test_a_later_delete_may_change_the_policy(client: httpx.AsyncClient) -> None:
    await client.post(NODES, json=node())
    await client.request("DELETE", f"{NODES}/node0", json={"propagationPolicy": "Foreground"})

    answer = await client.request("DELETE", f"{NODES}/node0", json={"propagationPolicy": "Background"})

    assert answer.json()["status"] == "Success"
    assert (await client.get(f"{NODES}/node0")).status_code == 404


async def test_a_namespace_is_deleted_twice_and_changes_once(client: httpx.AsyncClient) -> None:
    room: Document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "room"}}
    await client.post("/api/v1/namespaces", json=room)

    first = await client.delete("/api/v1/namespaces/room")
    second = await client.delete("/api/v1/namespaces/room")

    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()


async def test_namespaces_say_what_can_be_done_with_them(client: httpx.AsyncClient) -> None:
    listed: dict[str, Any] = {entry["name"]: entry for entry in (await client.get("/api/v1")).json()["resources"]}

    assert "deletecollection" not in listed["namespaces"]["verbs"]
    assert listed["namespaces/finalize"]["verbs"] == ["update"]
    assert "deletecollection" in listed["nodes"]["verbs"]


async def test_there_are_no_services(client: httpx.AsyncClient) -> None:
    asked = "/api/v1/namespaces/kube-system/services?labelSelector=kubernetes.io%2Fcluster-service%3Dtrue"
    named = await client.get("/api/v1/namespaces/default/services/x")

    assert (await client.get(asked)).json() == {"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": []}
    assert (named.status_code, named.json()["message"]) == (404, 'services "x" not found')
    assert (await client.post("/api/v1/namespaces/default/services", json={})).status_code == 405
    assert (await client.get(f"{KV}/namespaces/default/services")).status_code == 404


async def test_a_review_repeats_the_question(client: httpx.AsyncClient) -> None:
    spec = {"resourceAttributes": {"verb": "delete", "resource": "migrations", "group": "kubevirt.io"}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    answer = await client.post(path, json={"spec": spec})
    wrong = await client.post(path, content=b'{"spec":', headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["spec"]) == (201, spec)
    assert answer.json()["status"] == {"allowed": True}
    assert wrong.status_code == 400


async def test_a_create_in_a_namespace_that_went_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{KV}/namespaces/nowhere/virtualmachines", json=machine())

    assert (answer.status_code, answer.json()["message"]) == (404, 'namespaces "nowhere" not found')
