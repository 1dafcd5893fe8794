"""How a guest may be moved, asked for by a Migration or granted by a MigrationPolicy."""

from __future__ import annotations

import pytest

from app.kinds import MIGRATION, MIGRATION_POLICY
from app.machinery.objects import Document
from app.machinery.schema import schema_of
from tests.kinds.builders import created, migration, object_of, said, said_of_change

SELECTORS = {"namespaceSelector": {"tier": "gold"}, "virtualMachineInstanceSelector": {"app": "db"}}


def policy(**spec: object) -> Document:
    return object_of(MIGRATION_POLICY, "p", spec={"selectors": SELECTORS, **spec})


def test_a_policy_selects_by_labels_and_grants_options() -> None:
    document = policy(bandwidthPerMigration="64Mi", completionTimeoutPerGiB=10, allowPostCopy=True)

    stored = created(MIGRATION_POLICY, document)

    assert said(MIGRATION_POLICY, stored) == []
    assert schema_of(MIGRATION_POLICY).check(stored).unknown == []
    assert stored["metadata"]["selfLink"] == "/apis/kubevirt.io/v1alpha1/migrationpolicies/p"


@pytest.mark.parametrize("selectors", [None, {}, {"namespaceSelector": {}}])
def test_a_policy_that_selects_nobody_is_refused(selectors: Document | None) -> None:
    (problem,) = said(MIGRATION_POLICY, policy(selectors=selectors))

    assert "spec.selectors" in problem


def test_labels_are_checked() -> None:
    assert said(MIGRATION_POLICY, policy(selectors={"namespaceSelector": {"a b": "c"}})) != []


NONSENSE: dict[str, Document] = {
    "bandwidthPerMigration": {"bandwidthPerMigration": "1Ki"},
    "parallelConnections": {"parallelConnections": 2, "allowPostCopy": True},
    "compression": {"compression": "zstd"},
}


@pytest.mark.parametrize("field", NONSENSE)
def test_options_that_exclude_one_another_are_refused(field: str) -> None:
    for problem in (
        said(MIGRATION, migration(options=NONSENSE[field])),
        said(MIGRATION_POLICY, policy(**NONSENSE[field])),
        said_of_change(MIGRATION_POLICY, policy(), policy(**NONSENSE[field])),
    ):
        assert len(problem) == 1
        assert f".{field}" in problem[0]


@pytest.mark.parametrize("options", [{"maxDowntimeMs": 0}, {"progressTimeout": 0}, {"compression": "gzip"}])
def test_what_is_out_of_range_is_refused(options: Document) -> None:
    assert schema_of(MIGRATION).check(migration(options=options)).errors != []


def test_bandwidth_and_downtime_may_be_changed_on_the_way() -> None:
    old = migration(options={"allowPostCopy": True, "bandwidthPerMigration": "64Mi"})
    new = migration(options={"allowPostCopy": True, "bandwidthPerMigration": "1Gi", "maxDowntimeMs": 900})

    assert said_of_change(MIGRATION, old, new) == []
    assert said_of_change(MIGRATION, new, old) == []


def test_what_is_changed_must_be_possible() -> None:
    (problem,) = said_of_change(MIGRATION, migration(), migration(options={"bandwidthPerMigration": "1Ki"}))

    assert "bandwidthPerMigration" in problem
