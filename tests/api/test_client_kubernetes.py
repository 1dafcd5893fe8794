"""The official Python client against Drover over TLS: typed objects, custom objects, the dynamic client, watches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError

from app.store.base import Store
from app.store.postgres import PostgresStore
from tests.api.builders import machine, make_pod, migration, node, pod

GROUP = ("kubevirt.io", "v1alpha1")
DEFAULT = (*GROUP, "default")


@pytest.fixture
def api_client(kubeconfig: Path) -> Iterator[client.ApiClient]:
    made = config.new_client_from_config(str(kubeconfig))
    yield made
    made.rest_client.pool_manager.clear()
    made.close()


def names(items: list[Any]) -> list[str]:
    return [item["metadata"]["name"] for item in items]


async def test_custom_objects_are_made_read_changed_and_deleted(api_client: client.ApiClient) -> None:
    def story() -> None:
        api = client.CustomObjectsApi(api_client)
        made = api.create_namespaced_custom_object(*DEFAULT, "virtualmachines", machine("one"))
        api.create_namespaced_custom_object(*DEFAULT, "virtualmachines", machine("two"))
        first = api.list_namespaced_custom_object(*DEFAULT, "virtualmachines", limit=1)
        rest = api.list_namespaced_custom_object(
            *DEFAULT, "virtualmachines", limit=1, _continue=first["metadata"]["continue"]
        )
        assert names(first["items"] + rest["items"]) == ["one", "two"]
        assert names(api.list_cluster_custom_object(*GROUP, "virtualmachines")["items"]) == ["one", "two"]
        selected = api.list_namespaced_custom_object(
            *DEFAULT, "virtualmachines", field_selector="metadata.name=two", label_selector="!none"
        )
        assert names(selected["items"]) == ["two"]

        merged = api.patch_namespaced_custom_object(
            *DEFAULT,
            "virtualmachines",
            "one",
            {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"x": "y"}}},
        )
        assert (merged["metadata"]["generation"], merged["metadata"]["labels"]) == (2, {"a": "b"})
        listed = api.patch_namespaced_custom_object(
            *DEFAULT, "virtualmachines", "one", [{"op": "remove", "path": "/spec/nodeSelector"}],
            _content_type="application/json-patch+json",
        )  # fmt: skip
        assert "nodeSelector" not in listed["spec"]
        told = api.patch_namespaced_custom_object_status(
            *DEFAULT, "virtualmachines", "one", {"status": {"phase": "Pending"}}
        )
        assert told["status"]["phase"] == "Pending"
        listed = api.get_namespaced_custom_object_status(*DEFAULT, "virtualmachines", "one")
        listed["metadata"]["labels"] = {"c": "d"}
        replaced = api.replace_namespaced_custom_object(*DEFAULT, "virtualmachines", "one", listed)
        assert (replaced["metadata"]["labels"], replaced["status"]) == ({"c": "d"}, {"phase": "Pending"})

        with pytest.raises(ApiException) as stale:
            api.replace_namespaced_custom_object(*DEFAULT, "virtualmachines", "one", made)
        with pytest.raises(ApiException) as wrong:
            api.create_namespaced_custom_object(*DEFAULT, "migrations", {**migration(), "spec": {}})
        with pytest.raises(ApiException) as unknown:
            api.create_namespaced_custom_object(*DEFAULT, "migrations", migration(warp=9), field_validation="Strict")
        assert (stale.value.status, wrong.value.status, unknown.value.status) == (409, 422, 400)
        assert "the object has been modified" in stale.value.body
        assert "spec.selector: Required value" in wrong.value.body

        gone = api.delete_namespaced_custom_object(*DEFAULT, "virtualmachines", "one")
        assert gone["metadata"]["deletionTimestamp"]
        api.patch_namespaced_custom_object(*DEFAULT, "virtualmachines", "one", {"metadata": {"finalizers": None}})
        with pytest.raises(ApiException) as absent:
            api.get_namespaced_custom_object(*DEFAULT, "virtualmachines", "one")
        assert absent.value.status == 404
        api.delete_collection_namespaced_custom_object(*DEFAULT, "virtualmachines")

    await asyncio.to_thread(story)


async def test_typed_objects_are_decoded_and_written(api_client: client.ApiClient, store: Store) -> None:
    made = await make_pod(store, pod())
    await store.logs.append(UUID(made.document["metadata"]["uid"]), [(datetime.now(UTC), "copying")])

    def story() -> None:
        core = client.CoreV1Api(api_client)
        created = core.create_node(
            client.V1Node(
                metadata=client.V1ObjectMeta(name="node0", labels={"disktype": "ssd"}),
                spec=client.V1NodeSpec(
                    provider_id="qemu+unix:///session?socket=/nowhere",
                    taints=[client.V1Taint(key="a", effect="NoSchedule")],
                ),
            )
        )
        assert created.metadata.labels == {"disktype": "ssd", "kubernetes.io/hostname": "node0"}
        cordoned = core.patch_node("node0", {"spec": {"unschedulable": True}})
        assert (cordoned.spec.unschedulable, cordoned.spec.taints[0].key) == (True, "a")
        status = {"conditions": [{"type": "Ready", "status": "True"}], "capacity": {"cpu": "2", "memory": "1Gi"}}
        assert core.patch_node_status("node0", {"status": status}).status.conditions[0].type == "Ready"
        assert core.patch_node_status("node0", {"status": status}).status.capacity == {"cpu": "2", "memory": "1Gi"}
        assert [item.metadata.name for item in core.list_node(label_selector="disktype=ssd").items] == ["node0"]
        seen = core.read_node("node0")
        seen.spec.unschedulable = False
        assert core.replace_node("node0", seen).spec.unschedulable is None  # as Go writes what says nothing

        running = core.list_namespaced_pod("default", field_selector="spec.nodeName=node0").items[0]
        assert (running.spec.containers[0].name, running.spec.node_name) == ("migration", "node0")
        assert core.read_namespaced_pod_log(running.metadata.name, "default", tail_lines=1) == "copying\n"

        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="room")))
        assert {item.metadata.name: item.status.phase for item in core.list_namespace().items} == {
            "default": "Active", "room": "Active",
        }  # fmt: skip
        told = client.CoreV1Event(
            metadata=client.V1ObjectMeta(generate_name="told-"),
            involved_object=client.V1ObjectReference(kind="Pod", name=running.metadata.name, namespace="default"),
            reason="Tested", message="hello", type="Normal", first_timestamp=datetime.now(UTC),
        )  # fmt: skip
        name = core.create_namespaced_event("default", told).metadata.name
        assert core.read_namespaced_event(name, "default").first_timestamp.tzinfo is not None
        assert core.list_event_for_all_namespaces(field_selector="reason=Tested").items[0].message == "hello"

        may = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(
                resource_attributes=client.V1ResourceAttributes(verb="get", resource="pods")
            )
        )
        assert client.AuthorizationV1Api(api_client).create_self_subject_access_review(may).status.allowed is True
        assert client.VersionApi(api_client).get_code().minor == "36"
        assert core.delete_node("node0")["status"] == "Success"
        with pytest.raises(ApiException) as immortal:
            core.delete_namespace(
                "default", body=client.V1DeleteOptions(dry_run=["All"], propagation_policy="Foreground")
            )
        with pytest.raises(ApiException) as gone:
            core.delete_node("node0")
        assert (immortal.value.status, gone.value.status) == (403, 404)

    await asyncio.to_thread(story)


async def test_the_dynamic_client_finds_what_is_served(api_client: client.ApiClient) -> None:
    def story() -> None:
        dynamic = DynamicClient(api_client)
        migrations = dynamic.resources.get(api_version="kubevirt.io/v1alpha1", kind="Migration")
        nodes = dynamic.resources.get(api_version="v1", kind="Node")
        assert {found.group_version for found in dynamic.resources.search(kind="Node")} == {
            "v1",
            "kubevirt.io/v1alpha1",
        }

        made = migrations.create(body=migration("moves"), namespace="default")
        with pytest.raises(ConflictError):
            migrations.create(body=migration("moves"), namespace="default")
        assert made.spec.selector.name == "testvm"
        applied = migrations.server_side_apply(
            namespace="default", field_manager="tests",
            body={**migration("moves"), "metadata": {"name": "moves", "labels": {"a": "b"}}},
        )  # fmt: skip
        assert applied.metadata.labels.to_dict() == {"a": "b"}
        patched = migrations.patch(
            body={"metadata": {"labels": {"a": None}}}, name="moves", namespace="default",
            content_type="application/merge-patch+json",
        )  # fmt: skip
        assert patched.metadata.labels is None
        status = migrations.status.patch(
            body={"status": {"phase": "Pending"}}, name="moves", namespace="default",
            content_type="application/merge-patch+json",
        )  # fmt: skip
        assert status.status.phase == "Pending"
        nodes.create(body=node("node0"))
        assert nodes.patch(body={"spec": {"unschedulable": True}}, name="node0").spec.unschedulable is True
        seen = migrations.get(name="moves", namespace="default")
        migrations.delete(name="moves", namespace="default", body={"preconditions": {"uid": seen.metadata.uid}})
        assert migrations.get(name="moves", namespace="default").metadata.deletionTimestamp
        with pytest.raises(NotFoundError):
            migrations.get(name="other", namespace="default")
        events = migrations.watch(namespace="default", resource_version=made.metadata.resourceVersion, timeout=1)
        assert [event["type"] for event in events] == ["MODIFIED"] * 4

    await asyncio.to_thread(story)


@pytest.fixture
async def long_ago(postgres_url: str) -> int:
    """A revision that the log no longer reaches back to."""
    store = PostgresStore(postgres_url)
    await store.open()
    made = [await make_pod(store, pod(f"pod{number}")) for number in range(3)]
    await store.compact(older_than=timedelta(0), keep=1)
    await store.close()
    return made[0].revision


async def test_a_watch_goes_on_where_it_was_until_that_is_too_old(long_ago: int, api_client: client.ApiClient) -> None:
    api = client.CustomObjectsApi(api_client)

    def made(*wanted: str) -> None:
        for name in wanted:
            api.create_namespaced_custom_object(*DEFAULT, "migrations", migration(name))

    def told(number: int, **options: Any) -> tuple[list[str], str]:
        """The next so many, and where the watch was then."""
        watching, seen = watch.Watch(), []
        for event in watching.stream(api.list_namespaced_custom_object, *DEFAULT, "migrations", **options):
            seen.append(f"{event['type']} {event['object']['metadata']['name']}")
            if len(seen) == number:
                watching.stop()
        return seen, event["object"]["metadata"]["resourceVersion"]

    def story() -> None:
        made("one", "two")
        start = api.list_namespaced_custom_object(*DEFAULT, "migrations")["metadata"]["resourceVersion"]
        made("three")
        assert told(3, timeout_seconds=5)[0] == ["ADDED one", "ADDED three", "ADDED two"]
        first, place = told(1, resource_version=start, timeout_seconds=5)
        made("four")
        then, _ = told(1, resource_version=place, timeout_seconds=5)
        assert (first, then) == (["ADDED three"], ["ADDED four"])
        with pytest.raises(ApiException) as expired:
            told(1, resource_version=str(long_ago), timeout_seconds=5)
        assert (expired.value.status, expired.value.reason.split(":")[0]) == (410, "Expired")

    await asyncio.to_thread(story)


async def test_an_open_watch_is_told_at_once(api_client: client.ApiClient) -> None:
    core = client.CoreV1Api(api_client)

    def watched() -> list[tuple[str, str]]:
        seen = []
        watching = watch.Watch()
        for event in watching.stream(core.list_node, allow_watch_bookmarks=True, timeout_seconds=20):
            if event["type"] == "BOOKMARK":  # all that there was has been told
                continue
            seen.append((event["type"], event["object"].metadata.name))
            match seen[-1]:
                case "ADDED", "node0":
                    core.patch_node("node0", {"spec": {"unschedulable": True}})
                case "MODIFIED", "node0":
                    core.delete_node("node0")
                case "DELETED", "node0":
                    watching.stop()
        return seen

    await asyncio.to_thread(core.create_node, node("node0"))
    assert await asyncio.to_thread(watched) == [("ADDED", "node0"), ("MODIFIED", "node0"), ("DELETED", "node0")]
