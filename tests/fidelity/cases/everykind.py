# ruff: noqa: E501 - a case stays a row
"""Each kind asked the same: its forms, options, patches, applies, subresources, watches and deletes together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.machinery.objects import Document
from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    APPLY,
    EVENTS,
    JSON,
    JSON_PATCH,
    MERGE,
    MIGS,
    NODES,
    PARTIAL,
    PARTIALS,
    POLICIES,
    PROTOBUF,
    ROLES,
    STRATEGIC,
    TABLE,
    VMS,
    YAML,
    account,
    delete,
    get,
    mig,
    node,
    patch,
    policy,
    post,
    put,
    role,
    vm,
)  # fmt: skip

RBAC = "/apis/rbac.authorization.k8s.io/v1"
RBAC_VERSION = "rbac.authorization.k8s.io/v1"
REF: Document = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "$id"}
STREAM = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
MANAGERS = ("one", "two", "three")


@dataclass(frozen=True, slots=True)
class Sort:
    """A kind: where its objects are, one of them, a change of its own fields, and a field that it does not have."""

    name: str
    path: str
    document: Document
    change: Document
    typed: bool = True

    @property
    def item(self) -> str:
        return f"{self.path}/{self.document['metadata']['name']}"

    @property
    def made(self) -> Ask:
        return post(self.path, self.document)

    def labelled(self, **labels: Any) -> Document:
        return {**self.document, "metadata": {**self.document["metadata"], "labels": labels}}

    def named(self, **metadata: Any) -> Document:
        return {**self.document, "metadata": metadata}

    @property
    def identity(self) -> Document:
        return {name: self.document[name] for name in ("apiVersion", "kind")} | {
            "metadata": {"name": self.document["metadata"]["name"]}
        }


def _sort(
    name: str, path: str, document: Document, change: Document, *, typed: bool = True, version: str = "v1"
) -> Sort:
    """The labels say of what case it is, for lists of kinds that are in no namespace."""
    metadata = {**document["metadata"], "labels": {"of": "$id"}}
    return Sort(name, path, {"apiVersion": version, "kind": name, **document, "metadata": metadata}, change, typed)


SORTS = (
    _sort("VirtualMachine", VMS, vm(), {"spec": {"nodeSelector": {"x": "y"}}}, typed=False),
    _sort("Migration", MIGS, mig(), {"metadata": {"annotations": {"x": "y"}}}, typed=False),
    _sort("MigrationPolicy", POLICIES, policy(), {"spec": {"maxDowntimeMs": 5}}, typed=False),
    _sort("Node", NODES, node(), {"spec": {"unschedulable": True}}),
    _sort("Event", EVENTS, {"metadata": {"name": "e"}, "involvedObject": {"namespace": "$ns"}}, {"reason": "R", "count": 2}),
    _sort("ServiceAccount", ACCOUNTS, account(), {"automountServiceAccountToken": False}),
    _sort("Role", ROLES, role(), {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}]}, version=RBAC_VERSION),
    _sort("ClusterRole", f"{RBAC}/clusterroles", {"metadata": {"name": "$id"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}, {"rules": None}, version=RBAC_VERSION),
    _sort("RoleBinding", f"{RBAC}/namespaces/$ns/rolebindings", {"metadata": {"name": "a"}, "roleRef": REF}, {"subjects": [{"kind": "User", "name": "x"}]}, version=RBAC_VERSION),
    _sort("ClusterRoleBinding", f"{RBAC}/clusterrolebindings", {"metadata": {"name": "$id"}, "roleRef": REF}, {"subjects": [{"kind": "Group", "name": "x"}]}, version=RBAC_VERSION),
    _sort("Namespace", "/api/v1/namespaces", {"metadata": {"name": "$id-x"}}, {"metadata": {"annotations": {"x": "y"}}}),
)  # fmt: skip


def _applied(sort: Sort, body: Document, manager: str, more: str = "", below: str = "", **asked: Any) -> Ask:
    return patch(f"{sort.item}{below}?fieldManager={manager}{more}", {**sort.identity, **body}, APPLY, **asked)


def _labels(sort: Sort, **labels: str) -> Document:
    return {"metadata": {**sort.identity["metadata"], "labels": labels}}


def _forms(sort: Sort) -> list[Ask]:
    """Each write answered in each form."""
    selected = f"{sort.path}?labelSelector=of%3D$id"
    return [
        post(f"{sort.path}?dryRun=All", sort.document, accept=TABLE),
        post(f"{sort.path}?dryRun=All", sort.document, accept=PARTIAL),
        sort.made,
        *(get(sort.item, accept=accept) for accept in (TABLE, PARTIAL, YAML, PARTIALS, f"{TABLE.replace('v1', 'v1beta1')},{JSON}")),
        *(get(selected, accept=accept) for accept in (TABLE, PARTIALS, YAML, PARTIAL)),
        get(f"{selected}&includeObject=Object", accept=TABLE),
        put(f"{sort.item}?dryRun=All", {"$whole": "$(2)"}, accept=PARTIAL),
        patch(f"{sort.item}?dryRun=All", sort.change, accept=TABLE),
        delete(f"{sort.item}?dryRun=All", accept=TABLE),
        delete(f"{sort.item}?dryRun=All", accept=PARTIAL),
    ]  # fmt: skip


def _protobuf(sort: Sort) -> list[Ask]:
    return [
        sort.made,
        get(sort.item, accept=PROTOBUF),
        get(f"{sort.path}?labelSelector=of%3D$id", accept=f"{PROTOBUF},{JSON}"),
        patch(sort.item, sort.change, accept=PROTOBUF),
    ]


def _options(sort: Sort) -> list[Ask]:
    """Options of every write, alone and together."""
    unknown = {**sort.document, "nosuch": 1}
    return [
        post(f"{sort.path}?fieldValidation=Strict", unknown),
        post(f"{sort.path}?fieldValidation=Ignore&dryRun=All&fieldManager=me", unknown),
        post(f"{sort.path}?fieldValidation=Foo&dryRun=Bar&fieldManager=" + "x" * 129, unknown),
        post(f"{sort.path}?pretty=true&fieldManager=me", unknown),
        post(sort.path, unknown),
        put(f"{sort.item}?fieldValidation=Strict&dryRun=All", unknown),
        *(
            patch(f"{sort.item}?{query}", body, type_)
            for type_, body in ((MERGE, {**sort.change, "nosuch": 1}), (STRATEGIC, {**sort.change, "nosuch": 1}), (JSON_PATCH, [{"op": "add", "path": "/nosuch", "value": 1}]))
            for query in ("dryRun=All&fieldValidation=Strict", "dryRun=All&fieldValidation=Ignore&fieldManager=p", "dryRun=All&fieldManager=p", "force=true", "fieldManager=a%00b")
        ),
        *(_applied(sort, {"nosuch": 1}, "p", more) for more in ("", "&dryRun=All", "&fieldValidation=Strict", "&force=true&fieldValidation=Ignore")),
        get(sort.item),
    ]  # fmt: skip


def _status(sort: Sort) -> list[Ask]:
    """Every verb on status and on scale."""
    below = (f"{sort.item}/status", f"{sort.item}/scale", f"{sort.item}/nosuch")
    return [sort.made] + [
        Ask(f"{verb} {path}", body, type_)
        for path in below
        for verb, body, type_ in (("GET", None, None), ("PUT", sort.document, JSON), ("PATCH", {"metadata": {"labels": {"s": "1"}}}, MERGE), ("PATCH", {"status": {}}, STRATEGIC), ("PATCH", [{"op": "test", "path": "/kind", "value": sort.name}], JSON_PATCH), ("POST", {}, JSON), ("DELETE", None, None))
    ] + [_applied(sort, {}, "s", below="/status"), _applied(sort, {"spec": {"replicas": 1}}, "s", below="/scale"), get(sort.item)]  # fmt: skip


def _applies(sort: Sort) -> list[Ask]:
    """Made, shared, contested, taken by force, updated by an applier, given up."""
    return [
        _applied(sort, sort.labelled(of="$id", a="1"), "one"),
        _applied(sort, _labels(sort, b="1"), "two"),
        _applied(sort, _labels(sort, a="2", b="2"), "three"),
        _applied(sort, _labels(sort, a="2", b="2"), "three", "&force=true&dryRun=All"),
        _applied(sort, _labels(sort, a="2", b="1"), "three", "&force=true"),
        patch(f"{sort.item}?fieldManager=two", {"metadata": {"labels": {"b": "3", "c": "1"}}}),
        _applied(sort, _labels(sort, b="1"), "two"),
        _applied(sort, _labels(sort, b="1"), "two", "&force=true"),
        put(f"{sort.item}?fieldManager=four", {"$whole": "$(7)"}),
        *(_applied(sort, {}, manager) for manager in ("two", "three")),
        _applied(sort, sort.change, "five"),
        _applied(sort, sort.change, "six", "&fieldValidation=Strict"),
        _applied(sort, {}, "five"),
        _applied(sort, {"metadata": {**sort.identity["metadata"], "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}], "finalizers": ["x.io/a"]}}, "six"),
        _applied(sort, {"metadata": {**sort.identity["metadata"], "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "u"}]}}, "seven"),
        _applied(sort, {"metadata": {**sort.identity["metadata"], "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "u"}]}}, "seven", "&force=true"),
        _applied(sort, {}, "six"),
        _applied(sort, {}, "seven"),
        get(sort.item),
    ]  # fmt: skip


def _lives(sort: Sort) -> list[Ask]:
    """Its life as an informer sees it, from its beginning, from its middle and as a stream."""
    watch = f"{sort.path}?watch=1&timeoutSeconds=1&labelSelector=of%3D$id"
    return [
        sort.made,
        patch(sort.item, sort.change),
        patch(sort.item, {"metadata": {"finalizers": ["x.io/a"]}}),
        get(f"{watch}&{STREAM}"),
        get(f"{watch}&{STREAM}&resourceVersion=$(1.metadata.resourceVersion)", accept=TABLE),
        get(f"{watch}&{STREAM}", accept=PARTIAL),
        delete(sort.item),
        patch(sort.item, {"metadata": {"labels": {"of": None}}}),
        patch(sort.item, {"metadata": {"labels": {"of": "$id"}, "finalizers": []}}),
        get(f"{watch}&resourceVersion=$(0.metadata.resourceVersion)"),
        get(f"{watch}&resourceVersion=$(1.metadata.resourceVersion)&allowWatchBookmarks=true", accept=PARTIAL),
        get(f"{watch}&resourceVersion=$(1.metadata.resourceVersion)", accept=TABLE),
        get(f"{watch}&resourceVersion=$(2.metadata.resourceVersion)&fieldSelector=metadata.name%3Dnosuch"),
    ]


def _names(sort: Sort) -> list[Ask]:
    """Names that are made up, wrong, or another's."""
    labels = {"of": "$id"}
    return [
        post(f"{sort.path}?dryRun=All", sort.named(generateName="$id-", labels=labels)),
        post(f"{sort.path}?dryRun=All", sort.named(generateName="x" * 70, labels=labels)),
        post(f"{sort.path}?dryRun=All", sort.named(generateName="A_", labels=labels)),
        post(f"{sort.path}?dryRun=All", sort.named(name="$id-n", generateName="g-", labels=labels)),
        post(f"{sort.path}?dryRun=All", sort.named(name="", generateName="")),
        post(f"{sort.path}?dryRun=All", sort.named(name="x" * 254)),
        post(f"{sort.path}?dryRun=All", sort.named(name="UPPER")),
        post(f"{sort.path}?dryRun=All", sort.named(name="a/b")),
        post(f"{sort.path}?dryRun=All", sort.named(name="a%b")),
        post(f"{sort.path}?dryRun=All", sort.named(name="..")),
        post(f"{sort.path}?dryRun=All", sort.named(name="$id-n", namespace="other")),
        sort.made,
        sort.made,
        post(f"{sort.path}?dryRun=All", sort.document),
    ]


