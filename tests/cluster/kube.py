"""A small kube-apiserver of the tests' own: it knows users by token, judges by roles, answers reviews, keeps one ConfigMap, and
sends the group of an APIService to whom it names. Namespaces and Events are served by a Drover in its standalone form."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx
import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.cluster.aggregator import Aggregator
from tests.cluster.answers import Stream, answer, answer_with, body_of, refuse
from tests.cluster.protobuf import review_in
from tests.cluster.rbac import Caller, Judge

Document = dict[str, Any]

CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps"
TRUST = "extension-apiserver-authentication"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_STRANGER = Caller("system:anonymous", ("system:unauthenticated",))
_V2 = b"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_OWN_GROUPS: dict[str, list[tuple[str, str, bool, list[str]]]] = {
    "apiregistration.k8s.io": [("apiservices", "APIService", False, ["get", "list", "watch"])],
    "authentication.k8s.io": [
        ("selfsubjectreviews", "SelfSubjectReview", False, ["create"]), ("tokenreviews", "TokenReview", False, ["create"]),
    ],
    "authorization.k8s.io": [
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", False, ["create"]),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview", False, ["create"]),
        ("subjectaccessreviews", "SubjectAccessReview", False, ["create"]),
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as RequestInfo has it."""

    caller: Caller
    path: str
    spec: Document
    """resourceAttributes or nonResourceAttributes, as a review has them."""


