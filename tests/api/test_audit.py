"""Every write is told, with who asked, from where, for what, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from app.api.application import create_api
from app.api.audit import Audit, JsonLines
from app.api.requesters import Requesters
from app.kinds import ALL, MIGRATION
from app.store.postgres import PostgresStore
from tests.api.builders import MIGRATIONS, NODES, make_namespace, migration, node

pytestmark = pytest.mark.postgres


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "audit.jsonl"


@pytest.fixture
async def requesters(store: PostgresStore) -> AsyncIterator[Requesters]:
    made = Requesters(store.history, (MIGRATION.resource,))
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.wait([running])


@pytest.fixture
async def client(store: PostgresStore, lines: Path, requesters: Requesters) -> AsyncIterator[httpx.AsyncClient]:
    await make_namespace(store, "default")
    sink = JsonLines(str(lines))
    api = create_api(store, ALL, version="v1.36.0+drover-test", audit=Audit([requesters, sink]))
    transport = httpx.ASGITransport(app=api, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://drover", headers={"user-agent": "t/1"}
    ) as opened:
        yield opened
    sink.close()


def told(lines: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines.read_bytes().splitlines()]


async def test_a_create_is_told_under_the_name_of_its_answer(client: httpx.AsyncClient, lines: Path) -> None:
    answer = await client.post(MIGRATIONS, json=migration("m"))

    (event,) = told(lines)
    created = answer.json()["metadata"]
    assert event.pop("auditID") == answer.headers["audit-id"]
    assert datetime.fromisoformat(event.pop("requestReceivedTimestamp")) <= datetime.fromisoformat(
        event.pop("stageTimestamp")
    )
    assert event == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "stage": "ResponseComplete",
        "requestURI": MIGRATIONS,
        "verb": "create",
        "user": {"username": "system:admin", "groups": ["system:masters", "system:authenticated"]},
        "sourceIPs": ["192.0.2.7"],
        "userAgent": "t/1",
        "responseStatus": {"metadata": {}, "code": 201},
        "objectRef": {
            "resource": "migrations", "namespace": "default", "name": "m", "uid": created["uid"],
            "apiGroup": "kubevirt.io", "apiVersion": "v1alpha1", "resourceVersion": created["resourceVersion"],
        },
    }  # fmt: skip


async def test_reads_are_not_told_and_refusals_are(client: httpx.AsyncClient, lines: Path) -> None:
    await client.get(NODES)
    await client.delete(f"{NODES}/nobody?dryRun=All", headers={"audit-id": "mine"})
    await client.post(NODES, content=b"{")
    await client.post(NODES, json=node("node0"))

    missing, broken, made = told(lines)
    assert (missing["auditID"], missing["verb"], missing["objectRef"]["name"]) == ("mine", "delete", "nobody")
    assert missing["requestURI"].endswith("?dryRun=All")
    assert missing["responseStatus"] == {
        "metadata": {}, "code": 404, "status": "Failure", "reason": "NotFound", "message": 'nodes "nobody" not found'
    }  # fmt: skip
    assert (broken["responseStatus"]["code"], broken["responseStatus"]["reason"]) == (400, "BadRequest")
    assert made["objectRef"]["name"] == "node0"


async def test_reads_are_told_where_they_are_wanted(store: PostgresStore, lines: Path) -> None:
    sink = JsonLines(str(lines))
    api = create_api(store, ALL, version="v1.36.0+drover-test", audit=Audit([sink], reads=True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as client:
        await client.get(NODES)
    sink.close()

    assert [event["verb"] for event in told(lines)] == ["list"]


def rotated(lines: Path) -> None:
    """As another program does. Nobody else may read it."""
    assert lines.stat().st_mode & 0o777 == 0o600
    lines.rename(lines.with_suffix(".1"))


async def test_a_file_that_was_moved_away_is_made_anew(client: httpx.AsyncClient, lines: Path) -> None:
    await client.post(NODES, json=node("node0"))
    rotated(lines)
    await client.post(NODES, json=node("node1"))

    assert [event["objectRef"]["name"] for event in told(lines.with_suffix(".1"))] == ["node0"]
    assert [event["objectRef"]["name"] for event in told(lines)] == ["node1"]


async def test_a_file_without_room_stops_no_request(store: PostgresStore) -> None:
    await make_namespace(store, "default")
    sink = JsonLines("/dev/full")
    api = create_api(store, ALL, version="v1.36.0+drover-test", audit=Audit([sink]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as client:
        answer = await client.post(NODES, json=node("node0"))
    sink.close()

    assert (answer.status_code, sink.failures) == (201, 1)


async def test_who_asked_for_a_migration_is_kept(
    client: httpx.AsyncClient, store: PostgresStore, requesters: Requesters
) -> None:
    made = await client.post(MIGRATIONS, json=migration("m"))
    await client.post(MIGRATIONS, json=migration("m"))
    await client.post(NODES, json=node("node0"))
    merge = {"content-type": "application/merge-patch+json"}
    await client.patch(f"{MIGRATIONS}/m", content=b'{"spec": {"cancel": true}}', headers=merge)
    uid = UUID(made.json()["metadata"]["uid"])

    async with asyncio.timeout(10):
        while len(found := await store.history.requests([uid])) < 2:  # noqa: ASYNC110  (another task writes)
            await asyncio.sleep(0.02)

    assert [(one.verb, one.username, one.address, one.code) for one in found] == [
        ("create", "system:admin", "192.0.2.7", 201),
        ("patch", "system:admin", "192.0.2.7", 200),
    ]
