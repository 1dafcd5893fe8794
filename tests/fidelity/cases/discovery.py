# ruff: noqa: E501 - a case stays a row
"""Discovery, OpenAPI, version, health, and paths that lead nowhere."""

from __future__ import annotations

from tests.fidelity.case import Ask, Case
from tests.fidelity.cases.words import GROUP, PROTOBUF, YAML, get, together

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
ACCEPTS = (
    None, "*/*", "", "application/*", "application/json", "application/yaml", PROTOBUF, "text/html", "text/html,*/*;q=0.1",
    "application/json;q=0.1,application/yaml;q=0.9", AGGREGATED.replace("v=v2", "v=v2beta1"),
    f"{AGGREGATED.replace('v=v2', 'v=v2beta1')},application/json", "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;profile=nopeer;" + AGGREGATED.partition(";")[2], "application/cbor", "nonsense", "application/json;q=x",
)  # fmt: skip
DOCUMENTS = ("/api", "/apis/kubevirt.io", GROUP, "/version", "/api/v1")
HEALTH = (
    "/healthz", "/livez", "/readyz", "/livez/ping", "/readyz/ping", "/healthz/ping", "/livez/nosuch", "/readyz/nosuch", "/healthz/nosuch",
    "/livez/", "/readyz/", "/livez?exclude=nosuch", "/version", "/version/", "/metrics/nosuch",
)  # fmt: skip
LOST = (
    "/", "/nosuch", "/apis/nosuch.io", "/apis/nosuch.io/v1", "/apis/nosuch.io/v1/things", "/apis/kubevirt.io/v9", "/api/v2", "/api/v1/nosuch",
    "/apis/kubevirt.io/v1alpha1/nosuch", "/apis/kubevirt.io/v1alpha1/namespaces/default/nosuch", "/apis/kubevirt.io/v1alpha1/namespaces",
    "/apis/kubevirt.io/v1alpha1/namespaces/default", "/apis/kubevirt.io/v1alpha1/namespaces/default/virtualmachines/a/nosuch",
    "/apis/kubevirt.io/v1alpha1/namespaces/default/virtualmachines/a/status/nosuch", "/apis/kubevirt.io/v1alpha1/virtualmachines/a",
    "/apis/kubevirt.io/v1alpha1/virtualmachines/a/b/c/d", "/api/v1/namespaces/default/nosuch/x", "/api/v1/nodes/x/nosuch", "/api/v1/pods/x",
    "/api/", "/apis/", "/apis/kubevirt.io/", "/apis/kubevirt.io/v1alpha1/", "/api/v1/", "//api", "/api//v1", "/apis//kubevirt.io",
    "/apis/kubevirt.io/v1alpha1//virtualmachines", "/api/v1/namespaces/default//events", "/api/v1/./nodes", "/api/v1/../v1/nodes",
    "/openapi", "/openapi/", "/openapi/v1", "/openapi/v2/", "/openapi/v3/", "/openapi/v3/apis/nosuch.io/v1", "/openapi/v3/nosuch",
    "/swagger.json", "/swagger-2.0.0.pb-v1", "/swaggerapi", "/ui", "/logs", "/api/v1/proxy", "/%2e%2e/api", "/apis/kubevirt.io%2Fv1alpha1",
    "/api/v1/namespaces/default/events/%20", "/api/v1/namespaces//events", "/favicon.ico", "/robots.txt", "/.well-known/openid-configuration",
    "/apis/kubevirt.io/v1alpha1/watch", "/apis/kubevirt.io/v1alpha1/proxy/virtualmachines", "/api/v1/watch",
)  # fmt: skip

CASES = [
    *(together(f"discovery: {path} accept variants", [get(path, accept=accept) for accept in ACCEPTS]) for path in DOCUMENTS),
    *(
        together(f"discovery: {method} of documents", [Ask(f"{method} {path}") for path in (*DOCUMENTS, "/apis", "/", "/healthz")])
        for method in ("HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO")
    ),
    Case(
        "discovery: aggregated 304 of /api",
        [
            get("/api", accept=AGGREGATED),
            get("/api", accept=AGGREGATED, headers={"If-None-Match": '"nonsense"'}),
        ],
    ),
    *(together(f"health: {path}", [get(path, accept=accept) for accept in (None, "application/json", "text/plain", "text/html")]) for path in HEALTH),
    *(together(f"health: {method}", [Ask(f"{method} {path}") for path in ("/livez", "/version", "/metrics")]) for method in ("POST", "DELETE", "OPTIONS")),
    together("lost: nothing there", [get(path) for path in LOST]),
    *(
        together(f"lost: {method}", [Ask(f"{method} {path}", {} if method not in ("HEAD", "OPTIONS") else None) for path in LOST])
        for method in ("POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
    ),
    together("lost: accept", [get(path, accept=accept) for path in ("/apis/nosuch.io/v1", "/api/v1/nosuch", "/nosuch") for accept in (None, YAML, PROTOBUF, "text/html")]),
    together(
        "openapi: forms",
        [Ask(f"HEAD /openapi/v3/{path}", accept=accept) for path in ("apis/kubevirt.io/v1alpha1", "apis/kubevirt.io/v1alpha1?hash=nonsense") for accept in (None, "application/json", "text/html", "*/*", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf")],
    ),
    together(
        "openapi: v2 forms",
        [Ask("HEAD /openapi/v2", accept=accept) for accept in (None, "application/json", "text/html", "*/*", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")],
    ),
    together("openapi: wrong hash", [get("/openapi/v3/apis/kubevirt.io/v1alpha1?hash=nonsense"), get("/openapi/v3/apis/kubevirt.io/v1alpha1/"), get("/openapi/v3/apis/kubevirt.io/v1alpha2")]),
    together("openapi: methods", [Ask(f"{method} {path}") for path in ("/openapi/v2", "/openapi/v3") for method in ("POST", "DELETE", "OPTIONS")]),
]  # fmt: skip
