"""What of the resolved options a plan needs, what excludes one another, and what may be changed on the way."""

from __future__ import annotations

from app.controllers.migration.options import DEFAULTS, Resolved, resolve
from app.controllers.migration.plan import Granted
from app.controllers.migration.tuning import changed_plan, planned, retuned
from app.machinery.objects import Document


def resolved(own: Document, **policy: object) -> Resolved:
    """With a policy that means every guest."""
    return resolve(own, [{"metadata": {"name": "p"}, "spec": {"selectors": {}, **policy}}], {}, {}, DEFAULTS)


def test_own_wishes_hold_and_what_they_replaced_is_remembered() -> None:
    told = resolved({"bandwidthPerMigration": "4Mi"}, bandwidthPerMigration="8Mi", progressTimeout=7)

    plan = planned(told.configuration, told.granted)

    assert (plan["bandwidth"], plan["progress_s"], plan["completion_s_per_gib"]) == (4 << 20, 7, 150)
    assert plan["granted"] == Granted(bandwidth=8 << 20, max_downtime_ms=300)


def test_false_is_a_wish_too() -> None:
    told = resolved({"allowPostCopy": False}, allowPostCopy=True)

    assert planned(told.configuration, told.granted)["post_copy"] is False


def test_parallel_connections_give_way_to_post_copy_and_take_compression_with_them() -> None:
    told = resolved({"allowPostCopy": True}, parallelConnections=4, compression="zstd").configuration

    assert (told.parallel_connections, told.compression) == (0, None)


def test_post_copy_gives_way_to_a_guest_that_is_to_arrive_stopped() -> None:
    told = resolved({"arrivePaused": True}, allowPostCopy=True)

    plan = planned(told.configuration, told.granted)

    assert (plan["arrive_paused"], plan["post_copy"]) == (True, False)


def test_no_guest_arrives_stopped_unless_somebody_says_so() -> None:
    assert "arrive_paused" not in planned(resolved({}).configuration, Granted())


def test_what_is_changed_on_the_way_can_be_taken_back() -> None:
    told = resolved({}, bandwidthPerMigration="8Mi")

    changed = retuned(told.configuration, {"bandwidthPerMigration": "2Mi", "maxDowntimeMs": 50}, told.granted)
    back = retuned(changed, {}, told.granted)

    assert changed_plan({"vm": "x"}, changed) == {"vm": "x", "bandwidth": 2 << 20, "maxDowntimeMs": 50}
    assert back == told.configuration
