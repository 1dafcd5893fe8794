# ruff: noqa: E501 - a case stays a row
"""get and list: versions, matches, limits, tokens, selectors, by every combination that says something."""

from __future__ import annotations

from itertools import product

from tests.fidelity.case import Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    EVENTS,
    GROUP,
    NODES,
    THREE,
    VM,
    VMS,
    account,
    delete,
    each,
    get,
    node,
    patch,
    policy,
    post,
    together,
)  # fmt: skip

VERSIONS = ("", "0", "1", "$(2.metadata.resourceVersion)", "999999999999", "abc", "-1", "00", "0x1")
MATCHES = ("", "NotOlderThan", "Exact", "Foo", "exact")
LIMITS = ("", "1", "2", "3", "500")
SENDS = ("", "true", "false", "maybe")
LABELS = (
    "tier=x", "tier==x", "tier!=x", "tier", "!tier", "tier in (x,y)", "tier notin (x)", "tier in ()", "tier in (x", "tier in x", "n>1", "n<2", "n>x", "n>=1", "tier=x,n=1",
    ",", "tier=x,", ",tier=x", "tier=x,,n=1", "=x", "tier=", "tier==", "tier===x", "tier!x", "!", "!=", "tier=x y", " tier = x ", "a b", "tier=%21", "tier=é", "é=x", "-a=b", "a-=b",
    "a/b=c", "a/b/c=d", "/b=c", "a/=c", "A/b=c", "x" * 64 + "=y", "y=" + "x" * 64, "in in (in)", "notin", "in", "tier in (x),n in (1)", "(tier=x)", "tier=(x)", "tier in (x,)", "tier in (,x)",
    "tier exists", "!tier=x", "! tier", "!!tier", "tier=x;n=1", "tier=x|n=1", "tier=\"x\"", "tier='x'", "tier>1", "tier<", "n > 1", "n>1.5", "n>-1", "tier=*", "kubernetes.io/x=y", "*=x", "tier=-x", "tier=x-",
    "tier = in", "n gt 1", "tier notin x", "tier not in (x)", "tier IN (x)", "tier!=x,tier!=y", "tier in (x)y", "x y z",
)  # fmt: skip
FIELDS = (
    "metadata.name=a", "metadata.name==a", "metadata.name!=a", "metadata.name=", "metadata.name!=", "metadata.namespace=$ns", "metadata.namespace=x", "metadata.name=a,metadata.namespace=$ns",
    "metadata.uid=x", "metadata.labels.tier=x", "spec.nodeName=x", "status.phase=", "status.phase=Running", "status.phase!=Running", "nosuch=x", ",", "metadata.name=a,", ",metadata.name=a",
    "metadata.name", "=a", "metadata.name=a=b", "metadata.name=a\\=b", "metadata.name=a\\,b", "metadata.name=a\\", "metadata.name=a\\x", "metadata.name>a", "metadata.name in (a)", " metadata.name=a",
    "metadata.name= a", "metadata.name=a,metadata.name=b", "metadata.name=a,metadata.name=a", "METADATA.NAME=a", "name=a", ".metadata.name=a", "metadata.name===a", "!metadata.name", "metadata.name=a;x", "metadata.name=é", "status.nodeName=,status.phase=",
    "spec.domain=x", "spec=x", "metadata=x",
)  # fmt: skip
NODE_FIELDS = (
    "metadata.name=$id",
    "spec.unschedulable=true",
    "spec.unschedulable=false",
    "spec.unschedulable=",
    "spec.unschedulable=x",
    "spec.providerID=x",
    "metadata.namespace=",
    "metadata.namespace=x",
    "status.phase=x",
)
EVENT_FIELDS = (
    "involvedObject.kind=Pod", "involvedObject.name=x", "involvedObject.uid=x", "involvedObject.namespace=$ns", "involvedObject.apiVersion=v1", "involvedObject.resourceVersion=1", "involvedObject.fieldPath=x", "reason=x",
    "reportingComponent=x", "source=x", "type=Normal", "message=x", "count=1", "metadata.namespace=$ns", "firstTimestamp=x", "involvedObject=x",
)  # fmt: skip
TOKENS = (
    "abc",
    "e30",
    "bm9uc2Vuc2U",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYSJ9",
    "eyJ2IjoidjIifQ",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiJhXHUwMDAwIn0",
    "====",
    "a b",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTk5OTk5OTk5LCJzdGFydCI6ImFcdTAwMDAifQ",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi9hIn0",
)


