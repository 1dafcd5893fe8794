"""Pod: nobody but Drover makes one, nothing but its owner ends one."""

from __future__ import annotations

import pytest

from app.kinds import POD
from tests.kinds.builders import pod, said, said_of_change, shown

LAUNCHER = {"kubevirt.io": "virt-launcher", "kubevirt.io/domain": "testvm"}
MOVER = {"kubevirt.io": "migration", "kubevirt.io/migration": "m"}


def test_a_pod_cannot_be_made_by_hand() -> None:
    assert said(POD, pod()) == ["spec: Forbidden: pods are made by Drover: create a VirtualMachine, or a Migration"]


def test_a_pods_spec_cannot_be_changed() -> None:
    old, new = pod(spec={"nodeName": "node0"}), pod(spec={"nodeName": "node1"})

    (problem,) = said_of_change(POD, old, new)

    assert problem.startswith("spec: Forbidden: ")


def test_a_pods_labels_can_be_changed() -> None:
    assert said_of_change(POD, pod(spec={"nodeName": "a"}), pod(spec={"nodeName": "a"}, labels={"x": "y"})) == []


@pytest.mark.parametrize("phase", [None, "Pending", "Running", "Unknown"])
@pytest.mark.parametrize(
    ("labels", "help_"), [(LAUNCHER, 'delete the VirtualMachine "testvm"'), (MOVER, 'delete the Migration "m"')]
)
def test_deleting_a_live_pod_is_forbidden(phase: str | None, labels: dict[str, str], help_: str) -> None:
    assert POD.check_delete is not None
    refusal = POD.check_delete(pod(labels=labels, status={"phase": phase} if phase else {}))

    assert refusal is not None
    assert (refusal.code, refusal.reason) == (403, "Forbidden")
    assert help_ in refusal.message


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("labels", [LAUNCHER, MOVER])
def test_a_finished_pod_can_be_deleted(phase: str, labels: dict[str, str]) -> None:
    assert POD.check_delete is not None
    assert POD.check_delete(pod(labels=labels, status={"phase": phase})) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, "Pending"),
        ({"phase": "Running"}, "Running"),
        ({"phase": "Succeeded"}, "Completed"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": "Error"}}}]}, "Error"),
        ({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "Arriving"}}}]}, "Arriving"),
    ],
)
def test_its_state_is_worded_as_kubectl_words_it(status: dict[str, object], expected: str) -> None:
    assert expected == shown(POD, pod(status=status))["Status"]


def test_a_pod_that_goes_is_terminating() -> None:
    going = pod(status={"phase": "Running"})
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert shown(POD, going)["Status"] == "Terminating"


def test_its_columns_are_kubectls() -> None:
    ready = {"containerStatuses": [{"name": "compute", "ready": True, "restartCount": 1}]}

    row = shown(POD, pod(status=ready))

    assert list(row) == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert (row["Ready"], row["Restarts"]) == ("1/1", "1")


def test_a_drain_finds_evictions() -> None:
    (eviction,) = [each for each in POD.subresources if each.name == "eviction"]

    assert (eviction.kind, str(eviction.group_version), eviction.verbs) == ("Eviction", "policy/v1", ("create",))
