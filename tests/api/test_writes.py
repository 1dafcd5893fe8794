"""Writes that take more than one request to show: names, races, hooks, namespaces, health."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from app.api.application import create_api
from app.kinds import ALL
from app.machinery.errors import ApiError
from app.machinery.objects import Document
from app.store.base import Key, Scope, Store, Transaction
from tests.api.builders import (
    KV,
    MACHINES,
    MIGRATIONS,
    NODES,
    PODS,
    machine,
    make_namespace,
    make_pod,
    migration,
    node,
    pod,
)

MERGE = {"content-type": "application/merge-patch+json"}


@asynccontextmanager
async def hooked(store: Store, **hooks: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API with hooks of the test's own."""
    await make_namespace(store, "default")
    transport = httpx.ASGITransport(app=create_api(store, ALL, version="v1.36.0", **hooks))
    async with httpx.AsyncClient(transport=transport, base_url="http://drover") as opened:
        yield opened


async def test_names_are_generated_until_one_is_free(store: Store) -> None:
    suffixes = iter(["aaaaa", "aaaaa", "bbbbb", "ccccc", "ccccc"])
    document = migration()
    document["metadata"] = {"generateName": "m-"}

    async with hooked(store, suffix=lambda: next(suffixes)) as client:
        first = await client.post(MIGRATIONS, json=document)
        second = await client.post(MIGRATIONS, json=document)

    assert first.json()["metadata"]["name"] == "m-aaaaa"
    assert second.json()["metadata"]["name"] == "m-bbbbb"
    assert second.json()["metadata"]["generateName"] == "m-"


async def test_a_generated_name_that_is_never_free_is_a_conflict(store: Store) -> None:
    document = migration()
    document["metadata"] = {"generateName": "m-"}

    async with hooked(store, suffix=lambda: "aaaaa") as client:
        await client.post(MIGRATIONS, json=document)
        answer = await client.post(MIGRATIONS, json=document)

    assert answer.status_code == 409
    assert answer.json()["message"].endswith("the server was not able to generate a unique name for the object")


async def test_patches_that_race_all_hold(client: httpx.AsyncClient) -> None:
    await client.post(NODES, json=node())

    def patch(number: int) -> bytes:
        return json.dumps({"metadata": {"labels": {f"l{number}": "x"}}}).encode()

    answers = await asyncio.gather(
        *(client.patch(f"{NODES}/node0", content=patch(number), headers=MERGE) for number in range(4))
    )

    assert [answer.status_code for answer in answers] == [200] * 4
    labels = (await client.get(f"{NODES}/node0")).json()["metadata"]["labels"]
    assert {f"l{number}" for number in range(4)} <= set(labels)


async def test_of_two_updates_from_one_version_the_second_loses(client: httpx.AsyncClient) -> None:
    made = (await client.post(MACHINES, json=machine())).json()

    first = await client.put(f"{MACHINES}/testvm", json={**made, "spec": {**made["spec"], "nodeSelector": {"a": "1"}}})
    second = await client.put(f"{MACHINES}/testvm", json={**made, "spec": {**made["spec"], "nodeSelector": {"a": "2"}}})

    assert (first.status_code, second.status_code) == (200, 409)
    assert second.json()["details"] == {"name": "testvm", "group": "kubevirt.io", "kind": "virtualmachines"}


async def test_an_update_cannot_write_the_status_nor_the_status_the_rest(client: httpx.AsyncClient) -> None:
    made = (await client.post(MIGRATIONS, json=migration())).json()
    path = f"{MIGRATIONS}/testvm-migration"

    main = (await client.put(path, json={**made, "status": {"phase": "Failed"}})).json()
    below = (await client.put(f"{path}/status", json={**made, "spec": {}, "status": {"phase": "Running"}})).json()

    assert "status" not in main
    assert main["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert below["status"] == {"phase": "Running"}
    assert below["spec"] == made["spec"]
    assert below["metadata"]["generation"] == 1


async def test_nothing_is_made_in_a_namespace_that_is_going(client: httpx.AsyncClient) -> None:
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other", "finalizers": ["a.io/b"]}}
    await client.post("/api/v1/namespaces", json=other)
    await client.delete("/api/v1/namespaces/other")

    answer = await client.post(f"{KV}/namespaces/other/virtualmachines", json=machine())

    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'virtualmachines.kubevirt.io "testvm" is forbidden: unable to create new content in namespace other because '
        "it is being terminated"
    )


