"""Metrics in Prometheus' text form, under kube-apiserver's names where it has one."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

_LASTING = ("watch",)
"""Their duration is how long a client stays, not how long it waited."""


class Metrics:
    """What this side counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests = Counter(
            "apiserver_request",
            "Requests by verb, resource and the code of the answer.",
            ("verb", "resource", "code"),
            registry=registry,
        )
        self._durations = Histogram(
            "apiserver_request_duration_seconds",
            "From the request's head to the end of its answer; watches aside.",
            ("verb", "resource"),
            buckets=_BUCKETS,
            registry=registry,
        )

        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    def count_streams(self, count: Callable[[], float]) -> None:
        """Tells the open watches and followed logs, asked when metrics are read."""
        streams = Gauge("apiserver_longrunning_requests", "Open watches and followed logs.", registry=self._registry)
        streams.set_function(count)

    def answered(self, verb: str, resource: str, code: int, took_s: float) -> None:
        self._counter(verb, resource, code).inc()
        if verb not in _LASTING:
            self._histogram(verb, resource).observe(took_s)

    # Finding a metric by its labels takes longer than counting. What is kept is bounded as the labels are.

    def _counter(self, verb: str, resource: str, code: int) -> Counter:
        found = self._counters.get((verb, resource, code))
        if found is None:
            found = self._counters[verb, resource, code] = self._requests.labels(verb, resource, str(code))
        return found

    def _histogram(self, verb: str, resource: str) -> Histogram:
        found = self._histograms.get((verb, resource))
        if found is None:
            found = self._histograms[verb, resource] = self._durations.labels(verb, resource)
        return found

    def text(self) -> bytes:
        return generate_latest(self._registry)
