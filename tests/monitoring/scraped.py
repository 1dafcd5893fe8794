"""What a scrape says, read with Prometheus' own parser; and what `promtool check metrics` would find wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """The families of one text by their names, as Prometheus stores them (a counter's name ends in _total)."""

    families: dict[str, Metric]

    @classmethod
    def of(cls, text: str) -> Scrape:
        read = list(text_string_to_metric_families(text))
        return cls({f.name + ("_total" if f.type == "counter" else ""): f for f in read})

    def values(self, name: str, /, **labels: str) -> list[float]:
        """Of every sample of that name with these labels, and perhaps more."""
        return [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, /, **labels: str) -> float:
        """Of the only sample of that name with these labels."""
        found = self.values(name, **labels)
        assert len(found) == 1, f"{name}{labels}: {found}"
        return found[0]

    def labels(self, name: str) -> list[dict[str, str]]:
        """Of every sample of that name."""
        return [s.labels for family in self.families.values() for s in family.samples if s.name == name]


_NOT_BASE = re.compile(
    r"(^|_)(ms|milliseconds?|us|microseconds?|ns|nanoseconds?|minutes?|hours?|days?|kb|kib|mb|mib|gb|gib|kilobytes"
    r"|megabytes|percent|bits?)(_|$)"
)
_TYPES = re.compile(r"(^|_)(counter|gauge|histogram|summary|metric)(_|$)")


def problems(scrape: Scrape) -> Iterator[str]:
    """promtool's rules for names, units and help, and that no label is told twice."""
    for name, family in scrape.families.items():
        if not family.documentation.strip():
            yield f"{name} has no help"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            yield f"{name} is not in snake_case"
        if family.type == "unknown":
            yield f"{name} has no type"
        if family.type != "counter" and name.endswith("_total"):
            yield f"{name} is no counter, and its name ends in _total"
        if family.type not in ("histogram", "summary") and re.search(r"_(count|sum|bucket|info)$", name):
            yield from () if name.endswith("_info") else (f"{name} has a suffix of histograms",)
        if _NOT_BASE.search(name):
            yield f"{name} is not in a base unit"
        if _TYPES.search(name):
            yield f"{name} has its type in its name"
        seen = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        if len(seen) != len(set(seen)):
            yield f"{name} has one series twice"
        if family.type == "histogram":
            yield from _histogram_problems(name, family)


def _histogram_problems(name: str, family: Metric) -> Iterator[str]:
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for sample in family.samples:
        if sample.name == f"{name}_bucket":
            rest = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            buckets.setdefault(rest, []).append((float(sample.labels["le"]), sample.value))
    for labels, found in buckets.items():
        bounds, counts = zip(*found, strict=True)
        if list(bounds) != sorted(bounds) or bounds[-1] != float("inf"):
            yield f"{name}{labels}: the buckets are out of order, or the last is not +Inf"
        if list(counts) != sorted(counts):
            yield f"{name}{labels}: the buckets are not cumulative"
