"""What there is none of, and kubectl asks for: an empty list is its answer.

`kubectl cluster-info` asks for the cluster's Services; `kubectl create` of a kind that it does not know, whether a
CustomResourceDefinition makes it, and only then says which kind is not there.
"""

from __future__ import annotations

from app.machinery.errors import not_found
from app.machinery.objects import Document

PLURAL = "services"
_VERBS = ["get", "list"]
_SHORT = ["svc"]
_CATEGORIES = ["all"]
_EMPTY: Document = {"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": []}
_NO_DEFINITIONS: Document = {
    "kind": "CustomResourceDefinitionList",
    "apiVersion": "apiextensions.k8s.io/v1",
    "metadata": {},
    "items": [],
}


def find(path: str) -> Document | None:
    """The empty list, everywhere or in a namespace; None for another path. Raises ApiError for one that is named."""
    match path.split("/"):
        case ["", "api", "v1", "services"] | ["", "api", "v1", "namespaces", _, "services"]:
            return _EMPTY
        case ["", "apis", "apiextensions.k8s.io", "v1", "customresourcedefinitions"]:
            return _NO_DEFINITIONS
        case ["", "api", "v1", "namespaces", _, "services", name]:
            raise not_found(PLURAL, "", name)
    return None


def announced(resources: Document) -> Document:
    """GET /api/v1, with Services."""
    entry: Document = {
        "name": PLURAL,
        "singularName": "service",
        "namespaced": True,
        "kind": "Service",
        "verbs": _VERBS,
        "shortNames": _SHORT,
        "categories": _CATEGORIES,
    }
    return {**resources, "resources": [*resources["resources"], entry]}


def announced_together(groups: Document) -> Document:
    """GET /api in its aggregated form, with Services."""
    entry: Document = {
        "resource": PLURAL,
        "responseKind": {"group": "", "version": "v1", "kind": "Service"},
        "scope": "Namespaced",
        "singularResource": "service",
        "verbs": _VERBS,
        "shortNames": _SHORT,
        "categories": _CATEGORIES,
    }
    return {**groups, "items": [_with(group, entry) for group in groups["items"]]}


def _with(group: Document, entry: Document) -> Document:
    versions = [{**version, "resources": [*version["resources"], entry]} for version in group["versions"]]
    return {**group, "versions": versions}
