"""kubectl apply --server-side, and what other commands make of objects that were applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.machinery.objects import Document
from tests.api.builders import labelled, machine, migration, node
from tests.api.kubectl import Kubectl

ARCH, HOST = "kubernetes.io/arch", "kubernetes.io/hostname"


async def apply(kubectl: Kubectl, document: Document, *flags: str, code: int = 0) -> str:
    return await kubectl("apply", "--server-side", *flags, "-f", "-", given=document, code=code)


async def owners(kubectl: Kubectl, *what: str) -> dict[tuple[str, str], Document]:
    """By manager and operation."""
    seen = await kubectl.json("get", *what, "--show-managed-fields")
    entries: list[Document] = seen["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


def editor(home: Path, expression: str) -> str:
    """A program that edits a file as a person would."""
    script = home / "editor"
    script.write_text(f'#!/bin/sh\nsed -i "{expression}" "$1"\n')
    script.chmod(0o755)
    return str(script)


async def test_applying_twice_changes_nothing(kubectl: Kubectl) -> None:
    first = await apply(kubectl, machine())
    before = await kubectl.json("get", "vm", "testvm", "--show-managed-fields")
    again = await apply(kubectl, machine())

    assert first == again == "virtualmachine.kubevirt.io/testvm serverside-applied\n"
    assert await kubectl.json("get", "vm", "testvm", "--show-managed-fields") == before
    assert list(await owners(kubectl, "vm", "testvm")) == [("kubectl", "Apply")]


async def test_what_is_left_out_goes(kubectl: Kubectl) -> None:
    await apply(kubectl, labelled(machine(nodeSelector={ARCH: "amd64"}), a="b"))
    await apply(kubectl, machine())

    seen = await kubectl.json("get", "vm", "testvm")
    assert "nodeSelector" not in seen["spec"]
    assert "labels" not in seen["metadata"]
    assert seen["metadata"]["finalizers"] == ["kubevirt.io/virtualmachine"]


async def test_managers_conflict_until_one_insists(kubectl: Kubectl) -> None:
    await apply(kubectl, machine(nodeSelector={HOST: "node0"}), "--field-manager=one")
    refused = await apply(kubectl, machine(nodeSelector={HOST: "node1"}), "--field-manager=two", code=1)
    await apply(kubectl, machine(nodeSelector={HOST: "node1"}), "--field-manager=two", "--force-conflicts")

    assert 'Apply failed with 1 conflict: conflict with "one": .spec.nodeSelector' in refused
    assert (await kubectl.json("get", "vm", "testvm"))["spec"]["nodeSelector"] == {HOST: "node1"}
    owned = await owners(kubectl, "vm", "testvm")
    assert "f:nodeSelector" not in owned["one", "Apply"]["f:spec"]
    assert "f:nodeSelector" in owned["two", "Apply"]["f:spec"]


async def test_two_managers_each_keep_their_own(kubectl: Kubectl) -> None:
    await apply(kubectl, labelled(machine(), a="1"), "--field-manager=one")
    await apply(kubectl, labelled(machine(), b="2"), "--field-manager=two")
    await apply(kubectl, machine(), "--field-manager=one")

    assert (await kubectl.json("get", "vm", "testvm"))["metadata"]["labels"] == {"b": "2"}


async def test_client_side_apply_goes_over_to_server_side(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=labelled(machine(nodeSelector={ARCH: "amd64"}), a="b"))
    before = await owners(kubectl, "vm", "testvm")

    await apply(kubectl, labelled(machine(nodeSelector={ARCH: "arm64"}), a="b"))
    after = await owners(kubectl, "vm", "testvm")
    await apply(kubectl, machine())

    assert list(before) == [("kubectl-client-side-apply", "Update")]
    assert set(after) == {("kubectl", "Apply"), ("kubectl-last-applied", "Apply")}
    assert set(after["kubectl-last-applied", "Apply"]["f:metadata"]) == {"f:annotations"}
    seen = await kubectl.json("get", "vm", "testvm")
    assert "nodeSelector" not in seen["spec"]
    assert "labels" not in seen["metadata"]
    assert seen["metadata"]["finalizers"] == ["kubevirt.io/virtualmachine"]


async def test_label_and_edit_own_what_they_change(kubectl: Kubectl) -> None:
    await apply(kubectl, labelled(machine(nodeSelector={ARCH: "amd64"}), a="b"))

    await kubectl("label", "vm", "testvm", "a=c", "d=e", "--overwrite")
    edit = editor(kubectl.home, "s/amd64/arm64/")
    edited = await kubectl("edit", "vm", "testvm", environment={"KUBE_EDITOR": edit})
    refused = await apply(kubectl, labelled(machine(nodeSelector={ARCH: "amd64"}), a="b"), code=1)

    assert "edited" in edited
    owned = await owners(kubectl, "vm", "testvm")
    assert owned["kubectl-label", "Update"] == {"f:metadata": {"f:labels": {"f:a": {}, "f:d": {}}}}
    assert "f:nodeSelector" in owned["kubectl-edit", "Update"]["f:spec"]
    assert 'conflicts with "kubectl-edit" using kubevirt.io/v1alpha1:' in refused
    assert "- .metadata.labels.a" in refused


async def test_diff_tells_what_an_apply_would_change(kubectl: Kubectl) -> None:
    await apply(kubectl, machine(nodeSelector={ARCH: "amd64"}))

    same = await kubectl("diff", "--server-side", "-f", "-", given=machine(nodeSelector={ARCH: "amd64"}))
    differing = await kubectl("diff", "--server-side", "-f", "-", given=machine(nodeSelector={ARCH: "arm64"}), code=1)

    assert same == ""
    assert f"+    {ARCH}: arm64" in differing


async def test_a_field_that_nobody_knows_is_refused(kubectl: Kubectl) -> None:
    said = await apply(kubectl, migration(warp=9), code=1)

    assert ".spec.warp: field not declared in schema" in said


async def test_core_objects_and_migrations_are_applied_too(kubectl: Kubectl) -> None:
    taint: dict[str, Any] = {"key": "a", "effect": "NoSchedule", "value": "1"}
    assert await apply(kubectl, node(taints=[taint])) == "node/node0 serverside-applied\n"
    assert await apply(kubectl, migration()) == "migration.kubevirt.io/testvm-migration serverside-applied\n"
    await kubectl("cordon", "node0")

    owned = await owners(kubectl, "node", "node0")
    assert owned["kubectl", "Update"] == {"f:spec": {"f:unschedulable": {}}}
    assert "f:taints" in owned["kubectl", "Apply"]["f:spec"]


async def test_status_is_applied_apart(kubectl: Kubectl) -> None:
    await apply(kubectl, migration())
    status = {**migration(), "status": {"phase": "Running"}}

    await apply(kubectl, status, "--subresource=status", "--field-manager=controller")

    seen = await kubectl.json("get", "migration", "testvm-migration", "--show-managed-fields")
    assert seen["status"] == {"phase": "Running"}
    entries = {entry["manager"]: entry for entry in seen["metadata"]["managedFields"]}
    assert entries["controller"]["subresource"] == "status"
    assert entries["controller"]["fieldsV1"] == {"f:status": {"f:phase": {}}}
