"""Migration: what may be asked, what may be changed, what is shown."""

from __future__ import annotations

import copy

import pytest

from app.kinds import MIGRATION
from app.kinds.migration import MigrationStatus, Phase
from app.machinery.objects import Document
from app.machinery.schema import schema_of
from tests.kinds.builders import created, migration, said, said_of_change, shown


def test_the_users_example_is_a_migration() -> None:
    document = {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "Migration",
        "metadata": {"name": "testvm-migration"},
        "spec": {"selector": {"name": "testvm"}},
    }

    stored = created(MIGRATION, document)

    assert stored["spec"] == {"selector": {"name": "testvm"}}
    assert stored["metadata"]["finalizers"] == ["kubevirt.io/migration"]
    assert stored["metadata"]["selfLink"] == "/apis/kubevirt.io/v1alpha1/namespaces/default/migrations/testvm-migration"
    assert said(MIGRATION, stored) == []


def test_a_new_migration_has_the_empty_phase() -> None:
    assert MIGRATION.read(migration()).status.phase == Phase.NEW
    assert MigrationStatus().dump() == {"phase": ""}


@pytest.mark.parametrize(
    "spec",
    [
        {"selector": {"name": "testvm"}, "options": {"zeroCopy": True}},
        {"selector": {"name": "testvm", "uid": "x"}},
    ],
)
def test_what_nothing_honours_is_not_in_the_schema(spec: dict[str, object]) -> None:
    assert len(schema_of(MIGRATION).prune({"spec": copy.deepcopy(spec)})) == 1


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"selector": {}},
        {"selector": {"name": ""}},
        {"selector": {"name": "testvm_1"}},
        {"selector": {"name": "a" * 64}},
        {"selector": {"name": "testvm"}, "options": {"bandwidthPerMigration": "64MiB"}},
        {"selector": {"name": "testvm"}, "options": {"bandwidthPerMigration": "-1"}},
        {"selector": {"name": "testvm"}, "options": {"bandwidthPerMigration": 64}},
        {"selector": {"name": "testvm"}, "nodeSelector": {"disktype": True}},
        {"selector": {"name": "testvm"}, "activeDeadlineSeconds": 0},
        {"selector": {"name": "testvm"}, "activeDeadlineSeconds": "600"},
        {"selector": {"name": "testvm"}, "backoffLimit": -1},
        {"selector": {"name": "testvm"}, "backoffLimit": 101},
        {"selector": {"name": "testvm"}, "ttlSecondsAfterFinished": -1},
        {"selector": {"name": "testvm"}, "cancel": "yes"},
    ],
)
def test_what_makes_no_sense_does_not_fit_the_schema(spec: dict[str, object]) -> None:
    assert schema_of(MIGRATION).check({"spec": spec})


@pytest.mark.parametrize("bandwidth", ["0", "1", "1023Ki", "999k", "500m"])
def test_a_bandwidth_that_libvirt_would_round_to_no_limit_is_refused(bandwidth: str) -> None:
    (problem,) = said(MIGRATION, migration(options={"bandwidthPerMigration": bandwidth}))

    assert problem.startswith("spec.options.bandwidthPerMigration: Invalid value: ")


@pytest.mark.parametrize("bandwidth", ["1Mi", "64Mi", "1.5Gi", "2000000", "1e7"])
def test_a_bandwidth_is_a_quantity(bandwidth: str) -> None:
    assert said(MIGRATION, migration(options={"bandwidthPerMigration": bandwidth})) == []


@pytest.mark.parametrize("selector", [{"a b": "c"}, {"a": "b c"}, {"/a": "b"}, {"a": "b" * 64}])
def test_a_node_selector_is_made_of_labels(selector: dict[str, str]) -> None:
    (problem,) = said(MIGRATION, migration(nodeSelector=selector))

    assert problem.startswith("spec.nodeSelector: Invalid value: ")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"selector": {"name": "other"}}, "selector"),
        ({"nodeSelector": {"disktype": "ssd"}}, "nodeSelector"),
        ({"options": {"allowPostCopy": True}}, "options"),
        ({"options": {"progressTimeout": 5}}, "options"),
        ({"activeDeadlineSeconds": 60}, "activeDeadlineSeconds"),
        ({"backoffLimit": 1}, "backoffLimit"),
        ({"ttlSecondsAfterFinished": 60}, "ttlSecondsAfterFinished"),
    ],
)
def test_a_spec_cannot_be_changed(changed: Document, field: str) -> None:
    (problem,) = said_of_change(MIGRATION, migration(), migration(**changed))

    assert problem.startswith(f"spec.{field}: Invalid value: ")
    assert problem.endswith(": delete this Migration and create another")


