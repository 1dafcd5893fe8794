"""What a plan says to the driver, and to whoever steers. Pure."""

from __future__ import annotations

from app.controllers.migration.converge import ASSUMED_LINK, Policy
from app.controllers.migration.messages import Retuned
from app.controllers.migration.plan import Plan
from app.hypervisor.base import Destination


def policy(plan: Plan, changed: Retuned | None = None) -> Policy:
    """As planned, or as it was changed on the way."""
    return Policy(
        memory=plan.memory,
        disks=plan.disks,
        max_downtime_ms=changed.max_downtime_ms if changed else plan.max_downtime_ms,
        bandwidth=changed.bandwidth if changed else plan.bandwidth,
        completion_s_per_gib=plan.completion_s_per_gib,
        progress_s=plan.progress_s,
        auto_converge=plan.auto_converge,
        post_copy=plan.post_copy,
        disruption=plan.disruption,
    )


def destination(plan: Plan) -> Destination:
    """A downtime to begin with, the rest as planned."""
    planned = policy(plan)
    return Destination(
        plan.peer_uri,
        plan.migration_uri,
        bandwidth=plan.bandwidth,
        unsafe=plan.unsafe,
        tls=plan.tls,
        tls_name=plan.tls_name,
        post_copy=plan.post_copy,
        auto_converge=planned.throttling,
        parallel_connections=plan.parallel_connections,
        compression=plan.compression,
        max_downtime_ms=planned.first_downtime_ms,
        switchover_bandwidth=None if plan.bandwidth is None else max(plan.bandwidth, ASSUMED_LINK),
    )
