# ruff: noqa: E501 - a row stays a row
"""Requests that two readers could take apart differently, or that cost more to read than to send."""

from __future__ import annotations

import gzip

import httpx
import pytest
from starlette.types import Message, Scope

from app.api.options import manager_of
from app.api.requests import Request
from tests.api.builders import MACHINES, MIGRATIONS, NODES, node
from tests.api.test_nonsense import MB, Row, asked, is_status, request

GET = b"GET " + NODES.encode() + b"?limit=1 HTTP/1.1\r\nhost: drover\r\n"
POST = b"POST " + NODES.encode() + b" HTTP/1.1\r\nhost: drover\r\ncontent-type: application/json\r\n"
MACHINE = b'{"apiVersion":"kubevirt.io/v1alpha1","kind":"VirtualMachine","metadata":{"name":"odd"},"spec":{"domain":{"type":"qemu","memory":{"value":64,"unit":"MB"},"os":{"type":{"os":"hvm"}},"devices":{}},"terminationGracePeriodSeconds":%s}}'
CLOSE = b"connection: close\r\n"


def grace(number: bytes) -> bytes:
    """A VirtualMachine with that where a number of seconds belongs."""
    return request(b"POST " + MACHINES.encode() + b"?dryRun=All", MACHINE % number)


def yaml(body: bytes) -> bytes:
    return request(b"POST " + MIGRATIONS.encode() + b"?dryRun=All", body, b"application/yaml")


