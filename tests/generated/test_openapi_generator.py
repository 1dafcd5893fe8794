"""A client by openapi-generator against the server, over TLS: every kind by one client, made of the v2 document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.api.builders import machine, node
from tests.generated.conftest import Server
from tests.generated.filled import same
from tests.generated.generators import Generated

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("generated clients")]

GROUP = "io.kubevirt.v1alpha1."
CORE = "io.k8s.api.core.v1."


@contextmanager
def connected(generated: Generated, server: Server) -> Iterator[Any]:
    client = generated.module("api_client").ApiClient(
        generated.module("configuration").Configuration(host=server.url, ssl_ca_cert=str(server.authority))
    )
    yield client
    client.rest_client.pool_manager.clear()


def json_patched(client: Any, found: Any, operations: list[dict[str, str]]) -> Any:
    """By the client's own transport: its typed patches take objects alone, and a JSON patch is a list."""
    answer = client.call_api(
        "PATCH",
        client.configuration.host + found.metadata.self_link,
        {"Content-Type": "application/json-patch+json", "Accept": "application/json"},
        body=operations,
    )
    answer.read()
    return client.response_deserialize(answer, {"200": type(found).__name__}).data


async def test_every_kind_is_served_to_one_generated_client(swagger_client: Generated, secure: Server) -> None:
    await asyncio.to_thread(every_kind, swagger_client, secure)


def every_kind(generated: Generated, server: Server) -> None:
    refused = generated.module("exceptions").ApiException
    with connected(generated, server) as client:
        core = generated.module("api.core_v1_api").CoreV1Api(client)
        kubevirt = generated.module("api.kubevirt_io_v1alpha1_api").KubevirtIoV1alpha1Api(client)

        # a namespace, and two nodes: one by each group
        namespace = generated.model(f"{CORE}Namespace")(metadata={"name": "default"})
        made = core.create_core_v1_namespace(namespace)
        assert (made.metadata.name, made.status.phase) == ("default", "Active")
        for number, read in ((0, core.read_core_v1_node), (1, kubevirt.read_kubevirt_io_v1alpha1_node)):
            core.create_core_v1_node(generated.model(f"{CORE}Node").from_dict(node(f"node{number}")))
            assert read(f"node{number}").spec.provider_id == node(f"node{number}")["spec"]["providerID"]

        # a strategic merge patch cordons one; a JSON patch and a merge patch say more of it
        for type_, patch in (
            ("application/strategic-merge-patch+json", {"spec": {"unschedulable": True}}),
            ("application/merge-patch+json", {"metadata": {"annotations": {"seen": "yes"}}}),
        ):
            core.patch_core_v1_node("node0", patch, field_manager="tests", _content_type=type_)
        cordoned = json_patched(
            client, core.read_core_v1_node("node0"), [{"op": "add", "path": "/metadata/labels/rack", "value": "7"}]
        )
        assert (cordoned.spec.unschedulable, cordoned.metadata.labels["rack"]) == (True, "7")
        assert cordoned.metadata.annotations == {"seen": "yes"}
        assert [n.metadata.name for n in core.list_core_v1_node(field_selector="spec.unschedulable=true").items] == [
            "node0"
        ]

        # a machine: created, its status replaced, read again by status, watched
        asked = generated.model(f"{GROUP}VirtualMachine").from_dict(machine(nodeSelector={"a": "b"}))
        vm = kubevirt.create_kubevirt_io_v1alpha1_namespaced_virtual_machine("default", asked)
        assert (vm.kind, vm.spec.domain.memory.value) == ("VirtualMachine", 64)
        vm.status = generated.model(f"{GROUP}VMStatus")(phase="Running", nodeName="node0")
        stored = kubevirt.replace_kubevirt_io_v1alpha1_namespaced_virtual_machine_status("testvm", "default", vm)
        again = kubevirt.read_kubevirt_io_v1alpha1_namespaced_virtual_machine_status("testvm", "default")
        assert (stored, again.status.node_name) == (again, "node0")
        watched = kubevirt.watch_kubevirt_io_v1alpha1_namespaced_virtual_machine_list_without_preload_content(
            "default", resource_version=vm.metadata.resource_version, timeout_seconds=1
        )
        events = [json.loads(said) for said in watched.data.splitlines()]
        assert [(event["type"], event["object"]["status"]["phase"]) for event in events] == [("MODIFIED", "Running")]
        decoded = generated.model("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent").from_dict(events[0])
        assert same(decoded.to_dict()) == same(events[0])

        # an event about it, with a moment of microseconds
        happened = generated.model(f"{CORE}Event").from_dict(
            {
                "metadata": {"generateName": "testvm-"},
                "involvedObject": {"kind": "VirtualMachine", "name": "testvm", "namespace": "default"},
                "eventTime": "2026-11-26T10:00:00.123456Z",
                "reportingComponent": "tests",
                "reportingInstance": "tests-0",
                "action": "Test",
                "count": 1,
                "reason": "Tested",
            }
        )
        told = core.create_core_v1_namespaced_event("default", happened)
        assert told.event_time.microsecond == 123456
        assert told.metadata.name.startswith("testvm-")
        listed = core.list_core_v1_event_for_all_namespaces(field_selector="reason=Tested").items
        assert [(event.metadata, event.event_time) for event in listed] == [(told.metadata, told.event_time)]

        # what is refused says why in a decoded Status
        with pytest.raises(refused) as missing:
            kubevirt.read_kubevirt_io_v1alpha1_namespaced_migration("none", "default")
        with pytest.raises(refused) as invalid:
            core.create_core_v1_node(generated.model(f"{CORE}Node").from_dict({"metadata": {"name": "bare"}}))
        with pytest.raises(refused) as forbidden:
            core.create_core_v1_namespaced_pod("default", generated.model(f"{CORE}Pod")(metadata={"name": "mine"}))
        assert (missing.value.status, missing.value.data.reason) == (404, "NotFound")
        assert [cause.var_field for cause in invalid.value.data.details.causes] == ["spec.providerID"]
        assert forbidden.value.data.status == "Failure"

        # and away with all of it
        options = generated.model("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")(
            preconditions={"uid": vm.metadata.uid}
        )
        left = kubevirt.delete_kubevirt_io_v1alpha1_namespaced_virtual_machine("testvm", "default", body=options)
        gone = core.delete_core_v1_node("node1")
        deleted = core.delete_core_v1_collection_node()
        assert (left["kind"], gone["kind"]) == ("VirtualMachine", "Status")
        assert [item.metadata.name for item in deleted.items] == ["node0"]
