"""OpenAPI: the marks by which clients find operations and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.kinds import ALL
from app.machinery.discovery import Kinds, etag, served_group_versions
from app.machinery.kind import CORE, KUBEVIRT, GroupVersion
from app.machinery.objects import Document
from app.machinery.openapi import v2, v3, v3_index
from app.machinery.reviews import AUTHENTICATION, AUTHORIZATION
from tests.machinery.examples import HAPPENING, HOST, MACHINE

KINDS = (MACHINE, HOST, HAPPENING)
GROUP = v3(KINDS, KUBEVIRT)
ITEM = "/apis/kubevirt.io/v1alpha1/namespaces/{namespace}/virtualmachines/{name}"
GVK = {"group": "kubevirt.io", "version": "v1alpha1", "kind": "VirtualMachine"}


def operations(document: Document) -> dict[str, str]:
    """x-kubernetes-action by operationId."""
    return {
        operation["operationId"]: operation["x-kubernetes-action"]
        for path in document["paths"].values()
        for verb, operation in path.items()
        if verb != "parameters"
    }


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_operations_are_called_as_generated_clients_expect() -> None:
    machines = {name: action for name, action in operations(GROUP).items() if "VirtualMachine" in name}

    assert machines == {
        "listKubevirtIoV1alpha1NamespacedVirtualMachine": "list",
        "createKubevirtIoV1alpha1NamespacedVirtualMachine": "post",
        "deleteKubevirtIoV1alpha1CollectionNamespacedVirtualMachine": "deletecollection",
        "readKubevirtIoV1alpha1NamespacedVirtualMachine": "get",
        "replaceKubevirtIoV1alpha1NamespacedVirtualMachine": "put",
        "patchKubevirtIoV1alpha1NamespacedVirtualMachine": "patch",
        "deleteKubevirtIoV1alpha1NamespacedVirtualMachine": "delete",
        "readKubevirtIoV1alpha1NamespacedVirtualMachineStatus": "get",
        "replaceKubevirtIoV1alpha1NamespacedVirtualMachineStatus": "put",
        "patchKubevirtIoV1alpha1NamespacedVirtualMachineStatus": "patch",
        "listKubevirtIoV1alpha1VirtualMachineForAllNamespaces": "list",
        "watchKubevirtIoV1alpha1NamespacedVirtualMachineList": "watchlist",
        "watchKubevirtIoV1alpha1NamespacedVirtualMachine": "watch",
        "watchKubevirtIoV1alpha1VirtualMachineListForAllNamespaces": "watchlist",
    }


def test_the_core_groups_operations_have_its_own_names() -> None:
    core = operations(v3(KINDS, CORE))

    assert {"readCoreV1Node": "get", "listCoreV1EventForAllNamespaces": "list"}.items() <= core.items()
    assert "listCoreV1NodeForAllNamespaces" not in core


def test_kubectl_finds_field_validation_on_the_patch_of_an_item() -> None:
    patch = GROUP["paths"][ITEM]["patch"]

    assert patch["x-kubernetes-group-version-kind"] == GVK
    assert ("fieldValidation", "query") in [(p["name"], p["in"]) for p in patch["parameters"]]
    assert patch["tags"] == ["kubevirtIo_v1alpha1"]


def test_patches_are_offered_in_the_forms_that_the_kind_takes() -> None:
    machine = GROUP["paths"][ITEM]["patch"]["requestBody"]["content"]
    node = GROUP["paths"]["/apis/kubevirt.io/v1alpha1/nodes/{name}"]["patch"]["requestBody"]["content"]

    assert list(machine) == [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ]
    assert set(node) - set(machine) == {"application/strategic-merge-patch+json"}


def test_path_parameters_stand_at_the_path() -> None:
    assert [p["name"] for p in GROUP["paths"][ITEM]["parameters"]] == ["name", "namespace", "pretty"]


def test_a_schema_says_which_kind_it_is_and_shares_metadata() -> None:
    schema = GROUP["components"]["schemas"]["io.kubevirt.v1alpha1.VirtualMachine"]

    assert schema["x-kubernetes-group-version-kind"] == [GVK]
    assert list(references(schema["properties"]["metadata"])) == [
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    ]


def test_what_an_object_is_made_of_has_names_too() -> None:
    schemas = GROUP["components"]["schemas"]
    spec = schemas["io.kubevirt.v1alpha1.VirtualMachine"]["properties"]["spec"]["allOf"]
    disks = schemas["io.kubevirt.v1alpha1.MachineSpec"]["properties"]["disks"]

    assert spec == [{"$ref": "#/components/schemas/io.kubevirt.v1alpha1.MachineSpec"}]
    assert disks["x-kubernetes-list-map-keys"] == ["name"]
    assert disks["items"] == {"$ref": "#/components/schemas/io.kubevirt.v1alpha1.Disk"}


def test_a_kind_served_under_two_groups_is_in_both() -> None:
    assert "io.k8s.api.core.v1.Node" in v3(KINDS, CORE)["components"]["schemas"]
    assert "io.kubevirt.v1alpha1.Node" in GROUP["components"]["schemas"]


def test_there_is_no_scale() -> None:
    assert not [path for path in GROUP["paths"] if path.endswith("/scale")]


def test_the_index_names_each_document_by_its_hash() -> None:
    paths = v3_index(KINDS)["paths"]

    reviews = ["apis/authentication.k8s.io/v1", "apis/authorization.k8s.io/v1"]
    assert sorted(paths) == ["api", "api/v1", "apis", *reviews, "apis/kubevirt.io/v1alpha1", "version"]
    assert paths["apis/kubevirt.io/v1alpha1"]["serverRelativeURL"] == (
        f"/openapi/v3/apis/kubevirt.io/v1alpha1?hash={etag(GROUP)}"
    )


@pytest.mark.parametrize("kinds", [KINDS, ALL], ids=["examples", "ours"])
def test_every_reference_leads_somewhere(kinds: Kinds) -> None:
    for group_version in served_group_versions(kinds):
        document = v3(kinds, group_version)
        known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert set(references(document)) <= known
    swagger = v2(kinds)
    assert set(references(swagger)) <= {f"#/definitions/{name}" for name in swagger["definitions"]}


@pytest.mark.parametrize("group_version", served_group_versions(ALL), ids=str)
def test_every_operation_has_a_name_of_its_own(group_version: GroupVersion) -> None:
    document = v3(ALL, group_version)
    count = sum(verb != "parameters" for path in document["paths"].values() for verb in path)

    assert len(operations(document)) == count


def undescribed(schema: Document, path: str) -> Iterator[str]:
    """Every field that says nothing of itself; what is referred to is looked at where it is defined."""
    for name, below in schema.get("properties", {}).items():
        if not below.get("description"):
            yield f"{path}.{name}"
        yield from undescribed(below, f"{path}.{name}")
        yield from undescribed(below.get("items", {}), f"{path}.{name}")


@pytest.mark.parametrize("group_version", served_group_versions(ALL), ids=str)
def test_kubectl_explain_has_something_to_say_about_every_field(group_version: GroupVersion) -> None:
    schemas = v3(ALL, group_version)["components"]["schemas"]

    told = {name for name, schema in schemas.items() if schema.get("description")}
    assert set(schemas) - told <= {target for _, target in described_references(schemas)}
    assert [path for name, schema in schemas.items() for path in undescribed(schema, name)] == []


@pytest.mark.parametrize("group_version", served_group_versions(ALL), ids=str)
def test_kubectl_explain_says_nothing_twice(group_version: GroupVersion) -> None:
    """It prints what a field says, and then what its shape says."""
    schemas = v3(ALL, group_version)["components"]["schemas"]

    repeated = [
        (description, target)
        for description, target in described_references(schemas)
        if schemas[target].get("description", "").startswith(description)
    ]
    assert repeated == []


def described_references(schemas: Document) -> Iterator[tuple[str, str]]:
    """What a field says of itself, and the shape that it, or each of its items, is of."""
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            for target in references(field):
                yield field["description"], target.rpartition("/")[2]


def test_a_review_is_one_create_with_its_options_at_the_path() -> None:
    documents = {version: v3(KINDS, version) for version in (AUTHENTICATION, AUTHORIZATION)}

    assert {name: action for document in documents.values() for name, action in operations(document).items()} == {
        "createAuthenticationV1SelfSubjectReview": "post",
        "createAuthenticationV1TokenReview": "post",
        "createAuthorizationV1NamespacedLocalSubjectAccessReview": "post",
        "createAuthorizationV1SelfSubjectAccessReview": "post",
        "createAuthorizationV1SelfSubjectRulesReview": "post",
        "createAuthorizationV1SubjectAccessReview": "post",
    }
    paths = {path: item for document in documents.values() for path, item in document["paths"].items()}
    local = "/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews"
    options = ["dryRun", "fieldManager", "fieldValidation", "pretty"]
    assert {path: [p["name"] for p in item["parameters"]] for path, item in paths.items()} == {
        "/apis/authentication.k8s.io/v1/selfsubjectreviews": options,
        "/apis/authentication.k8s.io/v1/tokenreviews": options,
        local: [*options[:3], "namespace", "pretty"],
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": options,
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews": options,
        "/apis/authorization.k8s.io/v1/subjectaccessreviews": options,
    }
    assert "parameters" not in paths[local]["post"]
    gvk = {"group": "authorization.k8s.io", "version": "v1", "kind": "LocalSubjectAccessReview"}
    assert paths[local]["post"]["x-kubernetes-group-version-kind"] == gvk


def test_a_reviews_schemas_are_called_as_kube_apiservers() -> None:
    named = [
        name.removeprefix("io.k8s.api.authorization.v1.")
        for name in v3(KINDS, AUTHORIZATION)["components"]["schemas"]
        if name.startswith("io.k8s.api.authorization.v1.")
    ]
    swagger = v2(KINDS)["definitions"]

    assert named == [
        *("FieldSelectorAttributes", "LabelSelectorAttributes", "LocalSubjectAccessReview"),
        *("NonResourceAttributes", "NonResourceRule", "ResourceAttributes", "ResourceRule", "SelfSubjectAccessReview"),
        *("SelfSubjectAccessReviewSpec", "SelfSubjectRulesReview", "SelfSubjectRulesReviewSpec", "SubjectAccessReview"),
        *("SubjectAccessReviewSpec", "SubjectAccessReviewStatus", "SubjectRulesReviewStatus"),
    ]
    assert swagger["io.k8s.api.authentication.v1.TokenReview"]["required"] == ["spec"]
    assert swagger["io.k8s.api.authentication.v1.SelfSubjectReview"]["x-kubernetes-group-version-kind"] == [
        {"group": "authentication.k8s.io", "version": "v1", "kind": "SelfSubjectReview"}
    ]
    for requirement in ("FieldSelectorRequirement", "LabelSelectorRequirement"):
        assert f"io.k8s.apimachinery.pkg.apis.meta.v1.{requirement}" in swagger


def test_the_same_kinds_make_the_same_documents() -> None:
    assert list(v3(KINDS, KUBEVIRT)["paths"]) == sorted(GROUP["paths"])
    assert v3(KINDS, KUBEVIRT) == GROUP
    assert v3(tuple(reversed(KINDS)), KUBEVIRT) == GROUP


def test_v2_has_the_same_operations_in_swaggers_form() -> None:
    swagger = v2(KINDS)

    versions = (KUBEVIRT, CORE, AUTHENTICATION, AUTHORIZATION)
    assert operations(swagger) == {
        name: action for version in versions for name, action in operations(v3(KINDS, version)).items()
    }
    create = swagger["paths"][ITEM.removesuffix("/{name}")]["post"]
    assert create["parameters"][-1] == {
        "name": "body",
        "in": "body",
        "required": True,
        "schema": {"$ref": "#/definitions/io.kubevirt.v1alpha1.VirtualMachine"},
    }
    assert create["responses"]["201"]["schema"] == {"$ref": "#/definitions/io.kubevirt.v1alpha1.VirtualMachine"}
    assert {parameter["type"] for parameter in create["parameters"][:-1]} == {"string"}
