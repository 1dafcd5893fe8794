# ruff: noqa: E501 - a row stays a row, and kube-apiserver's messages stay whole
"""Section 2.3: watches, as far as one request shows them; what comes over time is in test_watch and test_streaming_lists."""

from __future__ import annotations

from tests.api.builders import KV, MACHINES, NODES, labelled, machine, node
from tests.api.laws.row import MERGE, NEVER, TABLE, YAML, Row, bad, option, options, refused

MATCH = "resourceVersionMatch"
NEEDS_MATCH = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
WITHOUT = f"Forbidden: {MATCH} is forbidden for watch unless sendInitialEvents is provided"
ONLY = 'Unsupported value: "Exact": supported values: "NotOlderThan"'
W = f"GET {MACHINES}?watch=1&timeoutSeconds=1"
STREAM = f"sendInitialEvents=true&{MATCH}=NotOlderThan"
UNSTREAMED = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"

ROWS = [
    # Starts and ends
    Row(W, events=["ADDED vm0", "ADDED vm1"], headers={"content-type": "application/json", "cache-control": "no-cache, private", "content-encoding": None, "content-length": None}),
    Row(f"{W}&resourceVersion=0", events=["ADDED vm0", "ADDED vm1"], sends={"accept-encoding": "gzip"}),
    Row(f"{W}&resourceVersion=<rv>", events=[]),
    Row(f"{W}&resourceVersion={NEVER}", events=[]),
    Row(f"{W}&limit=1", events=["ADDED vm0", "ADDED vm1"]),
    Row(f"GET {MACHINES}?watch=maybe&timeoutSeconds=1", events=["ADDED vm0", "ADDED vm1"]),
    Row(f"GET {MACHINES}?watch&timeoutSeconds=1", events=["ADDED vm0", "ADDED vm1"]),
    Row(f"{W}&timeout=1h", events=["ADDED vm0", "ADDED vm1"]),
    Row(f"{W}&fieldSelector=metadata.name%3Dvm1", events=["ADDED vm1"]),
    Row(f"{W}&labelSelector=tier%3Da", events=["ADDED vm0"]),
    Row(f"GET {KV}/namespaces/nonexist/virtualmachines?watch=1&timeoutSeconds=1", events=[]),
    # The old paths
    Row(f"GET {KV}/watch/namespaces/default/virtualmachines?timeoutSeconds=1", events=["ADDED vm0", "ADDED vm1"]),
    Row(f"GET {KV}/watch/namespaces/default/virtualmachines/vm1?timeoutSeconds=1", events=["ADDED vm1"]),
    Row(f"GET {KV}/watch/virtualmachines?timeoutSeconds=1", events=["ADDED vm0", "ADDED vm1", "ADDED going"]),
    Row("GET /api/v1/watch/nodes?timeoutSeconds=1", events=["ADDED node0"]),
    Row("POST /api/v1/watch/nodes", 405),
    # Events
    Row(f"{W}&resourceVersion=<rv>", after=[Row(f"POST {MACHINES}", body=machine("new"))], events=["ADDED new"]),
    Row(f"{W}&resourceVersion=<rv>", after=[Row(f"PATCH {MACHINES}/vm0", body={"metadata": {"labels": {"tier": "c"}}}, type=MERGE)], events=["MODIFIED vm0"]),
    Row(f"{W}&resourceVersion=<rv>&labelSelector=tier%3Da", after=[Row(f"PATCH {MACHINES}/vm0", body={"metadata": {"labels": {"tier": "c"}}}, type=MERGE)], events=["DELETED vm0"], has={"object.metadata.labels": {"tier": "a"}}),
    Row(f"{W}&resourceVersion=<rv>&labelSelector=tier%3Da", after=[Row(f"PATCH {MACHINES}/vm1", body={"metadata": {"labels": {"tier": "a"}}}, type=MERGE)], events=["ADDED vm1"]),
    Row(f"{W}&resourceVersion=<rv>", after=[Row(f"PATCH {MACHINES}/vm0", body={"metadata": {"labels": {"tier": "a"}}}, type=MERGE)], events=[]),
    Row(f"{W}&resourceVersion=<rv>", after=[Row(f"DELETE {MACHINES}/vm0")], events=["MODIFIED vm0"], has={"object.metadata.deletionGracePeriodSeconds": 0}),
    Row(f"GET {NODES}?watch=1&timeoutSeconds=1&resourceVersion=<rv>", after=[Row(f"DELETE {NODES}/node0")], events=["DELETED node0"]),
    Row(f"GET {NODES}?watch=1&timeoutSeconds=1&resourceVersion=<rv>", after=[Row(f"POST {NODES}", body=labelled(node("x"), a="b")), Row(f"DELETE {NODES}/x")], events=["ADDED x", "DELETED x"]),
    # Streaming lists
    Row(f"{W}&{STREAM}&allowWatchBookmarks=true", events=["ADDED vm0", "ADDED vm1", "BOOKMARK"]),
    Row(f"{W}&{STREAM}", events=["ADDED vm0", "ADDED vm1"]),
    Row(f"{W}&sendInitialEvents=false&{MATCH}=NotOlderThan", events=[]),
    Row(f"{W}&{STREAM}&resourceVersion={NEVER}", events=["ERROR"], has={"object.code": 504, "object.details.causes.0.reason": "ResourceVersionTooLarge"}),
    # Of a Table the bookmark that ends the first state has its annotation in a row, even where rows have no objects
    Row(f"{W}&{STREAM}&allowWatchBookmarks=true&includeObject=None&fieldSelector=metadata.name%3Dnosuch", accept=TABLE, has={"type": "BOOKMARK", "object.rows.0.cells.0": "", "object.rows.0.cells.1": None, "object.rows.0.object.kind": "PartialObjectMetadata", "object.rows.0.object.metadata.annotations": {"k8s.io/initial-events-end": "true"}}),
    Row(f"GET {MACHINES}?watch=1&sendInitialEvents=true", **option(MATCH, NEEDS_MATCH)),
    Row(f"GET {MACHINES}?watch=1&sendInitialEvents=false", **option(MATCH, NEEDS_MATCH)),
    Row(f"GET {MACHINES}?watch=1&sendInitialEvents=true&{MATCH}=Exact&resourceVersion=1", **options(f"{MATCH}: {NEEDS_MATCH}", f"{MATCH}: {ONLY}")),
    Row(f"GET {MACHINES}?watch=1&{MATCH}=Exact&resourceVersion=1", **options(f"{MATCH}: {WITHOUT}", f"{MATCH}: {ONLY}")),
    Row(f"GET {MACHINES}?watch=1&{MATCH}=NotOlderThan", **option(MATCH, WITHOUT)),
    Row(f"GET {MACHINES}?watch=1&{STREAM}&continue=x", 422, "Invalid"),
    Row(f"GET {MACHINES}?watch=1&{STREAM}&resourceVersion=abc", **bad("invalid resource version: …")),
    # Refused before anything streams
    Row(f"GET {MACHINES}?watch=1", accept=YAML, **refused(406, "NotAcceptable", UNSTREAMED)),
    Row(f"GET {MACHINES}?watch=1", accept="application/yaml,application/json", **refused(406, "NotAcceptable", UNSTREAMED)),
    Row(f"{W}&resourceVersion=<rv>", accept="application/json;stream=watch", events=[]),
    Row(f"GET {MACHINES}?watch=1&resourceVersion=abc", **bad("invalid resource version: …")),
    Row(f"GET {MACHINES}?watch=1&fieldSelector=x%3D1", **bad("field label not supported: x")),
    Row(f"GET {MACHINES}?watch=1&labelSelector=!!", **bad("unable to parse requirement: …")),
    Row(f"GET {MACHINES}?watch=1&timeoutSeconds=x", **bad('strconv.ParseInt: parsing "x": invalid syntax')),
    Row(f"{W}&fieldSelector=metadata.name%3Dvm0", accept=TABLE, has={"type": "ADDED", "object.kind": "Table", "object.rows.0.cells.0": "vm0", "object.columnDefinitions.0.name": "Name"}),
    Row(f"{W}&fieldSelector=metadata.name%3Dvm0", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", has={"object.kind": "PartialObjectMetadata", "object.spec": KeyError, "object.metadata.name": "vm0"}),
    Row(f"GET {KV}/watch/namespaces/default/virtualmachines/vm0?fieldSelector=metadata.name%3Dvm1", **bad("fieldSelector metadata.name doesn't match requested name")),
    Row(f"GET {KV}/watch/namespaces/default/virtualmachines/vm0/status", **refused(405, "MethodNotAllowed", 'watch is not supported on resources of kind "virtualmachines.kubevirt.io"')),
    Row(f"{W}&includeObject=Foo", accept=TABLE, **bad("Unable to convert to Table as requested: includeObject: Invalid value: \"Foo\": must be 'Metadata', 'Object', 'None', or empty")),
    Row(f"{W}&timeout=abc&fieldSelector=metadata.name%3Dvm0", events=["ADDED vm0"]),
    # From nowhere in particular: as if a streaming list had been asked for
    Row(f"{W}&allowWatchBookmarks=true", events=["ADDED vm0", "ADDED vm1", "BOOKMARK"]),
    Row(f"{W}&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dnope", events=["BOOKMARK"], has={"object.metadata.annotations": {"k8s.io/initial-events-end": "true"}}),
    Row(f"{W}&allowWatchBookmarks=true&resourceVersion=0", events=["ADDED vm0", "ADDED vm1", "BOOKMARK"]),
    Row(f"{W}&allowWatchBookmarks=true&resourceVersion=<rv>", events=[]),
    Row(f"GET {MACHINES}?watch=1&continue=x", **option(MATCH, f"Forbidden: {MATCH} is forbidden when continue is provided")),
    Row(f"GET /api/v1/nodes?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dnope&{STREAM}", has={"type": "BOOKMARK", "object.spec": {}, "object.status.daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "object.status.nodeInfo.osImage": ""}),
    Row(f"GET {MACHINES}?watch=1&timeoutSeconds=-1", events=["ERROR"], has={"object.code": 500, "object.message": "context deadline exceeded"}),
]  # fmt: skip
