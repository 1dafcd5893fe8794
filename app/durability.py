"""Says when a failover of the database could lose what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import CollectorRegistry, Gauge

from app.store.base import StoreError
from app.store.standing import ADVICE, Database, Durability

log = structlog.get_logger()

LOOK_S = 30.0
"""How often the database is asked: standbys come and go without a word."""


def durability_gauge(registry: CollectorRegistry) -> Gauge:
    """1 for the mode that the database is in."""
    words = "What becomes of acknowledged writes when the database's server is lost; single and synchronous lose none."
    return Gauge("drover_database_durability", words, ("mode",), registry=registry)


async def watch_durability(
    database: Callable[[], Awaitable[Database]], gauge: Gauge | None = None, *, every_s: float = LOOK_S
) -> None:
    """Until cancelled: logs each change, and keeps a gauge with the label `mode`."""
    known: Durability | None = None
    while True:
        try:
            found = await database()
        except StoreError as error:
            log.info("durability unknown", error=str(error))
        else:
            if found.durability is not known:
                known = found.durability
                tell(found)
            if gauge is not None:
                for mode in Durability:
                    gauge.labels(mode.value).set(mode is known)
        await asyncio.sleep(every_s)


def tell(found: Database) -> None:
    if found.durability.is_safe:
        log.info("durability", mode=found.durability.value, standbys=list(found.standbys))
    else:
        log.warning("acknowledged writes may be lost", mode=found.durability.value, help=ADVICE[found.durability])
