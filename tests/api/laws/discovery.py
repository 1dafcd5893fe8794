# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 1: discovery, version, health, OpenAPI."""

from __future__ import annotations

from tests.api.builders import KV
from tests.api.laws.row import (
    AGGREGATED,
    KUBECTL_DISCOVERS,
    NO_METHOD,
    NO_RESOURCE,
    NOT_FOUND_TEXT,
    PARTIAL,
    TABLE,
    UNACCEPTABLE,
    YAML,
    Row,
    refused,
)

ETAG = {"etag": '"…', "vary": "Accept", "cache-control": "public"}
V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V3 = "/openapi/v3/apis/kubevirt.io/v1alpha1"

ROWS = [
    # 1.1: legacy discovery
    Row("GET /api", has={"kind": "APIVersions", "apiVersion": KeyError, "versions": ["v1"], "serverAddressByClientCIDRs.0.clientCIDR": "0.0.0.0/0"}),
    Row("GET /api/", has={"kind": "APIVersions"}),
    Row("GET /apis", has={"kind": "APIGroupList", "apiVersion": "v1", "groups.0.name": "kubevirt.io", "groups.0.versions.0.groupVersion": "kubevirt.io/v1alpha1", "groups.0.preferredVersion.version": "v1alpha1"}),
    Row("GET /apis/", has={"kind": "APIGroupList"}),
    Row("GET /apis/kubevirt.io", has={"kind": "APIGroup", "apiVersion": "v1", "name": "kubevirt.io", "preferredVersion.version": "v1alpha1"}),
    Row("GET /apis/kubevirt.io/", has={"kind": "APIGroup"}),
    Row(f"GET {KV}", has={"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "kubevirt.io/v1alpha1",
                          "resources.migrations.singularName": "migration", "resources.migrations.namespaced": True, "resources.migrations.kind": "Migration", "resources.migrations.shortNames": ["mig"],
                          "resources.migrations.verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]}),
    Row(f"GET {KV}", has={"resources.migrations/status.singularName": "", "resources.migrations/status.verbs": ["get", "patch", "update"]}),
    Row(f"GET {KV}/", has={"kind": "APIResourceList"}),
    Row("GET /api/v1", has={"kind": "APIResourceList", "apiVersion": KeyError, "groupVersion": "v1"}),
    Row("GET /api/v1/", has={"kind": "APIResourceList"}),
    Row("GET /apis/nobody.io", 404, text=NOT_FOUND_TEXT, headers={"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}),
    Row("GET /apis/kubevirt.io/v9", 404, text=NOT_FOUND_TEXT),
    Row("GET /apis/kubevirt.io/v9/migrations", 404, text=NOT_FOUND_TEXT),
    Row("GET /nowhere", 404, text=NOT_FOUND_TEXT),
    Row("GET /apis/events.k8s.io/v1", 404, text=NOT_FOUND_TEXT),
    Row("GET /", has={"paths.0": "/api"}),
    Row("POST /apis", **refused(405, "MethodNotAllowed", NO_METHOD)),
    Row("DELETE /api", **refused(405, "MethodNotAllowed", NO_METHOD)),
    Row("POST /api/v1", **refused(405, "MethodNotAllowed", NO_METHOD)),
    Row("GET /api", accept=YAML, headers={"content-type": YAML}, text="kind: APIVersions…"),
    Row("GET /apis", accept="*/*", headers={"content-type": "application/json"}),
    Row("GET /apis", accept="application/*", headers={"content-type": "application/json"}),
    Row("GET /apis", accept="", headers={"content-type": "application/json"}),
    Row("GET /apis", accept="text/html", **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row("GET /apis", accept=TABLE, **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row(f"GET {KV}", accept=PARTIAL, **refused(406, "NotAcceptable", UNACCEPTABLE)),
    # Aggregated discovery
    Row("GET /apis", accept=KUBECTL_DISCOVERS, headers={"content-type": AGGREGATED, **ETAG},
        has={"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items.0.metadata.name": "kubevirt.io", "items.0.versions.0.version": "v1alpha1",
             "items.0.versions.0.freshness": "Current", "items.0.versions.0.resources.migrations.scope": "Namespaced",
             "items.0.versions.0.resources.migrations.responseKind": {"group": "kubevirt.io", "version": "v1alpha1", "kind": "Migration"}, "items.0.versions.0.resources.migrations.singularResource": "migration",
             "items.0.versions.0.resources.migrations.shortNames": ["mig"], "items.0.versions.0.resources.migrations.subresources.0.subresource": "status"}),
    Row("GET /api", accept=KUBECTL_DISCOVERS, headers={"content-type": AGGREGATED, **ETAG}, has={"items.0.metadata": {}, "items.0.versions.0.version": "v1"}),
    Row("GET /apis", accept=AGGREGATED.replace("v=v2", "v=v2beta1"), **refused(406, "NotAcceptable", UNACCEPTABLE)),
    Row("GET /apis/kubevirt.io", accept=KUBECTL_DISCOVERS, headers={"content-type": "application/json"}, has={"kind": "APIGroup"}),
    # 1.2: version and health
    Row("GET /version", has={"major": "1", "minor": "36", "gitVersion": "v1.36.0+drover-test", "gitTreeState": "", "platform": "linux/amd64"}),
    Row("GET /version/", has={"major": "1"}),
    Row("POST /version", **refused(405, "MethodNotAllowed", NO_METHOD)),
    Row("GET /healthz", text="ok", headers={"content-type": "text/plain; charset=utf-8"}),
    Row("GET /livez", text="ok"),
    Row("GET /readyz", text="ok"),
    Row("GET /readyz?verbose", text="[+]ping ok\n…"),
    Row("GET /livez?exclude=ping&verbose", text="[+]ping excluded: ok\nlivez check passed\n"),
    Row("GET /livez?exclude=nobody&verbose", text='[+]ping ok\nwarn: some health checks cannot be excluded: no matches for "nobody"\nlivez check passed\n'),
    Row("HEAD /livez", text="", headers={"x-content-type-options": "nosniff"}),
    Row("GET /livez/ping", text="ok"),
    Row("GET /livez/nobody", 404, text=NOT_FOUND_TEXT),
    # 1.3: OpenAPI
    Row("GET /openapi/v3", headers={"content-type": "text/plain; charset=utf-8"}),
    Row(f"GET {V3}", headers={"content-type": "application/json", "cache-control": "no-cache, private", "etag": '"…', "vary": "Accept…"}, has={"openapi": "3.0.0"}),
    Row(f"GET {V3}?hash=WRONG", 301, headers={"location": f"{V3}?hash=…"}),
    Row(f"GET {V3}", 406, accept="text/html", text=""),
    Row("GET /openapi/v3/apis/kubevirt.io/v9", 404, text=NOT_FOUND_TEXT),
    Row("GET /openapi/v2", has={"swagger": "2.0"}, headers={"content-type": "application/json", "vary": "Accept…", "etag": '"…'}),
    Row("GET /openapi/v2", accept="*/*", has={"swagger": "2.0"}),
    Row("GET /openapi/v2", accept=V2, headers={"content-type": V2.replace("@", ".")}),
    Row("GET /openapi/v2", accept=V2.replace("@", "."), headers={"content-type": V2.replace("@", ".")}),
    Row("GET /api/v1/nores", **refused(404, "NotFound", NO_RESOURCE), has={"details": {}}),
]  # fmt: skip
