"""Telling metrics: one text of all that this process counts, in the form that whoever asks accepts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


async def _nothing() -> None:
    """Everything is counted where it happens."""


@dataclass(frozen=True, slots=True)
class Exposition:
    """What is counted, and what has to be asked first. `refresh` raises nothing: what it cannot learn is not told."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    refresh: Callable[[], Awaitable[None]] = _nothing

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type: Prometheus' own, or OpenMetrics where that is asked for."""
        await self.refresh()
        encode, type_ = choose_encoder(accept)
        return encode(self.registry), type_
