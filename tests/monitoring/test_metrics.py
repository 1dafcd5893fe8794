"""A service tells what it did: scraped after real requests, over a real database, with its controllers running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.api.auth.base import Peer
from app.api.requests import PEER
from app.settings import Settings
from app.wiring.service import running
from tests.monitoring.scraped import Scrape, problems

pytestmark = pytest.mark.postgres

MIGRATIONS = "/apis/kubevirt.io/v1alpha1/namespaces/default/migrations"
MIGRATION = {
    "apiVersion": "kubevirt.io/v1alpha1",
    "kind": "Migration",
    "metadata": {"name": "m1"},
    "spec": {"selector": {"name": "nobody"}},
}
REQUESTS = {"component": "apiserver", "group": "kubevirt.io", "version": "v1alpha1", "resource": "migrations"}


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=SecretStr(postgres_url), data_dir=tmp_path, lab_dir=tmp_path, trust_loopback=True)


@asynccontextmanager
async def service(settings: Settings, *, workers: bool, api: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A whole process' worth, asked without a network."""
    async with running(settings, workers=workers, api=api) as started:
        here = Peer(address="127.0.0.1", local="127.0.0.1")

        async def from_here(scope: Any, receive: Any, send: Any) -> None:
            await started.api({**scope, PEER: here}, receive, send)

        transport = httpx.ASGITransport(app=from_here)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


async def scrape(client: httpx.AsyncClient) -> Scrape:
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape.of(answer.text)


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await look():  # noqa: ASYNC110  (what is waited for is told only when it is asked)
            await asyncio.sleep(0.05)


async def test_requests_are_told_in_kube_apiservers_words(settings: Settings) -> None:
    async with service(settings, workers=False) as client:
        assert (await client.post(MIGRATIONS, json=MIGRATION)).status_code == 201
        assert (await client.post(MIGRATIONS, json=MIGRATION)).status_code == 409
        assert (await client.get(f"{MIGRATIONS}/m1")).status_code == 200
        assert (await client.get(f"{MIGRATIONS}/missing")).status_code == 404
        assert (await client.get(MIGRATIONS)).status_code == 200
        patch = await client.patch(
            f"{MIGRATIONS}/m1?dryRun=All",
            json={"spec": {"cancel": True}},
            headers={"content-type": "application/merge-patch+json"},
        )
        assert patch.status_code == 200
        assert (await client.get(f"{MIGRATIONS}?watch=1&timeoutSeconds=1&resourceVersion=0")).status_code == 200
        told = await scrape(client)

    count = "apiserver_request_total"
    item = REQUESTS | {"scope": "resource", "subresource": ""}
    assert told.value(count, **item, verb="POST", code="201", dry_run="") == 1
    assert told.value(count, **item, verb="POST", code="409") == 1
    assert told.value(count, **item, verb="GET", code="200") == 1
    assert told.value(count, **item, verb="GET", code="404") == 1
    assert told.value(count, **item, verb="PATCH", code="200", dry_run="All") == 1
    assert told.value(count, **REQUESTS, verb="LIST", code="200", scope="namespace") == 1
    assert told.value(count, **REQUESTS, verb="WATCH", code="200", scope="namespace") == 1
    assert told.value("apiserver_request_duration_seconds_count", **item, verb="GET") == 2
    assert told.values("apiserver_request_duration_seconds_count", verb="WATCH") == []
    assert told.value("apiserver_longrunning_requests", **REQUESTS, verb="WATCH") == 0
    assert told.value("apiserver_watch_events_total", resource="migrations") == 1
    assert told.value("apiserver_current_inflight_requests", request_kind="readOnly") == 1, "the scrape itself"
    assert told.value("apiserver_current_inflight_requests", request_kind="mutating") == 0


async def test_the_database_is_told_by_one_process_and_by_another_when_that_has_ended(settings: Settings) -> None:
    async with service(settings, workers=False) as second:
        async with service(settings, workers=False, api=False) as first:
            one, other = await scrape(first), await scrape(second)

            assert one.value("drover_objects", resource="namespaces") == 1
            assert one.value("drover_store_log_entries") >= 1
            assert one.value("drover_store_log_bytes") > 0
            assert one.value("drover_leases", state="held") == 1
            assert one.value("drover_runs", state="waiting") == 0
            assert other.values("drover_objects") == []
            assert other.values("drover_store_revision") == []
            # What each knows of itself, both tell.
            assert one.value("drover_build_info") == other.value("drover_build_info") == 1
            assert other.values("drover_database_statement_duration_seconds_count", operation="insert leases")

        assert (await scrape(second)).value("drover_objects", resource="namespaces") == 1


async def test_the_leader_tells_of_migrations_and_its_loops(settings: Settings) -> None:
    async with service(settings, workers=True) as client:
        assert (await client.post(MIGRATIONS, json=MIGRATION)).status_code == 201

        async def failed() -> bool:
            return bool((await scrape(client)).values("kubevirt_vmi_migration_failed"))

        await until(failed)
        told = await scrape(client)
        assert (await client.delete(f"{MIGRATIONS}/m1")).status_code == 200

        async def forgotten() -> bool:
            return not (await scrape(client)).values("kubevirt_vmi_migration_failed")

        await until(forgotten)

    assert told.labels("kubevirt_vmi_migration_failed") == [{"vmi": "nobody", "vmim": "m1", "namespace": "default"}]
    for phase in ("unset", "pending", "scheduling", "running"):
        assert told.value(f"kubevirt_vmi_migrations_in_{phase}_phase") == 0
    assert (
        told.value(
            "drover_migrations_finished_total", phase="Failed", reason="VMNotFound", failure_class="Configuration"
        )
        == 1
    )
    assert told.value("kubevirt_vmi_migration_phase_transition_time_from_creation_seconds_count", phase="Failed") == 1
    assert told.value("drover_migrations_held") == 0
    assert told.value("kubevirt_virt_controller_leading_status") == 1
    assert told.value("drover_leases_held", kind="controllers") == 1
    assert told.value("kubevirt_workqueue_adds_total", name="migration") >= 1
    assert told.value("kubevirt_workqueue_work_duration_seconds_count", name="migration") >= 1
    assert told.value("kubevirt_workqueue_depth", name="migration") == 0
    assert told.value("drover_worker_capacity") == 10


async def test_nothing_in_it_would_displease_promtool(settings: Settings) -> None:
    async with service(settings, workers=True) as client:
        await client.get(MIGRATIONS)
        told = await scrape(client)

    assert list(problems(told)) == []


async def test_openmetrics_is_told_to_who_asks_for_it(settings: Settings) -> None:
    async with service(settings, workers=False) as client:
        answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_a_worker_tells_its_health(settings: Settings) -> None:
    async with service(settings, workers=False, api=False) as client:
        assert (await client.get("/readyz")).text == "ok"
        assert (await client.get("/livez")).text == "ok"
        assert (await client.get(MIGRATIONS)).status_code == 404
