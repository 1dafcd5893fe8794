"""Who owns which field, as the API keeps it: on creates, updates and patches, and what apply makes of races and forms."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from app.machinery.objects import Document
from app.store.base import Key, Store, edit
from tests.api.builders import KV, MACHINES, MIGRATIONS, NODES, labelled, machine, migration, node

APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}
JSON = {"content-type": "application/json-patch+json"}
TM = f"{MACHINES}/testvm"


async def apply(client: httpx.AsyncClient, document: Document, path: str = TM, **parameters: str) -> httpx.Response:
    query = {"fieldManager": "m1"} | parameters
    return await client.patch(path, params=query, content=orjson.dumps(document), headers=APPLY)


def entries(answer: httpx.Response) -> dict[str, Document]:
    return {entry["manager"]: entry for entry in answer.json()["metadata"].get("managedFields", [])}


async def test_a_creator_owns_what_it_said(client: httpx.AsyncClient) -> None:
    answer = await client.post(MIGRATIONS, json=migration())

    (entry,) = answer.json()["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("tests", "Update", "kubevirt.io/v1alpha1")
    assert entry["fieldsV1"] == {"f:spec": {".": {}, "f:selector": {".": {}, "f:name": {}}}}
    assert entry["time"] == answer.json()["metadata"]["creationTimestamp"]


@pytest.mark.parametrize(
    ("headers", "query", "manager"),
    [
        ({"user-agent": "kubectl/v1.37.1 (linux)"}, {}, "kubectl"),
        ({"user-agent": ""}, {}, "unknown"),
        ({"user-agent": "x" * 200}, {}, "x" * 128),
        ({"user-agent": "kubectl/v1"}, {"fieldManager": "me"}, "me"),
    ],
)
async def test_the_manager_is_named_or_is_the_program(
    client: httpx.AsyncClient, headers: dict[str, str], query: dict[str, str], manager: str
) -> None:
    answer = await client.post(NODES, json=node(), headers=headers, params=query)

    assert list(entries(answer)) == [manager]


async def test_a_put_owns_what_it_changes_and_no_change_is_none(client: httpx.AsyncClient) -> None:
    created = (await client.post(MACHINES, json=machine())).json()
    document = labelled(created, a="b")

    changed = await client.put(TM, json=document, params={"fieldManager": "putter"})
    same = await client.put(TM, json=changed.json(), params={"fieldManager": "another"})

    assert entries(changed)["putter"]["fieldsV1"] == {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}
    assert same.json() == changed.json()


async def test_a_client_that_does_not_know_owners_keeps_them(client: httpx.AsyncClient) -> None:
    created = (await client.post(MACHINES, json=machine())).json()
    del created["metadata"]["managedFields"]

    answer = await client.put(TM, json=labelled(created, a="b"), params={"fieldManager": "putter"})

    assert set(entries(answer)) == {"tests", "putter"}


async def test_owners_are_replaced_by_a_json_patch(client: httpx.AsyncClient) -> None:
    created = (await client.post(MACHINES, json=machine())).json()
    entry = {**created["metadata"]["managedFields"][0], "manager": "kubectl", "operation": "Apply"}
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": created["metadata"]["resourceVersion"]},
    ]

    answer = await client.patch(TM, content=orjson.dumps(patch), headers=JSON)

    assert answer.status_code == 200
    assert answer.json()["metadata"]["managedFields"] == [entry]
    assert answer.json()["metadata"]["resourceVersion"] != created["metadata"]["resourceVersion"]


async def test_a_status_write_owns_status_alone(client: httpx.AsyncClient) -> None:
    await client.post(MIGRATIONS, json=migration())
    patch = {"status": {"phase": "Running"}, "metadata": {"managedFields": [{}], "labels": {"a": "b"}}}

    answer = await client.patch(
        f"{MIGRATIONS}/testvm-migration/status", content=orjson.dumps(patch), headers=MERGE | {"user-agent": "c/1"}
    )

    entry = entries(answer)["c"]
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {".": {}, "f:phase": {}}})
    assert "tests" in entries(answer)


async def test_what_controllers_write_leaves_the_owners_alone(client: httpx.AsyncClient, store: Store) -> None:
    before = await apply(client, machine(nodeSelector={"a": "b"}))
    await edit(store.objects, Key("virtualmachines.kubevirt.io", "default", "testvm"), lambda d: labelled(d, seen="1"))

    after = await apply(client, machine())

    assert after.json()["metadata"]["labels"] == {"seen": "1"}
    assert "nodeSelector" not in after.json()["spec"]
    assert set(entries(before)) == set(entries(after)) == {"m1"}


async def test_an_apply_may_be_yaml(client: httpx.AsyncClient) -> None:
    text = """
