# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 2.2 and 6: get, list, chunks, every resourceVersion with every match, selectors."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.api.builders import KV, MACHINES, NODES, PODS, node
from tests.api.laws.row import NEVER, YAML, Row, absent, bad, no_vm, option, options, refused

TM = f"{MACHINES}/vm0"
MATCH = "resourceVersionMatch"
NEEDS = f"Forbidden: {MATCH} is forbidden unless resourceVersion is provided"
NO_INITIAL = "Forbidden: sendInitialEvents is forbidden for list"
EXPIRED = refused(410, "Expired", "The resourceVersion for the provided list is too old.")
ALL = {"items.0.metadata.name": "vm0", "items.1.metadata.name": "vm1", "items.2": KeyError}
FIRST = {"items.0.metadata.name": "vm0", "items.1": KeyError}
SECOND = {"items.0.metadata.name": "vm1", "items.1": KeyError}
NONE: dict[str, Any] = {"items": []}
TOO_LARGE = {**refused(504, "Timeout", f"Timeout: Too large resource version: {NEVER}, current: …"), "headers": {"retry-after": "1"},
             "has": {"details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}}}  # fmt: skip


NO_TOKEN = "invalid continue token: continue key is not valid:"
V1 = "meta.k8s.io/v1"


def token(**fields: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def no_revision(text: str, why: str = "invalid syntax") -> str:
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'


def labels(selector: str, **more: Any) -> Row:
    return Row(f"GET {MACHINES}?labelSelector={selector}", **more)


def fields(selector: str, path: str = MACHINES, **more: Any) -> Row:
    return Row(f"GET {path}?fieldSelector={selector}", **more)


KEY_ERROR = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)

ROWS = [
    # get
    Row(f"GET {TM}", has={"kind": "VirtualMachine", "apiVersion": "kubevirt.io/v1alpha1", "metadata.selfLink": TM, "metadata.namespace": "default", "metadata.uid": "<vm0.uid>"}),
    Row(f"GET {TM}?resourceVersion=0", has={"metadata.name": "vm0"}),
    Row(f"GET {TM}?resourceVersion=<rv>", has={"metadata.name": "vm0"}),
    Row(f"GET {TM}?resourceVersion={NEVER}", **TOO_LARGE),
    Row(f"GET {TM}?resourceVersion=abc", **refused(500, "", no_revision("abc")), has={"reason": KeyError}),
    Row(f"GET {TM}?watch=1", has={"metadata.name": "vm0"}),
    Row(f"GET {TM}/status", has={"metadata.name": "vm0", "spec.domain.type": "qemu"}),
    Row(f"GET {MACHINES}/nope", **no_vm("nope"), has={"details": {"name": "nope", "group": "kubevirt.io", "kind": "virtualmachines"}}),
    Row(f"GET {MACHINES}/UPPER", **no_vm("UPPER")),
    Row(f"GET {MACHINES}/a%20b", **no_vm("a b")),
    Row(f"GET {KV}/namespaces/nonexist/virtualmachines/x", **no_vm("x")),
    Row(f"GET {NODES}/nope", **absent("nodes", "nope"), has={"details": {"name": "nope", "kind": "nodes"}}),
    Row("GET /api/v1/namespaces/nope", **absent("namespaces", "nope")),
    Row(f"GET {NODES}/node0", has={"kind": "Node", "apiVersion": "v1", "metadata.selfLink": f"{NODES}/node0"}),
    Row(f"GET {KV}/nodes/node0", has={"apiVersion": "kubevirt.io/v1alpha1", "metadata.selfLink": f"{KV}/nodes/node0"}),
    Row(f"GET {KV}/namespaces/default/pods/pod0", has={"apiVersion": "kubevirt.io/v1alpha1", "kind": "Pod"}),
    Row("GET /api/v1/namespaces/default", has={"kind": "Namespace", "metadata.selfLink": "/api/v1/namespaces/default", "spec.finalizers": ["kubernetes"],
                                               "status.phase": "Active", "metadata.labels": {"kubernetes.io/metadata.name": "default"}}),
    # list
    Row(f"GET {MACHINES}", has={"kind": "VirtualMachineList", "apiVersion": "kubevirt.io/v1alpha1", "metadata.selfLink": MACHINES, "metadata.continue": "", "metadata.resourceVersion": "<rv>",
                                "metadata.remainingItemCount": KeyError, **ALL, "items.0.kind": "VirtualMachine", "items.0.apiVersion": "kubevirt.io/v1alpha1"}),
    Row(f"GET {KV}/virtualmachines", has={"metadata.selfLink": f"{KV}/virtualmachines", "items.2.metadata.namespace": "leaving"}),
    Row(f"GET {KV}/namespaces/nonexist/virtualmachines", has={"items": [], "kind": "VirtualMachineList", "metadata.continue": ""}),
    Row(f"GET {NODES}", has={"kind": "NodeList", "apiVersion": "v1", "metadata.continue": KeyError, "items.0.kind": KeyError, "items.0.apiVersion": KeyError, "items.0.metadata.name": "node0"}),
    Row(f"GET {KV}/nodes", has={"apiVersion": "kubevirt.io/v1alpha1", "items.0.apiVersion": "kubevirt.io/v1alpha1"}),
    Row("GET /api/v1/namespaces/nonexist/pods", has={"kind": "PodList", "items": []}),
    Row("GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions?limit=500", has={"kind": "CustomResourceDefinitionList", "items": []}),
    Row("GET /api/v1/namespaces/kube-system/services?labelSelector=kubernetes.io/cluster-service=true", has={"kind": "ServiceList", "items": []}),
    Row(f"GET {MACHINES}", accept=YAML, text="apiVersion: kubevirt.io/v1alpha1\nitems:\n- apiVersion: kubevirt.io/v1alpha1\n…"),
    # chunks
    Row(f"GET {MACHINES}?limit=1", has={**FIRST, "metadata.remainingItemCount": 1, "metadata.continue": "<continue>"}),
    Row(f"GET {MACHINES}?limit=2", has={**ALL, "metadata.continue": "", "metadata.remainingItemCount": KeyError}),
    Row(f"GET {MACHINES}?limit=1&continue=<continue>", has={**SECOND, "metadata.continue": "", "metadata.remainingItemCount": KeyError, "metadata.resourceVersion": "<rv>"}),
    Row(f"GET {MACHINES}?continue=<continue>&resourceVersion=0", has=SECOND),
    Row(f"GET {MACHINES}?limit=1&labelSelector=tier", has={**FIRST, "metadata.remainingItemCount": KeyError}),
    Row(f"GET {MACHINES}?limit=0", has=ALL),
    Row(f"GET {MACHINES}?limit=-1", has=ALL),
    Row(f"GET {MACHINES}?limit=1&continue=<continue>", after=[Row(f"DELETE {MACHINES}/vm1")], has={"items.0.metadata.name": "vm1", "items.0.metadata.deletionTimestamp": KeyError}),
    Row(f"GET {MACHINES}?limit=1&continue=garbage", **bad(r"invalid continue token: continue key is not valid: invalid character '\u0081' looking for beginning of value")),
    Row(f"GET {MACHINES}?continue={token()}", **bad(f"{NO_TOKEN} server does not recognize this encoded version ")),
    Row(f"GET {MACHINES}?continue={token(v='v2')}", **bad(f"{NO_TOKEN} server does not recognize this encoded version v2")),
    Row(f"GET {MACHINES}?continue={token(v=V1, rv=0, start='/a')}", **bad(f"{NO_TOKEN} incorrect encoded start resourceVersion (version meta.k8s.io/v1)")),
    Row(f"GET {MACHINES}?continue={token(v=V1, rv=5, start='')}", **bad(f"{NO_TOKEN} encoded start key empty (version meta.k8s.io/v1)")),
    Row(f"GET {MACHINES}?continue={token(v=V1, rv=5, start='../a')}", **bad(f"{NO_TOKEN} ../a")),
    Row(f"GET {MACHINES}?continue=x&resourceVersion=1", **bad("invalid continue token: continue key is not valid: illegal base64 data at input byte 0")),
    Row(f"GET {KV}/migrationpolicies?fieldSelector=metadata.namespace%3Dx", **bad("field label not supported: metadata.namespace")),
    Row(f"GET {MACHINES}?limit=2&resourceVersion=5&continue=<continue>", **bad("specifying resource version is not allowed when using continue")),
    Row(f"GET {MACHINES}?{MATCH}=NotOlderThan&resourceVersion=0&continue=<continue>", **option(MATCH, f"Forbidden: {MATCH} is forbidden when continue is provided")),
    # resourceVersion and match
    Row(f"GET {MACHINES}?resourceVersion=0", has=ALL),
    Row(f"GET {MACHINES}?resourceVersion=0&{MATCH}=NotOlderThan", has=ALL),
    Row(f"GET {MACHINES}?resourceVersion=0&{MATCH}=Exact", **option(MATCH, f'Forbidden: {MATCH} "exact" is forbidden for resourceVersion "0"')),
    Row(f"GET {MACHINES}?{MATCH}=Exact", **option(MATCH, NEEDS)),
    Row(f"GET {MACHINES}?{MATCH}=NotOlderThan", **option(MATCH, NEEDS)),
    Row(f"GET {MACHINES}?resourceVersion=<rv>&{MATCH}=Exact", has={**ALL, "metadata.resourceVersion": "<rv>"}),
    Row(f"GET {MACHINES}?resourceVersion=<rv>&{MATCH}=NotOlderThan", has=ALL),
    Row(f"GET {MACHINES}?resourceVersion=<rv>", has=ALL),
    Row(f"GET {MACHINES}?resourceVersion=<rv>&{MATCH}=Exact", after=[Row(f"POST {NODES}", body=node("later"))], has={**ALL, "metadata.resourceVersion": "<rv>"}),
    Row(f"GET {NODES}?resourceVersion=<rv>&{MATCH}=Exact", after=[Row(f"DELETE {NODES}/node0")], has={"items.0.metadata.name": "node0"}),
    Row(f"GET {NODES}?resourceVersion=<rv>", after=[Row(f"DELETE {NODES}/node0")], has=NONE),
    Row(f"GET {NODES}?resourceVersion=<rv>&limit=5", after=[Row(f"DELETE {NODES}/node0")], has={"items.0.metadata.name": "node0", "metadata.resourceVersion": "<rv>"}),
    Row(f"GET {MACHINES}?resourceVersion=<rv>&limit=1", has={**FIRST, "metadata.remainingItemCount": 1, "metadata.resourceVersion": "<rv>"}),
    Row(f"GET {MACHINES}?resourceVersion=<rv>&limit=1&{MATCH}=Exact", has={**FIRST, "metadata.remainingItemCount": 1}),
    Row(f"GET {MACHINES}?resourceVersion=<rv>&limit=1&{MATCH}=NotOlderThan", has={**FIRST, "metadata.remainingItemCount": 1}),
    Row(f"GET {MACHINES}?resourceVersion=1&{MATCH}=Exact", **EXPIRED),
    Row(f"GET {MACHINES}?resourceVersion={NEVER}", **TOO_LARGE),
    Row(f"GET {MACHINES}?resourceVersion={NEVER}&{MATCH}=Exact", **TOO_LARGE),
    Row(f"GET {MACHINES}?resourceVersion={NEVER}&{MATCH}=NotOlderThan", **TOO_LARGE),
    Row(f"GET {MACHINES}?resourceVersion=abc", **bad("invalid resource version: " + no_revision("abc"))),
    Row(f"GET {MACHINES}?resourceVersion=-1", **bad("invalid resource version: " + no_revision("-1"))),
    Row(f"GET {MACHINES}?resourceVersion=18446744073709551616", **bad("invalid resource version: " + no_revision("18446744073709551616", "value out of range"))),
    Row(f"GET {MACHINES}?resourceVersion=5&{MATCH}=Foo", **option(MATCH, 'Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""')),
    Row(f"GET {MACHINES}?sendInitialEvents=true", **option("sendInitialEvents", NO_INITIAL)),
    Row(f"GET {MACHINES}?sendInitialEvents=false", **option("sendInitialEvents", NO_INITIAL)),
    Row(f"GET {MACHINES}?sendInitialEvents=true&{MATCH}=NotOlderThan", **options(f"{MATCH}: {NEEDS}", f"sendInitialEvents: {NO_INITIAL}")),
    Row(f"GET {MACHINES}?allowWatchBookmarks=true", has=ALL),
    # Label selectors
    labels("tier%3Da", has=FIRST), labels("tier%3D%3Da", has=FIRST), labels("tier!%3Da", has=SECOND), labels("other!%3Da", has=ALL),
    labels("tier", has=ALL), labels("!tier", has=NONE), labels("none", has=NONE), labels("", has=ALL), labels("%20tier%20%3D%20a%20", has=FIRST),
    labels("tier+in+(a,b)", has=ALL), labels("tier+in+(a)", has=FIRST), labels("tier+notin+(a)", has=SECOND), labels("none+notin+(a)", has=ALL),
    labels("tier+in+()", has=NONE), labels("tier%3D", has=NONE), labels("tier%3Da,tier%3Db", has=NONE), labels("tier%3Ein", **bad("unable to parse requirement: values[0]: Invalid value: \"in\": for 'Gt', 'Lt' operators, the value must be an integer")),
    labels("tier%3E1", has=NONE), labels("in", has=NONE), labels("in+in+(in)", has=NONE),
    labels("!!", **bad("unable to parse requirement: found '!', expected: identifier")),
    labels("a+in+(", **bad("unable to parse requirement: found '', expected: ',', ')' or identifier")),
    labels("a+in+b", **bad("unable to parse requirement: found 'b' expected: '('")),
    labels("a%3Db,,", **bad("found ',', expected: identifier after ','")),
    labels("tier,", **bad("found '', expected: identifier after ','")),
    labels(",tier", **bad("found ',', expected: !, identifier, or 'end of string'")),
    labels("a+b", **bad("unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt")),
    labels("a%3D%3D%3Db", **bad("unable to parse requirement: found '=', expected: identifier")),
    labels("-a", **bad(f'unable to parse requirement: <nil>: Invalid value: "-a": name part {KEY_ERROR}')),
    labels("a%3D-b", **bad("unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label must be an empty string or consist of alphanumeric characters, …")),
    # Field selectors
    fields("metadata.name%3Dvm1", has=SECOND), fields("metadata.name%3D%3Dvm1", has=SECOND), fields("metadata.name!%3Dvm1", has=FIRST), fields("metadata.name%3Dvm1,", has=SECOND),
    fields("metadata.namespace%3Ddefault", has=ALL), fields("metadata.namespace%3Dother", has=NONE), fields("metadata.name%3Dvm0,metadata.name%3Dvm1", has=NONE), fields("", has=ALL),
    fields("metadata.name%3D", has=NONE), fields("metadata.name%3D%20vm1", has=NONE), fields("metadata.name%3Da%5C%2Cb", has=NONE),
    fields("metadata.labels%3Dx", **bad("field label not supported: metadata.labels")),
    fields("metadata.uid%3Dv1", **bad("field label not supported: metadata.uid")),
    fields("spec.nope%3D1", **bad("field label not supported: spec.nope")),
    fields("junk", **bad("invalid selector: 'junk'; can't understand 'junk'")),
    fields("metadata.name%3Da%3Db", **bad("invalid field selector: unescaped character in value: 61")),
    fields("metadata.name%3Da%5Cb", **bad("invalid field selector: invalid escape sequence: \\b")),
    fields("spec.unschedulable%3Dfalse", NODES, has={"items.0.metadata.name": "node0"}), fields("spec.unschedulable%3Dtrue", NODES, has=NONE),
    fields("spec.nodeName%3Dnode0", PODS, has={"items.0.metadata.name": "pod0"}), fields("status.phase%3DRunning", PODS, has=NONE), fields("spec.restartPolicy%3DAlways", PODS, has=NONE),
    fields("spec.hostNetwork%3Dfalse", PODS, code=200), fields("status.podIPs%3D1.2.3.4", PODS, has=NONE),
    fields("status.phase%3DActive", "/api/v1/namespaces", has={"items.0.metadata.name": "default"}),
    fields("involvedObject.kind%3DMigration,involvedObject.name%3Dx,reason%3Dy,type%3DNormal,source%3Dz,reportingComponent%3Dw", "/api/v1/namespaces/default/events", has=NONE),
    fields("involvedObject.colour%3Dred", "/api/v1/events", code=400),
    # Of a namespace there is nothing more in others
    Row(f"GET {KV}/virtualmachines?limit=1&fieldSelector=metadata.namespace%3Dleaving", has={"items.0.metadata.namespace": "leaving", "metadata.continue": ""}),
    Row(f"GET {KV}/virtualmachines?limit=2&fieldSelector=metadata.namespace%3Ddefault", has={"items.1.metadata.namespace": "default", "metadata.continue": ""}),
    Row(f"GET {KV}/virtualmachines?limit=1&fieldSelector=metadata.namespace%3D", has=NONE),
    fields("metadata.namespace%3D", NODES, **bad("field label not supported: metadata.namespace")), fields("metadata.namespace%3D", "/api/v1/namespaces", **bad("field label not supported: metadata.namespace")),
    fields("secrets%3Dx", "/api/v1/namespaces/default/serviceaccounts", **bad('"secrets" is not a known field selector: only "metadata.name", "metadata.namespace"')),
    fields("rules%3Dx", "/apis/rbac.authorization.k8s.io/v1/clusterroles", **bad('"rules" is not a known field selector: only "metadata.name", "metadata.namespace"')),
    Row(f"GET {MACHINES}?continue=a%20b", **bad("invalid continue token: continue key is not valid: illegal base64 data at input byte 1")),
]  # fmt: skip
