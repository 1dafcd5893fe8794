# ruff: noqa: E501 - a case stays a row
"""Deletes: options in body and query, preconditions, propagation, finalizers, collections."""

from __future__ import annotations

from typing import Any

from tests.fidelity.case import Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    EVENTS,
    GROUP,
    JSON_PATCH,
    MADE,
    NODE,
    NODES,
    POLICIES,
    POLICY,
    THREE,
    VM,
    VMS,
    account,
    delete,
    get,
    node,
    patch,
    policy,
    post,
    vm,
)  # fmt: skip

QUERIES = (
    "", "propagationPolicy=Background", "propagationPolicy=Foreground", "propagationPolicy=Orphan", "propagationPolicy=Foo", "propagationPolicy=", "propagationPolicy=background", "orphanDependents=true", "orphanDependents=false", "orphanDependents=x", "orphanDependents=true&propagationPolicy=Foreground", "gracePeriodSeconds=0", "gracePeriodSeconds=30", "gracePeriodSeconds=-1", "gracePeriodSeconds=abc", "gracePeriodSeconds=",
    "dryRun=All", "dryRun=Foo", "dryRun=", "dryRun=All&dryRun=All", "preconditions.uid=x", "uid=x", "nosuch=1", "ignoreStoreReadErrorWithClusterBreakingPotential=true", "propagationPolicy=Foreground&dryRun=All", "fieldManager=" + "x" * 129, "propagationPolicy=Orphan&gracePeriodSeconds=0",
)  # fmt: skip
BODIES: tuple[Any, ...] = (
    {}, {"kind": "DeleteOptions"}, {"kind": "DeleteOptions", "apiVersion": "v1"}, {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}, {"kind": "DeleteOptions", "apiVersion": "kubevirt.io/v1alpha1"}, {"kind": "DeleteOptions", "apiVersion": "nosuch/v1"}, {"kind": "DeleteOptions", "apiVersion": "policy/v1"}, {"kind": "Foo", "apiVersion": "v1"}, {"kind": "Pod", "apiVersion": "v1"}, {"apiVersion": "v1"}, {"kind": "VirtualMachine", "apiVersion": "kubevirt.io/v1alpha1"}, {"kind": "Status", "apiVersion": "v1"},
    {"propagationPolicy": "Background"}, {"propagationPolicy": "Foreground"}, {"propagationPolicy": "Orphan"}, {"propagationPolicy": "Foo"}, {"propagationPolicy": ""}, {"propagationPolicy": 5}, {"orphanDependents": True}, {"orphanDependents": False}, {"orphanDependents": "x"}, {"orphanDependents": True, "propagationPolicy": "Background"}, {"gracePeriodSeconds": 0}, {"gracePeriodSeconds": 30}, {"gracePeriodSeconds": -1}, {"gracePeriodSeconds": "x"}, {"gracePeriodSeconds": 1.5},
    {"dryRun": ["All"]}, {"dryRun": ["Foo"]}, {"dryRun": []}, {"dryRun": "All"}, {"dryRun": ["All", "Foo"]}, {"dryRun": [""]}, {"preconditions": {}}, {"preconditions": {"uid": "x"}}, {"preconditions": {"uid": "$(0.metadata.uid)"}}, {"preconditions": {"resourceVersion": "1"}}, {"preconditions": {"resourceVersion": "$(0.metadata.resourceVersion)"}}, {"preconditions": {"uid": "x", "resourceVersion": "1"}}, {"preconditions": {"uid": "$(0.metadata.uid)", "resourceVersion": "1"}}, {"preconditions": {"uid": ""}}, {"preconditions": {"resourceVersion": ""}},
    {"preconditions": "x"}, {"preconditions": {"nosuch": 1}}, {"nosuch": 1}, {"ignoreStoreReadErrorWithClusterBreakingPotential": True}, {"preconditions": {"uid": 5}},
)  # fmt: skip
DIFFERENT: tuple[Any, ...] = ({"propagationPolicy": "Foreground"}, {"dryRun": ["All"]}, {})
FREE = patch(VM, {"metadata": {"finalizers": None}})
OWNER = {"apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachine", "name": "a", "uid": "$(0.metadata.uid)"}

