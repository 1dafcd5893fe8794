"""Services: there are none. `kubectl cluster-info` asks for those of the cluster, and finds its answer in an empty list."""

from __future__ import annotations

from app.machinery.errors import not_found
from app.machinery.objects import Document

PLURAL = "services"
_VERBS = ["get", "list"]
_SHORT = ["svc"]
_CATEGORIES = ["all"]
_EMPTY: Document = {"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": []}


def find(path: str) -> Document | None:
    """The empty list, everywhere or in a namespace; None for another path. Raises ApiError for one that is named."""
    match path.split("/"):
        case ["", "api", "v1", "services"] | ["", "api", "v1", "namespaces", _, "services"]:
            return _EMPTY
        case ["", "api", "v1", "namespaces", _, "services", name]:
            raise not_found(PLURAL, "", name)
    return None


def announced(resources: Document) -> Document:
    """GET /api/v1, with them."""
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
    """GET /api in its aggregated form, with them."""
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
