"""lightkube against Drover over TLS: generic resources, typed ones, server-side apply, watches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from lightkube import AsyncClient, Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.models.core_v1 import EventSource, NodeSpec, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event, Namespace, Node, NodeStatus, Pod
from lightkube.types import CascadeType, PatchType

from app.store.base import Store
from tests.api.builders import labelled, make_pod, migration, pod
from tests.api.kubectl import DEADLINE_S

Migration = create_namespaced_resource("kubevirt.io", "v1alpha1", "Migration", "migrations")
MigrationStatus = Migration.Status


@pytest.fixture
def lightkube(kubeconfig: Path) -> Iterator[Client]:
    with Client(config=KubeConfig.from_file(str(kubeconfig)), namespace="default", field_manager="tests") as made:
        yield made


def made(name: str, **labels: str) -> GenericNamespacedResource:
    resource: GenericNamespacedResource = Migration.from_dict(labelled(migration(name), **labels))
    return resource


async def test_generic_resources(lightkube: Client) -> None:
    def story() -> None:
        created = lightkube.create(made("one", a="b"))
        lightkube.create(made("two"))
        assert created["spec"]["selector"] == {"name": "testvm"}
        assert [one.metadata.name for one in lightkube.list(Migration, chunk_size=1)] == ["one", "two"]
        assert [one.metadata.name for one in lightkube.list(Migration, labels={"a": ["b", "c"]})] == ["one"]
        assert [
            one.metadata.name for one in lightkube.list(Migration, namespace="*", fields={"metadata.name": "two"})
        ] == ["two"]

        merged = lightkube.patch(
            Migration, "one", {"metadata": {"annotations": {"x": "y"}}}, patch_type=PatchType.MERGE
        )
        assert merged.metadata.annotations == {"x": "y"}
        listed = lightkube.patch(
            Migration, "one", [{"op": "remove", "path": "/metadata/annotations"}], patch_type=PatchType.JSON
        )
        assert listed.metadata.annotations is None
        with pytest.raises(ApiError) as strategic:
            lightkube.patch(Migration, "one", {})
        assert (strategic.value.status.code, strategic.value.status.reason) == (415, "UnsupportedMediaType")
        told = lightkube.patch(MigrationStatus, "one", {"status": {"phase": "Pending"}}, patch_type=PatchType.MERGE)
        assert told["status"] == {"phase": "Pending"}
        seen = lightkube.get(Migration, "one")
        seen["metadata"]["labels"] = {"c": "d"}
        assert lightkube.replace(seen).metadata.labels == {"c": "d"}
        seen["spec"]["nodeSelector"] = {"disktype": "ssd"}
        with pytest.raises(ApiError) as stale:
            lightkube.replace(seen)
        assert stale.value.status.reason == "Conflict"

        lightkube.delete(Migration, "one", cascade=CascadeType.BACKGROUND)
        lightkube.patch(Migration, "one", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)
        with pytest.raises(ApiError) as gone:
            lightkube.get(Migration, "one")
        assert gone.value.status.code == 404
        lightkube.deletecollection(Migration)
        assert [one.metadata.deletionTimestamp is None for one in lightkube.list(Migration)] == [False]

    await asyncio.to_thread(story)


async def test_server_side_apply(lightkube: Client) -> None:
    def story() -> None:
        first = lightkube.apply(made("one", a="b"))
        same = lightkube.apply(made("one", a="b"))
        assert first.metadata.resourceVersion == same.metadata.resourceVersion
        assert [entry.operation for entry in first.metadata.managedFields] == ["Apply"]
        with pytest.raises(ApiError) as conflict:
            lightkube.apply(made("one", a="c"), field_manager="other")
        assert 'conflict with "tests": .metadata.labels.a' in conflict.value.status.message
        assert lightkube.apply(made("one", a="c"), field_manager="other", force=True).metadata.labels == {"a": "c"}
        node = Node(
            metadata=ObjectMeta(name="node0"),
            spec=NodeSpec(providerID="qemu+unix:///session?socket=/nowhere"),
        )
        assert lightkube.apply(node).spec.providerID == lightkube.apply(node).spec.providerID

    await asyncio.to_thread(story)


async def test_typed_resources(lightkube: Client, store: Store) -> None:
    stored = await make_pod(store, pod())
    await store.logs.append(UUID(stored.document["metadata"]["uid"]), [(datetime.now(UTC), "copying")])

    def story() -> None:
        lightkube.create(
            Node(metadata=ObjectMeta(name="node0"), spec=NodeSpec(providerID="qemu+unix:///session?socket=/nowhere"))
        )
        assert lightkube.patch(Node, "node0", {"spec": {"unschedulable": True}}).spec.unschedulable is True
        status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        assert lightkube.patch(NodeStatus, "node0", status).status.conditions[0].status == "True"
        lightkube.wait(Node, "node0", for_conditions=["Ready"])
        lightkube.patch(Node, "node0", {"metadata": {"labels": {"disktype": "ssd"}}})
        assert [one.metadata.name for one in lightkube.list(Node, labels={"disktype": "ssd"})] == ["node0"]
        assert [one.spec.nodeName for one in lightkube.list(Pod, fields={"spec.nodeName": "node0"})] == ["node0"]
        assert list(lightkube.log("virt-migration-abcde")) == ["copying\n"]
        lightkube.create(Namespace(metadata=ObjectMeta(name="room")))
        lightkube.create(
            Event(
                metadata=ObjectMeta(generateName="told-"),
                involvedObject=ObjectReference(kind="Node", name="node0", namespace="room"),
                reason="Tested", message="hello", source=EventSource(component="tests"), lastTimestamp=datetime.now(UTC),
            ),
            namespace="room",
        )  # fmt: skip
        assert [told.message for told in lightkube.list(Event, namespace="*", fields={"reason": "Tested"})] == ["hello"]

    await asyncio.to_thread(story)


async def test_a_watch_is_told_and_goes_on(kubeconfig: Path) -> None:
    lightkube = AsyncClient(config=KubeConfig.from_file(str(kubeconfig)), namespace="default")
    seen = []

    await lightkube.create(made("one"))
    async with asyncio.timeout(DEADLINE_S):
        async for type_, one in lightkube.watch(Migration, server_timeout=1):
            seen.append((type_, one.metadata.name))
            match seen[-1]:
                case "ADDED", "one":
                    await lightkube.create(made("two"))
                case "ADDED", "two":
                    await asyncio.sleep(1.5)
                    await lightkube.create(made("three"))
                case _:
                    break
    await lightkube.close()

    assert seen == [("ADDED", "one"), ("ADDED", "two"), ("ADDED", "three")]