CASES = [
    *(Case(f"delete: {text[:60]}", [MADE, delete(f"{VM}?{text}"), get(VM)]) for text in QUERIES),
    *(Case(f"delete: at once {text[:60]}", [MADE, FREE, delete(f"{VM}?{text}"), get(VM)]) for text in QUERIES),
    *(Case(f"delete: typed {text[:60]}", [post(ACCOUNTS, account()), delete(f"{ACCOUNTS}/a?{text}"), get(f"{ACCOUNTS}/a")]) for text in QUERIES),
    *(Case(f"delete: with {body}", [MADE, delete(VM, body), get(VM)]) for body in BODIES),
    *(Case(f"delete: at once with {body}", [MADE, FREE, delete(VM, body), get(VM)]) for body in BODIES),
    *(Case(f"delete: typed with {body}", [post(ACCOUNTS, account()), delete(f"{ACCOUNTS}/a", body), get(f"{ACCOUNTS}/a")]) for body in BODIES),
    *(Case(f"delete: {body} and {text}", [MADE, delete(f"{VM}?{text}", body), get(VM)]) for body in DIFFERENT for text in ("propagationPolicy=Orphan", "dryRun=All", "gracePeriodSeconds=abc", "propagationPolicy=Foo")),
    *(Case(f"delete: collection {text[:60]}", [*THREE, delete(f"{VMS}?{text}"), get(VMS)]) for text in (*QUERIES, "labelSelector=tier%3Dx", "fieldSelector=metadata.name%3Db", "labelSelector=,", "fieldSelector=x%3Dy", "limit=1", "limit=abc", "resourceVersion=1", "resourceVersion=abc", "continue=abc", "labelSelector=nosuch", "resourceVersionMatch=Exact", "sendInitialEvents=true", "watch=1", "timeoutSeconds=1", "resourceVersion=0&resourceVersionMatch=NotOlderThan")),
    *(Case(f"delete: collection with {body}", [*THREE, delete(VMS, body), get(VMS)]) for body in BODIES),
    *(Case(f"delete: typed collection {text[:60]}", [post(ACCOUNTS, account("a", labels={"x": "1"})), post(ACCOUNTS, account("b")), delete(f"{ACCOUNTS}?{text}"), get(ACCOUNTS)]) for text in ("", "labelSelector=x", "dryRun=All", "propagationPolicy=Foreground", "fieldSelector=metadata.name%3Db", "limit=1", "gracePeriodSeconds=0", "propagationPolicy=Foo")),
    Case("delete: collection of nothing", [delete(VMS), delete(ACCOUNTS), delete(f"{GROUP}/namespaces/$id-no/virtualmachines")]),
    Case("delete: absent", [delete(path) for path in (VM, f"{VM}/status", NODE, POLICY, f"{ACCOUNTS}/a", f"{EVENTS}/e", "/api/v1/namespaces/$id-no", f"{GROUP}/namespaces/$id-no/virtualmachines/a")]),
    Case("delete: absent with preconditions", [delete(VM, {"preconditions": {"uid": "x"}}), delete(VM, {"propagationPolicy": "Foo"}), delete(f"{VM}?dryRun=All")]),
    Case("delete: all namespaces", [delete(f"{GROUP}/virtualmachines"), delete("/api/v1/serviceaccounts"), delete("/api/v1/events")]),
    Case("delete: twice", [MADE, delete(VM), delete(VM), delete(VM, {"propagationPolicy": "Foreground"}), delete(VM, {"propagationPolicy": "Orphan"}), delete(VM, {"preconditions": {"uid": "x"}}), MADE, get(VM)]),
    Case("delete: finalizers one by one", [post(VMS, vm(finalizers=["kubevirt.io/virtualmachine", "x.io/a", "x.io/b"])), delete(VM), patch(VM, [{"op": "remove", "path": "/metadata/finalizers/1"}], JSON_PATCH), patch(VM, {"metadata": {"finalizers": ["x.io/b", "x.io/c"]}}), patch(VM, {"metadata": {"finalizers": ["x.io/b"]}}), patch(VM, {"spec": {"nodeSelector": {"a": "b"}}}), patch(f"{VM}/status", {"status": {"phase": "Failed"}}), patch(VM, {"metadata": {"finalizers": []}}), get(VM)]),
    Case("delete: foreground without dependents", [MADE, delete(VM, {"propagationPolicy": "Foreground"}), FREE, get(VM)]),
    Case("delete: foreground then background", [post(POLICIES, policy(metadata={"finalizers": ["x.io/a"]})), delete(POLICY, {"propagationPolicy": "Foreground"}), delete(POLICY, {"propagationPolicy": "Background"}), delete(POLICY, {"propagationPolicy": "Orphan"}), get(POLICY)]),
    Case("delete: with dependents", [MADE, post(ACCOUNTS, account("b", ownerReferences=[OWNER])), delete(VM, {"propagationPolicy": "Background"}), get(f"{ACCOUNTS}/b")]),
    Case("delete: dry run of everything", [MADE, delete(VM, {"dryRun": ["All"]}), get(VM), FREE, delete(VM, {"dryRun": ["All"]}), delete(VM, {"dryRun": ["All"], "propagationPolicy": "Foreground"}), get(VM)]),
    Case("delete: policy", [post(POLICIES, policy()), delete(POLICY), get(POLICY), post(POLICIES, policy()), delete(POLICIES + "?fieldSelector=metadata.name%3D$id"), get(POLICY)]),
    Case("delete: node", [post(NODES, node()), delete(NODE), get(NODE)]),
    Case("delete: namespace", [post("/api/v1/namespaces", {"metadata": {"name": "$id-x"}}), post("/api/v1/namespaces/$id-x/serviceaccounts", account()), delete("/api/v1/namespaces/$id-x"), get("/api/v1/namespaces/$id-x"), post("/api/v1/namespaces/$id-x/serviceaccounts", account("b")), post(f"{GROUP}/namespaces/$id-x/virtualmachines", vm()), post("/api/v1/namespaces", {"metadata": {"name": "$id-x"}}), delete("/api/v1/namespaces/$id-x"), delete("/api/v1/namespaces")]),
    Case("delete: namespace finalize", [post("/api/v1/namespaces", {"metadata": {"name": "$id-x"}}), get("/api/v1/namespaces/$id-x/finalize"), delete("/api/v1/namespaces/$id-x/finalize")]),
    Case("delete: by a finalizer of two", [post(POLICIES, policy(metadata={"finalizers": ["orphan"]})), delete(POLICY), delete(POLICY, {"propagationPolicy": "Foreground"}), get(POLICY)]),
    Case("delete: in yaml", [MADE, delete(VM, "propagationPolicy: Foreground\n", type="application/yaml"), delete(VM, "propagationPolicy: [\n", type="application/yaml")]),
]  # fmt: skip
