"""Traces: sent where an endpoint is configured, and costing nothing where none is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from app import tracing
from app.api.application import create_api
from app.hypervisor.base import DomainGone
from app.hypervisor.metrics import CallMetrics
from app.kinds import ALL
from app.store.base import Store
from tests.api.builders import make_namespace
from tests.monitoring.collector import Collector, collecting, facts

ASKS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as standing:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", standing.endpoint)
        yield standing


async def test_a_request_is_a_trace_of_its_own_linked_with_who_asks(store: Store, collector: Collector) -> None:
    await make_namespace(store, "default")
    api = create_api(store, ALL, version="v1.36.0+drover-test")
    with tracing.tracing("drover", "1"):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://drover") as client:
            path = "/apis/kubevirt.io/v1alpha1/namespaces/default/migrations"
            answer = await client.get(path, headers={"traceparent": ASKS})
            await client.get(f"{path}/none")
            await client.get("/livez")

    (listed,), (missed,) = collector.named("list migrations"), collector.named("get migrations")
    told = facts(listed)
    assert (listed.kind, told["http.response.status_code"]) == (Span.SPAN_KIND_SERVER, 200)
    assert told["drover.audit_id"] == answer.headers["audit-id"]
    assert [link.trace_id.hex() for link in listed.links] == ["4bf92f3577b34da6a3ce929d0e0e4736"]
    assert listed.trace_id.hex() != "4bf92f3577b34da6a3ce929d0e0e4736"
    assert facts(missed)["http.response.status_code"] == 404
    assert facts(missed)["drover.object"] == "none"
    assert len(collector.spans) == 3
    assert collector.services == {"drover"}


def test_a_migrations_trace_is_one_whoever_tells_of_it(collector: Collector) -> None:
    uid, noon = str(uuid4()), datetime(2026, 1, 1, 12, tzinfo=UTC)
    calls = CallMetrics()

    with tracing.tracing("drover", "1"):
        with tracing.within(uid, "attempt", number=1), tracing.inside("copy"), calls.call("migrate", "qemu+tls://h1/"):
            logged = tracing.with_ids(None, "", {})
        with tracing.within(uid, "attempt"), pytest.raises(DomainGone), calls.call("look", "qemu+tls://h1/"):
            raise DomainGone("no such domain")
        with calls.call("host", "qemu+tls://h1/"):
            """Nobody's: told by metrics alone."""
        whole = tracing.Stretch("migration default/m1", noon, noon + timedelta(seconds=9))
        tracing.past(uid, whole, [tracing.Stretch("Running", noon, noon + timedelta(seconds=7))], "TimedOut")

    spans = collector.of_trace(uid.replace("-", ""))
    by_id = {span.span_id: span for span in spans}
    (root,) = collector.named("migration default/m1")
    (running,), (migrate,), (look,) = (collector.named(name) for name in ("Running", "libvirt migrate", "libvirt look"))
    assert len(spans) == len(collector.spans) == 7
    assert root.parent_span_id == b""
    assert {by_id[span.parent_span_id].name for span in spans if span is not root} == {root.name, "attempt", "copy"}
    assert by_id[migrate.parent_span_id].name == "copy"
    assert facts(migrate) == {"server.address": "h1"}
    assert (look.status.code, look.status.message) == (Status.STATUS_CODE_ERROR, "DomainGone: no such domain")
    assert (root.status.message, root.end_time_unix_nano - root.start_time_unix_nano) == ("TimedOut", 9_000_000_000)
    assert running.parent_span_id == root.span_id
    assert logged == {"trace_id": uid.replace("-", ""), "span_id": migrate.span_id.hex()}


def test_nobody_who_takes_them_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")

    with tracing.tracing("drover", "1"):
        with tracing.within(str(uuid4()), "attempt"):
            pass
        began = datetime.now(UTC)
        tracing.flush(0.2)
        took = datetime.now(UTC) - began

    assert took < timedelta(seconds=2)


def test_without_an_endpoint_opentelemetrys_sdk_is_not_even_imported() -> None:
    script = (
        "import sys; import app.wiring.service; from app import tracing\n"
        "with tracing.tracing('drover', '1'):\n"
        "    with tracing.inside('x') as span: span.note('y')\n"
        "assert not tracing.is_on()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]\n"
    )

    assert subprocess.run([sys.executable, "-c", script], env={"PATH": ""}, timeout=60).returncode == 0
