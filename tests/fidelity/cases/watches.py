# ruff: noqa: E501 - a case stays a row
"""Watches: how they begin, what they refuse, and the events that an informer sees of the same writes."""

from __future__ import annotations

from itertools import product

from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    CBOR,
    GROUP,
    JSON,
    JSON_PATCH,
    MADE,
    NODES,
    PARTIAL,
    PARTIALS,
    PROTOBUF,
    STRATEGIC,
    TABLE,
    THREE,
    VM,
    VM_FINALIZER,
    VMS,
    YAML,
    account,
    delete,
    each,
    get,
    node,
    patch,
    post,
    together,
    vm,
)  # fmt: skip

VERSIONS = ("", "0", "$(0.metadata.resourceVersion)", "$(2.metadata.resourceVersion)", "1", "999999999999", "abc")
WATCH = f"{VMS}?watch=1&timeoutSeconds=1"
FROM = f"{WATCH}&resourceVersion=$(0.metadata.resourceVersion)"
FREE = patch(VM, {"metadata": {"finalizers": None}})


def _query(**said: str) -> str:
    return "".join(f"&{name}={value}" for name, value in said.items() if value)


LIVES: dict[str, tuple[Ask, ...]] = {
    "changed and unchanged": (patch(VM, {"metadata": {"labels": {"a": "b"}}}), patch(VM, {"metadata": {"labels": {"a": "b"}}}), patch(VM, {"spec": {"nodeSelector": {"x": "y"}}}), patch(f"{VM}/status", {"status": {"phase": "Running"}})),
    "deleted with a finalizer": (delete(VM), delete(VM), FREE),
    "deleted at once": (FREE, delete(VM)),
    "deleted and made again": (FREE, delete(VM), post(VMS, vm())),
    "leaves and enters": (patch(VM, {"metadata": {"labels": {"tier": "y"}}}), patch(VM, {"metadata": {"labels": {"other": "1"}}}), patch(VM, {"metadata": {"labels": {"tier": "x"}}}), patch(VM, {"metadata": {"labels": {"tier": None}}})),
    "collection deleted": (patch(f"{VMS}/b", {"metadata": {"finalizers": None}}), FREE, delete(VMS), patch(f"{VMS}/c", {"metadata": {"finalizers": None}})),
    "collection deleted by label": (FREE, delete(f"{VMS}?labelSelector=tier%3Dx")),
    "finalizer by json patch": (delete(VM), patch(VM, [{"op": "remove", "path": "/metadata/finalizers"}], JSON_PATCH)),
    "dry run": (patch(f"{VM}?dryRun=All", {"metadata": {"labels": {"a": "b"}}}), delete(f"{VM}?dryRun=All")),
}  # fmt: skip