apiVersion: kubevirt.io/v1alpha1
kind: Migration
metadata:
  name: m
  labels: {a: "b"}
spec:
  selector:
    name: testvm
"""
    answer = await client.patch(f"{MIGRATIONS}/m?fieldManager=m1", content=text.encode(), headers=APPLY)

    assert answer.status_code == 201
    assert answer.json()["metadata"]["name"] == "m"
    assert answer.json()["spec"] == {"selector": {"name": "testvm"}}


async def test_a_field_that_comes_twice_is_told_or_refused(client: httpx.AsyncClient) -> None:
    text = orjson.dumps(node(unschedulable=True)).replace(b'"unschedulable"', b'"unschedulable":true,"unschedulable"')
    path = f"{NODES}/node0?fieldManager=m1"

    warned = await client.patch(f"{path}&dryRun=All", content=text, headers=APPLY)
    refused = await client.patch(f"{path}&fieldValidation=Strict", content=text, headers=APPLY)

    assert warned.headers["warning"] == '299 - "line 1: key \\"unschedulable\\" already set in map"'
    assert (refused.status_code, refused.json()["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "invalid object type: /, Kind="),
        (
            b"[]",
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: "
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (b'{"apiVersion": 1, "kind": []}', "invalid object type: /, Kind="),
        (
            b'{"apiVersion":"kubevirt.io/v1alpha1","kind":"Nodes"}',
            "invalid object type: kubevirt.io/v1alpha1, Kind=Nodes",
        ),
    ],
)
async def test_a_body_that_is_no_object_of_the_kind_is_refused(
    client: httpx.AsyncClient, body: bytes, says: str
) -> None:
    answer = await client.patch(f"{TM}?fieldManager=m1", content=body, headers=APPLY)

    assert (answer.status_code, answer.json()["message"]) == (400, says)


async def test_an_object_is_made_by_one_of_many_applies(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(apply(client, labelled(machine(), **{f"l{n}": "x"}), fieldManager=f"m{n}") for n in range(4))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    seen = await client.get(TM)
    assert seen.json()["metadata"]["labels"] == {f"l{n}": "x" for n in range(4)}
    assert set(entries(seen)) == {"m0", "m1", "m2", "m3"}


async def test_a_dry_run_shows_the_owners_and_keeps_none(client: httpx.AsyncClient) -> None:
    await client.post(MACHINES, json=machine())

    dry = await apply(client, labelled(machine(), a="b"), dryRun="All")

    assert set(entries(dry)) == {"m1", "tests"}
    assert set(entries(await client.get(TM))) == {"tests"}


async def test_a_conflict_tells_each_manager_and_field(client: httpx.AsyncClient) -> None:
    await client.post(MACHINES, json=labelled(machine(), a="b"))

    answer = await apply(client, labelled(machine(), a="c"))

    why = 'conflict with "tests" using kubevirt.io/v1alpha1'
    assert answer.status_code == 409
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"Apply failed with 1 conflict: {why}: .metadata.labels.a",
        "reason": "Conflict",
        "details": {
            "causes": [{"reason": "FieldManagerConflict", "message": why, "field": ".metadata.labels.a"}],
        },
        "code": 409,
    }


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"name": "testvm", "resourceVersion": "1"}, 409),
        ({"name": "other"}, 400),
        ({"name": "testvm", "namespace": "other"}, 400),
        ({"name": "testvm", "uid": "1"}, 422),
    ],
)
async def test_an_apply_is_of_the_object_in_the_url(
    client: httpx.AsyncClient, metadata: dict[str, Any], code: int
) -> None:
    await apply(client, machine())

    assert (await apply(client, {**machine(), "metadata": metadata})).status_code == code


async def test_nodes_are_applied_under_either_version(client: httpx.AsyncClient) -> None:
    core = await apply(client, labelled(node(), a="b"), f"{NODES}/node0")
    ours = {**labelled(node(), a="b"), "apiVersion": "kubevirt.io/v1alpha1"}
    again = await apply(client, ours, f"{KV}/nodes/node0")

    assert (core.status_code, again.status_code) == (201, 200)
    assert again.json()["apiVersion"] == "kubevirt.io/v1alpha1"
    assert [entry["apiVersion"] for entry in entries(again).values()] == ["kubevirt.io/v1alpha1"]
    assert again.json()["metadata"]["labels"]["a"] == "b"
