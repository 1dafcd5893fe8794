"""A client by openapi-python-client against the server: every verb, typed answers, typed errors, over TLS."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import pytest

from app.machinery.objects import Document
from tests.api.builders import MACHINES, MIGRATIONS, NODES, machine, migration, node
from tests.generated.conftest import Server
from tests.generated.filled import Filler, same, schemas_of
from tests.generated.generators import Generated

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("generated clients")]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
GROUP = "io.kubevirt.v1alpha1."


@dataclass(frozen=True)
class Caller:
    """A generated client at a server; operations are called by their operationId."""

    generated: Generated
    server: Server

    @cached_property
    def client(self) -> Any:
        trusted = ssl.create_default_context(cafile=str(self.server.authority))
        return self.generated.module("client").Client(self.server.url, verify_ssl=trusted, timeout=20)

    def raw(self, path: str) -> Document:
        """As the server says it."""
        answer: Document = self.client.get_httpx_client().get(path).json()
        return answer

    def call(self, operation: str, **arguments: Any) -> tuple[int, Any]:
        """The answer's code and its decoded body."""
        answer = self._operation(operation).sync_detailed(client=self.client, **arguments)
        return int(answer.status_code), answer.parsed

    def make(self, schema: str, document: Document) -> Any:
        return self.generated.model(schema).from_dict(document)

    def _operation(self, operation: str) -> ModuleType:
        """The generator's own way to write a name: a module for each operation, in a package for the tag."""
        tag = {"drover_kubevirt": "kubevirt_io_v_1_alpha_1", "drover_core": "core_v1"}[self.generated.package]
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation).lower().replace("v1alpha1", "v1_alpha_1")
        return self.generated.module(f"api.{tag}.{words}")


@pytest.fixture
async def kubevirt(kubevirt_client: Generated, secure: Server) -> AsyncIterator[Caller]:
    caller = Caller(kubevirt_client, secure)
    yield caller
    caller.client.get_httpx_client().close()


@pytest.fixture
async def core(core_client: Generated, secure: Server) -> AsyncIterator[Caller]:
    caller = Caller(core_client, secure)
    yield caller
    caller.client.get_httpx_client().close()


def kind_of(decoded: Any) -> str:
    return type(decoded).__name__.removeprefix("IoKubevirtV1Alpha1").removeprefix("IoK8SApi")


async def test_a_migration_lives_and_dies_by_typed_calls(kubevirt: Caller, core: Caller) -> None:
    await asyncio.to_thread(life_of_a_migration, kubevirt, core)


def life_of_a_migration(kubevirt: Caller, core: Caller) -> None:
    namespace = core.make("io.k8s.api.core.v1.Namespace", {"metadata": {"name": "default"}})
    assert core.call("createCoreV1Namespace", body=namespace)[0] == 201

    # create, and read what was created
    asked = migration(nodeSelector={"disktype": "ssd"}, options={"bandwidthPerMigration": "64Mi"})
    body = kubevirt.make(f"{GROUP}Migration", asked)
    code, made = kubevirt.call(
        "createKubevirtIoV1alpha1NamespacedMigration", namespace="default", body=body, field_validation="Strict"
    )
    assert (code, kind_of(made), made.spec.options.bandwidth_per_migration) == (201, "Migration", "64Mi")
    code, read = kubevirt.call(
        "readKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="testvm-migration"
    )
    assert (code, read) == (200, made)
    assert same(read.to_dict()) == same(kubevirt.raw(f"{MIGRATIONS}/testvm-migration"))

    # a second one is a conflict, told by a Status
    code, refused = kubevirt.call("createKubevirtIoV1alpha1NamespacedMigration", namespace="default", body=body)
    assert (code, kind_of(refused), refused.reason) == (409, "machineryPkgApisMetaV1Status", "AlreadyExists")
    assert (refused.code, refused.details.name, refused.details.kind) == (409, "testvm-migration", "migrations")

    # lists: in pages, and by selectors
    for number in range(3):
        body = kubevirt.make(f"{GROUP}Migration", migration(f"m{number}"))
        kubevirt.call("createKubevirtIoV1alpha1NamespacedMigration", namespace="default", body=body)
    listing = "listKubevirtIoV1alpha1NamespacedMigration"
    _, page = kubevirt.call(listing, namespace="default", limit=3)
    _, rest = kubevirt.call(listing, namespace="default", limit=3, continue_=page.metadata.continue_)
    _, chosen = kubevirt.call(listing, namespace="default", field_selector="metadata.name=m1")
    _, everywhere = kubevirt.call("listKubevirtIoV1alpha1MigrationForAllNamespaces", label_selector="!a")
    assert [item.metadata.name for item in page.items + rest.items] == ["m0", "m1", "m2", "testvm-migration"]
    assert page.metadata.remaining_item_count == 1
    assert [item.metadata.name for item in chosen.items] == ["m1"]
    assert len(everywhere.items) == 4

    # a merge patch, and a replacement of what was read
    labels = kubevirt.make(f"{META}Patch", {"metadata": {"labels": {"team": "a"}}})
    code, patched = kubevirt.call(
        "patchKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m1", body=labels, field_manager="tests"
    )
    assert (code, patched.metadata.labels["team"]) == (200, "a")
    assert [owner.manager for owner in patched.metadata.managed_fields][-1] == "tests"
    patched.metadata.labels["team"] = "b"
    code, replaced = kubevirt.call(
        "replaceKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m1", body=patched
    )
    assert (code, replaced.metadata.labels["team"]) == (200, "b")
    code, stale = kubevirt.call(
        "replaceKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m1", body=patched
    )
    assert (code, stale.reason) == (409, "Conflict")

    # nothing to change is no change, although its moments are written differently
    code, unchanged = kubevirt.call(
        "replaceKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m1", body=replaced
    )
    assert (code, unchanged.metadata.resource_version) == (200, replaced.metadata.resource_version)

    # what has a finalizer stays and is answered with the object; what has none is gone, told by a Status
    code, leaving = kubevirt.call("deleteKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m1")
    assert (code, kind_of(leaving), leaving.metadata.deletion_grace_period_seconds) == (200, "Migration", 0)
    code, told = kubevirt.call(
        "replaceKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m1", body=leaving
    )
    assert (code, told.metadata.deletion_timestamp) == (200, leaving.metadata.deletion_timestamp)
    free = kubevirt.make(f"{META}Patch", {"metadata": {"finalizers": None}})
    kubevirt.call("patchKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m0", body=free)
    options = kubevirt.make(f"{META}DeleteOptions", {"propagationPolicy": "Background"})
    code, gone = kubevirt.call(
        "deleteKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m0", body=options
    )
    assert (code, kind_of(gone), gone.status) == (200, "machineryPkgApisMetaV1Status", "Success")
    code, missing = kubevirt.call("readKubevirtIoV1alpha1NamespacedMigration", namespace="default", name="m0")
    assert (code, missing.reason) == (404, "NotFound")

    # all of them
    code, deleted = kubevirt.call("deleteKubevirtIoV1alpha1CollectionNamespacedMigration", namespace="default")
    assert (code, kind_of(deleted)) == (200, "MigrationList")
    assert [item.metadata.name for item in deleted.items] == ["m1", "m2", "testvm-migration"]


