"""The alerts and the dashboard name what is really told, with its labels; and every alert fires when it must."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from app.api.fairness.gate import Fairness
from app.api.metrics import Metrics
from app.meter import Counts, Levels, Times
from app.meters import Meters
from app.store.metrics import SharedMetrics
from tests.monitoring.promql import Query, Series

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
RULES = {rule["alert"]: rule for rule in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]}
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


class Recording(CollectorRegistry):
    """Remembers who registers."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[Collector] = []

    def register(self, collector: Collector) -> None:
        self.collectors.append(collector)
        super().register(collector)


def told() -> dict[str, set[str]]:
    """Every series that a process with everything in it can tell, and the labels of each."""
    registry = Recording()
    meters = Meters(registry)
    controllers = meters.controllers()
    controllers.leases.follow(frozenset, "")
    controllers.workers.follow(tuple, 10)
    Metrics(registry)
    Fairness(registry=registry)
    SharedMetrics(registry, None, "")  # type: ignore[arg-type]  # nobody asks it
    meters.store.follow_feed(lambda: 0, lambda: 0, lambda: 0)
    names: dict[str, set[str]] = {"up": set(), "process_resident_memory_bytes": set()}
    names["drover_database_pool_connections"] = {"state"}  # told where there is an engine
    for collector in registry.collectors:
        if isinstance(collector, Counts | Levels):
            names[collector.declared.name] = set(collector.declared.labels)
        elif isinstance(collector, Times):
            for suffix in ("_bucket", "_count", "_sum"):
                names[collector.declared.name + suffix] = {*collector.declared.labels, "le"}
    return names


TOLD = told()


def expressions() -> Iterator[tuple[str, str]]:
    for name, rule in RULES.items():
        yield name, rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "text"), list(expressions()))
