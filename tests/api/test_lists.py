"""Lists: pages of one snapshot, old and future revisions, large answers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx

from app.store.base import Store
from tests.api.builders import MACHINES, NODES, labelled, machine, node


async def names(client: httpx.AsyncClient, **parameters: str) -> tuple[list[str], dict[str, Any]]:
    answer = await client.get(NODES, params=parameters)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    return [item["metadata"]["name"] for item in document["items"]], document["metadata"]


async def make_nodes(client: httpx.AsyncClient, count: int) -> None:
    for number in range(count):
        await client.post(NODES, json=labelled(node(f"node{number}"), even=str(number % 2 == 0)))


async def test_pages_are_of_one_snapshot(client: httpx.AsyncClient) -> None:
    await make_nodes(client, 5)

    first, metadata = await names(client, limit="2")
    await client.post(NODES, json=node("node00"))
    await client.delete(f"{NODES}/node3")
    second, following = await names(client, limit="2", **{"continue": metadata["continue"]})
    third, last = await names(client, limit="2", **{"continue": following["continue"]})

    assert (first, second, third) == (["node0", "node1"], ["node2", "node3"], ["node4"])
    assert metadata["remainingItemCount"] == 3
    assert {metadata["resourceVersion"], following["resourceVersion"], last["resourceVersion"]} == {
        metadata["resourceVersion"]
    }
    assert "continue" not in last


async def test_pages_of_a_selection_are_full(client: httpx.AsyncClient) -> None:
    await make_nodes(client, 6)

    first, metadata = await names(client, limit="2", labelSelector="even=True")
    second, _ = await names(client, limit="2", labelSelector="even=True", **{"continue": metadata["continue"]})

    assert (first, second) == (["node0", "node2"], ["node4"])
    assert "remainingItemCount" not in metadata


async def test_an_expired_page_comes_with_a_token_that_goes_on(client: httpx.AsyncClient, store: Store) -> None:
    await make_nodes(client, 3)
    _, metadata = await names(client, limit="1")
    await make_nodes(client, 0)
    await client.post(NODES, json=node("node9"))
    await client.post(NODES, json=node("node8"))
    await store.compact(older_than=timedelta(0), keep=0)

    expired = await client.get(NODES, params={"limit": "1", "continue": metadata["continue"]})
    rest, later = await names(client, **{"continue": expired.json()["metadata"]["continue"]})

    assert expired.status_code == 410
    assert expired.json()["reason"] == "Expired"
    assert expired.json()["message"].startswith("The provided continue parameter is too old")
    assert rest == ["node1", "node2", "node8", "node9"]
    assert later["resourceVersion"] != metadata["resourceVersion"]


async def test_a_revision_can_be_asked_for_exactly(client: httpx.AsyncClient) -> None:
    await make_nodes(client, 2)
    _, metadata = await names(client)
    await client.delete(f"{NODES}/node0")

    exact, then = await names(client, resourceVersion=metadata["resourceVersion"], resourceVersionMatch="Exact")
    newest, now = await names(client, resourceVersion=metadata["resourceVersion"])

    assert (exact, then["resourceVersion"]) == (["node0", "node1"], metadata["resourceVersion"])
    assert newest == ["node1"]
    assert int(now["resourceVersion"]) > int(then["resourceVersion"])


async def test_an_exact_revision_that_is_compacted_is_expired(client: httpx.AsyncClient, store: Store) -> None:
    await make_nodes(client, 3)
    await store.compact(older_than=timedelta(0), keep=0)

    answer = await client.get(NODES, params={"resourceVersion": "1", "resourceVersionMatch": "Exact"})

    assert answer.status_code == 410
    assert answer.json()["message"] == "The resourceVersion for the provided list is too old."


async def test_a_revision_far_ahead_times_out(client: httpx.AsyncClient) -> None:
    listed, got = await asyncio.gather(
        client.get(NODES, params={"resourceVersion": "99999999"}),
        client.get(f"{NODES}/node0", params={"resourceVersion": "99999999"}),
    )

    for answer in (listed, got):
        assert answer.status_code == 504
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["message"].startswith("Timeout: Too large resource version: 99999999, current: ")
        assert answer.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_a_revision_that_comes_soon_is_waited_for(client: httpx.AsyncClient, store: Store) -> None:
    ahead = await store.objects.revision() + 1
    asking = asyncio.create_task(names(client, resourceVersion=str(ahead)))

    await client.post(NODES, json=node("node0"))

    assert (await asking)[0] == ["node0"]


async def test_a_token_cannot_be_mixed_with_a_revision(client: httpx.AsyncClient) -> None:
    await make_nodes(client, 2)
    _, metadata = await names(client, limit="1")

    answer = await client.get(NODES, params={"continue": metadata["continue"], "resourceVersion": "1"})

    assert answer.status_code == 400
    assert answer.json()["message"] == "specifying resource version is not allowed when using continue"


async def test_large_answers_are_compressed_and_people_get_indented_ones(client: httpx.AsyncClient) -> None:
    for number in range(3):
        document = machine(f"vm{number}")
        document["metadata"]["annotations"] = {"big": "x" * 60_000}
        await client.post(MACHINES, json=document)

    large = await client.get(MACHINES, headers={"accept-encoding": "gzip"})
    plain = await client.get(MACHINES, headers={"accept-encoding": "identity"})
    person = await client.get(f"{MACHINES}/vm0", headers={"user-agent": "curl/8"})
    asked = await client.get(f"{MACHINES}/vm0?pretty=false", headers={"user-agent": "curl/8", "audit-id": "abc"})

    assert large.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert large.json() == plain.json()
    assert person.text.startswith('{\n  "apiVersion"')
    assert asked.text.startswith('{"apiVersion"')
    assert asked.headers["audit-id"] == "abc"
