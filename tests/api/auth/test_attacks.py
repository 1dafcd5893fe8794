"""The attack table: each row a caller and what they try; the answer, and that nothing changed."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.machinery.objects import Document
from app.store.postgres import PostgresStore
from tests.api.auth.conftest import Drover, until
from tests.api.auth.people import CLIENTS, PROXIES, STRANGERS

K = "/apis/kubevirt.io/v1alpha1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
A, B = f"{K}/namespaces/a", f"{K}/namespaces/b"
ADMIN = {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"}
JANE = [{"kind": "User", "name": "jane"}]
MINE = {"metadata": {"name": "mine"}, "roleRef": ADMIN, "subjects": JANE}
MIGRATION = {
    "apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": "m"},
    "spec": {"selector": {"name": "vm"}},
}  # fmt: skip
AS_ROOT = {"X-Remote-User": "root", "X-Remote-Group": "system:masters"}
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
TAINT = {"spec": {"unschedulable": True}}

BOMB = (
    '<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>'
    "<domain type='kvm'><name>&d;</name></domain>"
)
OUTSIDE = (
    '<!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/shadow">]><domain type="kvm"><name>v</name>'
    '<description>&x;</description></domain>'
)  # fmt: skip
SHADOW = (
    "<domain type='kvm'><name>v</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices>"
    "<disk type='file' device='disk'><source file='{path}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
)


def machine(xml: str) -> Document:
    return {
        "apiVersion": "kubevirt.io/v1alpha1", "kind": "VirtualMachine", "metadata": {"name": "v"}, "spec": {"domainXML": xml},
    }  # fmt: skip


Caller = Callable[[Drover], httpx.AsyncClient]


def token(name: str) -> Caller:
    return lambda drover: drover.by_token(name)


def certificate(authority: Any, name: str, *groups: str, **times: timedelta) -> Caller:
    return lambda drover: drover.by_certificate(authority, name, *groups, **times)


@dataclass(frozen=True)
class Row:
    """`status` None: TLS ends before anything is answered."""

    who: Caller
    what: str
    status: int | None
    body: Document | None = None
    headers: dict[str, str] = field(default_factory=dict)
    says: str = ""


NOBODY, WITH_TOKEN = token(""), token("jane")
GRAB = f"POST {RBAC}/clusterrolebindings"
DAY = timedelta(days=1)

ROWS = [
    # Forged identities
    Row(NOBODY, GRAB, 403, MINE, AS_ROOT, 'User "system:anonymous" cannot create'),
    Row(WITH_TOKEN, GRAB, 403, MINE, AS_ROOT, 'User "jane" cannot create'),
    Row(certificate(CLIENTS, "front"), GRAB, 403, MINE, AS_ROOT, 'User "front" cannot create'),
    Row(certificate(PROXIES, "back"), GRAB, 401, MINE, AS_ROOT, "Unauthorized"),
    Row(certificate(PROXIES, "front"), GRAB, 401, MINE, {}, "Unauthorized"),
    Row(certificate(PROXIES, "front", "system:masters"), GRAB, 401, MINE, {}, "Unauthorized"),
    Row(certificate(STRANGERS, "front"), GRAB, None, MINE, AS_ROOT),
    Row(certificate(STRANGERS, "root", "system:masters"), GRAB, None, MINE),
    Row(certificate(CLIENTS, "root", "system:masters", age=3 * DAY), GRAB, None, MINE),
    Row(certificate(CLIENTS, "root", "system:masters", age=-3 * DAY), GRAB, None, MINE),
    Row(NOBODY, GRAB, 403, MINE, {"X_Remote_User": "root", "X_Remote_Group": "system:masters"}, "anonymous"),
    Row(NOBODY, GRAB, 401, MINE, {"Authorization": "Bearer made-up"}, "Unauthorized"),
    Row(NOBODY, GRAB, 403, MINE, {"Authorization": "Bearer"}, "anonymous"),
    Row(NOBODY, GRAB, 401, MINE, {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0."}, "Unauthorized"),
    Row(NOBODY, GRAB, 403, MINE, {"Authorization": "Basic cm9vdDpyb290"}, "anonymous"),
    Row(NOBODY, GRAB, 403, MINE, {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"}, "anonymous"),
    # Acting as somebody else
    Row(WITH_TOKEN, GRAB, 403, MINE, {"Impersonate-User": "root"}, "cannot impersonate"),
    Row(
        WITH_TOKEN, GRAB, 403, MINE, {"Impersonate-User": "jane", "Impersonate-Group": "system:masters"}, "impersonate"
    ),
    Row(WITH_TOKEN, GRAB, 400, MINE, {"Impersonate-Group": "system:masters"}, "without impersonating a user"),
    Row(WITH_TOKEN, GRAB, 403, MINE, {"Impersonate-User": "system:serviceaccount:b:bot"}, "cannot impersonate"),
    Row(NOBODY, GRAB, 403, MINE, {"Impersonate-User": "root"}, "cannot impersonate"),
    # A user of namespace a in b and beyond
    Row(WITH_TOKEN, f"POST {B}/migrations", 403, MIGRATION),
    Row(WITH_TOKEN, f"PUT {B}/migrations/kept", 403, MIGRATION),
    Row(WITH_TOKEN, f"PATCH {B}/migrations/kept", 403, {"spec": {"cancel": True}}),
    Row(WITH_TOKEN, f"PATCH {B}/migrations/kept/status", 403, {"status": {"phase": "Failed"}}),
    Row(WITH_TOKEN, f"DELETE {B}/migrations/kept", 403),
    Row(WITH_TOKEN, f"DELETE {B}/migrations", 403),
    Row(WITH_TOKEN, f"DELETE {B}/migrations?fieldSelector=metadata.namespace=a", 403),
    Row(WITH_TOKEN, f"GET {B}/migrations?watch=1", 403),
    Row(WITH_TOKEN, f"GET {K}/migrations?fieldSelector=metadata.namespace=a", 403),
    Row(WITH_TOKEN, f"GET {K}/watch/migrations", 403),
    Row(WITH_TOKEN, f"POST {A}/migrations", 400, MIGRATION | {"metadata": {"name": "m", "namespace": "b"}}),
    Row(WITH_TOKEN, "POST /api/v1/namespaces/b/pods/p/eviction", 403, EVICTION),
    Row(WITH_TOKEN, "DELETE /api/v1/namespaces/a", 403),
    Row(WITH_TOKEN, "PUT /api/v1/namespaces/a/finalize", 403, {"metadata": {"name": "a"}}),
    Row(
        WITH_TOKEN, "POST /api/v1/nodes", 403, {"metadata": {"name": "evil"}, "spec": {"providerID": "qemu:///system"}}
    ),
    Row(WITH_TOKEN, "PATCH /api/v1/nodes/n", 403, TAINT),
    Row(WITH_TOKEN, f"PATCH {K}/nodes/n", 403, TAINT),
    Row(WITH_TOKEN, f"DELETE {K}/migrationpolicies", 403),
    # Escalation by roles and bindings
    Row(WITH_TOKEN, GRAB, 403, MINE),
    Row(WITH_TOKEN, f"POST {RBAC}/namespaces/a/rolebindings", 403, MINE),
    Row(token("ann"), f"POST {RBAC}/namespaces/a/rolebindings", 403, MINE, {}, "attempting to grant RBAC permissions"),
    Row(token("ann"), f"PUT {RBAC}/namespaces/a/rolebindings/admins", 422, MINE | {"metadata": {"name": "admins"}}),
    Row(token("ann"), GRAB, 403, MINE),
    # What a guest asks of its host
    Row(WITH_TOKEN, f"POST {A}/virtualmachines", 422, machine(SHADOW.format(path="/etc/shadow"))),
    Row(WITH_TOKEN, f"POST {A}/virtualmachines", 422, machine(SHADOW.format(path="/var/lib/../../etc/shadow"))),
    Row(WITH_TOKEN, f"POST {A}/virtualmachines", 422, machine(BOMB)),
    Row(WITH_TOKEN, f"POST {A}/virtualmachines", 422, machine(OUTSIDE)),
]


async def prepared(drover: Drover) -> None:
    """Namespaces a and b; jane may edit in a, ann administers it; something in b to lose."""
    root = drover.root
    for name in ("a", "b"):
        assert (await root.post("/api/v1/namespaces", json={"metadata": {"name": name}})).status_code == 201
    for who, role in (("jane", "edit"), ("ann", "admin")):
        binding = {
            "metadata": {"name": f"{role}s"}, "roleRef": ADMIN | {"name": role}, "subjects": [{"kind": "User", "name": who}],
        }  # fmt: skip
        assert (await root.post(f"{RBAC}/namespaces/a/rolebindings", json=binding)).status_code == 201
    kept = await root.post(f"{B}/migrations", json=MIGRATION | {"metadata": {"name": "kept"}})
    node = await root.post("/api/v1/nodes", json={"metadata": {"name": "n"}, "spec": {"providerID": "qemu:///session"}})
    assert (kept.status_code, node.status_code) == (201, 201)
    await until(drover.by_token("jane"), f"{A}/migrations", 200)
    await until(drover.by_token("ann"), f"{RBAC}/namespaces/a/roles", 200)


async def tried(drover: Drover, row: Row) -> str:
    """What differs from the row; "" where nothing does."""
    method, _, path = row.what.partition(" ")
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = row.headers | ({"Content-Type": kind} if row.body is not None else {})
    try:
        answer = await row.who(drover).request(method, path, json=row.body, headers=headers)
    except (httpx.ConnectError, httpx.ReadError) as error:
        return "" if row.status is None else f"{row.what} {row.headers}: {error!r} instead of {row.status}"
    message = answer.text
    if answer.status_code != row.status or row.says not in message.replace('\\"', '"'):
        return (
            f"{row.what} {row.headers}: {answer.status_code} instead of {row.status} with {row.says!r}: {message[:400]}"
        )
    return ""


async def test_every_row_of_the_attack_table_is_refused_and_changes_nothing(
    drover: Drover, store: PostgresStore
) -> None:
    await prepared(drover)
    before = await store.objects.revision()

    wrong = [said for row in ROWS if (said := await tried(drover, row))]
    after = await store.objects.revision()

    assert not wrong, "\n".join(wrong)
    assert after == before
    assert (await drover.root.get(f"{B}/migrations/kept")).json()["metadata"]["generation"] == 1


NODES = "GET /api/v1/nodes HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
BODY = (
    '{"apiVersion":"kubevirt.io/v1alpha1","kind":"Migration","metadata":{"name":"m"},"spec":{"selector":{"name":"vm"}}}'
)

PATHS = [
    f"{K}/namespaces/b/migrations",
    f"{K}/namespaces/b/migrations/",
    f"{K}//namespaces//b//migrations",
    f"/{K}/namespaces/b/migrations",
    f"{K}/namespaces/a/../b/migrations",
    f"{K}/namespaces/a/%2e%2e/b/migrations",
    f"{K}/namespaces/a%2f..%2fb/migrations",
    f"{K}/namespaces/b%2fmigrations",
    f"{K}/namespaces/b%252fmigrations",
    f"{K}/namespaces/b;a/migrations",
    f"{K}/namespaces/a;/../b/migrations",
    f"{K}/namespaces/b/migrations;x",
    f"{K}/namespaces/b/migrations%00",
    f"{K}/namespaces/b/migrations?namespace=a",
    f"{K}/namespaces/b/migrations/m",
    f"{K}/namespaces/a/migrations/../../b/migrations",
    f"{K}/watch/namespaces/b/migrations",
    f"/livez/..{K}/namespaces/b/migrations",
    f"/livez;{K}/namespaces/b/migrations",
    f"/version/..{K}/namespaces/b/migrations",
    f"https://127.0.0.1{K}/namespaces/b/migrations",
    f"http://localhost:1{K}/namespaces/b/migrations",
    f"{K}\\namespaces\\b\\migrations",
    f"{K.upper()}/namespaces/b/migrations",
]

AUTH = "Authorization: Bearer jane\r\n"
HEAD = f"POST {B}/migrations HTTP/1.1\r\nHost: d\r\n{AUTH}Content-Type: application/json\r\n"
REST = f"Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n{BODY}"
SMUGGLED = {
    "two lengths": f"{HEAD}Content-Length: 4\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}",
    "length and chunks": f"{HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NODES}",
    "odd coding": f"{HEAD}Transfer-Encoding: xchunked\r\n\r\n{NODES}",
    "coding not last": f"{HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{NODES}",
    "space before colon": f"{HEAD}Content-Length : {len(BODY)}\r\n\r\n{BODY}",
    "negative length": f"{HEAD}Content-Length: -1\r\n\r\n{BODY}",
    "bad chunk": f"{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n{BODY}\r\n0\r\n\r\n",
    "second token": f"{HEAD}Authorization: Bearer root\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n{BODY}",
    "second host": f"{HEAD}Host: localhost\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n{BODY}",
    "folded header": f"{HEAD}X: y\r\n Authorization: Bearer root\r\n{REST}",
    "a request as a body": f"{HEAD}Content-Length: {len(NODES)}\r\nConnection: close\r\n\r\n{NODES}",
    "no line": "\r\n\r\n\x00\x01",
    "bare feeds": HEAD.replace("\r\n", "\n") + f"Content-Length: {len(BODY)}\nConnection: close\n\n{BODY}",
}  # fmt: skip


async def raw(drover: Drover, text: str) -> list[int]:
    """The status of every answer until the connection is closed."""
    where = urlsplit(drover.way.server)
    context = ssl.create_default_context(cadata=drover.way.authority)
    answered = b""
    reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
    try:
        writer.write(text.encode("latin-1"))
        await writer.drain()
        async with asyncio.timeout(10):
            answered = await reader.read(200_000)
            while answered and (more := await asyncio.wait_for(reader.read(200_000), 0.5)):
                answered += more
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return [int(part[1:4]) for part in answered.decode("latin-1").split("HTTP/1.1")[1:]]


async def test_no_spelling_of_a_path_and_no_smuggling_leads_past_the_gate(drover: Drover, store: PostgresStore) -> None:
    await prepared(drover)
    before = await store.objects.revision()
    plain = {path: f"POST {path} HTTP/1.1\r\nHost: d\r\n{AUTH}{REST}" for path in PATHS}
    requests = plain | SMUGGLED

    answers = dict(zip(requests, await asyncio.gather(*(raw(drover, text) for text in requests.values())), strict=True))
    after = await store.objects.revision()

    assert after == before
    assert {
        name: codes for name, codes in answers.items() if not codes or not all(400 <= code < 500 for code in codes)
    } == {}
    assert answers["second token"] == [403]
    assert (await drover.root.get("/livez")).text == "ok"


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
TYPES = ("application/json", "application/yaml", "application/merge-patch+json", "application/json-patch+json",
         "application/apply-patch+yaml", "application/strategic-merge-patch+json", "application/vnd.kubernetes.protobuf",
         "text/plain")  # fmt: skip
BODIES = (b"", b"{}", b"[]", b"null", b"{", b"k8s\x00", b"k8s\x00\x0a\x01", b"\xff\xfe", b'{"metadata":[]}', b"a: &a [*a]",
          b'{"spec":1}', b'{"kind":"Role","metadata":{"name":"x"},"rules":[{"verbs":[]}]}', b'{"roleRef":{}}',
          b'{"subjects":[{}],"roleRef":{"kind":"Role","name":""}}', b'{"spec":{"user":1}}',
          b'{"spec":{"resourceAttributes":[],"namespace":7}}', b'{"spec":{"token":{}}}', b'[{"op":"add"}]')  # fmt: skip
QUERIES = ("", "?watch=1&timeoutSeconds=1", "?limit=-1", "?labelSelector=a%20in", "?fieldSelector=%5C", "?dryRun=All",
           "?continue=zz", "?timeout=1s", "?fieldManager=%00", "?force=maybe")  # fmt: skip
OWN = "/apis/authorization.k8s.io/v1"
REVIEWS = (
    f"{OWN}/selfsubjectaccessreviews",
    f"{OWN}/subjectaccessreviews",
    f"{OWN}/selfsubjectrulesreviews",
    f"{OWN}/namespaces/{{namespace}}/localsubjectaccessreviews",
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    "/apis/authentication.k8s.io/v1/tokenreviews",
)


async def test_no_route_answers_500_whatever_is_sent(drover: Drover) -> None:
    """Four odd requests for each method of each route, by somebody who may do everything and by somebody who may do nothing."""
    odd = random.Random(7)
    swagger = (await drover.root.get("/openapi/v2")).json()
    routes = sorted(
        {path for path in swagger["paths"] if "/watch/" not in path} | {*REVIEWS, "/livez", "/version", "/metrics"}
    )
    limit = asyncio.Semaphore(16)

    async def sent(who: str, method: str, path: str) -> str:
        url = path.replace("{namespace}", odd.choice(("default", "b", "%00", "..", "a%2fb"))).replace(
            "{name}", odd.choice(("x", "view", "cluster-admin", "%ff", "ä", ";"))
        ) + odd.choice(QUERIES)
        headers = {"Content-Type": odd.choice(TYPES), "Impersonate-User": "" if odd.random() < 0.9 else "system:x"}
        body = odd.choice(BODIES)
        async with limit:
            answer = await drover.by_token(who).request(method, url, content=body, headers=headers)
        return (
            f"{method} {url} {body!r} {headers}: {answer.status_code} {answer.text[:200]}"
            if answer.is_server_error
            else ""
        )

    tries = [(who, method, path) for who in ("root", "joe") for method in METHODS for path in routes for _ in range(2)]
    odd.shuffle(tries)
    failures = [said for said in await asyncio.gather(*(sent(*each) for each in tries)) if said]

    assert len(tries) > 1000
    assert failures == []
