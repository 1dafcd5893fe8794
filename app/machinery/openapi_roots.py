"""OpenAPI of what belongs to no group version: which versions there are, and what the server is."""

from __future__ import annotations

from app.machinery.objects import Document
from app.machinery.openapi_meta import REFERENCE

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_TEXT: Document = {"type": "string"}


def _shape(description: str, *required: str, **fields: Document) -> Document:
    return {"type": "object", "description": description, "required": list(required), "properties": fields}


def _refers(name: str) -> Document:
    return {"$ref": REFERENCE + name}


def _list_of(name: str) -> Document:
    return {"type": "array", "items": _refers(name), "x-kubernetes-list-type": "atomic"}


_OF_DISCOVERY = f"{_META}GroupVersionForDiscovery"
_ADDRESS = f"{_META}ServerAddressByClientCIDR"
_GROUP = f"{_META}APIGroup"
_TYPE = {"apiVersion": _TEXT, "kind": _TEXT}

_SHARED: Document = {
    _OF_DISCOVERY: _shape(
        "GroupVersion contains the group/version and version strings of a version.",
        *("groupVersion", "version"),
        groupVersion=_TEXT,
        version=_TEXT,
    ),
    _ADDRESS: _shape(
        "ServerAddressByClientCIDR says which address clients of a network should use.",
        *("clientCIDR", "serverAddress"),
        clientCIDR=_TEXT,
        serverAddress=_TEXT,
    ),
}
_VERSIONS = _shape(
    "APIVersions lists the versions that are available.",
    *("versions", "serverAddressByClientCIDRs"),
    **_TYPE,
    versions={"type": "array", "items": _TEXT, "x-kubernetes-list-type": "atomic"},
    serverAddressByClientCIDRs=_list_of(_ADDRESS),
)
_GROUPS: Document = {
    f"{_META}APIGroupList": _shape("APIGroupList lists the groups.", "groups", **_TYPE, groups=_list_of(_GROUP)),
    _GROUP: _shape(
        "APIGroup contains the name of a group and its versions.",
        *("name", "versions"),
        **_TYPE,
        name=_TEXT,
        versions=_list_of(_OF_DISCOVERY),
        preferredVersion=_refers(_OF_DISCOVERY),
        serverAddressByClientCIDRs=_list_of(_ADDRESS),
    ),
}
_INFO_FIELDS = (
    *("major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"),
)
_INFO = _shape("Info says which version the server is.", *_INFO_FIELDS, **dict.fromkeys(_INFO_FIELDS, _TEXT))


def roots(title: str) -> dict[str, Document]:
    """The documents by their key in the index of v3, which is their path too."""
    versions = "get available API versions"
    return {
        "api": _document(
            title, "api", "core", "getCoreAPIVersions", versions, {f"{_META}APIVersions": _VERSIONS, **_SHARED}
        ),
        "apis": _document(
            title, "apis", "apis", "getAPIVersions", versions, {**_GROUPS, **_SHARED}
        ),
        "version": _document(
            title, "version", "version", "getCodeVersion", "get the version information for this server",
            {"io.k8s.apimachinery.pkg.version.Info": _INFO},
        ),
    }  # fmt: skip


def _document(title: str, path: str, tag: str, operation: str, description: str, schemas: Document) -> Document:
    """A document of one operation, which answers the first of the schemas."""
    media = ("application/json",) if tag == "version" else ("application/json", "application/yaml")
    answer = {"content": {type_: {"schema": _refers(next(iter(schemas)))} for type_ in media}}
    read = {
        "tags": [tag],
        "description": description,
        "operationId": operation,
        "responses": {"200": {"description": "OK", **answer}, "401": {"description": "Unauthorized"}},
    }
    return {
        "openapi": "3.0.0",
        "info": {"title": title, "version": "v1"},
        "paths": {f"/{path}/": {"get": read}},
        "components": {"schemas": dict(sorted(schemas.items()))},
    }