@dataclass
class Kube:
    """An ASGI application."""

    core: ASGIApp
    judge: Judge
    users: dict[str, Caller]
    """By token."""
    aggregator: Aggregator
    trust: dict[str, str]
    """The data of the ConfigMap of whom aggregated servers are to believe."""
    broken: bool = False
    """Whether everything is answered with 503, as while it starts."""
    reviews: list[tuple[str, Document]] = field(default_factory=list)
    """Which were asked: resource and spec."""
    listed: list[str] = field(default_factory=list)
    """What of its own was listed."""
    refused: list[str] = field(default_factory=list)
    """Who was forbidden what."""
    _revision: int = 1000
    _watches: set[asyncio.Task[Any]] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def believe(self, data: Mapping[str, str]) -> None:
        """Writes the ConfigMap anew, and tells who watches it."""
        self.trust = dict(data)
        self._revision += 1
        async with self._changed:
            self._changed.notify_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        if self.broken:
            await refuse(send, 503, "ServiceUnavailable", "apiserver is shutting down")
            return
        caller = self._caller(scope)
        if caller is None:
            await refuse(send, 401, "Unauthorized", "Unauthorized")
            return
        asked = _asked(caller, scope)
        if not self.judge.allows(caller, asked.spec):
            self.refused.append(f"{caller.name} {asked.spec}")
            await refuse(send, 403, "Forbidden", _forbidden(asked))
            return
        await self._answer(asked, scope, receive, send)

    def _caller(self, scope: Scope) -> Caller | None:
        headers = dict(scope["headers"])
        said = headers.get(b"authorization")
        if said is None:
            return _STRANGER
        found = self.users.get(said.decode().removeprefix("Bearer "))
        acts_for = headers.get(b"impersonate-user")
        if found is not None and acts_for is not None:
            return Caller(acts_for.decode(), ("system:authenticated",)) if "system:masters" in found.groups else None
        return found

    async def _answer(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        path, aggregated = asked.path, self.aggregator.registered
        described = path.startswith("/openapi/v3/") and path.removeprefix("/openapi/v3/") in aggregated.index
        if described or path == aggregated.path or path.startswith(f"{aggregated.path}/"):
            await self.aggregator.proxy(asked.caller, scope, receive, send)
        elif path == "/openapi/v3":
            own = await self._own(path)
            await answer_with(send, {"paths": {**own["paths"], **aggregated.index}})
        elif path == "/openapi/v2":
            await self._swagger(scope, receive, send)
        elif path.startswith(CONFIG_MAPS):
            await self._config_maps(path, scope, receive, send)
        elif path == "/apis" or path.startswith("/apis/"):
            await self._groups(asked, scope, receive, send)
        else:
            await self.core(_plain(scope), receive, send)

    async def _own(self, path: str, headers: Mapping[str, str] | None = None) -> Document:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.core), base_url="http://core") as client:
            found: Document = (await client.get(path, headers=headers)).json()
        return found

    async def _swagger(self, scope: Scope, receive: Receive, send: Send) -> None:
        if b"json" not in dict(scope["headers"]).get(b"accept", b"json"):
            await self.core(_plain(scope), receive, send)
            return
        own = await self._own("/openapi/v2", {"accept": "application/json"})
        await answer_with(send, self.aggregator.swagger(own))

    # groups of its own

    async def _groups(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        path = asked.path
        steps = path.split("/")[2:]
        if not steps:
            await self._all_groups(scope, send)
        elif path.startswith(SERVICES):
            await self._services(path, scope, receive, send)
        elif len(steps) == 1 and steps[0] in {*_OWN_GROUPS, self.aggregator.registered.group}:
            await answer_with(
                send, {"kind": "APIGroup", "apiVersion": "v1", **_group(steps[0], self._version(steps[0]))}
            )
        elif len(steps) == 2 and steps[0] in _OWN_GROUPS:
            resources = [
                {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs}
                for name, kind, namespaced, verbs in _OWN_GROUPS[steps[0]]
            ]
            version = f"{steps[0]}/{steps[1]}"
            await answer_with(
                send, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
            )
        elif len(steps) == 3 and scope["method"] == "POST":
            await self._review(asked, steps[2], await body_of(receive), send)
        else:
            await refuse(send, 404, "NotFound", "the server could not find the requested resource")

    def _version(self, group: str) -> str:
        registered = self.aggregator.registered
        return registered.version if group == registered.group else "v1"

    async def _all_groups(self, scope: Scope, send: Send) -> None:
        names = [*_OWN_GROUPS, self.aggregator.registered.group]
        accept = dict(scope["headers"]).get(b"accept", b"")
        if not accept.startswith(_V2):
            groups = [_group(name, self._version(name)) for name in names]
            await answer_with(send, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
            return
        items = [_discovered(group, resources) for group, resources in _OWN_GROUPS.items()]
        theirs = self.aggregator.discovered()
        document = {
            "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
            "items": items if theirs is None else [*items, theirs],
        }  # fmt: skip
        content = orjson.dumps(document)
        tag = (b"etag", f'"{hashlib.sha512(content).hexdigest().upper()}"'.encode())
        await answer(send, 200, content, _V2.decode(), (tag, (b"vary", b"Accept")))

    async def _review(self, asked: Asked, resource: str, body: bytes, send: Send) -> None:
        document = orjson.loads(body) if body[:1] == b"{" else review_in(body)
        spec = document.get("spec") or {}
        self.reviews.append((resource, spec))
        status: Document
        match resource:
            case "tokenreviews":
                found = self.users.get(spec.get("token", ""))
                status = {"authenticated": found is not None}
                status |= {"user": found.document()} if found else {"error": "unknown token"}
            case "subjectaccessreviews":
                named = Caller(spec.get("user", ""), tuple(spec.get("groups") or ()))
                allowed = self.judge.allows(named, spec)
                status = {"allowed": allowed} | ({"reason": "RBAC: allowed by a rule"} if allowed else {})
            case "selfsubjectreviews":
                status = {"userInfo": asked.caller.document()}
            case "selfsubjectaccessreviews":
                status = {"allowed": self.judge.allows(asked.caller, spec)}
            case "selfsubjectrulesreviews":
                rules = list(self.judge.rules(asked.caller, spec.get("namespace") or "default"))
                status = {
                    "resourceRules": [rule for rule in rules if "resources" in rule],
                    "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
                    "incomplete": False,
                }
            case _:
                await refuse(send, 404, "NotFound", "the server could not find the requested resource")
                return
        answered = {**document, "metadata": {}, "status": status}
        await answer_with(send, answered, 201)

    # what it keeps itself

    def _config_map(self) -> Document:
        return {
            "kind": "ConfigMap", "apiVersion": "v1", "data": dict(self.trust),
            "metadata": {"name": TRUST, "namespace": "kube-system", "resourceVersion": str(self._revision)},
        }  # fmt: skip

    async def _config_maps(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        named = path.removeprefix(CONFIG_MAPS).strip("/")
        if named and named != TRUST:
            await refuse(send, 404, "NotFound", f'configmaps "{named}" not found')
        elif named:
            await answer_with(send, self._config_map())
        elif _query(scope, "watch"):
            await self._watched(self._changed, lambda: (self._revision, self._config_map()), scope, receive, send)
        else:
            self.listed.append("configmaps")
            metadata = {"resourceVersion": str(self._revision)}
            items = [self._config_map()]
            await answer_with(send, {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": items})

    async def _services(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        registered = self.aggregator.registered
        named = path.removeprefix(SERVICES).strip("/")
        document = registered.document()
        if named:
            found = named == document["metadata"]["name"]
            await (answer_with(send, document) if found else refuse(send, 404, "NotFound", f'"{named}" not found'))
        elif _query(scope, "sendInitialEvents"):
            why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            await refuse(send, 422, "Invalid", why)
        elif _query(scope, "watch"):
            now = lambda: (registered.revision, registered.document())  # noqa: E731
            await self._watched(self.aggregator.changed, now, scope, receive, send)
        else:
            kind = {"kind": "APIServiceList", "apiVersion": "apiregistration.k8s.io/v1"}
            await answer_with(
                send, {**kind, "metadata": {"resourceVersion": str(registered.revision)}, "items": [document]}
            )

    async def _watched(
        self,
        changed: asyncio.Condition,
        now: Callable[[], tuple[int, Document]],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """One object's changes since the version that was asked for, until the client goes or the watches are ended."""
        stream = Stream(send)
        await stream.begin()

        async def tell() -> None:
            told = int(_query(scope, "resourceVersion") or 0)
            while True:
                revision, document = now()
                if revision > told:
                    told = revision
                    await stream.tell("MODIFIED", document)
                async with changed:
                    if now()[0] == told:
                        await changed.wait()

        await self._until_gone(tell, receive)

    async def _until_gone(self, tell: Callable[[], Awaitable[None]], receive: Receive) -> None:
        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                continue

        async def telling() -> None:
            await tell()

        tasks = {asyncio.create_task(telling()), asyncio.create_task(gone())}
        self._watches |= tasks
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._watches -= tasks

    def end_watches(self) -> None:
        for task in self._watches:
            task.cancel()


def _plain(scope: Scope) -> Scope:
    """As its own parts see it: who asks has been judged."""
    judged = (b"authorization", b"impersonate-user")
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in judged]}


def _asked(caller: Caller, scope: Scope) -> Asked:
    path = scope["path"] if scope["path"] == "/" else scope["path"].rstrip("/")
    method, steps = scope["method"], [step for step in path.split("/") if step]
    below = 2 if steps[:1] == ["api"] else 3
    if steps[:1] not in (["api"], ["apis"]) or len(steps) <= below:
        return Asked(caller, path, {"nonResourceAttributes": {"path": path, "verb": method.lower()}})
    group = "" if below == 2 else steps[1]
    rest, namespace = steps[below:], ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    verb = _VERBS.get(method, method.lower())
    if not name and verb == "get":
        verb = "watch" if _query(scope, "watch") else "list"
        selected = _query(scope, "fieldSelector")
        name = selected.removeprefix("metadata.name=") if selected.startswith("metadata.name=") else ""
    elif not name and verb == "delete":
        verb = "deletecollection"
    attributes = {
        "verb": verb, "group": group, "version": steps[below - 1], "resource": resource, "subresource": subresource,
        "name": name, "namespace": namespace,
    }  # fmt: skip
    return Asked(caller, path, {"resourceAttributes": attributes})


def _query(scope: Scope, name: str) -> str:
    values: list[str] = parse_qs(scope["query_string"].decode()).get(name, [""])
    return values[0]


def _forbidden(asked: Asked) -> str:
    spec = asked.spec.get("resourceAttributes")
    if spec is None:
        other = asked.spec["nonResourceAttributes"]
        return f'forbidden: User "{asked.caller.name}" cannot {other["verb"]} path "{other["path"]}"'
    full = f"{spec['resource']}.{spec['group']}" if spec["group"] else spec["resource"]
    named = f' "{spec["name"]}"' if spec["name"] else ""
    where = f'in the namespace "{spec["namespace"]}"' if spec["namespace"] else "at the cluster scope"
    resource = spec["resource"] + (f"/{spec['subresource']}" if spec["subresource"] else "")
    return (
        f'{full}{named} is forbidden: User "{asked.caller.name}" cannot {spec["verb"]} resource "{resource}" in API group '
        f'"{spec["group"]}" {where}'
    )


def _group(name: str, version: str) -> Document:
    shown = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [shown], "preferredVersion": shown}


def _discovered(group: str, resources: list[tuple[str, str, bool, list[str]]]) -> Document:
    shown = [
        {"resource": name, "responseKind": {"group": group, "version": "v1", "kind": kind},
         "scope": "Namespaced" if namespaced else "Cluster", "singularResource": kind.lower(), "verbs": verbs}
        for name, kind, namespaced, verbs in resources
    ]  # fmt: skip
    return {"metadata": {"name": group}, "versions": [{"version": "v1", "resources": shown, "freshness": "Current"}]}