@pytest.mark.parametrize("phase", ["", "Pending", "Scheduling", "Running"])
def test_one_that_is_not_over_can_be_cancelled(phase: str) -> None:
    before = migration(status={"phase": phase})

    assert said_of_change(MIGRATION, before, migration(cancel=True)) == []
    assert said_of_change(MIGRATION, before, migration(cancel=False)) == []


@pytest.mark.parametrize("change", [{"cancel": False}, {}], ids=["set to false", "removed"])
def test_a_cancel_cannot_be_taken_back(change: Document) -> None:
    (problem,) = said_of_change(MIGRATION, migration(cancel=True), migration(**change))

    assert problem.startswith("spec.cancel: Invalid value: ")
    assert "cannot be taken back" in problem


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_one_that_is_over_cannot_be_cancelled(phase: str) -> None:
    (problem,) = said_of_change(MIGRATION, migration(status={"phase": phase}), migration(cancel=True))

    assert problem == f"spec.cancel: Forbidden: the Migration is over ({phase}): there is nothing left to cancel"


def test_one_that_was_cancelled_can_still_be_labelled_when_it_is_over() -> None:
    before = migration(status={"phase": "Failed"}, cancel=True)

    assert said_of_change(MIGRATION, before, migration(cancel=True)) == []


HELD = {"phase": "Running", "conditions": [{"type": "Held", "status": "True", "reason": "HostUnreachable"}]}


def saying(word: str, status: Document) -> Document:
    document = migration(status=status)
    document["metadata"]["annotations"] = {"kubevirt.io/resolve": word}
    return document


@pytest.mark.parametrize("word", ["source", "target", "lost"])
def test_of_one_that_is_held_the_operator_may_say_where_the_guest_is(word: str) -> None:
    assert said_of_change(MIGRATION, migration(status=HELD), saying(word, HELD)) == []
    assert said_of_change(MIGRATION, saying(word, HELD), saying(word, {"phase": "Failed"})) == []


def test_what_the_operator_says_of_a_guest_is_refused_unless_it_is_held_and_known_words_are_used() -> None:
    running: Document = {"phase": "Running"}
    (early,) = said_of_change(MIGRATION, migration(status=running), saying("source", running))
    (strange,) = said_of_change(MIGRATION, migration(status=HELD), saying("node1", HELD))
    (new,) = said(MIGRATION, saying("source", {}))

    where = "metadata.annotations[kubevirt.io/resolve]"
    assert (
        early == new == f"{where}: Forbidden: the Migration is not held (condition Held): there is nothing to resolve"
    )
    assert strange.startswith(f'{where}: Invalid value: "node1": must be source, target or lost')


def test_labels_and_status_can_be_changed() -> None:
    changed = migration(status={"phase": "Running"})
    changed["metadata"]["labels"] = {"a": "b"}

    assert said_of_change(MIGRATION, migration(), changed) == []


def test_a_running_migration_is_shown() -> None:
    document = created(MIGRATION, migration()) | {
        "status": {
            "phase": "Running",
            "migrationState": {"sourceNode": "node0", "targetNode": "node1", "mode": "PreCopy"},
            "progress": {"percent": 42},
        }
    }

    assert shown(MIGRATION, document) == {
        "Name": "m",
        "VM": "testvm",
        "Phase": "Running",
        "Source": "node0",
        "Target": "node1",
        "Progress": "42%",
        "Age": "50s",
    }


def test_a_finished_migration_is_shown_widely() -> None:
    state = {
        "mode": "PreCopy",
        "downtimeMs": 83,
        "startTimestamp": "2026-01-01T00:00:11Z",
        "endTimestamp": "2026-01-01T00:00:13.250000Z",
    }

    wide = shown(MIGRATION, migration(status={"phase": "Succeeded", "migrationState": state}), wide=True)

    assert (wide["Mode"], wide["Downtime"], wide["Duration"], wide["Reason"]) == ("PreCopy", "83ms", "2.2s", None)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([{"type": "Scheduled", "status": "False", "reason": "Unschedulable"}], "Unschedulable"),
        ([{"type": "Scheduled", "status": "True", "reason": "NodeFound"}], None),
        (
            [
                {"type": "Scheduled", "status": "False", "reason": "Unschedulable"},
                {"type": "Failed", "status": "True", "reason": "Cancelled"},
            ],
            "Cancelled",
        ),
    ],
)
def test_the_reason_is_why_it_failed_or_else_why_it_waits(
    conditions: list[dict[str, str]], expected: str | None
) -> None:
    assert expected == shown(MIGRATION, migration(status={"conditions": conditions}), wide=True)["Reason"]
