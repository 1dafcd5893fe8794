"""Which policy means a guest, and whose word counts."""

from __future__ import annotations

import pytest

from app.controllers.migration.options import DEFAULTS, applicable, resolve
from app.kinds.migration_options import MigrationOptions, Tls
from app.machinery.objects import Document
from app.settings import Settings
from app.wiring.workers import migration_config


def policy(
    name: str, *, vm: dict[str, str] | None = None, namespace: dict[str, str] | None = None, **options: object
) -> Document:
    selectors: Document = {}
    if vm:
        selectors["virtualMachineInstanceSelector"] = vm
    if namespace:
        selectors["namespaceSelector"] = namespace
    return {"metadata": {"name": name}, "spec": {"selectors": selectors, **options}}


VM = {"tier": "db", "size": "large"}
NAMESPACE = {"team": "a", "kubernetes.io/metadata.name": "shop"}
CASES = {
    "none means it": ([policy("other", vm={"tier": "web"})], None),
    "one label of two is missing": ([policy("half", vm={"tier": "db", "gone": "1"})], None),
    "the namespace is another": ([policy("theirs", vm={"tier": "db"}, namespace={"team": "b"})], None),
    "an empty selector means every guest": ([policy("all")], "all"),
    "by the namespace's name": ([policy("shop", namespace={"kubernetes.io/metadata.name": "shop"})], "shop"),
    "most labels win": ([policy("a", vm={"tier": "db"}), policy("b", vm={"tier": "db"}, namespace={"team": "a"})], "b"),
    "of as many, the guest's own win": ([policy("a", namespace={"team": "a"}), policy("b", vm={"tier": "db"})], "b"),
    "of as many, the first name wins": ([policy("b", vm={"tier": "db"}), policy("a", vm={"size": "large"})], "a"),
}


@pytest.mark.parametrize(("policies", "expected"), CASES.values(), ids=CASES.keys())
def test_the_policy_that_means_a_guest_most_counts(policies: list[Document], expected: str | None) -> None:
    found = applicable(policies, VM, NAMESPACE)

    assert (found and found["metadata"]["name"]) == expected


def test_the_migrations_own_word_wins_over_the_policys_and_that_over_the_defaults() -> None:
    policies = [policy("p", vm={"tier": "db"}, bandwidthPerMigration="64Mi", tls="Off")]
    defaults = MigrationOptions(bandwidth_per_migration="1Gi", tls=Tls.PREFERRED)

    resolved = {
        "all": resolve({"tls": "Required"}, policies, VM, NAMESPACE, defaults),
        "policy": resolve({}, policies, VM, NAMESPACE, defaults),
        "defaults": resolve({}, policies, {}, NAMESPACE, defaults),
    }

    assert {case: (one.policy, one.configuration.dump()) for case, one in resolved.items()} == {
        "all": ("p", {"bandwidthPerMigration": "64Mi", "tls": "Required"}),
        "policy": ("p", {"bandwidthPerMigration": "64Mi", "tls": "Off"}),
        "defaults": (None, {"bandwidthPerMigration": "1Gi", "tls": "Preferred"}),
    }


@pytest.mark.parametrize(
    ("own", "stopped", "post_copy"),
    [
        ({}, True, False),
        ({"allowPostCopy": True}, True, False),
        ({"arrivePaused": False, "allowPostCopy": True}, False, True),
    ],
)
def test_a_fleet_whose_guests_arrive_stopped_lets_one_migration_off(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, bool], stopped: bool, post_copy: bool
) -> None:
    monkeypatch.setenv("DROVER_ARRIVE_PAUSED", "true")
    defaults = migration_config(Settings()).defaults

    told = resolve(own, [], VM, NAMESPACE, defaults).configuration

    assert (told.arrive_paused, told.allow_post_copy) == (stopped, post_copy)


TLS = "kubevirt.io/migration-tls"


@pytest.mark.parametrize(
    ("tls", "source", "target", "encrypted"),
    [
        (Tls.PREFERRED, {TLS: "true"}, {TLS: "node1.example"}, True),
        (Tls.PREFERRED, {TLS: "true"}, {}, False),
        (Tls.PREFERRED, {}, {TLS: "true"}, False),
        (Tls.PREFERRED, {TLS: "true"}, {TLS: "false"}, False),
        (Tls.OFF, {TLS: "true"}, {TLS: "true"}, False),
        (Tls.REQUIRED, {}, {}, True),
    ],
)
def test_a_stream_is_encrypted_where_both_hosts_can_or_it_must_be(
    tls: Tls, source: dict[str, str], target: dict[str, str], encrypted: bool
) -> None:
    resolved = resolve({"tls": tls.value}, [], {}, {}, DEFAULTS)

    assert resolved.encrypts(source, target) is encrypted
