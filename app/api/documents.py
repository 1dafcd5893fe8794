"""Discovery and OpenAPI: documents that are built once, from the declared kinds, and told apart by their ETag."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import cached_property, lru_cache
from hashlib import sha512
from typing import Any

import orjson

from app.api import emptiness
from app.api.negotiation import JSON, YAML, Clause, clauses, negotiate
from app.api.requests import Request
from app.api.responses import Response, in_form, of_document
from app.machinery import discovery, openapi, openapi_v3_protobuf
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.machinery.openapi_protobuf import to_protobuf

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
PROTOBUF_ASKED = (PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
"""kubectl asks for the second, and is answered with the first."""
PROTOBUF_V3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
PROTOBUF_V3_ASKED = (PROTOBUF_V3, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
TEXT = "text/plain; charset=utf-8"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

Kinds = Sequence[Kind[Any, Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document's bytes and what says that they are the same as before."""

    body: bytes
    etag: str
    modified: datetime
    """When it was built, in whole seconds."""

    @classmethod
    def of(cls, document: Document) -> Prepared:
        return cls(orjson.dumps(document), discovery.etag(document), _this_second())

    @classmethod
    def of_bytes(cls, body: bytes) -> Prepared:
        return cls(body, sha512(body).hexdigest().upper(), _this_second())

    def response(
        self, request: Request, type_: str = JSON, *, cache: str = "", vary: Sequence[str] = (), dated: bool = False
    ) -> Response:
        """The document, or 304 to who has it already. `dated`: told with when it was made, as OpenAPI's are."""
        headers: tuple[tuple[bytes, bytes], ...] = (
            (b"etag", f'"{self.etag}"'.encode()),
            *((b"vary", name.encode()) for name in vary),
        )
        if cache:
            headers = (*headers, (b"cache-control", cache.encode()))
        if dated:
            headers = (*headers, _dated(self.modified))
        if _has(request.header(b"if-none-match"), self.etag):
            return Response(b"", 304, type_, headers)
        return Response(self.body, 200, type_, headers)


class Documents:
    """Answers GET of every path that describes the API rather than an object. Those of OpenAPI are built when they are first
    asked for, as kube-apiserver does: many a process never is."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._plain = _discovery(kinds)
        self._plain["/"] = orjson.dumps({"paths": _paths(kinds)})
        self.alone = discovery.serves_core(kinds)
        """Whether this is the whole of an API, with what every Kubernetes API has; or else a group behind somebody else's."""
        self._packed: dict[str, Prepared] = {}
        """Documents of OpenAPI v3 in protobuf, by path: made when they are first asked for."""
        self._aggregated = {"/apis": Prepared.of(discovery.aggregated(kinds, core=False))}
        if self.alone:
            core = discovery.aggregated(kinds, core=True)
            self._aggregated["/api"] = Prepared.of(emptiness.announced_together(core))

    @cached_property
    def _versions(self) -> Mapping[str, Prepared]:
        documents = openapi.v3_documents(self._kinds)
        return {f"/openapi/v3/{key}": Prepared.of(document) for key, document in documents.items()}

    def _version_protobuf(self, path: str) -> Prepared:
        """Under the hash of the JSON that it is made of."""
        if path not in self._packed:
            json = self._versions[path]
            self._packed[path] = replace(json, body=openapi_v3_protobuf.to_protobuf(orjson.loads(json.body)))
        return self._packed[path]

    @cached_property
    def _index(self) -> Prepared:
        return Prepared.of(openapi.v3_index(self._kinds))

    @cached_property
    def _v2(self) -> Prepared:
        return Prepared.of(openapi.v2(self._kinds))

    @cached_property
    def _v2_protobuf(self) -> Prepared:
        return Prepared.of_bytes(to_protobuf(openapi.v2(self._kinds)))

    def find(self, path: str) -> Callable[[Request], Response] | None:
        """What answers the path; None when it describes nothing."""
        if path in self._plain:
            return lambda request: self._discover(path, request)
        if path.startswith("/openapi/v3/") and path in self._versions:
            return lambda request: self._version(path, request)
        if self.alone and (none := emptiness.find(path)) is not None:
            return lambda request: of_document(none, media=negotiate(request.accept, shapes=False))
        if path.startswith("/openapi/v3/"):
            return lambda _: _NO_DOCUMENT
        return {"/openapi/v3": self._index_of_v3, "/openapi/v2": self._swagger}.get(path)

    def _discover(self, path: str, request: Request) -> Response:
        # Under /apis/ kube-apiserver has the older form alone.
        slashed = request.path == "/apis/"
        if path in self._aggregated and not slashed and _wants_aggregated(request.accept):
            return self._aggregated[path].response(request, AGGREGATED, cache="public", vary=("Accept",))
        body = self._plain[path]
        if path == "/":
            return Response(body, pretty=True)
        if path == "/api":
            body = orjson.dumps(discovery.api_versions(request.header(b"host")))
        return in_form(Response(body), negotiate(request.accept, shapes=False, protobuf=True))

    def _index_of_v3(self, request: Request) -> Response:
        """As text, which is what kube-apiserver says of it: known by its date alone."""
        index, since = self._index, request.header(b"if-modified-since")
        if _is_later(index.modified, since):
            return Response(index.body, 200, TEXT, (_dated(index.modified),))
        return Response(b"", 304, "", (_dated(index.modified),))

    def _version(self, path: str, request: Request) -> Response:
        """Cached for ever under its hash; a wrong hash leads to the right one."""
        match _first_of(request.accept, (JSON, *PROTOBUF_V3_ASKED)):
            case None:
                return _unacceptable("Accept")
            case "application/json":
                document, type_ = self._versions[path], JSON
            case _:
                document, type_ = self._version_protobuf(path), PROTOBUF_V3
        said = request.parameters.get("hash")
        if not said:
            return document.response(request, type_, vary=("Accept",), cache="no-cache, private", dated=True)
        if said != document.etag:
            return _moved(f"{path}?hash={document.etag}", document.etag, type_)
        expires = format_datetime(datetime.now(UTC) + timedelta(days=365), usegmt=True)
        response = document.response(request, type_, vary=("Accept",), cache="public, immutable", dated=True)
        return replace(response, headers=(*response.headers, (b"expires", expires.encode())))

    def _swagger(self, request: Request) -> Response:
        """JSON, or the protobuf of it that kubectl asks for."""
        match _first_of(request.accept, (JSON, *PROTOBUF_ASKED)):
            case None:
                return _unacceptable(*_V2_VARIES)
            case "application/json":
                return self._v2.response(request, vary=_V2_VARIES, dated=True)
            case _:
                return self._v2_protobuf.response(request, PROTOBUF, vary=_V2_VARIES, dated=True)