ANCHORS = b"apiVersion: kubevirt.io/v1alpha1\nkind: Migration\nmetadata: {name: &n odd, labels: {a: *n}}\nspec: {selector: {name: *n}}\n"
ROWS = [
    Row("two lengths that agree", POST + CLOSE + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}", (400, 0)),
    Row("a list of lengths", POST + CLOSE + b"content-length: 2, 2\r\n\r\n{}", (400, 0)),
    Row("a length with a sign", POST + CLOSE + b"content-length: +2\r\n\r\n{}", (400, 0)),
    Row("a length in hexadecimal", POST + CLOSE + b"content-length: 0x2\r\n\r\n{}", (400, 0)),
    Row("a length of twenty digits", POST + CLOSE + b"content-length: 99999999999999999999\r\n\r\n{}", (400, 413, 0)),
    Row("a space before a colon", POST + CLOSE + b"content-length : 2\r\n\r\n{}", (400, 0)),
    Row("a header that goes on", GET + CLOSE + b"x-a: b\r\n c\r\n\r\n", (200, 400, 0)),
    Row("a header without a colon", GET + CLOSE + b"nonsense\r\n\r\n", (400, 0)),
    Row("a header without a name", GET + CLOSE + b": b\r\n\r\n", (400, 0)),
    Row("NUL in a header", GET + CLOSE + b"x-a: b\0c\r\n\r\n", (400, 0)),
    Row("a lone line end in a header", GET + CLOSE + b"x-a: b\rx-b: c\r\n\r\n", (200, 400, 0)),
    Row("chunks twice", POST + CLOSE + b"transfer-encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (400, 0)),
    Row("chunks of something else", POST + CLOSE + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (400, 415, 422, 0)),
    Row("chunks in disguise", POST + CLOSE + b"transfer-encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (400, 0)),
    Row("a chunk below zero", POST + CLOSE + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", (400, 0)),
    Row("a chunk beyond 64 bits", POST + CLOSE + b"transfer-encoding: chunked\r\n\r\n1ffffffffffffffff\r\n{}", (400, 413, 0)),
    Row("long extensions of chunks", POST + CLOSE + b"transfer-encoding: chunked\r\n\r\n2;a=" + b"b" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", (400, 422, 0)),
    Row("trailers", POST + CLOSE + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nhost: other\r\ncontent-length: 9\r\n\r\n", (400, 0)),
    Row("ten thousand headers", GET + CLOSE + b"".join(b"x-%d: a\r\n" % n for n in range(10_000)) + b"\r\n", (200, 400, 431, 0)),
    Row("a method of a kilobyte", b"G" * 1024 + b" / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", (400, 405, 0)),
    Row("a version that is none", b"GET / HTTP/9.9\r\nhost: a\r\nconnection: close\r\n\r\n", (400, 404, 505, 0)),
    Row("HTTP/0.9", b"GET /api\r\n\r\n", (200, 400, 0)),
    Row("HTTP/1.0", b"GET " + NODES.encode() + b"?limit=1 HTTP/1.0\r\n\r\n", (200,)),
    Row("no host", b"GET " + NODES.encode() + b"?limit=1 HTTP/1.1\r\nconnection: close\r\n\r\n", (200, 400)),
    Row("two hosts", GET + CLOSE + b"host: other\r\n\r\n", (200, 400)),
    Row("a URL of another host", b"GET http://other" + NODES.encode() + b"?limit=1 HTTP/1.1\r\nhost: drover\r\nconnection: close\r\n\r\n", (200, 400, 404)),
    Row("a fragment", b"GET " + NODES.encode() + b"#a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", (200, 400, 404)),
    Row("a slash in disguise", request(b"GET " + NODES.encode() + b"/a%2fb"), (404,)),
    Row("dots in disguise", request(b"GET " + NODES.encode() + b"/%2e%2e/pods"), (404,)),
    Row("a path of dots", request(b"GET /api/v1/nodes/../../apis"), (404,)),
    Row("a percent alone", request(b"GET " + NODES.encode() + b"/%"), (400, 404)),
    Row("a percent twice", request(b"GET " + NODES.encode() + b"/%252e"), (400,)),
    Row("more than sixty-four bits", grace(b"18446744073709551616"), (400, 422)),
    Row("a little more than sixty-three", grace(b"9223372036854775808"), (400, 422)),
    Row("an exponent beyond all", grace(b"1e999"), (400, 422)),
    Row("an exponent below all", grace(b"1e-999"), (201, 400, 422)),
    Row("less than nothing", grace(b"-0"), (201,)),
    Row("minus nothing and a bit", grace(b"-0.0"), (201, 422)),
    Row("a leading nought", grace(b"010"), (400,)),
    Row("a plus", grace(b"+1"), (400,)),
    Row("half a second", grace(b"1.5"), (400, 422)),
    Row("a hundred in another form", grace(b"1e2"), (201, 422)),
    Row("infinity", grace(b"Infinity"), (400,)),
    Row("a true number", grace(b"true"), (400, 422)),
    Row("a number of a megabyte", grace(b"1" * MB), (400, 422)),
    Row("anchors that are used well", yaml(ANCHORS), (201,)),
    Row("YAML's other numbers", yaml(ANCHORS.replace(b"&n odd", b"&n 0o17")), (201, 400, 422)),
    Row("YAML's other truths", yaml(ANCHORS.replace(b"&n odd", b"&n yes")), (201, 400, 422)),
    Row("YAML's dates", yaml(ANCHORS.replace(b"&n odd", b"&n 2026-11-26")), (201, 400, 422)),
    Row("YAML's keys that are lists", yaml(b"? [a, b]\n: c\n"), (400,)),
    Row("YAML that merges itself", yaml(b"a: &a {<<: *a}\n"), (400,)),
    Row("many documents of YAML", yaml(b"---\na: b\n" * 20_000), (400, 422)),
    Row("deep YAML", yaml(b"[" * 50_000 + b"]" * 50_000), (400,)),
    Row("a deep flow of YAML", yaml(b"- " * 50_000 + b"a"), (400,)),
    Row("a key of a megabyte in YAML", yaml(b"? " + b"a" * MB + b"\n: b\n"), (400,)),
    Row("a bomb in gzip", request(b"POST " + NODES.encode(), gzip.compress(b" " * 50 * MB), b"application/json", b"content-encoding: gzip"), (400, 413, 415)),
    Row("a body of a GET", request(b"GET " + NODES.encode() + b"?limit=1", b"{}"), (200,)),
    Row("a type with nonsense behind it", request(b"POST " + NODES.encode(), b"{}", b"application/json; charset=\xff;;;="), (400, 415, 422)),
    Row("two types", POST + CLOSE + b"content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}", (400, 415, 422)),
    Row("a continuation that is asked for", POST + CLOSE + b"expect: 200-maybe\r\ncontent-length: 2\r\n\r\n{}", (400, 417, 422)),
]  # fmt: skip


@pytest.mark.parametrize("rows", [ROWS[start::4] for start in range(4)], ids=lambda rows: rows[0].what)
async def test_odd_bytes_are_refused_or_mean_one_thing(remote: httpx.AsyncClient, rows: list[Row]) -> None:
    await remote.post(NODES, json=node("node0"))

    wrong = []
    for row in rows:
        code, body = await asked(remote.base_url, row.request)
        if code not in row.codes or row.says not in body or not is_status(code, body):
            wrong.append((row.what, code, body[:200]))
    after = await remote.get(NODES)

    assert not wrong, "\n".join(map(str, wrong))
    assert [item["metadata"]["name"] for item in after.json()["items"]] == ["node0"]


SMUGGLED = b"DELETE " + NODES.encode() + b"/node0 HTTP/1.1\r\nhost: drover\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: xchunked\r\ncontent-length: 0\r\n\r\n",
        b"transfer-encoding : chunked\r\ncontent-length: 0\r\n\r\n",
        b"transfer-encoding:\x0bchunked\r\ncontent-length: 0\r\n\r\n",
        b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED),
    ],
)
async def test_what_a_proxy_might_read_as_a_body_is_no_request(remote: httpx.AsyncClient, head: bytes) -> None:
    """Behind a head that could be read in two ways nothing is read: the connection is closed."""
    await remote.post(NODES, json=node("node0"))

    code, body = await asked(remote.base_url, POST + head + SMUGGLED)
    after = await remote.get(f"{NODES}/node0")

    assert (code, b"HTTP/1.1 200" in body) in ((400, False), (0, False))
    assert "deletionTimestamp" not in after.json()["metadata"]
    assert after.status_code == 200


async def test_requests_in_one_go_are_answered_in_their_order(remote: httpx.AsyncClient) -> None:
    paths = [f"{NODES}/n{number}" for number in range(200)]
    sent = b"".join(f"GET {path} HTTP/1.1\r\nhost: drover\r\n\r\n".encode() for path in paths[:-1])
    sent += f"GET {paths[-1]} HTTP/1.1\r\nhost: drover\r\nconnection: close\r\n\r\n".encode()

    code, body = await asked(remote.base_url, sent)
    found = [body.find(f'nodes \\"n{number}\\" not found'.encode()) for number in range(200)]

    assert code == 404
    assert body.count(b"HTTP/1.1 404") == 199
    assert -1 not in found
    assert found == sorted(found)


@pytest.mark.parametrize(("agent", "manager"), [(b"\xe9/1", "\ufffd"), ("é/1".encode(), "é"), (b"a\x01b/1", "ab")])
def test_a_manager_is_called_by_the_bytes_of_the_header(agent: bytes, manager: str) -> None:
    assert manager_of(agent.decode("latin-1")) == manager


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("begun", "filled"), [("x=y", " "), ("", " "), ("x=", "a"), ("", "a;"), ('x="', "\\a")])
def test_no_content_type_takes_long_to_read(begun: str, filled: str) -> None:
    """A megabyte of it, by which one that is read once for each place in it would take hours."""
    said = f"application/json;{begun}{filled * 1_000_000}!\x7f".encode()

    assert Request.of(_posted(said), _nothing).decoded_type == said.decode()


def _posted(content_type: bytes) -> Scope:
    headers = [(b"content-type", content_type)]
    return {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
