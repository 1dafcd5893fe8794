"""Our counting says what Prometheus' own library would say of the same events."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import choose_encoder

from app.meter import Counts, Labels, Levels, Times, as_it_is, one
from tests.monitoring.scraped import Scrape, problems


def without_created(text: bytes) -> list[str]:
    """The library also tells when each series began."""
    return [line for line in text.decode().splitlines() if "_created" not in line]


def test_counters_and_histograms_read_as_the_librarys_do() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts: Counts[Labels] = Counts(ours, "calls_total", "Calls.", ("verb",), as_it_is)
    times: Times[Labels] = Times(ours, "call_seconds", "Times.", ("verb",), as_it_is, (0.1, 1, 10))
    counter = Counter("calls_total", "Calls.", ("verb",), registry=theirs)
    histogram = Histogram("call_seconds", "Times.", ("verb",), buckets=(0.1, 1, 10), registry=theirs)

    for verb, took in (("get", 0.05), ("get", 0.1), ("list", 5.0), ("list", 11.0), ("get", 1.0000001)):
        counts.add((verb,))
        times.observe((verb,), took)
        counter.labels(verb).inc()
        histogram.labels(verb).observe(took)

    assert without_created(generate_latest(theirs)) == without_created(generate_latest(ours))
    openmetrics, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert without_created(openmetrics(theirs)) == without_created(openmetrics(ours))


def test_a_level_is_asked_when_it_is_read() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    depth = [1.0]
    Levels(ours, "queue_depth", "Depth.", (), one(lambda: depth[0]))
    Gauge("queue_depth", "Depth.", registry=theirs).set(7)

    depth[0] = 7.0

    assert generate_latest(theirs) == generate_latest(ours)


def test_a_counter_without_labels_is_told_before_it_counts() -> None:
    """Otherwise its first increase is none that a rate could see."""
    registry = CollectorRegistry()
    Counts(registry, "failures_total", "Failures.", (), as_it_is)

    assert Scrape.of(generate_latest(registry).decode()).value("failures_total") == 0


def test_two_of_one_name_are_refused() -> None:
    registry = CollectorRegistry()
    Counts(registry, "calls_total", "Calls.", (), as_it_is)

    with pytest.raises(ValueError, match="calls_total"):
        Counts(registry, "calls_total", "Calls.", (), as_it_is)


WRONG = {
    "no help": "# TYPE a_total counter\na_total 1\n",
    "milliseconds": "# HELP wait_ms W.\n# TYPE wait_ms gauge\nwait_ms 1\n",
    "a gauge called total": "# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n",
    "camel case": "# HELP waitSeconds W.\n# TYPE waitSeconds gauge\nwaitSeconds 1\n",
    "one series twice": '# HELP a A.\n# TYPE a gauge\na{b="1"} 1\na{b="1"} 2\n',
    "buckets that fall": '# HELP a_seconds A.\n# TYPE a_seconds histogram\na_seconds_bucket{le="1"} 2\n'
    'a_seconds_bucket{le="+Inf"} 1\na_seconds_count 1\na_seconds_sum 1\n',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_the_lint_finds(text: str) -> None:
    assert list(problems(Scrape.of(text)))