async def test_every_field_that_is_stored_is_decoded(kubevirt: Caller, core: Caller) -> None:
    await asyncio.to_thread(every_field, kubevirt, core)


def every_field(kubevirt: Caller, core: Caller) -> None:
    """Specs as full as they may be, status as full as the schema lets it be."""
    core.call(
        "createCoreV1Namespace", body=core.make("io.k8s.api.core.v1.Namespace", {"metadata": {"name": "default"}})
    )
    schemas = schemas_of("v3/apis/kubevirt.io/v1alpha1.json")
    filled = Filler(schemas)
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [{"key": "disktype", "operator": "In", "values": ["ssd", "nvme"]}],
                        "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node9"]}],
                    }
                ]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 7, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
            ],
        }
    }
    domain = filled.of(f"{GROUP}DomainSpec")
    whole = machine(domain=domain, nodeSelector={"a": "b"}, affinity=affinity, terminationGracePeriodSeconds=5)
    made = {
        f"{MACHINES}/testvm": ("NamespacedVirtualMachine", f"{GROUP}VirtualMachine", whole),
        f"{MIGRATIONS}/testvm-migration": (
            "NamespacedMigration",
            f"{GROUP}Migration",
            migration(nodeSelector={"c": "d"}, options={"bandwidthPerMigration": "1Gi"}),
        ),
        f"{NODES.replace('/api/v1', '/apis/kubevirt.io/v1alpha1')}/node0": (
            "Node",
            f"{GROUP}Node",
            node(unschedulable=True, taints=[filled.of(f"{GROUP}Taint") | {"effect": "NoExecute"}])
            | {"apiVersion": "kubevirt.io/v1alpha1"},
        ),
    }
    for path, (operation, schema, document) in made.items():
        place = {"namespace": "default"} if "Namespaced" in operation else {}
        name = document["metadata"]["name"]
        kind = schema.rsplit(".", 1)[-1]
        body = kubevirt.make(schema, document)
        code, stored = kubevirt.call(
            f"createKubevirtIoV1alpha1{operation}", body=body, field_validation="Strict", **place
        )
        assert code == 201, stored
        status = {**filled.of(f"{GROUP}{'VM' if kind == 'VirtualMachine' else kind}Status")}
        for condition, type_ in zip(status["conditions"], condition_types(schemas, kind), strict=False):
            condition["type"] = type_
        status["conditions"] = status["conditions"][:1]
        for name_, key in (("phaseTransitionTimestamps", "phase"), ("addresses", "type")):
            if name_ in status:
                status[name_] = status[name_][:1]
                assert key in status[name_][0]
        for amounts in {
            "capacity",
            "allocatable",
        } & status.keys():  # as in Kubernetes, the schema does not say what they are
            status[amounts] = {"cpu": "3500m", "memory": "2Gi"}
        full = kubevirt.make(schema, {**kubevirt.raw(path), "status": status})
        code, stored = kubevirt.call(
            f"replaceKubevirtIoV1alpha1{operation}Status", name=name, body=full, field_validation="Strict", **place
        )
        assert code == 200, stored
        _, read = kubevirt.call(f"readKubevirtIoV1alpha1{operation}", name=name, **place)

        raw = kubevirt.raw(path)
        assert same(read.to_dict()) == same(raw)
        assert same(raw["status"]) == same(status)
        assert same(raw["spec"]).items() >= same(document["spec"]).items()


def condition_types(schemas: Any, kind: str) -> list[str]:
    name = "VMCondition" if kind == "VirtualMachine" else f"{kind}Condition"
    types: list[str] = schemas[f"{GROUP}{name}"]["properties"]["type"]["enum"]
    return types
