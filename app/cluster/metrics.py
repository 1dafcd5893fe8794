"""What is counted of the link to the cluster."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ClusterMetrics:
    """Reviews and Events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reviews = Histogram(
            "drover_cluster_review_duration_seconds",
            "TokenReviews and SubjectAccessReviews that the cluster was asked for, by its answer's code; those remembered aside.",
            ("resource", "code"),
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
            registry=registry,
        )
        self._told = Counter("drover_cluster_events_told", "Events that the cluster took.", registry=registry)
        self._lost = Counter("drover_cluster_events_lost", "Events that it never took.", ("why",), registry=registry)
        self._waiting = Gauge("drover_cluster_events_waiting", "Events that wait for the cluster.", registry=registry)

    def reviewed(self, resource: str, code: str, took_s: float) -> None:
        self._reviews.labels(resource, code).observe(took_s)

    def told(self) -> None:
        self._told.inc()

    def lost(self, why: str) -> None:
        self._lost.labels(why).inc()

    def waiting(self, number: int) -> None:
        self._waiting.set(number)