def _deletes(sort: Sort) -> list[Ask]:
    """Preconditions, propagation and finalizers; then the collection."""
    return [
        sort.made,
        delete(sort.item, {"preconditions": {"uid": "other"}}),
        delete(sort.item, {"preconditions": {"resourceVersion": "1"}, "propagationPolicy": "Foreground"}),
        delete(f"{sort.item}?resourceVersion=1"),
        delete(sort.item, {"gracePeriodSeconds": -1}),
        patch(sort.item, {"metadata": {"finalizers": ["x.io/a", "x.io/b"]}}),
        delete(
            sort.item,
            {"preconditions": {"uid": "$(0.metadata.uid)"}, "propagationPolicy": "Foreground", "gracePeriodSeconds": 5},
        ),
        delete(sort.item, {"propagationPolicy": "Orphan"}),
        patch(sort.item, [{"op": "remove", "path": "/metadata/finalizers/0"}], JSON_PATCH),
        patch(sort.item, {"metadata": {"finalizers": ["x.io/c"]}}),
        put(sort.item, {"$whole": "$(8)"}),
        patch(f"{sort.item}?dryRun=All", {"metadata": {"finalizers": None}}),
        post(sort.path, sort.document),
        patch(sort.item, {"metadata": {"finalizers": None}}),
        get(sort.item),
    ]


