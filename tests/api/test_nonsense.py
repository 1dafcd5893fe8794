# ruff: noqa: E501 - a row stays a row
"""What no client should send: each is answered with a Status, or the connection is closed; and the server goes on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import httpx
import orjson
import pytest

from tests.api.builders import MACHINES, NODES, machine, node

MB = 1 << 20
POST = b"POST " + NODES.encode()
MERGE = b"application/merge-patch+json"
JSON_PATCH = b"application/json-patch+json"


@dataclass(frozen=True)
class Row:
    """Bytes on a connection, and what must come back: codes that may be; 0 is a connection that is closed silently."""

    what: str
    request: bytes
    codes: tuple[int, ...]
    says: bytes = b""


def request(line: bytes, body: bytes = b"", type_: bytes = b"application/json", *headers: bytes) -> bytes:
    fields = [b"host: drover", b"connection: close", *headers]
    if body:
        fields += [b"content-type: " + type_, b"content-length: %d" % len(body)]
    return line + b" HTTP/1.1\r\n" + b"\r\n".join(fields) + b"\r\n\r\n" + body


def patch(body: bytes, type_: bytes = MERGE) -> bytes:
    return request(b"PATCH " + NODES.encode() + b"/node0", body, type_)


def labels(selector: bytes) -> bytes:
    return request(b"GET " + NODES.encode() + b"?labelSelector=" + selector)


def fields(selector: bytes) -> bytes:
    return request(b"GET " + NODES.encode() + b"?fieldSelector=" + selector)


def token(revision: int, start: str) -> bytes:
    """Of a list that goes on."""
    document = {"v": "meta.k8s.io/v1", "rv": revision, "start": start}
    return base64.urlsafe_b64encode(orjson.dumps(document)).rstrip(b"=")


def with_annotation(value: bytes) -> bytes:
    return orjson.dumps(node("nonsense"))[:-1] + b',"metadata":{"name":"nonsense","annotations":{"a":' + value + b"}}}"


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 9)) for letter in range(98, 107)
)
ROWS = [
    Row("not JSON", request(POST, b"hello"), (400,), b"BadRequest"),
    Row("no JSON at all", request(POST, b"", b"", b"content-length: 0"), (400,), b"BadRequest"),
    Row("half an object", request(POST, b'{"kind":'), (400,), b"unexpected end of JSON input"),
    Row("a list", request(POST, b"[]"), (400,), b"BadRequest"),
    Row("null", request(POST, b"null"), (422,), b"name or generateName is required"),
    Row("two documents", request(POST, b"{}{}"), (400,), b"BadRequest"),
    Row("not a number", request(POST, with_annotation(b"NaN")), (400,), b"BadRequest"),
    Row("a number without end", request(POST, with_annotation(b"9" * 100_000)), (400,), b"BadRequest"),
    Row("a huge exponent", request(POST, with_annotation(b"1e999999")), (400, 422)),
    Row("NUL in a value", request(POST, with_annotation(b'"\\u0000"')), (201, 400, 422)),
    Row("NUL in a name", request(POST, orjson.dumps(node("a\0b"))), (422,), b"Invalid"),
    Row("a name of a megabyte", request(POST, orjson.dumps(node("a" * MB))), (422,), b"Invalid"),
    Row("deep nesting", request(POST, DEEP), (400,), b"BadRequest"),
    Row("deep lists", request(POST, with_annotation(b"[" * 100_000 + b"]" * 100_000)), (400,), b"BadRequest"),
    Row("nested as deep as may be", request(POST, with_annotation(b'{"a":' * 120 + b"1" + b"}" * 120)), (400, 422)),
    Row("many fields", request(POST, b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}"), (400, 422)),
    Row("one field many times", request(POST, b"{" + b",".join([b'"a":1'] * 100_000) + b"}"), (400, 422)),
    Row("wrong types", request(POST, b'{"apiVersion":1,"kind":[],"metadata":"x","spec":7}'), (400, 422)),
    Row("metadata that is a list", request(POST, b'{"apiVersion":"v1","kind":"Node","metadata":[]}'), (400, 422)),
    Row("labels that are numbers", request(POST, b'{"apiVersion":"v1","kind":"Node","metadata":{"name":"a","labels":{"a":1}}}'), (400, 422)),
    Row("finalizers that are a map", request(POST, b'{"apiVersion":"v1","kind":"Node","metadata":{"name":"a","finalizers":{}}}'), (400, 422)),
    Row("owners that are words", request(POST, b'{"apiVersion":"v1","kind":"Node","metadata":{"name":"a","ownerReferences":["x"]}}'), (400, 422)),
    Row("a spec that is a number", request(b"POST " + MACHINES.encode(), orjson.dumps(machine("x") | {"spec": 1})), (400, 422)),
    Row("too large", request(POST, b" " * (3 * MB + 1)), (413,), b"RequestEntityTooLarge"),
    Row("announced too large", request(POST, b"", b"", b"content-length: 99999999999"), (413,), b"RequestEntityTooLarge"),
    Row("too large in chunks", b"POST " + NODES.encode() + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n" + (b"100000\r\n" + b" " * MB + b"\r\n") * 4 + b"0\r\n\r\n", (413, 0)),
    Row("YAML that grows", request(POST, BOMB, b"application/yaml"), (400,), b"BadRequest"),
    Row("YAML that holds itself", request(POST, b"a: &a [*a]", b"application/yaml"), (400,), b"BadRequest"),
    Row("YAML that calls", request(POST, b"!!python/object/apply:os.getcwd []", b"application/yaml"), (400,), b"BadRequest"),
    Row("bad UTF-8 in YAML", request(POST, b"a: \xff", b"application/yaml"), (400,), b"BadRequest"),
    Row("protobuf that is none", request(POST, b"k8s\0\xff\xff\xff\xff", b"application/vnd.kubernetes.protobuf"), (400,), b"BadRequest"),
    Row("an unknown type", request(POST, b"{}", b"image/png"), (415,), b"UnsupportedMediaType"),
    Row("a body in gzip", request(POST, b"\x1f\x8b\x08", b"application/json", b"content-encoding: gzip"), (400, 415)),
    Row("a patch that is no map", patch(b"[]"), (400, 422)),
    Row("a patch that is a number", patch(b"1"), (400, 422)),
    Row("a deep patch", patch(DEEP), (400,), b"BadRequest"),
    Row("a patch of metadata into a list", patch(b'{"metadata":[]}'), (400, 422)),
    Row("a patch of all to null", patch(b'{"metadata":null,"kind":null}'), (200, 400, 422)),
    Row("operations that are none", patch(b'[1,"a",null]', JSON_PATCH), (400, 422)),
    Row("an operation without path", patch(b'[{"op":"add","value":1}]', JSON_PATCH), (400, 422)),
    Row("an operation on nothing", patch(b'[{"op":"remove","path":"/a/b/c"}]', JSON_PATCH), (422,)),
    Row("an index that is huge", patch(b'[{"op":"add","path":"/metadata/finalizers/99999999999999999999","value":"a"}]', JSON_PATCH), (422,)),
    Row("too many operations", patch(b"[" + b",".join([b'{"op":"test","path":"/kind","value":"Node"}'] * 10_001) + b"]", JSON_PATCH), (413,)),
    Row("copies that double", patch(b"[" + b",".join(b'{"op":"copy","from":"/spec","path":"/spec/y%d"}' % n for n in range(40)) + b"]", JSON_PATCH), (422,)),
    Row("copies that nest", patch(b"[" + b",".join([b'{"op":"copy","from":"/spec","path":"/spec/y"}'] * 5000) + b"]", JSON_PATCH), (422,)),
    Row("operations that dig", patch(b"[" + b",".join(b'{"op":"add","path":"/spec%s","value":{}}' % (b"/y" * n) for n in range(1, 1200)) + b"]", JSON_PATCH), (422,)),
    Row("a huge set of labels", labels(b"a%20in%20(" + b",".join(b"v%d" % n for n in range(9_000)) + b")"), (200,)),
    Row("a huge label selector", labels(b",".join([b"a"] * 30_000)), (200,)),
    Row("a label selector of brackets", labels(b"(" * 60_000), (400,)),
    Row("a label selector of spaces", labels(b"%20" * 20_000), (200,)),
    Row("a huge field selector", fields(b",".join([b"metadata.name%3Da"] * 3_500)), (200,)),
    Row("a field selector of commas", fields(b"," * 60_000), (200,)),
    Row("a field selector of escapes", fields(b"metadata.name%3D" + b"\\\\" * 30_000), (200, 400)),
    Row("a selector beyond what can be read", labels(b",".join([b"a"] * 400_000)), (400,)),
    Row("bad UTF-8 in a selector", labels(b"a%3D%ff"), (400,)),
    Row("a huge continue token", request(b"GET " + NODES.encode() + b"?limit=1&continue=" + b"a" * 60_000), (400,)),
    Row("a deep continue token", request(b"GET " + NODES.encode() + b"?limit=1&continue=" + b"W1tb" * 15_000), (400,)),
    Row("a continue token with NUL", request(b"GET " + NODES.encode() + b"?limit=1&continue=" + token(1, "a\0/b")), (400,)),
    Row("a continue token of the far future", request(b"GET " + NODES.encode() + b"?limit=1&continue=" + token(2**63, "/b")), (400,)),
    Row("a continue token without a place", request(b"GET " + NODES.encode() + b"?limit=1&continue=" + token(1, "b")), (400,)),
    Row("a revision beyond 64 bits", request(b"GET " + NODES.encode() + b"?watch=1&resourceVersion=%d" % 2**64), (400,)),
    Row("a huge revision", request(b"GET " + NODES.encode() + b"?resourceVersion=" + b"9" * 60_000), (400,)),
    Row("a huge limit", request(b"GET " + NODES.encode() + b"?limit=" + b"9" * 60_000), (400,)),
    Row("a huge timeout", request(b"GET " + NODES.encode() + b"?watch=1&timeoutSeconds=" + b"9" * 30), (400,)),
    Row("many parameters", request(b"GET " + NODES.encode() + b"?" + b"&".join([b"a=b"] * 15_000)), (200,)),
    Row("a huge Accept", request(b"GET " + NODES.encode(), b"", b"", b"accept: " + b"text/html," * 90_000), (406,)),
    Row("a huge path", request(b"GET /" + b"a/" * 30_000), (404,)),
    Row("bad UTF-8 in a path", request(b"GET " + NODES.encode() + b"/%ff%fe"), (400, 404)),
    Row("raw bytes in a path", request(b"GET " + NODES.encode() + b"/\xff\xfe"), (400,)),
    Row("NUL in a path", request(b"GET " + NODES.encode() + b"/a%00b"), (400, 404)),
    Row("a path that climbs", request(b"GET " + NODES.encode() + b"/../../../etc/passwd"), (404,)),
    Row("slashes", request(b"GET //////"), (404,)),
    Row("a path that is a URL", request(b"GET http://elsewhere" + NODES.encode()), (200, 400, 404)),
    Row("a verb of WebDAV", request(b"PROPFIND " + NODES.encode()), (405,), b"MethodNotAllowed"),
    Row("TRACE", request(b"TRACE " + NODES.encode()), (405,), b"MethodNotAllowed"),
    Row("OPTIONS", request(b"OPTIONS " + NODES.encode()), (405,), b"MethodNotAllowed"),
    Row("CONNECT", request(b"CONNECT example.com:443"), (400, 404, 405, 0)),
    Row("a verb that nobody knows", request(b"DROVER " + NODES.encode()), (400, 405)),
    Row("no HTTP", b"hello\r\n\r\n", (400, 0)),
    Row("TLS on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), (400, 0)),
    Row("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 404, 405, 0)),
    Row("two lengths", b"POST " + NODES.encode() + b" HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}", (400, 0)),
    Row("a length and chunks", b"POST " + NODES.encode() + b" HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", (400, 0)),
    Row("a length below zero", b"POST " + NODES.encode() + b" HTTP/1.1\r\ncontent-length: -1\r\n\r\n", (400, 0)),
    Row("chunks that are none", b"POST " + NODES.encode() + b" HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", (400, 0)),
    Row("a websocket", request(b"GET " + NODES.encode() + b"?limit=1", b"", b"", b"upgrade: websocket", b"sec-websocket-key: x"), (200, 400)),
]  # fmt: skip


@pytest.mark.parametrize("rows", [ROWS[start::6] for start in range(6)], ids=lambda rows: rows[0].what)
async def test_nonsense_is_refused_and_the_server_goes_on(remote: httpx.AsyncClient, rows: Iterable[Row]) -> None:
    """Several to a server, because each only has to be survived."""
    await remote.post(NODES, json=node("node0"))

    wrong = []
    for row in rows:
        code, body = await asked(remote.base_url, row.request)
        if code not in row.codes or row.says not in body or not is_status(code, body):
            wrong.append((row.what, code, body[:200]))
    after = await remote.get(f"{NODES}/node0")

    assert wrong == []
    assert after.status_code == 200


async def asked(url: httpx.URL, sent: bytes) -> tuple[int, bytes]:
    """The answer's code and body; code 0 when the connection was closed without one."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    answer = b""
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            while data := await reader.read(65536):
                answer += data
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]), body) if head else (0, b"")


def is_status(code: int, body: bytes) -> bool:
    """What the API refuses it refuses with a Status; below HTTP there is only text."""
    if code < 400 or body.startswith((b"Invalid HTTP request", b"404 page not found")):
        return True
    status = json.loads(body)
    return bool(status["kind"] == "Status" and status["code"] == code and status["status"] == "Failure")
