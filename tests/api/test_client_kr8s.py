"""kr8s against Drover over TLS, asynchronous and synchronous."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import kr8s
import kr8s.asyncio
import kr8s.asyncio.objects
import kr8s.objects
import pytest

from app.store.base import Store
from tests.api.builders import MIGRATIONS, machine, make_pod, migration, node, pod
from tests.api.kubectl import DEADLINE_S

MIGRATION = "migrations.kubevirt.io"


@pytest.fixture
async def kates(kubeconfig: Path) -> kr8s.asyncio.Api:
    """Of this test's server: kr8s keeps one for each set of arguments."""
    return await kr8s.asyncio.api(kubeconfig=str(kubeconfig))


async def test_what_is_served_is_found(kates: kr8s.asyncio.Api) -> None:
    assert (await kates.version())["minor"] == "36"
    assert {(found["name"], found["version"]) for found in await kates.api_resources()} >= {
        ("migrations", "kubevirt.io/v1alpha1"), ("nodes", "v1"), ("nodes", "kubevirt.io/v1alpha1"),
    }  # fmt: skip
    groups = (
        "authentication.k8s.io/v1",
        "authorization.k8s.io/v1",
        "kubevirt.io/v1alpha1",
        "rbac.authorization.k8s.io/v1",
    )
    assert [version async for version in kates.api_versions()] == ["v1", *groups]
    assert await kates.whoami() == "system:admin"
    assert await kates.lookup_kind("mig") == ("migration.kubevirt.io/v1alpha1", "migrations", True)


async def test_objects_are_made_read_changed_watched_and_deleted(kates: kr8s.asyncio.Api) -> None:
    Migration = kr8s.asyncio.objects.new_class(
        "Migration", "kubevirt.io/v1alpha1", namespaced=True, plural="migrations"
    )
    moves = Migration({**migration("moves"), "metadata": {"name": "moves", "namespace": "default"}}, api=kates)

    await moves.create()
    assert await moves.exists()
    assert (moves.metadata.selfLink, moves.spec.selector.name) == (f"{MIGRATIONS}/moves", "testvm")
    await moves.label(a="b")
    await moves.annotate({"c": "d"})
    await moves.remove_label("a")
    await moves.patch({"status": {"phase": "Running"}}, subresource="status")
    await moves.patch([{"op": "add", "path": "/metadata/labels", "value": {"json": "patch"}}], type="json")
    again = await Migration.get("moves", namespace="default", api=kates)
    assert (again.labels, again.annotations, again.status.phase) == ({"json": "patch"}, {"c": "d"}, "Running")
    await again.wait("jsonpath='{.status.phase}'=Running", timeout=10)
    found = [
        one.name async for one in kates.get(MIGRATION, namespace=kr8s.ALL, field_selector={"status.phase": "Running"})
    ]
    assert found == ["moves"]
    assert [one.name async for one in kates.get(MIGRATION, label_selector={"json": "other"})] == []

    seen = []
    await moves.delete()
    async with asyncio.timeout(DEADLINE_S):
        async for type_, one in kates.watch(MIGRATION, namespace="default"):
            seen.append((type_, one.name))
            if type_ == "DELETED":
                break
            await again.patch({"metadata": {"finalizers": None}})
    assert seen == [("ADDED", "moves"), ("DELETED", "moves")]
    assert not await moves.exists()
    with pytest.raises(kr8s.NotFoundError):
        await Migration.get("moves", namespace="default", api=kates, timeout=1)
    with pytest.raises(kr8s.ServerError) as refused:
        await Migration({**migration("x"), "metadata": {"name": "_"}}, namespace="default", api=kates).create()
    assert refused.value.status["reason"] == "Invalid"


async def test_nodes_are_cordoned_and_logs_are_read(kates: kr8s.asyncio.Api, store: Store) -> None:
    made = await make_pod(store, pod())
    await store.logs.append(UUID(made.document["metadata"]["uid"]), [(datetime.now(UTC), "copying")])

    host = kr8s.asyncio.objects.Node(node("node0"), api=kates)
    await host.create()
    await host.cordon()
    assert host.unschedulable
    await host.taint("a", value="b", effect="NoSchedule")
    assert [taint.key for taint in (await kr8s.asyncio.objects.Node.get("node0", api=kates)).taints] == ["a"]
    await host.uncordon()
    mine = await kr8s.asyncio.objects.Pod.get("virt-migration-abcde", namespace="default", api=kates)
    assert [said async for said in mine.logs()] == ["copying"]
    await kr8s.asyncio.objects.Namespace({"metadata": {"name": "room"}}, api=kates).create()
    assert [one.name async for one in kates.get("namespaces")] == ["default", "room"]


async def test_it_works_synchronously_too(kubeconfig: Path) -> None:
    def story() -> None:
        kates = kr8s.api(kubeconfig=str(kubeconfig))
        guest = kr8s.objects.new_class("VirtualMachine", "kubevirt.io/v1alpha1", namespaced=True)(
            {**machine("testvm"), "metadata": {"name": "testvm", "namespace": "default"}}, api=kates
        )
        guest.create()
        guest.patch({"spec": {"nodeSelector": {"disktype": "ssd"}}})
        assert next(iter(kates.get("vms"))).spec.nodeSelector == {"disktype": "ssd"}
        guest.patch({"metadata": {"finalizers": None}})
        guest.delete()
        guest.wait("delete", timeout=10)
        assert not guest.exists()

    await asyncio.to_thread(story)