def _query(**said: str) -> str:
    return "&".join(f"{name}={value}" for name, value in said.items() if value)


def _encoded(text: str) -> str:
    kept = "".join(
        f"%{byte:02X}" if not chr(byte).isalnum() and chr(byte) not in "$.=-" else chr(byte) for byte in text.encode()
    )
    return kept.replace("=", "%3D")


_SLOW = ("999999999999",)
"""Asked once only: the server waits three seconds for it."""

CASES = [
    *(
        together(
            f"list: rv={version or None} match={match or None}",
            [get(f"{VMS}?{_query(resourceVersion=version, resourceVersionMatch=match, limit=limit)}") for limit in (LIMITS if version not in _SLOW else ("",))],
            THREE,
        )
        for version, match in product(VERSIONS, MATCHES)
    ),
    *(
        together(f"list typed: rv={version or None} match={match or None}", [get(f"{ACCOUNTS}?{_query(resourceVersion=version, resourceVersionMatch=match, limit=limit)}") for limit in ("", "1")], tuple(post(ACCOUNTS, account(name)) for name in "abc"))
        for version, match in product([version for version in VERSIONS if version not in _SLOW], MATCHES)
    ),
    *(together(f"get: rv={version}", [get(f"{VM}?resourceVersion={version}"), get(f"{VM}x?resourceVersion={version}")], THREE) for version in VERSIONS if version),
    together("list: sendInitialEvents", [get(f"{VMS}?{_query(sendInitialEvents=send, resourceVersionMatch=match, resourceVersion=version)}") for send, match, version in product(SENDS, MATCHES[:3], ("", "0"))], THREE),
    *(
        Case(f"continue: limit={limit} {rest}", [*THREE, get(f"{VMS}?limit={limit}"), get(f"{VMS}?limit={limit}&continue=$(3.metadata.continue){rest}")])
        for limit, rest in product(("1", "2", "3"), ("", "&resourceVersion=0", "&resourceVersion=1", "&resourceVersion=x", "&resourceVersionMatch=Exact", "&resourceVersionMatch=NotOlderThan&resourceVersion=0", "&labelSelector=tier%3Dx"))
    ),
    Case("continue: a snapshot", [*THREE, get(f"{VMS}?limit=1"), post(VMS, {"apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachine", "metadata": {"name": "aa"}, "spec": {"domain": {"memory": {"value": 1, "unit": "MB"}, "type": "qemu", "os": {"type": {"os": "hvm"}}, "devices": {}}}}), patch(f"{VMS}/b", {"metadata": {"labels": {"new": "1"}}}), get(f"{VMS}?limit=1&continue=$(3.metadata.continue)"), get(f"{VMS}?continue=$(3.metadata.continue)")]),
    Case("continue: without limit", [*THREE, get(f"{VMS}?limit=1"), get(f"{VMS}?continue=$(3.metadata.continue)"), get(f"{VMS}?continue=$(3.metadata.continue)&limit=0")]),
    Case("continue: of selected", [*THREE, get(f"{VMS}?limit=1&labelSelector=tier%3Dx"), get(f"{VMS}?limit=1&labelSelector=tier%3Dx&continue=$(3.metadata.continue)")]),
    Case("continue: of another selector", [*THREE, get(f"{VMS}?limit=1&fieldSelector=metadata.name%3Db"), get(f"{VMS}?limit=1&fieldSelector=metadata.name!%3Db"), get(f"{VMS}?limit=1&fieldSelector=metadata.name!%3Db&continue=$(4.metadata.continue)")]),
    *each("continue: token", [get(f"{VMS}?continue={_encoded(token)}") for token in TOKENS], THREE),
    *each("continue: typed token", [get(f"{ACCOUNTS}?continue={_encoded(token)}") for token in TOKENS]),
    *each("labels", [get(f"{VMS}?labelSelector={_encoded(text)}") for text in LABELS], THREE),
    *each("fields", [get(f"{VMS}?fieldSelector={_encoded(text)}") for text in FIELDS], THREE),
    *each("fields of nodes", [get(f"{NODES}?labelSelector=of%3D$id&fieldSelector={_encoded(text)}") for text in NODE_FIELDS], (post(NODES, node(metadata={"labels": {"of": "$id"}})),)),
    *each("fields of events", [get(f"{EVENTS}?fieldSelector={_encoded(text)}") for text in EVENT_FIELDS]),
    *each("fields of namespaces", [get(f"/api/v1/namespaces?fieldSelector={_encoded(text)}") for text in ("metadata.name=$ns", "metadata.name=$ns,status.phase=Active", "status.phase=Foo", "name=$ns", "spec.x=y")]),
    *each("fields of pods", [get(f"/api/v1/namespaces/$ns/pods?fieldSelector={_encoded(text)}") for text in ("spec.nodeName=x", "spec.restartPolicy=Always", "spec.schedulerName=x", "spec.serviceAccountName=x", "spec.hostNetwork=true", "status.phase=Running", "status.podIP=1.2.3.4", "status.podIPs=1.2.3.4", "status.nominatedNodeName=x", "spec.x=y", "status.x=y", "metadata.labels=x")]),
    *each("fields of accounts", [get(f"{ACCOUNTS}?fieldSelector={_encoded(text)}") for text in ("metadata.name=a", "metadata.namespace=$ns", "secrets=x")]),
    *each("fields of roles", [get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles?fieldSelector={_encoded(text)}") for text in ("metadata.name=nosuch", "metadata.namespace=", "rules=x")]),
    Case("list: all namespaces", [*THREE, get(f"{GROUP}/virtualmachines?fieldSelector=metadata.namespace%3D$ns"), get(f"{GROUP}/virtualmachines?fieldSelector=metadata.namespace%3D$ns,metadata.name%3Db"), get(f"{GROUP}/virtualmachines?limit=1&labelSelector=nosuch")]),
    Case("list: empty", [get(VMS), get(f"{VMS}?limit=1"), get(f"{VMS}?resourceVersion=0"), get(ACCOUNTS), get(EVENTS), get(f"{GROUP}/namespaces/nosuch/virtualmachines")]),
    Case("get: absent", [get(path) for path in (VM, f"{VM}/status", f"{VM}/scale", f"{NODES}/nosuch", "/api/v1/namespaces/nosuch", f"{EVENTS}/x", f"{ACCOUNTS}/x", f"{GROUP}/migrationpolicies/nosuch", "/apis/rbac.authorization.k8s.io/v1/clusterroles/nosuch")]),
    Case("list: order", [*(post(f"{GROUP}/migrationpolicies", policy(f"$id{name}", {"labels": {"of": "$id"}})) for name in ("-b", "a", "-a", "0", ".a", "-aa")), get(f"{GROUP}/migrationpolicies?labelSelector=of%3D$id"), get(f"{GROUP}/migrationpolicies?labelSelector=of%3D$id&limit=2")]),
    Case("list: after a delete", [*(post(f"{GROUP}/migrationpolicies", policy(f"$id{name}", {"labels": {"of": "$id"}})) for name in ("a", "b")), delete(f"{GROUP}/migrationpolicies/$ida"), get(f"{GROUP}/migrationpolicies?labelSelector=of%3D$id"), get(f"{GROUP}/migrationpolicies?labelSelector=of%3D$id&resourceVersion=$(1.metadata.resourceVersion)&resourceVersionMatch=Exact")]),
]  # fmt: skip
