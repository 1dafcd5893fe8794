"""MigrationPolicy: what may be asked for whom, and what is shown of it."""

from __future__ import annotations

import pytest

from app.kinds import MIGRATION_POLICY
from app.machinery.objects import Document
from app.machinery.schema import schema_of
from tests.kinds.builders import created, object_of, said, said_of_change, shown


def policy(**spec: object) -> Document:
    return object_of(MIGRATION_POLICY, "databases", spec={"selectors": {}} | spec)


def test_it_belongs_to_no_namespace_and_is_kept_as_it_was_written() -> None:
    spec = {"selectors": {"namespaceSelector": {"team": "a"}}, "bandwidthPerMigration": "64Mi", "tls": "Required"}

    stored = created(MIGRATION_POLICY, policy(**spec))

    assert stored["spec"] == spec
    assert stored["metadata"]["selfLink"] == "/apis/kubevirt.io/v1alpha1/migrationpolicies/databases"
    assert said(MIGRATION_POLICY, stored) == []


@pytest.mark.parametrize("spec", [{}, {"selectors": {}, "tls": "Yes"}, {"selectors": {}, "bandwidthPerMigration": 5}])
def test_what_makes_no_sense_does_not_fit_the_schema(spec: Document) -> None:
    assert schema_of(MIGRATION_POLICY).check({"spec": spec})


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"bandwidthPerMigration": "1Ki"}, "spec.bandwidthPerMigration"),
        ({"selectors": {"namespaceSelector": {"a b": "c"}}}, "spec.selectors.namespaceSelector"),
        ({"selectors": {"virtualMachineInstanceSelector": {"a": "b c"}}},
         "spec.selectors.virtualMachineInstanceSelector"),
    ],
)  # fmt: skip
def test_what_the_schema_cannot_judge_is_judged_when_it_is_made_and_changed(spec: Document, field: str) -> None:
    (made,) = said(MIGRATION_POLICY, policy(**spec))
    (changed,) = said_of_change(MIGRATION_POLICY, policy(), policy(**spec))

    assert made == changed
    assert made.startswith(f"{field}: Invalid value: ")


def test_its_columns_say_whom_it_means() -> None:
    selectors = {"virtualMachineInstanceSelector": {"tier": "db", "size": "large"}}

    columns = shown(MIGRATION_POLICY, policy(selectors=selectors))

    assert (columns["Namespaces"], columns["VMs"]) == ("<any>", "size=large,tier=db")


def test_its_wide_row_has_what_it_says() -> None:
    said = policy(selectors={}, bandwidthPerMigration="64Mi", allowAutoConverge=True)

    assert shown(MIGRATION_POLICY, said, wide=True)["Options"] == "allowAutoConverge=true,bandwidthPerMigration=64Mi"
