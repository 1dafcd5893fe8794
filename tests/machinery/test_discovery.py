"""Discovery: what is served, said once in the old form and once aggregated."""

from __future__ import annotations

import pytest

from app.machinery.discovery import (
    aggregated,
    api_group,
    api_group_list,
    api_versions,
    etag,
    resource_list,
    served_group_versions,
)
from app.machinery.kind import CORE, KUBEVIRT, GroupVersion
from app.machinery.objects import Document
from tests.machinery.examples import HAPPENING, HOST, MACHINE

KINDS = (MACHINE, HOST, HAPPENING)
BEHIND = (MACHINE,)
"""What stands behind a cluster has no core group."""
REVIEW_GROUPS = ("authentication.k8s.io", "authorization.k8s.io")
VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]


def entries(group_version: GroupVersion) -> dict[str, Document]:
    listed = resource_list(KINDS, group_version)
    assert listed is not None
    return {entry["name"]: entry for entry in listed["resources"]}


def test_groups_are_those_that_kinds_are_served_under() -> None:
    version = {"groupVersion": "kubevirt.io/v1alpha1", "version": "v1alpha1"}
    group = {"name": "kubevirt.io", "versions": [version], "preferredVersion": version}

    assert api_group_list(BEHIND) == {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}
    assert api_group(KINDS, "kubevirt.io") == {"kind": "APIGroup", "apiVersion": "v1", **group}


def test_the_core_group_has_one_version_and_no_api_version_of_its_own() -> None:
    assert api_versions("h:1") == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "h:1"}],
    }
    core, group = resource_list(KINDS, CORE), resource_list(KINDS, KUBEVIRT)
    assert core is not None
    assert group is not None
    assert "apiVersion" not in core
    assert (group["apiVersion"], group["groupVersion"]) == ("v1", "kubevirt.io/v1alpha1")


def test_what_is_not_served_is_not_there() -> None:
    assert resource_list(KINDS, GroupVersion("kubevirt.io", "v1")) is None
    assert api_group(KINDS, "apps") is None
    assert api_group(KINDS, "") is None


def test_a_resource_is_announced_with_its_names_verbs_and_subresources() -> None:
    resources = entries(KUBEVIRT)

    assert {
        "singularName": "virtualmachine",
        "namespaced": True,
        "kind": "VirtualMachine",
        "verbs": VERBS,
        "shortNames": ["vm", "vms"],
        "categories": ["all"],
    }.items() <= resources["virtualmachines"].items()
    assert resources["virtualmachines/status"] == {
        "name": "virtualmachines/status",
        "singularName": "",
        "namespaced": True,
        "kind": "VirtualMachine",
        "verbs": ["get", "patch", "update"],
    }


def test_short_names_lead_to_one_resource_only() -> None:
    assert entries(CORE)["nodes"]["shortNames"] == ["no"]
    assert "shortNames" not in entries(KUBEVIRT)["nodes"]
    assert entries(CORE)["nodes"]["storageVersionHash"] == entries(KUBEVIRT)["nodes"]["storageVersionHash"]


def test_a_subresource_of_another_group_says_so() -> None:
    assert {"group": "policy", "version": "v1", "kind": "Eviction"}.items() <= entries(CORE)["nodes/eviction"].items()


def test_a_kind_with_a_body_has_no_status() -> None:
    assert "events/status" not in entries(CORE)


def test_aggregated_discovery_says_it_all_at_once() -> None:
    *_, group = aggregated(KINDS, core=False)["items"]
    (version,) = group["versions"]
    nodes, machines = version["resources"]

    assert (group["metadata"], version["version"], version["freshness"]) == (
        {"name": "kubevirt.io"},
        "v1alpha1",
        "Current",
    )
    assert machines == {
        "resource": "virtualmachines",
        "responseKind": {"group": "kubevirt.io", "version": "v1alpha1", "kind": "VirtualMachine"},
        "scope": "Namespaced",
        "singularResource": "virtualmachine",
        "verbs": VERBS,
        "shortNames": ["vm", "vms"],
        "categories": ["all"],
        "subresources": [
            {
                "subresource": "status",
                "responseKind": {"group": "kubevirt.io", "version": "v1alpha1", "kind": "VirtualMachine"},
                "verbs": ["get", "patch", "update"],
            }
        ],
    }
    assert (nodes["scope"], "shortNames" in nodes) == ("Cluster", False)


def test_the_core_group_is_aggregated_without_a_name() -> None:
    (group,) = aggregated(KINDS, core=True)["items"]

    assert group["metadata"] == {}
    assert [resource["resource"] for resource in group["versions"][0]["resources"]] == ["events", "nodes"]


REVIEWS = {
    "authentication.k8s.io": [
        ("selfsubjectreviews", "selfsubjectreview", False, "SelfSubjectReview"),
        ("tokenreviews", "tokenreview", False, "TokenReview"),
    ],
    "authorization.k8s.io": [
        ("localsubjectaccessreviews", "localsubjectaccessreview", True, "LocalSubjectAccessReview"),
        ("selfsubjectaccessreviews", "selfsubjectaccessreview", False, "SelfSubjectAccessReview"),
        ("selfsubjectrulesreviews", "selfsubjectrulesreview", False, "SelfSubjectRulesReview"),
        ("subjectaccessreviews", "subjectaccessreview", False, "SubjectAccessReview"),
    ],
}
"""Group by group: name, singularName, namespaced and kind, as kube-apiserver lists them."""


@pytest.mark.parametrize("group", REVIEW_GROUPS)
def test_reviews_are_listed_as_what_can_only_be_created(group: str) -> None:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}

    assert api_group(KINDS, group) == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group,
        "versions": [version],
        "preferredVersion": version,
    }
    assert resource_list(KINDS, GroupVersion(group, "v1")) == {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1",
        "resources": [
            {"name": name, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": ["create"]}
            for name, singular, namespaced, kind in REVIEWS[group]
        ],
    }


@pytest.mark.parametrize("group", REVIEW_GROUPS)
def test_reviews_are_aggregated_too(group: str) -> None:
    found = {item["metadata"]["name"]: item["versions"] for item in aggregated(KINDS, core=False)["items"]}

    assert found[group] == [
        {
            "version": "v1",
            "freshness": "Current",
            "resources": [
                {
                    "resource": name,
                    "responseKind": {"group": "", "version": "", "kind": kind},
                    "scope": "Namespaced" if namespaced else "Cluster",
                    "singularResource": singular,
                    "verbs": ["create"],
                }
                for name, singular, namespaced, kind in REVIEWS[group]
            ],
        }
    ]


def test_behind_a_cluster_reviews_are_the_clusters_own() -> None:
    assert [str(version) for version in served_group_versions(BEHIND)] == ["kubevirt.io/v1alpha1"]
    assert [item["metadata"]["name"] for item in aggregated(BEHIND, core=False)["items"]] == ["kubevirt.io"]
    assert [api_group(BEHIND, group) for group in REVIEW_GROUPS] == [None, None]
    assert [resource_list(BEHIND, GroupVersion(group, "v1")) for group in REVIEW_GROUPS] == [None, None]


def test_an_etag_does_not_depend_on_the_order_of_keys() -> None:
    assert etag({"a": 1, "b": 2}) == etag({"b": 2, "a": 1})
    assert etag({"a": 1}) != etag({"a": 2})
    assert len(etag({})) == 128
