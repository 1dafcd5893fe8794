"""One id leads from a client's request to our log, and one uid from a Migration through all that is logged of it."""

from __future__ import annotations

import httpx
import pytest
from structlog.testing import capture_logs

from app.api.application import create_api
from app.api.requestlog import Told
from app.kinds import ALL
from app.store.base import Store
from tests.api.builders import make_namespace

pytestmark = pytest.mark.postgres
MIGRATIONS = "/apis/kubevirt.io/v1alpha1/namespaces/default/migrations"


async def logged(store: Store, told: Told) -> list[tuple[str, str, int]]:
    """Verb, resource and code of what is told of a create, a get, a missing one and a list."""
    await make_namespace(store, "default")
    api = create_api(store, ALL, version="v1.36.0+test", logged=told)
    body = {"apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": "m1"}}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as client:
        with capture_logs() as lines:
            made = await client.post(
                MIGRATIONS, json={**body, "spec": {"selector": {"name": "a"}}}, headers={"audit-id": "from-the-client"}
            )
            await client.get(f"{MIGRATIONS}/m1")
            await client.get(f"{MIGRATIONS}/missing")
            listed = await client.get(MIGRATIONS)
    assert made.headers["audit-id"] == "from-the-client"
    requests = [line for line in lines if line["event"] == "request"]
    for line in requests:
        assert line["user"] == "system:admin"
        assert line["latency_ms"] >= 0
    ids = [line["audit_id"] for line in requests]
    if told is Told.ALL:
        assert ids[0] == "from-the-client"
        assert ids[-1] == listed.headers["audit-id"]
    return [(line["verb"], line["resource"], line["code"]) for line in requests]


async def test_nothing_is_told_of_what_went_well(store: Store) -> None:
    assert await logged(store, Told.FAILED) == []


async def test_writes_are_told_if_they_are_asked_for(store: Store) -> None:
    assert await logged(store, Told.WRITES) == [("create", "migrations", 201)]


async def test_all_are_told_if_they_are_asked_for(store: Store) -> None:
    assert await logged(store, Told.ALL) == [
        ("create", "migrations", 201),
        ("get", "migrations", 200),
        ("get", "migrations", 404),
        ("list", "migrations", 200),
    ]


async def test_what_failed_because_of_us_is_told(store: Store) -> None:
    await make_namespace(store, "default")
    api = create_api(store, ALL, version="v1.36.0+test")
    await store.close()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as client:
        with capture_logs() as lines:
            answer = await client.get(f"{MIGRATIONS}/m1")

    assert answer.status_code == 503
    told = [line for line in lines if line["event"] == "request"]
    assert [(line["audit_id"], line["name"], line["code"]) for line in told] == [
        (answer.headers["audit-id"], "m1", 503)
    ]