@lru_cache(maxsize=4)
def documents_of(kinds: tuple[Kind[Any, Any], ...]) -> Documents:
    """Built once for the same kinds."""
    return Documents(kinds)


def _paths(kinds: Kinds) -> list[str]:
    """What `GET /` tells: where to look further."""
    versions = [version.path for version in discovery.served_group_versions(kinds)]
    groups = [path.rpartition("/")[0] for path in versions if path.startswith("/apis/")]
    process = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
    core = ["/api"] if discovery.serves_core(kinds) else []
    return sorted({*core, "/apis", *versions, *groups, *process})


def _discovery(kinds: Kinds) -> dict[str, bytes]:
    """The unaggregated documents by their path."""
    documents: dict[str, Document | None] = {"/apis": discovery.api_group_list(kinds)}
    if discovery.serves_core(kinds):
        documents["/api"] = discovery.api_versions()
    for version in discovery.served_group_versions(kinds):
        documents[version.path] = discovery.resource_list(kinds, version)
        if version.group:
            documents[f"/apis/{version.group}"] = discovery.api_group(kinds, version.group)
    if (core := documents.get("/api/v1")) is not None:
        documents["/api/v1"] = emptiness.announced(core)
    return {path: orjson.dumps(document) for path, document in documents.items() if document is not None}


def _wants_aggregated(accept: str) -> bool:
    """Is that form the first of the alternatives that is served here? The older v2beta1 is not."""
    for clause in clauses(accept):
        if _is_aggregated(clause):
            return True
        if not clause.parameters.get("as") and clause.type in (JSON, YAML, "*/*", "application/*"):
            return False
    return False


def _is_aggregated(clause: Clause) -> bool:
    wanted = {"g": "apidiscovery.k8s.io", "v": "v2", "as": "APIGroupDiscoveryList"}
    return clause.type == JSON and all(clause.parameters.get(name) == value for name, value in wanted.items())


def _first_of(accept: str, types: Sequence[str]) -> str | None:
    """The type that the client likes best; of those that it does not tell apart the first."""
    if not accept:
        return types[0]
    for clause in clauses(accept):
        for type_ in types:
            if clause.type in (type_, "*/*", "application/*"):
                return type_
    return None


def _has(if_none_match: str, etag: str) -> bool:
    """Whether the client holds this document already; a proxy on the way may have weakened the tag."""
    held = (tag.strip().removeprefix("W/").strip('"') for tag in if_none_match.split(","))
    return any(tag in (etag, "*") for tag in held)


def _this_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _dated(modified: datetime) -> tuple[bytes, bytes]:
    return b"last-modified", format_datetime(modified, usegmt=True).encode()


def _is_later(modified: datetime, since: str) -> bool:
    """Than a date of HTTP's; what is no date is none."""
    try:
        return modified > parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return True


_V2_VARIES = ("Accept", "Accept-Encoding")
_NO_DOCUMENT = Response(b"", 404, "")


def _unacceptable(*varies: str) -> Response:
    return Response(b"", 406, "", headers=tuple((b"vary", name.encode()) for name in varies))


def _moved(address: str, etag: str, type_: str) -> Response:
    headers = ((b"etag", f'"{etag}"'.encode()), (b"location", address.encode()), (b"vary", b"Accept"))
    return Response(b"", 301, type_, headers)
