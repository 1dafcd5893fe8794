"""What a cluster's own controllers ask of every group: metadata alone, protobuf first, streams that begin with what is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from tests.cluster.scene import Cluster, drover
from tests.cluster.test_kubectl import NODE, machine

Document = dict[str, Any]

GROUP = "/apis/kubevirt.io/v1alpha1"
LIST = f"{GROUP}/namespaces/team/virtualmachines"


PROTOBUF = "application/vnd.kubernetes.protobuf"


def metadata(kind: str) -> str:
    form = f"as={kind};g=meta.k8s.io;v=v1"
    return f"application/json;{form},application/json"


def preferring_protobuf(kind: str) -> str:
    """As client-go's metadata client asks: garbage collection, quotas, namespaces that end."""
    return f"{PROTOBUF};as={kind};g=meta.k8s.io;v=v1,{metadata(kind)}"


@pytest.fixture
async def http(behind: Cluster, postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Requests of the administrator through the cluster."""
    async with drover(behind, postgres_url):
        await behind.available()
        await behind.kubectl("admin")("create", "-f", "-", given=machine())
        async with behind.http("admin") as client:
            yield client


async def test_every_resource_can_be_listed_and_watched_as_metadata(http: httpx.AsyncClient) -> None:
    resources = (await http.get(GROUP)).json()["resources"]
    collected = [one for one in resources if {"delete", "list", "watch"} <= set(one["verbs"])]
    assert {one["name"] for one in collected} >= {"migrations", "nodes", "pods", "virtualmachines", "migrationpolicies"}

    for one in collected:
        listed = await http.get(f"{GROUP}/{one['name']}", headers={"accept": metadata("PartialObjectMetadataList")})
        assert listed.status_code == 200, one
        assert listed.headers["content-type"] == "application/json"
        assert listed.json()["kind"] == "PartialObjectMetadataList"
        assert listed.json()["metadata"]["resourceVersion"].isdecimal()
        accept = preferring_protobuf("PartialObjectMetadataList")
        listed = await http.get(f"{GROUP}/{one['name']}", headers={"accept": accept})
        assert listed.headers["content-type"].partition(";")[0] == PROTOBUF
        assert listed.content[:4] == b"k8s\0" and b"PartialObjectMetadataList" in listed.content


async def test_a_metadata_watch_begins_with_what_is_there_and_goes_on(http: httpx.AsyncClient) -> None:
    query = {
        "watch": "true", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true",
        "timeoutSeconds": "20",
    }  # fmt: skip
    accept = metadata("PartialObjectMetadata")
    async with http.stream("GET", f"{GROUP}/virtualmachines", params=query, headers={"accept": accept}) as response:
        lines = response.aiter_lines()
        async with asyncio.timeout(15):
            first = orjson.loads(await anext(lines))
            bookmark = orjson.loads(await anext(lines))
            await http.post(LIST, json=machine("other"))
            second = orjson.loads(await anext(lines))

    assert (first["type"], first["object"]["kind"]) == ("ADDED", "PartialObjectMetadata")
    assert "spec" not in first["object"]
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (second["type"], second["object"]["metadata"]["name"]) == ("ADDED", "other")


async def test_a_metadata_watch_in_protobuf_comes_through_as_it_is_sent(http: httpx.AsyncClient) -> None:
    accept = preferring_protobuf("PartialObjectMetadata")
    query = {"watch": "true", "timeoutSeconds": "1"}

    streamed = await http.get(f"{GROUP}/virtualmachines", params=query, headers={"accept": accept})

    assert streamed.status_code == 200
    length = int.from_bytes(streamed.content[:4], "big")
    assert len(streamed.content) == 4 + length and b"testvm" in streamed.content


async def test_one_object_is_deleted_with_preconditions(http: httpx.AsyncClient) -> None:
    """The garbage collector's delete: only that very object, and in the background."""
    found = (await http.get(f"{LIST}/testvm", headers={"accept": metadata("PartialObjectMetadata")})).json()
    wrong = {"preconditions": {"uid": "6b9e4f6e-0000-4000-8000-000000000000"}, "propagationPolicy": "Background"}
    right = {"preconditions": {"uid": found["metadata"]["uid"]}, "propagationPolicy": "Background"}

    assert (await http.request("DELETE", f"{LIST}/testvm", json=wrong)).status_code == 409
    assert (await http.request("DELETE", f"{LIST}/testvm", json=right)).status_code == 200


async def test_a_stream_through_the_cluster_ends_with_its_client_and_with_its_time(
    http: httpx.AsyncClient, behind: Cluster
) -> None:
    async with http.stream("GET", LIST, params={"watch": "true", "timeoutSeconds": "1"}) as response:
        lines = [line async for line in response.aiter_lines()]

    assert len(lines) == 1
    async with behind.direct("admin") as direct:
        for _ in range(3):
            async with http.stream("GET", LIST, params={"watch": "true"}) as response:
                await anext(response.aiter_lines())
        async with asyncio.timeout(10):
            while await _open_streams(direct):  # noqa: ASYNC110  (a count that tells nobody)
                await asyncio.sleep(0.05)


async def _open_streams(direct: httpx.AsyncClient) -> float:
    """How many watches Drover counts."""
    text = (await direct.get("/metrics")).text
    counted = [line for line in text.splitlines() if line.startswith("apiserver_longrunning_requests{")]
    assert counted, text
    return sum(float(line.rpartition(" ")[2]) for line in counted)


async def test_a_large_object_comes_through_whole(http: httpx.AsyncClient) -> None:
    big = machine("big", annotations={"example.org/note": "x" * 200_000})

    created = await http.post(LIST, json=big)

    assert created.status_code == 201
    assert (await http.get(f"{LIST}/big")).json()["metadata"]["annotations"] == big["metadata"]["annotations"]


async def test_odd_queries_arrive_as_they_were_meant(http: httpx.AsyncClient, behind: Cluster) -> None:
    listed = await http.get(
        LIST, params={"labelSelector": "a in (b,c),!d", "fieldSelector": "metadata.name=testvm", "limit": "1"}
    )

    assert listed.status_code == 200 and listed.json()["items"] == []
    assert behind.kube.aggregator.asked[-1][2] == (
        f"{LIST}?fieldSelector=metadata.name%3Dtestvm&labelSelector=a+in+%28b%2Cc%29%2C%21d&limit=1"
    )


async def test_a_node_is_read_by_the_cluster_as_ours(http: httpx.AsyncClient) -> None:
    assert (await http.post(f"{GROUP}/nodes", json=NODE)).status_code == 201

    found = (await http.get(f"{GROUP}/nodes/node0", headers={"accept": metadata("PartialObjectMetadata")})).json()

    assert found["kind"] == "PartialObjectMetadata" and found["metadata"]["name"] == "node0"
    assert (await http.get("/api/v1/nodes/node0")).status_code == 404
