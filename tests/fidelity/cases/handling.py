# ruff: noqa: E501 - a case stays a row
"""What is common to all requests: parameters, methods, content types, sizes, and how answers are printed."""

from __future__ import annotations

from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import (
    ACCOUNTS,
    CBOR,
    EVENTS,
    GROUP,
    JSON,
    MADE,
    NODE,
    NODES,
    POLICIES,
    POLICY,
    PROTOBUF,
    VM,
    VMS,
    YAML,
    account,
    each,
    get,
    node,
    patch,
    policy,
    post,
    put,
    together,
    vm,
)  # fmt: skip

PARAMETERS = (
    "timeout=abc", "timeout=-1s", "timeout=1", "timeout=0", "timeout=1s", "timeout=1h30m", "timeout=", "timeout=1d", "pretty=true", "pretty=1",
    "pretty=false", "pretty=yes", "pretty=", "pretty", "nosuch=1", "limit=abc", "limit=-1", "limit=0", "limit=1.5", "limit=99999999999999999999", "limit=",
    "limit=1&limit=2", "limit=+1", "limit=%201", "watch=false", "watch=0", "timeoutSeconds=abc", "timeoutSeconds=-1", "timeoutSeconds=1", "allowWatchBookmarks=maybe",
    "continue=", "continue=abc", "continue=%00", "resourceVersion=", "resourceVersion=abc", "resourceVersion=-1", "resourceVersion=01", "resourceVersion=1.0",
    "resourceVersion=99999999999999999999999", "export=true", "exact=true", "labelSelector=", "fieldSelector=", "a=b;c=d", "%zz", "=", "&&", "limit=%zz",
    "includeUninitialized=true", "shardSelector=", "ignoreStoreReadErrorWithClusterBreakingPotential=true",
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECTX", "get")
PATHS = {
    "collection": VMS,
    "all namespaces": f"{GROUP}/virtualmachines?labelSelector=of%3D$id",
    "item": VM,
    "status": f"{VM}/status",
    "scale": f"{VM}/scale",
    "policies": POLICIES,
    "policy": POLICY,
    "policy status": f"{POLICY}/status",
    "node": NODE,
    "node status": f"{NODE}/status",
    "event": f"{EVENTS}/a",
    "all events": "/api/v1/events?fieldSelector=metadata.namespace%3D$ns",
    "account": f"{ACCOUNTS}/a",
}
TYPES = (
    None, "", "application/json; charset=utf-8", "application/json;charset=UTF-8;x=y", "APPLICATION/JSON", "application/JSON", "text/json", "text/plain",
    "application/x-www-form-urlencoded", YAML, "application/x-yaml", "text/yaml", PROTOBUF, CBOR, "application/merge-patch+json", "nonsense", "application/",
    "application/json, application/yaml", "multipart/form-data; boundary=x", "application/json;", "application/json;=", "*/*",
)  # fmt: skip
BODIES = (
    "", " ", "null", "[]", "{}", '"x"', "5", "true", "{", "}", "[1", '{"a":}', '{"a":1,}', "nonsense", "{'a': 1}", "\ufeff{}", "{}{}", "{} x", '{"kind":5}',
    '{"apiVersion":5,"kind":"VirtualMachine"}', '{"apiVersion":"kubevirt.io/v1alpha1"}', '{"kind":"VirtualMachine"}', '{"apiVersion":"","kind":""}',
    '{"apiVersion":"kubevirt.io/v1alpha1","kind":""}', '{"apiVersion":"a/b/c","kind":"X"}', '{"apiVersion":"v1","kind":"Pod"}', '{"apiVersion":"nosuch/v1","kind":"Thing"}',
    '{"kind":"Thing","apiVersion":"kubevirt.io/v1alpha1"}', '{"metadata":{}}', '{"KIND":"VirtualMachine","APIVERSION":"kubevirt.io/v1alpha1"}', "a: b", "- a", "a: [", "\x00",
    "{\"a\":\"\\ud800\"}", '{"a":"\\x"}', "{\"a\":\"\t\"}", '{"a":01}', '{"a":1e999}', '{"a":NaN}', "[" * 20000, '{"a":' * 20000, "\udcff\udcfe", "{\"kind\":\"VirtualMachine\"",
    '{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachineList","items":[]}', '{"apiVersion":"v1","kind":"List","items":[]}', '{"apiVersion":"v1","kind":"Status"}',
    '{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachine","metadata":5}', '{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachine","metadata":[]}',
    '{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachine","metadata":null,"spec":null}', '{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachine"}',
)  # fmt: skip
SCALARS = (
    "yes", "Y", "n", "On", "oFF", "~", "012", "08", "0o7", "0b11", "-0x5", "+5", "1_000", "1e2", "1.0", "1.5", ".5", "1e999", ".inf", "-.INF", ".NaN", "1:30", "2001-01-01", "18446744073709551616", "!!str 5",
    "!!int x", "!!float 5", "!foo 5", "!!binary aGk=", "!!binary '*'", "!!timestamp x", "{~: x}", "{yes: x, 0x1: y, 1.50: z}", "<<", "!!set {a}",
)  # fmt: skip
YAMLS = (
    "", "a", "a: b", "- a", "a: [", "a:\n\tb: c", "a: b\na: c", "---\na: b\n---\nc: d", "kind: VirtualMachine\napiVersion: kubevirt.io/v1alpha1", "&a [*a]", "!!python/object:os.system x",
    "{}", "{\"kind\": \"x\"}", "? a", "%YAML 9.9\n---\na: b", "a: !!binary x", "1: 2", "null: 1", "a: 0x10", "\x00",
)  # fmt: skip

CASES = [
    *each("parameters: list", [get(f"{VMS}?{text}") for text in PARAMETERS], (MADE,)),
    *each("parameters: get", [get(f"{VM}?{text}") for text in PARAMETERS], (MADE,)),
    *each("parameters: typed list", [get(f"{EVENTS}?{text}") for text in PARAMETERS]),
    *each("parameters: create", [post(f"{VMS}?{text}", vm()) for text in PARAMETERS[:13]]),
    *(Case(f"methods: {method} {name}", [*((MADE,) if "$ns" in path else ()), Ask(f"{method} {path}")]) for name, path in PATHS.items() for method in METHODS),
    *(Case(f"methods: {method} {name} with body", [*((MADE,) if "$ns" in path else ()), Ask(f"{method} {path}", {})]) for name, path in PATHS.items() for method in METHODS[1:5]),
    *(Case(f"types: create as {type_}", [post(VMS, vm(), type=type_)]) for type_ in TYPES),
    *(Case(f"types: create typed as {type_}", [post(ACCOUNTS, account(), type=type_)]) for type_ in TYPES),
    *(Case(f"types: update as {type_}", [MADE, put(VM, {"$whole": "$(0)"}, type=type_)]) for type_ in TYPES),
    *(Case(f"types: patch as {type_}", [MADE, patch(VM, {"metadata": {"labels": {"a": "b"}}}, type=type_)]) for type_ in TYPES),  # type: ignore[arg-type]
    *(Case(f"types: delete as {type_}", [MADE, Ask(f"DELETE {VM}", {}, type_)]) for type_ in TYPES),
    *(Case(f"bodies: create {body[:90]!r}", [post(VMS, body)]) for body in BODIES),
    *(Case(f"bodies: create typed {body[:90]!r}", [post(ACCOUNTS, body)]) for body in BODIES),
    *(Case(f"bodies: update {body[:90]!r}", [MADE, put(VM, body)]) for body in BODIES),
    *(Case(f"bodies: update typed {body[:90]!r}", [post(ACCOUNTS, account()), put(f"{ACCOUNTS}/a", body)]) for body in BODIES),
    *(Case(f"bodies: delete {body[:90]!r}", [MADE, Ask(f"DELETE {VM}", body)]) for body in BODIES),
    *(Case(f"bodies: yaml {body[:60]!r}", [post(VMS, body, type=YAML)]) for body in YAMLS),
    *(Case(f"bodies: yaml scalar {scalar!r}", [post(ACCOUNTS, f"{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: a, {field}: {scalar}}}}}", type=YAML) for field in ("generation", "name")]) for scalar in SCALARS),
    *(Case(f"bodies: yaml typed {body[:60]!r}", [post(ACCOUNTS, body, type=YAML)]) for body in YAMLS),
    Case("bodies: too large", [post(VMS, " " * 3145729), post(VMS, "x" * 3145728), patch(VM, " " * 3145729)]),
    together("pretty: agents", [get(path, headers={"User-Agent": agent}) for path in (VM, VMS, "/api", f"{VM}x") for agent in ("curl/8", "Wget/1", "Mozilla/5.0 x", "Mozilla/4", "kubectl/v1", "Go-http-client/1.1")], (MADE,)),
    together("pretty: parameters", [get(f"{path}?pretty={value}") for path in (VM, f"{VM}x", "/version") for value in ("true", "1", "0", "x")], (MADE,)),
    together("gzip: small and large", [get(path, headers={"Accept-Encoding": coding}) for path in (VM, VMS) for coding in ("gzip", "gzip;q=0", "deflate", "*", "br, gzip", "identity")], (MADE,)),
    Case("gzip: large list", [*(post(POLICIES, policy(f"$id-{n}", {"annotations": {"a": "x" * 60000}, "labels": {"of": "$id"}})) for n in range(3)), get(f"{POLICIES}?labelSelector=of%3D$id", headers={"Accept-Encoding": "gzip"}), get(f"{POLICIES}?labelSelector=of%3D$id", headers={"Accept-Encoding": "deflate"})]),
    Case("audit id", [get(VM, headers={"Audit-Id": "mine"}), get(VM, headers={"Audit-Id": "0" * 100})]),
    Case("nodes: methods", [post(NODES, node()), *(Ask(f"{method} {NODE}/status", {} if method != "GET" else None) for method in ("GET", "POST", "DELETE"))]),
    Case("long: label selector", [get(f"{VMS}?labelSelector=a+in+({','.join('x' * 60 for _ in range(200))})")]),
    Case("long: name", [get(f"{VMS}/{'x' * 300}"), get(f"{VMS}/{'x' * 5000}")]),
    Case("odd names", [get(f"{VMS}/{name}") for name in ("A", "a_b", "a%20b", "a%2Fb", "..", ".", "%2e%2e", "%C3%A9", "a:b", "a;b", "a,b", "a'b", 'a"b', "a%00b", "a%3Cb%3E&c", "a+b")]),
    Case("odd namespaces", [get(f"{GROUP}/namespaces/{name}/virtualmachines") for name in ("A", "a_b", "a%20b", "..", "nosuch", "x" * 300, "%C3%A9", "a.b")]),
    Case("odd namespaces of items", [get(f"{GROUP}/namespaces/{name}/virtualmachines/a") for name in ("A", "a_b", "a%20b", "nosuch", "x" * 300, "a.b")]),
    Case("odd namespaces of creates", [post(f"{GROUP}/namespaces/{name}/virtualmachines", vm()) for name in ("A", "a_b", "nosuch", "a.b")]),
]  # fmt: skip
_ = JSON
