"""The resolved options as a plan needs them, and what may be changed of them on the way. Pure."""

from __future__ import annotations

from typing import Any

from app.controllers.migration.plan import Granted
from app.hypervisor.base import Compression
from app.kinds import quantity
from app.kinds.migration_options import CHANGEABLE, MigrationConfiguration
from app.machinery.objects import Document


def granted(configuration: MigrationConfiguration) -> Granted:
    """What policy and settings give of what may be changed."""
    return Granted(
        bandwidth=_bytes(configuration.bandwidth_per_migration),
        max_downtime_ms=configuration.max_downtime_ms or Granted().max_downtime_ms,
    )


def compatible(configuration: MigrationConfiguration) -> MigrationConfiguration:
    """What excludes one another gives way: post-copy to a guest that is to arrive stopped, parallel connections to post-copy,
    compression to what it cannot go with."""
    told = configuration
    if told.arrive_paused and told.allow_post_copy:
        told = told.model_copy(update={"allow_post_copy": False})
    if told.allow_post_copy and told.parallel_connections:
        told = told.model_copy(update={"parallel_connections": 0})
    packed, parallel = told.compression, bool(told.parallel_connections)
    if packed is not None and (packed.value == Compression.XBZRLE.value) == parallel:
        told = told.model_copy(update={"compression": None})
    return told


def planned(told: MigrationConfiguration, back: Granted) -> dict[str, Any]:
    """Its part of a plan; `back` is what the Migration has where it takes back a wish."""
    chosen = {
        "bandwidth": _bytes(told.bandwidth_per_migration),
        "max_downtime_ms": told.max_downtime_ms,
        "completion_s_per_gib": told.completion_timeout_per_gib,
        "progress_s": told.progress_timeout,
        "auto_converge": told.allow_auto_converge,
        "post_copy": told.allow_post_copy,
        "disruption": told.allow_workload_disruption,
        "arrive_paused": told.arrive_paused,
        "parallel_connections": told.parallel_connections,
        "compression": None if told.compression is None else Compression(told.compression.value),
        "granted": back,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def retuned(configuration: MigrationConfiguration, own: Document, back: Granted) -> MigrationConfiguration:
    """What is frozen, with what may be changed as the Migration wishes it now."""
    cap = None if back.bandwidth is None else quantity.binary(back.bandwidth)
    fallen_back = {"bandwidthPerMigration": cap, "maxDowntimeMs": back.max_downtime_ms}
    wished = {name: value if (value := own.get(name)) is not None else fallen_back[name] for name in CHANGEABLE}
    told = {**configuration.dump(), **wished}
    return MigrationConfiguration.read({name: value for name, value in told.items() if value is not None})


def changed_plan(plan: Document, configuration: MigrationConfiguration) -> Document:
    """The run's plan, with what may be changed as it is now."""
    return {
        **plan,
        "bandwidth": _bytes(configuration.bandwidth_per_migration),
        "maxDowntimeMs": configuration.max_downtime_ms,
    }


def _bytes(text: str | None) -> int | None:
    return None if text is None else quantity.whole(text)