CASES = [
    *(
        Case(f"watch: rv={version or None} bookmarks={marks or None} initial={initial or None} match={match or None}", [*THREE, get(f"{WATCH}{_query(resourceVersion=version, allowWatchBookmarks=marks, sendInitialEvents=initial, resourceVersionMatch=match)}")])
        for version, marks, initial, match in product(VERSIONS, ("", "true"), ("", "true", "false"), ("", "NotOlderThan", "Exact"))
        if (version in ("", "0") or marks == "" or match == "NotOlderThan") and not (version == "1" and initial == "" and match == "")
    ),
    *each("watch: parameters", [get(f"{VMS}?watch={text}") for text in ("1&timeoutSeconds=abc", "1&timeoutSeconds=-1", "1&timeoutSeconds=1.5", "1&timeoutSeconds=1&limit=1", "1&timeoutSeconds=1&continue=abc", "1&timeoutSeconds=1&timeout=1ms", "1&timeoutSeconds=1&timeout=abc", "true&timeoutSeconds=1", "True&timeoutSeconds=1", "yes&timeoutSeconds=1", "&timeoutSeconds=1", "0&timeoutSeconds=1", "false&timeoutSeconds=1", "1&timeoutSeconds=1&labelSelector=,", "1&timeoutSeconds=1&fieldSelector=x%3Dy", "1&timeoutSeconds=1&labelSelector=tier%3Dx", "1&timeoutSeconds=1&fieldSelector=metadata.name%3Db", "1&timeoutSeconds=1&pretty=1", "1&timeoutSeconds=1&includeObject=None", "1&timeoutSeconds=1&resourceVersionMatch=Foo")], THREE),
    *(Case(f"watch: accept {accept}", [*THREE[:2], get(WATCH, accept=accept)]) for accept in (None, "*/*", JSON, YAML, PROTOBUF, CBOR, "text/html", TABLE, f"{TABLE},{JSON}", PARTIAL, PARTIALS, TABLE.replace("v=v1", "v=v1beta1"), PARTIAL.replace("v=v1", "v=v1beta1"), f"{JSON};stream=watch", f"{PROTOBUF};stream=watch", f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/cbor-seq", f"{PROTOBUF},{JSON}")),
    *(Case(f"watch: accept typed {accept}", [post(ACCOUNTS, account()), get(f"{ACCOUNTS}?watch=1&timeoutSeconds=1", accept=accept)]) for accept in (None, YAML, PROTOBUF, TABLE, PARTIAL, PARTIALS, f"{JSON};stream=watch", f"{PROTOBUF},{JSON}")),
    *(Case(f"watch: tables of includeObject {include}", [*THREE[:2], get(f"{WATCH}&includeObject={include}", accept=TABLE)]) for include in ("None", "Metadata", "Object", "Foo")),
    *(Case(f"watch: stream of {accept}", [*THREE[:2], get(f"{WATCH}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", accept=accept)]) for accept in (TABLE, PARTIAL, JSON)),
    *(Case(f"watch: typed stream of {accept}", [post(ACCOUNTS, account()), get(f"{ACCOUNTS}?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", accept=accept)]) for accept in (TABLE, PARTIAL, JSON)),
    *(Case(f"lives: {name}{' of ' + selector if selector else ''}", [*THREE, *life, get(f"{FROM}{selector}")]) for name, life in LIVES.items() for selector in ("", "&labelSelector=tier%3Dx", "&fieldSelector=metadata.name%3Da", "&labelSelector=tier!%3Dx", "&fieldSelector=status.phase%3DRunning")),
    *(Case(f"lives: {name} as {accept}", [*THREE, *LIVES[name], get(f"{FROM}&labelSelector=tier%3Dx", accept=accept)]) for name in ("leaves and enters", "deleted with a finalizer", "deleted at once") for accept in (TABLE, PARTIAL)),
    Case("lives: typed", [post(ACCOUNTS, account("a", labels={"x": "1"})), patch(f"{ACCOUNTS}/a", {"metadata": {"labels": {"x": "2"}}}, STRATEGIC), post(ACCOUNTS, account("b", finalizers=["x.io/y"])), delete(f"{ACCOUNTS}/b"), patch(f"{ACCOUNTS}/b", {"metadata": {"finalizers": None}}), delete(f"{ACCOUNTS}/a"), get(f"{ACCOUNTS}?watch=1&timeoutSeconds=1&resourceVersion=$(0.metadata.resourceVersion)"), get(f"{ACCOUNTS}?watch=1&timeoutSeconds=1&labelSelector=x%3D1&resourceVersion=$(0.metadata.resourceVersion)")]),
    Case("lives: node", [post(NODES, node(metadata={"labels": {"of": "$id"}})), patch(f"{NODES}/$id", {"spec": {"unschedulable": True}}, STRATEGIC), patch(f"{NODES}/$id", {"spec": {"unschedulable": None}}, STRATEGIC), get(f"{NODES}?watch=1&timeoutSeconds=1&labelSelector=of%3D$id&resourceVersion=$(0.metadata.resourceVersion)"), get(f"{NODES}?watch=1&timeoutSeconds=1&labelSelector=of%3D$id&fieldSelector=spec.unschedulable%3Dtrue&resourceVersion=$(0.metadata.resourceVersion)")]),
    together("watch: of an item", [get(f"{VM}?watch=1&timeoutSeconds=1"), get(f"{VM}x?watch=1&timeoutSeconds=1"), get(f"{VM}/status?watch=1&timeoutSeconds=1")], (MADE,)),
    *each("watch: legacy path", [get(f"{GROUP}/watch/{path}?timeoutSeconds=1{rest}") for path in ("namespaces/$ns/virtualmachines", "namespaces/$ns/virtualmachines/a", "namespaces/$ns/virtualmachines/nosuch", "namespaces/$ns/virtualmachines/a/status") for rest in ("", "&watch=0", "&fieldSelector=metadata.name%3Db")], (MADE,)),
    Case("watch: legacy methods", [Ask(f"{method} {GROUP}/watch/namespaces/$ns/virtualmachines", {}) for method in ("POST", "DELETE", "PUT")]),
    Case("watch: of nothing", [get(f"{GROUP}/namespaces/nosuch/virtualmachines?watch=1&timeoutSeconds=1"), get(f"{GROUP}/namespaces/nosuch/nosuch?watch=1&timeoutSeconds=1")]),
    Case("watch: methods", [Ask(f"{method} {WATCH}") for method in ("HEAD", "OPTIONS", "POST", "DELETE")]),
    Case("watch: gzip", [*THREE, get(WATCH, headers={"Accept-Encoding": "gzip"})]),
    Case("watch: old", [MADE, get(f"{WATCH}&resourceVersion=1"), get(f"{WATCH}&resourceVersion=1", accept=TABLE), get(f"{WATCH}&resourceVersion=1", accept=PARTIAL)]),
]  # fmt: skip
_ = VM_FINALIZER
