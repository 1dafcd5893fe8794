"""Discovery: what is served here, told from the declared kinds."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from app.machinery.kind import GroupVersion, Kind, Subresource
from app.machinery.objects import Document
from app.machinery.reviews import REVIEW_VERBS, REVIEWS

Kinds = Sequence[Kind[Any, Any]]

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""What can be done with every resource, in alphabetical order."""
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
"""The same, as kube-apiserver lists them of custom resources."""
STATUS_VERBS = ("get", "patch", "update")


def served_group_versions(kinds: Kinds) -> list[GroupVersion]:
    """Every group version that some kind or review is served under, the core group first."""
    offered = {served for kind in (*kinds, *_reviews(kinds)) for served in kind.offered}
    return sorted(offered, key=lambda served: (served.group, served.version))


def kinds_under(kinds: Kinds, group_version: GroupVersion) -> list[Kind[Any, Any]]:
    """The kinds of a group version, by their plural."""
    return sorted((kind for kind in kinds if group_version in kind.offered), key=lambda kind: kind.plural)


def reviews_under(kinds: Kinds, group_version: GroupVersion) -> list[Kind[Any, Any]]:
    """The reviews of a group version, by their plural: created, answered, and not there afterwards."""
    return kinds_under(_reviews(kinds), group_version)


def serves_core(kinds: Kinds) -> bool:
    """Is the core group served? Not behind a cluster, which has its own."""
    return any(not served.group for kind in kinds for served in kind.offered)


def api_versions(server_address: str = "") -> Document:
    """GET /api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    }


def api_group_list(kinds: Kinds) -> Document:
    """GET /apis."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(kinds, group) for group in _named_groups(kinds)],
    }


def api_group(kinds: Kinds, group: str) -> Document | None:
    """GET /apis/<group>; None when nothing of that group is served."""
    if group not in _named_groups(kinds):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(kinds, group)}


def resource_list(kinds: Kinds, group_version: GroupVersion) -> Document | None:
    """GET /api/v1 or /apis/<group>/<version>; None when nothing is served there."""
    served, reviews = kinds_under(kinds, group_version), reviews_under(kinds, group_version)
    if not served and not reviews:
        return None
    document: Document = {"kind": "APIResourceList"}
    if group_version.group:
        document["apiVersion"] = "v1"
    resources = [entry for kind in served for entry in _resources(kind, group_version)]
    resources += [_named(review, REVIEW_VERBS) for review in reviews]
    return {**document, "groupVersion": str(group_version), "resources": resources}


def aggregated(kinds: Kinds, *, core: bool) -> Document:
    """GET /api (core) or /apis as APIGroupDiscoveryList v2: everything in one answer."""
    groups = [""] if core else _named_groups(kinds)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [_aggregated_group(kinds, group) for group in groups],
    }


