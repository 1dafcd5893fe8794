"""kubectl through a cluster to Drover: every verb, and the cluster's rights deciding."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.wiring.service import Service
from tests.api.kubectl import Kubectl, line, rows
from tests.cluster.merging import GVK, references
from tests.cluster.scene import Cluster, drover

Document = dict[str, Any]

MIGRATION: Document = {
    "apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": "testvm-migration"},
    "spec": {"selector": {"name": "testvm"}},
}  # fmt: skip
NODE: Document = {
    "apiVersion": "kubevirt.io/v1alpha1", "kind": "Node", "metadata": {"name": "node0"},
    "spec": {"providerID": "qemu+tls://node0/system"},
}  # fmt: skip


def machine(name: str = "testvm", **metadata: Any) -> Document:
    domain = {"memory": {"value": 64, "unit": "MB"}, "type": "qemu", "os": {"type": {"os": "hvm"}}, "devices": {}}
    metadata = {"name": name, **metadata}
    return {
        "apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachine", "metadata": metadata, "spec": {"domain": domain},
    }  # fmt: skip


@pytest.fixture
async def served(behind: Cluster, postgres_url: str) -> AsyncIterator[Service]:
    """Drover behind the cluster, available, and known to it."""
    async with drover(behind, postgres_url) as service:
        await behind.available()
        await behind.gathered()
        yield service


@pytest.fixture
def alice(behind: Cluster, served: Service) -> Kubectl:
    return behind.kubectl("alice")


@pytest.fixture
def admin(behind: Cluster, served: Service) -> Kubectl:
    return behind.kubectl("admin")


async def test_resources_are_discovered_beside_the_clusters_own(alice: Kubectl) -> None:
    listed = rows(await alice("api-resources", "--no-headers"))

    ours = {row[0]: row[-1] for row in listed if "kubevirt.io/v1alpha1" in row}
    assert ours == {
        "migrationpolicies": "MigrationPolicy", "migrations": "Migration", "nodes": "Node", "pods": "Pod",
        "virtualmachines": "VirtualMachine",
    }  # fmt: skip
    theirs = {row[0] for row in listed if "v1" in row}
    assert {"namespaces", "events", "nodes", "pods"} <= theirs
    assert "kubevirt.io/v1alpha1" in (await alice("api-versions")).split()


async def test_the_older_discovery_serves_too(behind: Cluster, served: Service) -> None:
    async with behind.http("alice") as http:
        groups = (await http.get("/apis")).json()["groups"]
        group = (await http.get("/apis/kubevirt.io")).json()
        resources = (await http.get("/apis/kubevirt.io/v1alpha1")).json()

    assert "kubevirt.io" in [one["name"] for one in groups]
    assert group["preferredVersion"]["groupVersion"] == "kubevirt.io/v1alpha1"
    names = [one["name"] for one in resources["resources"]]
    assert "pods/log" in names and "migrations/status" in names
    assert not [one for one in resources["resources"] if one["name"] in ("nodes", "pods") and one.get("shortNames")]


async def test_every_field_is_explained(alice: Kubectl) -> None:
    printed = await alice("explain", "migrations.spec.selector")

    assert "GROUP:      kubevirt.io" in printed and "name\t<string>" in printed
    assert "GROUP:      kubevirt.io" in await alice("explain", "nodes", "--api-version=kubevirt.io/v1alpha1")
    assert "VERSION:    v1\n" in await alice("explain", "pods")


async def test_the_users_own_migration_is_made_shown_and_deleted(alice: Kubectl) -> None:
    assert await alice("create", "-f", "-", given=MIGRATION) == "migration.kubevirt.io/testvm-migration created\n"
    assert rows(await alice("get", "migrations"))[1][:2] == ["testvm-migration", "testvm"]
    assert rows(await alice("get", "mig", "-o", "wide"))[1][0] == "testvm-migration"
    shown = await alice.json("get", "migration", "testvm-migration")
    assert shown["metadata"]["selfLink"] == "/apis/kubevirt.io/v1alpha1/namespaces/team/migrations/testvm-migration"
    described = await alice("describe", "migration", "testvm-migration")
    assert "Name:         testvm-migration" in described
    assert "deleted" in await alice("delete", "migration", "testvm-migration", "--wait=false")
    assert (await alice.json("get", "migration", "testvm-migration"))["metadata"]["deletionTimestamp"]


async def test_a_machine_is_applied_patched_edited_and_labelled(alice: Kubectl) -> None:
    assert "created" in await alice("apply", "-f", "-", given=machine())
    assert "unchanged" in await alice("apply", "-f", "-", given=machine())
    assert "configured" in await alice("apply", "-f", "-", given=machine(labels={"tier": "gold"}))
    assert "serverside-applied" in await alice(
        "apply", "--server-side", "-f", "-", given=machine("other", labels={"tier": "tin"})
    )
    await alice("patch", "vm", "testvm", "--type=merge", "-p", '{"metadata":{"labels":{"tier":"silver"}}}')
    await alice("label", "vm", "testvm", "colour=red")
    edited = await alice("edit", "vm", "testvm", environment={"KUBE_EDITOR": "sed -i s/silver/lead/"})

    assert "edited" in edited
    found = await alice.json("get", "vm", "testvm")
    assert found["metadata"]["labels"] == {"tier": "lead", "colour": "red"}
    assert rows(await alice("get", "vm", "-l", "tier=tin", "--no-headers"))[0][0] == "other"
    assert "replaced" in await alice(
        "replace", "-f", "-", given={**found, "metadata": found["metadata"] | {"labels": {}}}
    )
    assert "no changes" not in await alice("diff", "-f", "-", given=machine(labels={"a": "b"}), code=1)


async def test_changes_are_streamed_as_they_come(alice: Kubectl) -> None:
    watching = await alice.start("get", "vm", "-w", "--no-headers")
    await alice("create", "-f", "-", given=machine())
    assert (await line(watching)).startswith("testvm ")
    waiting = await alice.start("wait", "vm/testvm", "--for=jsonpath={.metadata.labels.ready}=yes", "--timeout=20s")
    await asyncio.sleep(0.2)
    await alice("label", "vm", "testvm", "ready=yes")

    assert await line(waiting) == "virtualmachine.kubevirt.io/testvm condition met"
    async with asyncio.timeout(10):
        await waiting.wait()
    assert (await line(watching)).startswith("testvm ")


async def test_a_bad_field_is_refused_by_drover_and_told_by_kubectl(alice: Kubectl) -> None:
    wrong = {**MIGRATION, "spec": {"selector": {"name": "testvm"}, "nodeSelektor": {}}}

    printed, code = await alice.run("create", "-f", "-", given=wrong)

    assert code == 1 and 'unknown field "spec.nodeSelektor"' in printed


async def test_nodes_and_pods_are_the_clusters_unless_the_group_is_said(behind: Cluster, admin: Kubectl) -> None:
    carol = behind.kubectl("carol")
    assert "created" in await carol("create", "-f", "-", given=NODE)

    assert rows(await carol("get", "nodes.kubevirt.io", "--no-headers"))[0][0] == "node0"
    assert await admin("get", "nodes") == "No resources found\n"
    await carol("annotate", "nodes.kubevirt.io", "node0", "kubevirt.io/drain=true")
    await carol("patch", "nodes.kubevirt.io", "node0", "--type=merge", "-p", '{"spec":{"unschedulable":true}}')
    found = await carol.json("get", "nodes.kubevirt.io", "node0")
    assert found["metadata"]["annotations"]["kubevirt.io/drain"] == "true" and found["spec"]["unschedulable"] is True
    assert found["apiVersion"] == "kubevirt.io/v1alpha1"


async def test_the_clusters_roles_decide(behind: Cluster, alice: Kubectl) -> None:
    bob, carol = behind.kubectl("bob"), behind.kubectl("carol")
    await alice("create", "-f", "-", given=machine())

    for kubectl, words, verb, resource in (
        (bob, ("create", "-f", "-"), "create", "virtualmachines"),
        (bob, ("delete", "vm", "testvm"), "delete", "virtualmachines"),
        (bob, ("delete", "vm", "--all"), "delete", "virtualmachines"),
        (carol, ("get", "vm"), "list", "virtualmachines"),
        (alice, ("get", "vm", "-A"), "list", "virtualmachines"),
        (alice, ("get", "nodes.kubevirt.io"), "list", "nodes"),
        (alice, ("-n", "drover", "create", "-f", "-"), "create", "virtualmachines"),
    ):
        printed, code = await kubectl.run(*words, given=machine("other"))
        assert code == 1, printed
        assert f'cannot {verb} resource "{resource}" in API group "kubevirt.io"' in printed
    assert rows(await bob("get", "vm", "--no-headers"))[0][0] == "testvm"
    assert await alice("auth", "can-i", "create", "migrations.kubevirt.io") == "yes\n"
    assert "virtualmachines.kubevirt.io" in await bob("auth", "can-i", "--list")


async def test_the_user_is_who_drover_sees_and_writes_down(alice: Kubectl, admin: Kubectl, behind: Cluster) -> None:
    await alice("create", "-f", "-", given=machine())
    await admin("get", "vm", "--as", "bob")

    assert [who for who, method, _ in behind.kube.aggregator.asked if method == "POST"] == ["alice"]
    asked = [spec for resource, spec in behind.kube.reviews if resource == "subjectaccessreviews"]
    created = next(spec for spec in asked if spec.get("resourceAttributes", {}).get("verb") == "create")
    assert created == {
        "user": "alice", "groups": ["builders", "system:authenticated"], "uid": "uid-alice",
        "extra": {"example.org/team": ["red", "blue"]},
        "resourceAttributes": {"namespace": "team", "verb": "create", "group": "kubevirt.io", "version": "v1alpha1",
                               "resource": "virtualmachines"},
    }  # fmt: skip
    assert any(spec["user"] == "bob" for spec in asked)


async def test_a_namespace_that_was_just_made_can_be_used_and_a_missing_one_not(admin: Kubectl) -> None:
    await admin("create", "namespace", "fresh")
    assert "created" in await admin("-n", "fresh", "create", "-f", "-", given=machine())

    for words in (("create",), ("apply", "--server-side")):
        printed, code = await admin.run("-n", "missing", *words, "-f", "-", given=machine())
        assert code == 1 and 'namespaces "missing" not found' in printed
    printed, code = await admin.run("-n", "missing", "create", "--dry-run=server", "-f", "-", given=machine())
    assert code == 1 and 'namespaces "missing" not found' in printed


async def test_logs_are_read_by_their_path(behind: Cluster, alice: Kubectl) -> None:
    """kubectl's own logs command knows the core group's pods only."""
    path = "/apis/kubevirt.io/v1alpha1/namespaces/team/pods/none/log"

    printed, code = await alice.run("get", "--raw", path)

    assert code == 1 and "NotFound" in printed
    assert behind.kube.aggregator.asked[-1] == ("alice", "GET", path)


async def test_what_is_not_ours_is_not_served_by_us(behind: Cluster, served: Service) -> None:
    own = ("/api", "/api/v1/namespaces", "/apis/authorization.k8s.io/v1", "/openapi/v3/api/v1")
    async with behind.direct("admin") as http:
        for path in own:
            assert (await http.get(path)).status_code == 404, path
        review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {}}
        asked = await http.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review)
        assert asked.status_code == 404
        groups = (await http.get("/apis")).json()["groups"]
        index = (await http.get("/openapi/v3")).json()["paths"]

    assert [group["name"] for group in groups] == ["kubevirt.io"]
    assert list(index) == ["apis/kubevirt.io/v1alpha1"]


async def test_the_openapi_documents_merge_without_renaming_any_kind(behind: Cluster, served: Service) -> None:
    async with behind.http("alice") as http:
        merged = (await http.get("/openapi/v2")).json()
        index = (await http.get("/openapi/v3")).json()["paths"]
        ours = await http.get(index["apis/kubevirt.io/v1alpha1"]["serverRelativeURL"])
        again = await http.get(ours.request.url.path, headers={"if-none-match": ours.headers["etag"]})

    definitions = merged["definitions"]
    assert set(references(merged)) <= definitions.keys()
    for kind in ("Migration", "VirtualMachine", "MigrationPolicy", "Node", "Pod"):
        mark = {"group": "kubevirt.io", "version": "v1alpha1", "kind": kind}
        assert [name for name, body in definitions.items() if mark in body.get(GVK, ())] == [
            f"io.kubevirt.v1alpha1.{kind}"
        ]
    marks = [json.dumps(mark, sort_keys=True) for body in definitions.values() for mark in body.get(GVK, ())]
    assert len(marks) == len(set(marks))
    assert {"/api/v1/namespaces", "/apis/kubevirt.io/v1alpha1/migrations"} <= merged["paths"].keys()
    assert {"api/v1", "apis/kubevirt.io/v1alpha1"} <= index.keys()
    assert ours.status_code == 200 and "immutable" in ours.headers["cache-control"]
    assert again.status_code == 304


async def test_what_has_not_changed_is_not_sent_again(behind: Cluster, served: Service) -> None:
    aggregator = behind.kube.aggregator
    before = (aggregator.registered.discovery, aggregator.registered.swagger)

    await aggregator.gather()

    assert aggregator.registered.discovery is before[0] and aggregator.registered.swagger is before[1]
