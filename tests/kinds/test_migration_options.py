"""How a guest may be moved: what no Migration and no MigrationPolicy may ask for, and what may be changed on the way."""

from __future__ import annotations

import pytest

from app.kinds import MIGRATION, MIGRATION_POLICY
from app.machinery.objects import Document
from app.machinery.schema import schema_of
from tests.kinds.builders import migration, object_of, said, said_of_change

SELECTORS = {"namespaceSelector": {"tier": "gold"}, "virtualMachineInstanceSelector": {"app": "db"}}


def policy(**spec: object) -> Document:
    return object_of(MIGRATION_POLICY, "p", spec={"selectors": SELECTORS, **spec})


NONSENSE: dict[str, Document] = {
    "bandwidthPerMigration": {"bandwidthPerMigration": "1Ki"},
    "parallelConnections": {"parallelConnections": 2, "allowPostCopy": True},
    "arrivePaused": {"arrivePaused": True, "allowPostCopy": True},
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
    assert schema_of(MIGRATION).check(migration(options=options)) != []


def test_bandwidth_and_downtime_may_be_changed_on_the_way() -> None:
    old = migration(options={"allowPostCopy": True, "bandwidthPerMigration": "64Mi"})
    new = migration(options={"allowPostCopy": True, "bandwidthPerMigration": "1Gi", "maxDowntimeMs": 900})

    assert said_of_change(MIGRATION, old, new) == []
    assert said_of_change(MIGRATION, new, old) == []


def test_what_is_changed_must_be_possible() -> None:
    (problem,) = said_of_change(MIGRATION, migration(), migration(options={"bandwidthPerMigration": "1Ki"}))

    assert "bandwidthPerMigration" in problem