def etag(document: Document) -> str:
    """The same for the same document in every process."""
    return hashlib.sha512(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest().upper()


def verbs(kind: Kind[Any, Any]) -> list[str]:
    """Namespaces are only deleted one by one."""
    return [
        verb for verb in (VERBS if kind.typed else CUSTOM_VERBS) if not (kind.contains and verb == "deletecollection")
    ]


def subresources(kind: Kind[Any, Any]) -> Iterator[Subresource]:
    """The declared ones, and status where the kind has it, by name."""
    status = (Subresource("status", STATUS_VERBS, kind.name),) if has_status(kind) else ()
    yield from sorted((*kind.subresources, *status), key=lambda subresource: subresource.name)


def has_status(kind: Kind[Any, Any]) -> bool:
    """Is there a status that is written apart from the rest?"""
    return kind.has_status and kind.body is None


def _reviews(kinds: Kinds) -> Kinds:
    """A cluster answers its own; behind one, none are served."""
    return REVIEWS if serves_core(kinds) else ()


def _named_groups(kinds: Kinds) -> list[str]:
    return sorted({served.group for served in served_group_versions(kinds) if served.group})


def _versions(kinds: Kinds, group: str) -> list[GroupVersion]:
    return [served for served in served_group_versions(kinds) if served.group == group]


def _group(kinds: Kinds, group: str) -> Document:
    versions = [{"groupVersion": str(served), "version": served.version} for served in _versions(kinds, group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resources(kind: Kind[Any, Any], group_version: GroupVersion) -> Iterator[Document]:
    yield {
        **_named(kind, verbs(kind)),
        **_announced(kind, group_version),
        "storageVersionHash": _storage_version_hash(kind),
    }
    for subresource in subresources(kind):
        entry: Document = {
            "name": f"{kind.plural}/{subresource.name}",
            "singularName": "",
            "namespaced": kind.namespaced,
        }
        if subresource.group_version is not None and subresource.group_version != group_version:
            entry |= {"group": subresource.group_version.group, "version": subresource.group_version.version}
        yield {**entry, "kind": subresource.kind, "verbs": list(subresource.verbs)}


def _named(kind: Kind[Any, Any], verbs: Iterable[str]) -> Document:
    return {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": list(verbs),
    }


def _announced(kind: Kind[Any, Any], group_version: GroupVersion) -> Document:
    """Short names and categories, under the first group version only: they must lead to one resource."""
    if group_version != kind.group_version:
        return {}
    announced: Document = {}
    if kind.short_names:
        announced["shortNames"] = list(kind.short_names)
    if kind.categories:
        announced["categories"] = list(kind.categories)
    return announced


def _storage_version_hash(kind: Kind[Any, Any]) -> str:
    """Names the stored form, as kube-apiserver does: eight bytes of a hash, in base64."""
    stored = kind.group_version
    digest = hashlib.sha256(f"{stored.group}/{stored.version}/{kind.name}".encode()).digest()
    return b64encode(digest[:8]).decode()


def _aggregated_group(kinds: Kinds, group: str) -> Document:
    return {
        "metadata": {"name": group} if group else {},
        "versions": [
            {
                "version": served.version,
                "resources": [
                    *(_aggregated_resource(kind, served) for kind in kinds_under(kinds, served)),
                    *(_aggregated_review(review) for review in reviews_under(kinds, served)),
                ],
                "freshness": "Current",
            }
            for served in _versions(kinds, group)
        ],
    }


def _aggregated_resource(kind: Kind[Any, Any], group_version: GroupVersion) -> Document:
    resource: Document = {
        "resource": kind.plural,
        "responseKind": _own_kind(kind, group_version, kind.name),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": verbs(kind),
        **_announced(kind, group_version),
    }
    below = list(_aggregated_subresources(kind, group_version))
    return {**resource, "subresources": below} if below else resource


def _own_kind(kind: Kind[Any, Any], group_version: GroupVersion, name: str) -> Document:
    """Of what is compiled into kube-apiserver, empty group and version are those of the version that it stands in."""
    if kind.typed and group_version == kind.group_version:
        return {"group": "", "version": "", "kind": name}
    return _response_kind(group_version, name)


def _aggregated_review(review: Kind[Any, Any]) -> Document:
    return {
        "resource": review.plural,
        "responseKind": {"group": "", "version": "", "kind": review.name},
        "scope": "Namespaced" if review.namespaced else "Cluster",
        "singularResource": review.singular,
        "verbs": list(REVIEW_VERBS),
    }


def _aggregated_subresources(kind: Kind[Any, Any], group_version: GroupVersion) -> Iterable[Document]:
    for subresource in subresources(kind):
        own = subresource.group_version is None
        yield {
            "subresource": subresource.name,
            "responseKind": _own_kind(kind, group_version, subresource.kind)
            if own
            else _response_kind(subresource.group_version or group_version, subresource.kind),
            "verbs": list(subresource.verbs),
        }


def _response_kind(group_version: GroupVersion, kind: str) -> Document:
    return {"group": group_version.group, "version": group_version.version, "kind": kind}
