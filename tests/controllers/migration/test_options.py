"""Which of a Migration's wishes, policies and settings count."""

from __future__ import annotations

import pytest

from app.controllers.migration.options import DEFAULTS, Labels, changed_plan, fitting, resolve, retuned
from app.controllers.migration.plan import Granted
from app.machinery.objects import Document

LABELS = Labels(vm={"app": "db", "size": "big"}, namespace={"tier": "gold", "team": "a"})


def policy(name: str, *, vm: Document | None = None, namespace: Document | None = None, **options: object) -> Document:
    selectors = {"virtualMachineInstanceSelector": vm or {}, "namespaceSelector": namespace or {}}
    return {"metadata": {"name": name}, "spec": {"selectors": selectors, **options}}


CASES: dict[str, tuple[list[Document], str | None]] = {
    "none fits": ([policy("a", vm={"app": "web"})], None),
    "all labels must be there": ([policy("a", vm={"app": "db", "zone": "1"})], None),
    "the more labels": ([policy("a", vm={"app": "db"}), policy("b", vm={"app": "db", "size": "big"})], "b"),
    "of both kinds together": (
        [policy("a", vm={"app": "db"}), policy("b", namespace={"tier": "gold", "team": "a"})],
        "b",
    ),
    "then those of the VirtualMachine": ([policy("a", namespace={"tier": "gold"}), policy("b", vm={"app": "db"})], "b"),
    "then the name": ([policy("b", vm={"app": "db"}), policy("a", vm={"size": "big"})], "a"),
    "one without selectors fits nobody": ([policy("a")], None),
}


@pytest.mark.parametrize(("policies", "name"), CASES.values(), ids=CASES.keys())
def test_the_most_specific_policy_wins(policies: list[Document], name: str | None) -> None:
    found = fitting(policies, LABELS)

    assert (found and found["metadata"]["name"]) == name


def test_own_wishes_go_before_the_policy_and_that_before_the_settings() -> None:
    policies = [policy("p", vm={"app": "db"}, bandwidthPerMigration="8Mi", progressTimeout=7, allowPostCopy=True)]

    resolved = resolve({"bandwidthPerMigration": "4Mi"}, policies, LABELS, {"progressTimeout": 9, "maxDowntimeMs": 90})

    told = resolved.configuration.dump()
    assert told == {
        **DEFAULTS,
        "maxDowntimeMs": 90,
        "bandwidthPerMigration": "4Mi",
        "progressTimeout": 7,
        "allowPostCopy": True,
        "migrationPolicy": "p",
    }
    assert resolved.granted == Granted(bandwidth=8 << 20, max_downtime_ms=90)


def test_false_is_a_wish_too() -> None:
    resolved = resolve({"allowPostCopy": False}, [policy("p", vm={"app": "db"}, allowPostCopy=True)], LABELS, {})

    assert resolved.plan()["post_copy"] is False


def test_without_any_wish_the_defaults_hold() -> None:
    plan = resolve({}, [], LABELS, {}).plan()

    assert plan["bandwidth"] is None
    assert (plan["max_downtime_ms"], plan["completion_s_per_gib"], plan["progress_s"]) == (300, 150, 150)


def test_parallel_connections_give_way_to_post_copy_and_take_compression_with_them() -> None:
    policies = [policy("p", vm={"app": "db"}, parallelConnections=4, compression="zstd")]

    plan = resolve({"allowPostCopy": True}, policies, LABELS, {}).plan()

    assert (plan["parallel_connections"], plan["compression"]) == (0, None)


def test_what_is_changed_on_the_way_and_taken_back() -> None:
    resolved = resolve({}, [policy("p", vm={"app": "db"}, bandwidthPerMigration="8Mi")], LABELS, {})

    changed = retuned(resolved.configuration, {"bandwidthPerMigration": "2Mi", "maxDowntimeMs": 50}, resolved.granted)
    back = retuned(changed, {}, resolved.granted)

    assert changed_plan({"vm": "x"}, changed) == {"vm": "x", "bandwidth": 2 << 20, "maxDowntimeMs": 50}
    assert back == resolved.configuration
