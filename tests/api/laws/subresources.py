# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Subresources and reviews: pod logs, evictions' route, namespaces' finalize, who am I and may I."""

from __future__ import annotations

from typing import Any

from tests.api.builders import KV, PODS
from tests.api.laws.row import NO_METHOD, PROTOBUF, Row, absent, bad, invalid, refused

LOG = f"{PODS}/pod0/log"
SSAR = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
SSRR = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
SSR = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ASKS = {"resourceAttributes": {"verb": "get", "resource": "pods"}}


def log(query: str, *errors: str) -> Row:
    listed = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return Row(
        f"GET {LOG}?{query}",
        **invalid(f'PodLogOptions "pod0" is invalid: {listed}'),
        has={"details.kind": "PodLogOptions", "details.name": "pod0"},
    )


def protobuf(kind: str, raw: bytes = b"", version: bytes = b"v1") -> bytes:
    """A message of a kind, empty unless it is given, in the envelope that kubectl sends."""
    name = kind.encode()
    type_meta = b"\x0a" + bytes([len(version)]) + version + b"\x12" + bytes([len(name)]) + name
    return b"k8s\x00\x0a" + bytes([len(type_meta)]) + type_meta + b"\x12" + bytes([len(raw)]) + raw


ASKS_TO_GET = b"\x12\x07\x0a\x05\x12\x03get"
"""A review's spec with resourceAttributes of that verb."""

NO: dict[str, Any] = refused(405, "MethodNotAllowed", NO_METHOD)

ROWS = [
    # Logs
    Row(f"GET {LOG}", text="", headers={"content-type": "text/plain"}),
    Row(f"GET {LOG}?container=migration&follow=false&timestamps=true&tailLines=5&limitBytes=10&sinceSeconds=5", text=""),
    Row(f"GET {KV}/namespaces/default/pods/pod0/log", text=""),
    Row(f"GET {PODS}/nope/log", **absent("pods", "nope")),
    Row(f"GET {LOG}?container=nope", **bad("container nope is not valid for pod pod0")),
    Row(f"GET {LOG}?previous=true", **bad('previous terminated container "migration" in pod "pod0" not found')),
    Row(f"GET {LOG}?tailLines=x", **bad('strconv.ParseInt: parsing "x": invalid syntax')),
    log("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
    log("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
    log("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
    log("tailLines=-1&limitBytes=0", "tailLines: Invalid value: -1: must be greater than or equal to 0", "limitBytes: Invalid value: 0: must be greater than 0"),
    log("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"),
    Row(f"GET {LOG}?sinceTime=x", **bad('parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"')),
    Row(f"GET {LOG}?sinceTime=2026-01-01T00:00:00Z", text=""),
    Row(f"POST {LOG}", **NO),
    # Others' routes
    Row(f"GET {PODS}/pod0/eviction", **NO),
    Row(f"GET {PODS}/pod0/exec", 404, "NotFound"),
    Row("GET /api/v1/namespaces/default/finalize", **NO),
    Row("GET /api/v1/namespaces/default/status", has={"kind": "Namespace"}),
    Row("GET /api/v1/namespaces/default/nobody", 404, "NotFound"),
    # Reviews
    Row(f"POST {SSAR}", 201, body={"spec": ASKS}, has={"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": ASKS, "status.allowed": True}),
    Row(f"POST {SSAR}", 201, body={"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}, has={"status.allowed": True}),
    Row(f"POST {SSAR}", 201, body=protobuf("SelfSubjectAccessReview", ASKS_TO_GET, b"authorization.k8s.io/v1"), type=PROTOBUF, has={"status.allowed": True}),
    Row(f"POST {SSAR}", body={"spec": {}}, **invalid('.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified')),
    Row(f"POST {SSAR}", body={"spec": {**ASKS, "nonResourceAttributes": {"path": "/", "verb": "get"}}}, **invalid('.authorization.k8s.io "" is invalid: spec.nonResourceAttributes: Invalid value: {"Path":"/","Verb":"get"}: cannot be specified in combination with resourceAttributes')),
    Row(f"POST {SSAR}?dryRun=All&fieldManager=me&pretty=true", 201, body={"spec": ASKS}, has={"status.allowed": True}),
    Row(f"POST {SSAR}?dryRun=Some", body={"spec": ASKS}, code=422, reason="Invalid", says='CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'),
    Row(f"POST {SSAR}?fieldValidation=Strict", body={"spec": {**ASKS, "unknown": 1}}, **bad('SelfSubjectAccessReview in version "v1" cannot be handled as a SelfSubjectAccessReview: strict decoding error: unknown field "spec.unknown"')),
    Row(f"POST {SSAR}", 201, body={"spec": {**ASKS, "unknown": 1}}, warns=['unknown field "spec.unknown"'], has={"spec": ASKS}),
    Row(f"POST {SSAR}", body={"spec": {"resourceAttributes": {"verb": 1}}}, **bad('SelfSubjectAccessReview in version "v1" cannot be handled as a SelfSubjectAccessReview: json: cannot unmarshal number into Go struct field ResourceAttributes.spec.resourceAttributes.verb of type string')),
    Row(f"POST {SSRR}", 201, body={"spec": {"namespace": "default"}}, has={"status.incomplete": False, "status.resourceRules.0.verbs": ["*"]}),
    Row(f"POST {SSRR}", body={"spec": {}}, **bad("no namespace on request")),
    Row(f"POST {SSR}", 201, body={}, has={"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "status.userInfo.username": "system:admin", "status.userInfo.groups": ["system:masters", "system:authenticated"]}),
    Row(f"GET {SSR}", **NO),
    Row(f"DELETE {SSAR}", **NO),
    # Protobuf bodies of what kubectl sends without another try
    Row("POST /api/v1/namespaces", body=protobuf("Namespace"), type=PROTOBUF, code=422, says='Namespace "" is invalid: metadata.name: Required value: name or generateName is required'),
    Row("DELETE /api/v1/namespaces/nope", body=protobuf("DeleteOptions"), type=PROTOBUF, **absent("namespaces", "nope")),
    # What is answered and never stored has metadata all the same
    Row("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", 201, body={}, has={"metadata.managedFields": KeyError}),
    Row(f"POST {SSR}", 201, body={"metadata": {"ownerReferences": [{"kind": None, "uid": "1"}]}}, has={"metadata.ownerReferences": KeyError}),
    Row("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 201, body={"spec": {"resourceAttributes": {"verb": "get"}}}, has={"metadata.managedFields.0.manager": "tests", "metadata.managedFields.0.fieldsV1": {"f:spec": {"f:resourceAttributes": {".": {}, "f:verb": {}}}}}),
    Row("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", 201, body={}, accept=PROTOBUF, headers={"content-type": PROTOBUF}, has={"kind": "SelfSubjectReview", "status.userInfo.username": "system:admin"}),
    Row("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 406, body={"spec": {}}, accept="text/html", says="406: Not Acceptable\n\nAvailable representations: …"),
    Row("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 422, body={"spec": {"nosuch": 1}}, warns=['unknown field "spec.nosuch"']),
]  # fmt: skip
