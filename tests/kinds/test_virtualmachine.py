"""VirtualMachine: a guest in one of two forms, and rules that may change at any time."""

from __future__ import annotations

import pytest

from app.kinds import VIRTUAL_MACHINE
from app.kinds.domain import DomainSpec
from app.machinery.objects import Document
from app.machinery.schema import schema_of
from tests.kinds.builders import created, object_of, said, said_of_change, shown, vm
from tests.kinds.domains import domain, xml


def required_terms(*terms: Document) -> Document:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def expression(operator: str, *values: str) -> Document:
    return {"matchExpressions": [{"key": "disktype", "operator": operator, "values": list(values)}]}


TERMS = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"


def test_a_stored_vm_has_its_defaults_and_its_finalizer() -> None:
    stored = created(VIRTUAL_MACHINE, vm())

    assert stored["spec"]["terminationGracePeriodSeconds"] == 30
    assert stored["metadata"]["finalizers"] == ["kubevirt.io/virtualmachine"]
    assert said(VIRTUAL_MACHINE, stored) == []
    assert domain() == stored["spec"]["domain"]


def test_a_vm_is_one_form_or_the_other() -> None:
    neither = object_of(VIRTUAL_MACHINE, "testvm", spec={})

    assert said(VIRTUAL_MACHINE, neither) == ["spec.domain: Required value: one of domain and domainXML"]
    assert said(VIRTUAL_MACHINE, vm(domainXML=xml())) == [
        "spec.domainXML: Forbidden: may not be specified beside domain"
    ]
    assert said(VIRTUAL_MACHINE, object_of(VIRTUAL_MACHINE, "testvm", spec={"domainXML": xml()})) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "lxc"},
        {"memory": {"value": 0, "unit": "MB"}},
        {"memory": {"value": 64}},
        {"memory": {"value": 64, "unit": "parsecs"}},
        {"vcpu": 0},
        {"os": {}},
        {"devices": {"disks": [{"type": "file"}]}},
        {"devices": {"interfaces": [{"type": "bridge", "source": {}, "mac": {"address": "x"}}]}},
    ],
)
def test_a_domain_that_makes_no_sense_does_not_fit_the_schema(wrong: Document) -> None:
    assert schema_of(VIRTUAL_MACHINE).check(vm(domain=domain(**wrong)))


def test_cloudinit_is_not_in_the_schema() -> None:
    disk = {"type": "file", "target": {"dev": "vda"}, "cloudinit": {"nocloud": {}}}

    unknown = schema_of(VIRTUAL_MACHINE).prune(vm(domain=domain(devices={"disks": [disk]})))

    assert unknown == ["spec.domain.devices.disks[0].cloudinit"]


def test_a_running_guest_keeps_its_definition() -> None:
    (problem,) = said_of_change(VIRTUAL_MACHINE, vm(), vm(domain=domain(vcpu=2)))

    assert problem.startswith("spec.domain: ")
    assert "immutable" in problem


def test_what_decides_about_nodes_can_be_changed_at_any_time() -> None:
    changed = vm(
        nodeSelector={"disktype": "ssd"},
        affinity=required_terms(expression("In", "ssd")),
        terminationGracePeriodSeconds=5,
    )

    assert said_of_change(VIRTUAL_MACHINE, vm(nodeSelector={"kubernetes.io/hostname": "node0"}), changed) == []


@pytest.mark.parametrize(
    ("affinity", "place"),
    [
        (required_terms(), TERMS),
        (required_terms(expression("In")), f"{TERMS}[0].matchExpressions[0].values"),
        (required_terms(expression("Exists", "x")), f"{TERMS}[0].matchExpressions[0].values"),
        (required_terms(expression("Gt", "1", "2")), f"{TERMS}[0].matchExpressions[0].values"),
        (required_terms(expression("Lt", "many")), f"{TERMS}[0].matchExpressions[0].values[0]"),
        (
            required_terms({"matchFields": [{"key": "spec.x", "operator": "In", "values": ["a"]}]}),
            f"{TERMS}[0].matchFields[0].key",
        ),
        (
            required_terms({"matchFields": [{"key": "metadata.name", "operator": "Exists"}]}),
            f"{TERMS}[0].matchFields[0].operator",
        ),
    ],
)
def test_an_affinity_that_can_never_hold_is_refused(affinity: Document, place: str) -> None:
    (created_with,) = VIRTUAL_MACHINE.check_create(vm(affinity=affinity))
    (changed_to,) = VIRTUAL_MACHINE.check_update(vm(), vm(affinity=affinity))

    assert (place, place) == (created_with.path, changed_to.path)


@pytest.mark.parametrize(("operator", "values"), [("In", ["a", "b"]), ("NotIn", ["a"]), ("Exists", []), ("Gt", ["-3"])])
def test_an_affinity_that_can_hold_is_taken(operator: str, values: list[str]) -> None:
    preferred = {"weight": 1, "preference": expression(operator, *values)}
    affinity = required_terms(expression(operator, *values))
    affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = [preferred]

    assert said(VIRTUAL_MACHINE, vm(affinity=affinity)) == []
    assert schema_of(VIRTUAL_MACHINE).check(vm(affinity=affinity)) == []


def test_its_row_says_where_it_is_and_whether_it_runs() -> None:
    status = {
        "phase": "Migrating",
        "nodeName": "node0",
        "migrationNodeName": "node1",
        "conditions": [{"type": "Ready", "status": "True", "reason": "GuestRunning"}],
    }

    row = shown(VIRTUAL_MACHINE, vm(status=status), wide=True)

    assert (
        row["Phase"], row["Node"], row["Ready"], row["Target"], row["Reason"]
    ) == ("Migrating", "node0", "True", "node1", None)  # fmt: skip


WORRIES = {
    "nothing": ({}, None),
    "it cannot move": ({"LiveMigratable": "False"}, "ofLiveMigratable"),
    "it is paused, which is worse": ({"LiveMigratable": "False", "Paused": "True"}, "ofPaused"),
    "nobody knows of it": ({"Paused": "True", "Ready": "Unknown"}, "ofReady"),
    "it runs twice, which is worst": ({"Paused": "True", "Ready": "False", "Duplicate": "True"}, "ofDuplicate"),
}


@pytest.mark.parametrize(("said", "reason"), WORRIES.values(), ids=WORRIES.keys())
def test_its_row_says_the_worst_of_it(said: dict[str, str], reason: str | None) -> None:
    fine = {"Ready": "True", "Synchronized": "True", "LiveMigratable": "True"}
    conditions = [{"type": type_, "status": is_, "reason": f"of{type_}"} for type_, is_ in (fine | said).items()]

    row = shown(VIRTUAL_MACHINE, vm(status={"conditions": conditions}), wide=True)

    assert (row["Live-Migratable"], row["Reason"]) == ((fine | said)["LiveMigratable"], reason)


def test_its_row_says_why_it_does_not_run() -> None:
    status = {"conditions": [{"type": "Ready", "status": "False", "reason": "GuestCrashed"}]}

    assert shown(VIRTUAL_MACHINE, vm(status=status), wide=True)["Reason"] == "GuestCrashed"


def test_the_typed_view_is_the_document() -> None:
    assert domain() == DomainSpec.read(domain()).dump() | {"devices": {}}
