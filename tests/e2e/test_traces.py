"""A real migration as one trace, told by the API's process, the leader and the migration's own process."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import maker
from tests.e2e.harness import Drover, eventually
from tests.e2e.harness import drover as running_drover
from tests.monitoring.collector import Collector, collecting, facts

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.slow, pytest.mark.xdist_group("e2e")]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as standing:
        yield standing


@pytest.fixture
def traced(collector: Collector) -> Iterator[Drover]:
    directory = Path(tempfile.mkdtemp(prefix="drover-e2e-"))
    directory.chmod(0o711)  # as root the database runs as another user, who must pass
    lab = Path(tempfile.mkdtemp(prefix="dl-"))
    more = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200",
        "DROVER_LOG_FORMAT": "json", "DROVER_LOG_REQUESTS": "writes",
    }  # fmt: skip
    try:
        with running_drover(directory, lab, 2, more=more) as service:
            yield service
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(lab, ignore_errors=True)


def test_a_migration_is_one_trace(traced: Drover, collector: Collector, numbers: Iterator[int]) -> None:
    guest = maker(traced, numbers, [])()

    traced.migrate(guest, "m1")
    migration = traced.finished("m1")
    trace = migration["metadata"]["uid"].replace("-", "")
    eventually("the whole is told", lambda: collector.named("migration default/m1"))

    spans = collector.of_trace(trace)
    by_id = {span.span_id: span for span in spans}
    (root,), (attempt,) = collector.named("migration default/m1"), collector.named("attempt 1")
    (copy,) = collector.named("copy")
    (created,) = collector.named("create migrations")
    assert {"Pending", "Scheduling", "Running"} >= {s.name for s in spans if s.parent_span_id == root.span_id} - {
        "attempt 1"
    }
    assert attempt.parent_span_id == root.span_id
    assert {span.name for span in spans if span.parent_span_id == attempt.span_id} >= {"prepare", "copy", "settle"}
    assert [s for s in spans if s.name.startswith("libvirt ") and by_id[s.parent_span_id].name == "settle"]
    assert copy.end_time_unix_nano > copy.start_time_unix_nano
    assert facts(attempt)["outcome"] == "MOVED"
    assert (facts(root)["drover.phase"], facts(root)["drover.vm"]) == ("Succeeded", guest)
    logged = [json.loads(line) for line in traced.log.read_text().splitlines() if line.startswith("{")]
    (request,) = [line for line in logged if line.get("resource") == "migrations" and line.get("verb") == "create"]
    assert request["trace_id"] == created.trace_id.hex()
