"""A sample of a running copy, as the Migration's status shows it: the percentage never goes down. Pure."""

from __future__ import annotations

from app.controllers.migration.messages import Sampled
from app.machinery.objects import Document


def shown(sample: Sampled, before: Document) -> Document:
    """`status.progress` after that sample; 100 % is only said of a migration that succeeded."""
    copied = 100 * (sample.total - sample.remaining) // sample.total if sample.total else 0
    progress: Document = {
        "percent": max(int(before.get("percent", 0)), min(99, max(0, copied))),
        "dataTotalBytes": sample.total,
        "dataProcessedBytes": sample.processed,
        "dataRemainingBytes": sample.remaining,
        "memoryBytesPerSecond": sample.memory_rate,
        "dirtyBytesPerSecond": sample.dirty_rate,
        "iteration": sample.iteration,
        "elapsedMs": sample.elapsed_ms,
    }
    if sample.throttle:
        progress["cpuThrottlePercent"] = sample.throttle
    if sample.postcopy_requests:
        progress["postCopyRequests"] = sample.postcopy_requests
    gain = sample.memory_rate - sample.dirty_rate
    if gain > 0:
        progress["etaSeconds"] = sample.remaining // gain
    return progress