async def test_a_guard_judges_a_delete_in_its_transaction(store: Store) -> None:
    async def guard(transaction: Transaction, document: Document) -> None:
        listing = await transaction.list(Scope("virtualmachines.kubevirt.io"))
        if listing.items:
            raise ApiError(409, "Conflict", f"{document['metadata']['name']} runs {len(listing.items)} guest")

    async with hooked(store, guards={"Node": guard}) as client:
        await client.post(NODES, json=node())
        await client.post(MACHINES, json=machine())
        refused = await client.delete(f"{NODES}/node0")
        refused_too = await client.delete(NODES)
        await client.delete(f"{MACHINES}/testvm")
        await client.patch(f"{MACHINES}/testvm", content=b'{"metadata":{"finalizers":null}}', headers=MERGE)
        allowed = await client.delete(f"{NODES}/node0")

    assert (refused.status_code, refused.json()["message"]) == (409, "node0 runs 1 guest")
    assert refused_too.status_code == 409
    assert (allowed.status_code, allowed.json()["status"]) == (200, "Success")


async def test_a_dry_run_of_a_judged_delete_deletes_nothing(store: Store) -> None:
    async def guard(_transaction: Transaction, _document: Document) -> None:
        return

    async with hooked(store, guards={"Node": guard}) as client:
        await client.post(NODES, json=node())
        answer = await client.delete(f"{NODES}/node0?dryRun=All")
        still = await client.get(f"{NODES}/node0")

    assert (answer.status_code, still.status_code) == (200, 200)


async def test_a_subresource_is_answered_by_its_handler(store: Store) -> None:
    asked: list[tuple[str, Key, Document, bool]] = []

    async def evict(verb: str, key: Key, document: Document, dry_run: bool) -> Document:
        asked.append((verb, key, document, dry_run))
        raise ApiError(429, "TooManyRequests", "draining is not built yet", {})

    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod0", "namespace": "default"}}
    async with hooked(store, handlers={("Pod", "eviction"): evict}) as client:
        await make_pod(store, pod("pod0"))
        answer = await client.post(f"{PODS}/pod0/eviction?dryRun=All", json=eviction)

    assert (answer.status_code, answer.json()["message"]) == (429, "draining is not built yet")
    assert asked == [("create", Key("pods", "default", "pod0"), eviction, True)]


async def test_readiness_follows_the_checks_and_liveness_does_not(store: Store) -> None:
    async def broken() -> None:
        raise OSError("no database")

    async with hooked(store, checks={"store": broken}) as client:
        ready = await client.get("/readyz")
        excluded = await client.get("/readyz?exclude=store")
        one = await client.get("/readyz/store")
        alive = await client.get("/livez?verbose")

    assert (ready.status_code, ready.text) == (
        500, "[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n",
    )  # fmt: skip
    assert (excluded.status_code, excluded.text) == (200, "ok")
    assert one.status_code == 500
    assert alive.text == "[+]ping ok\nlivez check passed\n"


async def test_what_nobody_foresaw_is_a_status_too(store: Store) -> None:
    async def broken(_verb: str, _key: Key, _document: Document, _dry_run: bool) -> Document:
        raise KeyError("secret")

    async with hooked(store, handlers={("Pod", "eviction"): broken}) as client:
        answer = await client.post(f"{PODS}/pod0/eviction", json={})
        after = await client.get(NODES)

    assert answer.status_code == 500
    assert answer.json()["message"].startswith("Internal error occurred: see the server's log for incident ")
    assert "secret" not in answer.text
    assert after.status_code == 200


async def test_a_store_that_is_away_is_unavailable(store: Store) -> None:
    async with hooked(store) as client:
        await store.close()
        answer = await client.get(f"{NODES}/node0")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["reason"] == "ServiceUnavailable"


async def test_openapi_is_cached_under_its_hash(client: httpx.AsyncClient) -> None:
    index = (await client.get("/openapi/v3")).json()
    address = index["paths"]["apis/kubevirt.io/v1alpha1"]["serverRelativeURL"]

    document = await client.get(address)
    wrong = await client.get("/openapi/v3/apis/kubevirt.io/v1alpha1?hash=OLD")
    again = await client.get(address, headers={"if-none-match": document.headers["etag"]})
    plain = await client.get("/openapi/v3/apis/kubevirt.io/v1alpha1")

    assert document.status_code == 200
    assert "immutable" in document.headers["cache-control"]
    assert (wrong.status_code, wrong.headers["location"]) == (301, address)
    assert (again.status_code, again.content) == (304, b"")
    assert plain.headers["cache-control"] == "no-cache, private"
