"""`serviceaccounts/token`: a token in a service account's name, and what others judge such tokens by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from app.api.auth.accounts import RESOURCE, Account, AccountTokens, now_s
from app.api.auth.signing import ALGORITHM
from app.api.requests import Request
from app.api.responses import Response
from app.machinery import errors as words
from app.machinery.errors import bad_request, invalid, invalid_object
from app.machinery.objects import Document
from app.machinery.tokenrequest import LASTS_S, TOKEN_REQUEST, problems
from app.store.base import Key, NotFound, Objects

CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"
_CACHED = ((b"cache-control", b"public, max-age=3600"),)


@dataclass(frozen=True, slots=True)
class TokenRequests:
    """Answers the subresource; bound by wiring."""

    objects: Objects
    tokens: AccountTokens
    longest_s: int
    """What is asked for beyond that is cut to it."""

    async def answer(self, _verb: str, key: Key, request: Document, _dry_run: bool) -> Document:
        """Raises ApiError, StoreError. A token is nothing that is stored: a dry run is answered one too, as in Kubernetes."""
        metadata = request.get("metadata") or {}
        if metadata.get("namespace", key.namespace) != key.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if metadata.get("name", key.name) != key.name:
            said = "must match the service account name if specified"
            raise _invalid(key.name, invalid("metadata.name", metadata["name"], said))
        try:
            account = (await self.objects.get(key)).document["metadata"]
        except NotFound as error:
            raise words.not_found(RESOURCE, "", key.name) from error
        spec = dict(request.get("spec") or {})
        if found := list(problems(spec)):
            raise _invalid("", *found)
        if (bound := spec.get("boundObjectRef")) is not None:
            group, _, version = (bound.get("apiVersion") or "").rpartition("/")
            what = f"{group}/{version}, Kind={bound.get('kind') or ''}"
            raise bad_request(f"cannot bind token to object of type {what}")
        lasts_s = min(spec.get("expirationSeconds", LASTS_S), self.longest_s)
        audiences = spec.get("audiences") or list(self.tokens.audiences)
        now = now_s()
        token = await self.tokens.issue(_account(key, account), audiences, lasts_s, now)
        return {
            "kind": TOKEN_REQUEST.name,
            "apiVersion": str(TOKEN_REQUEST.group_version),
            "metadata": {
                **metadata,
                "name": key.name,
                "namespace": key.namespace,
                "uid": account["uid"],
                "creationTimestamp": _stamp(now),
            },
            "spec": {"audiences": audiences, "expirationSeconds": lasts_s, "boundObjectRef": None},
            "status": {"token": token, "expirationTimestamp": _stamp(now + lasts_s)},
        }


class IssuerDocuments:
    """OpenID Connect discovery: by it others judge the tokens themselves. Only of an issuer that is an https address."""

    def __init__(self, tokens: AccountTokens) -> None:
        self._tokens = tokens

    def find(self, path: str) -> Callable[[Request], Response] | None:
        """What answers the path; None for another one."""
        if not self._tokens.issuer.startswith("https://"):
            return None
        return {CONFIGURATION: self._configuration, KEYS: self._keys}.get(path)

    def _configuration(self, _request: Request) -> Response:
        issuer = self._tokens.issuer
        document = {
            "issuer": issuer,
            "jwks_uri": issuer.rstrip("/") + KEYS,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
        return Response(orjson.dumps(document), headers=_CACHED)

    def _keys(self, _request: Request) -> Response:
        published = orjson.dumps(self._tokens.keys.published())
        return Response(published, type="application/jwk-set+json", headers=_CACHED)


def _account(key: Key, metadata: Document) -> Account:
    return Account(key.namespace, key.name, metadata["uid"])


def _invalid(name: str, *errors: words.FieldError) -> words.ApiError:
    return invalid_object(TOKEN_REQUEST.name, TOKEN_REQUEST.group_version.group, name, errors)


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