def _collections(sort: Sort) -> list[Ask]:
    selected = f"{sort.path}?labelSelector=of%3D$id"
    return [
        sort.made,
        delete(f"{selected}&dryRun=All"),
        delete(f"{selected}&fieldSelector=metadata.name%3Dnosuch"),
        delete(f"{selected}&fieldSelector=nosuch%3Dx"),
        delete(selected, {"preconditions": {"uid": "other"}}),
        delete(selected, {"propagationPolicy": "Foo"}),
        delete(f"{selected}&limit=1&propagationPolicy=Background", accept=TABLE),
        get(selected),
        get(f"{selected}&limit=1"),
    ]


def _lists(sort: Sort) -> list[Ask]:
    selected = f"{sort.path}?labelSelector=of%3D$id"
    queries = (
        "", "&limit=1", "&limit=1&resourceVersion=0", "&resourceVersion=$(0.metadata.resourceVersion)&resourceVersionMatch=Exact&limit=1", "&resourceVersionMatch=Exact", "&resourceVersion=0&resourceVersionMatch=Exact", "&continue=x&resourceVersion=1", "&continue=x&resourceVersionMatch=NotOlderThan", "&sendInitialEvents=true",
        "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "&limit=x", "&timeoutSeconds=x", "&timeoutSeconds=5", "&allowWatchBookmarks=maybe", "&fieldSelector=metadata.name!%3Dnosuch", "&fieldSelector=metadata.namespace%3D$ns", "&fieldSelector=status.phase%3DActive", "&fieldSelector=spec.nodeName%3D", "&fieldSelector=type%3DNormal", "&fieldSelector=spec.unschedulable%3Dfalse", "&fieldSelector=metadata.name",
    )  # fmt: skip
    watches = (
        "&allowWatchBookmarks=true&resourceVersion=1x", "&resourceVersionMatch=NotOlderThan", "&sendInitialEvents=true", "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=0", "&sendInitialEvents=true&resourceVersionMatch=Exact", "&resourceVersion=0&fieldSelector=metadata.name%3Dnosuch", "&fieldSelector=nosuch%3Dx", "&labelSelector=,", "&limit=1&resourceVersion=0", "&continue=x",
    )  # fmt: skip
    return [
        sort.made,
        *(get(f"{selected}{query}") for query in queries),
        *(get(f"{selected}&watch=1&timeoutSeconds=1{query}") for query in watches),
    ]


CASES = [
    Case(f"each: {subject} of {sort.name}", of(sort))
    for subject, of in (("forms", _forms), ("protobuf", _protobuf), ("options", _options), ("status", _status), ("applies", _applies), ("lives", _lives), ("names", _names), ("deletes", _deletes), ("collections", _collections), ("lists", _lists))
    for sort in SORTS
    if not (subject == "protobuf" and not sort.typed)
]  # fmt: skip