def test_what_is_named_is_told_with_those_labels(where: str, text: str) -> None:
    query = Query(text)
    query.evaluate([])

    assert query.asked
    for asked in query.asked:
        assert asked.name in TOLD, f"{where}: nobody tells {asked.name}"
        assert asked.labels <= TOLD[asked.name] | SCRAPED, f"{where}: {asked.name} has {TOLD[asked.name]}"
    labels = set().union(*(TOLD[asked.name] for asked in query.asked)) | SCRAPED
    assert query.grouped <= labels, f"{where}: groups by {query.grouped - labels}"


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: str(panel["title"]))
def test_legends_name_labels_that_are_left(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        query = Query(target["expr"])
        query.evaluate([])
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        aggregated = re.search(r"\b(sum|max|min|count)\b", target["expr"]) is not None
        left = query.grouped if aggregated else TOLD[query.asked[0].name] | SCRAPED
        assert named <= left, f"{target['legendFormat']}: {named - left} is not in {target['expr']}"


def test_the_dashboards_panels_have_their_own_places() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(set(places)) == len(places)
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_an_alert_says_how_bad_it_is_and_what_would_help(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].strip()
    assert len(rule["annotations"]["description"]) > 30


def flat(name: str, value: float, **labels: str) -> Series:
    return Series.of(name, [value] * 20, **labels)


def growing(name: str, per_minute: float, **labels: str) -> Series:
    return Series.of(name, [1000 + per_minute * minute for minute in range(20)], **labels)


def slow(name: str, **labels: str) -> list[Series]:
    """A histogram whose every observation lies between 5 and 10 s."""
    return [growing(f"{name}_bucket", 60 if bound in ("10.0", "+Inf") else 0, le=bound, **labels)
            for bound in ("0.1", "5.0", "10.0", "+Inf")]  # fmt: skip


def quick(name: str, **labels: str) -> list[Series]:
    return [growing(f"{name}_bucket", 60, le=bound, **labels) for bound in ("0.1", "5.0", "10.0", "+Inf")]


FIRING: dict[str, list[Series]] = {
    "DroverDown": [flat("up", 0, job="drover", instance="a")],
    "DroverNobodyLeads": [flat("kubevirt_virt_controller_leading_status", 0, instance="a")],
    "DroverMigrationHeld": [flat("drover_migrations_held", 1)],
    "DroverMigrationsFail": [growing("drover_migrations_finished_total", 1, phase="Failed", failure_class="Host")],
    "DroverMigrationsWait": [flat("drover_migration_oldest_waiting_seconds", 2000)],
    "DroverRunsWaitForAWorker": [flat("drover_runs", 2, state="waiting")],
    "DroverRunsLapsed": [flat("drover_runs", 1, state="lapsed")],
    "DroverMigrationProcessesEnd": [growing("drover_migration_processes_lost_total", 1)],
    "DroverHostUnreachable": [
        growing("drover_libvirt_call_errors_total", 12, error="Unreachable", host="h1", verb="look")
    ],
    "DroverHostCertificateExpires": [
        flat("drover_host_certificate_left_seconds", 2_500_000, node="h1", certificate="server"),
        flat("drover_host_certificate_left_seconds", 9_000_000, node="h1", certificate="client"),
    ],
    "DroverLibvirtSlow": slow("drover_libvirt_call_duration_seconds", host="h1", verb="look"),
    "DroverDatabaseUnreachable": [growing("drover_shared_metrics_failures_total", 1, instance="a")],
    "DroverDatabaseSlow": slow("drover_database_statement_duration_seconds", operation="get"),
    "DroverFeedLags": [flat("drover_feed_lag_revisions", 5000, instance="a")],
    "DroverLogNotCompacted": [
        flat("drover_store_log_oldest_age_seconds", 8000),
        flat("drover_store_log_entries", 50_000),
    ],
    "DroverRequestsFail": [
        growing("apiserver_request_total", 10, code="503", verb="GET"),
        growing("apiserver_request_total", 90, code="200", verb="GET"),
    ],
    "DroverRequestsRefused": [growing("apiserver_flowcontrol_rejected_requests_total", 120, reason="queue-full")],
}

CALM: list[Series] = [
    flat("up", 1, job="drover", instance="a"),
    flat("kubevirt_virt_controller_leading_status", 1, instance="a"),
    flat("kubevirt_virt_controller_leading_status", 0, instance="b"),
    flat("drover_migrations_held", 0),
    growing("drover_migrations_finished_total", 3, phase="Succeeded", failure_class=""),
    growing("drover_migrations_finished_total", 3, phase="Failed", failure_class="Configuration"),
    growing("drover_migrations_finished_total", 0.1, phase="Failed", failure_class="Host"),
    flat("drover_migration_oldest_waiting_seconds", 200),
    flat("drover_runs", 0, state="waiting"),
    flat("drover_runs", 5, state="held"),
    flat("drover_runs", 0, state="lapsed"),
    growing("drover_migration_processes_lost_total", 0),
    growing("drover_libvirt_call_errors_total", 60, error="DomainGone", host="h1", verb="look"),
    growing("drover_libvirt_call_errors_total", 0, error="Unreachable", host="h1", verb="look"),
    flat("drover_host_certificate_left_seconds", 2_700_000, node="h1", certificate="client"),
    *quick("drover_libvirt_call_duration_seconds", host="h1", verb="look"),
    growing("drover_shared_metrics_failures_total", 0, instance="a"),
    *quick("drover_database_statement_duration_seconds", operation="get"),
    flat("drover_feed_lag_revisions", 3, instance="a"),
    flat("drover_store_log_oldest_age_seconds", 90_000),
    flat("drover_store_log_entries", 900),
    growing("apiserver_request_total", 900, code="200", verb="GET"),
    growing("apiserver_request_total", 90, code="404", verb="GET"),
    growing("apiserver_flowcontrol_rejected_requests_total", 0, reason="queue-full"),
]


@pytest.mark.parametrize("name", RULES)
def test_an_alert_fires_when_it_must_and_not_on_a_quiet_day(name: str) -> None:
    query = Query(RULES[name]["expr"])

    assert query.fires(FIRING[name]), f"{name} does not fire"
    assert not query.fires(CALM), f"{name} fires on a quiet day"


@dataclass(frozen=True)
class Asked:
    """An expression, and what Prometheus answers on the series."""

    text: str
    answer: float


SERIES = [
    flat("a", 3, x="1", y="p"), flat("a", 4, x="2", y="p"), flat("a", 5, x="2", y="q"), growing("c_total", 6, x="1"),
    Series.of("c_total", [100, 110, 5, 15], x="2"), *slow("h_seconds"),
]  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        Asked("sum(a)", 12), Asked("max(a)", 5), Asked('sum(a{x="2"})', 9), Asked('sum(a{x!="2"})', 3),
        Asked('sum(a{y=~"p|z",x="2"})', 4), Asked("count(a) + 1", 4), Asked("sum(a) / 2 * 3 - 1", 17),
        Asked('sum(increase(c_total{x="1"}[5m]))', 30), Asked('sum(rate(c_total{x="1"}[5m]))', 0.1),
        Asked('sum(increase(c_total{x="2"}[5m]))', 25),
        Asked("histogram_quantile(0.5, sum by (le) (rate(h_seconds_bucket[5m])))", 7.5),
    ],
    ids=lambda asked: asked.text,
)  # fmt: skip
def test_the_evaluator_answers_as_prometheus_does(asked: Asked) -> None:
    value = Query(asked.text).evaluate(SERIES)

    assert isinstance(value, dict)
    assert list(value.values()) == [pytest.approx(asked.answer)]
